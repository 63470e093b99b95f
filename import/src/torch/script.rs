//! Code of a TorchScript archive (`torch/csrc/jit/serialization/python_print.cpp`).
//!
//! The pickle of such an archive has neither the attributes of its modules nor their operations. Both are literals in the
//! code of their classes: constants (`stride : Final[Tuple[int, int]] = (2, 2)`) and arguments of calls
//! (`torch.conv2d(x, w, b, [2, 2])`). The code is not executed.

use std::collections::HashMap;

use crate::state_dict::{Call, Module};

/// Maximum number of calls in one class. A class with more has a call of [`TOO_MANY`].
const MAX_CALLS: usize = 4096;
/// Maximum number of aliases of functions in one class.
const MAX_ALIASES: usize = 256;
const TOO_MANY: &str = "(too many functions)";
/// Maximum number of arguments of a call that are kept.
const MAX_ARGUMENTS: usize = 16;
/// Maximum number of characters of a call that are read.
const LONGEST_CALL: usize = 2048;

/// Reads the classes of a file. `path` is its place below `code/`, such as `__torch__/torch/nn/modules/conv.py`.
pub fn read(path: &str, text: &str, classes: &mut HashMap<String, Module>) {
    let package = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
    let mut rest = text;
    while let Some(start) = find_line(rest, |line| line.starts_with("class ")) {
        let after = rest.get(start..).unwrap_or_default();
        // A class ends at the next line without indentation.
        let header = after.find('\n').map_or(after.len(), |end| end + 1);
        let body_end =
            find_line(after.get(header..).unwrap_or_default(), |line| !line.is_empty() && !line.starts_with(' '));
        let end = body_end.map_or(after.len(), |end| header + end);
        let (body, next) = after.split_at_checked(end).unwrap_or((after, ""));
        if let Some(name) = body.strip_prefix("class ").and_then(|rest| rest.split(['(', ':']).next()) {
            classes.insert(format!("{package}.{}", name.trim()), class(body));
        }
        rest = next;
    }
}

/// Returns the offset of the first line that `accepts`.
fn find_line(text: &str, accepts: impl Fn(&str) -> bool) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if accepts(line.trim_end_matches('\n')) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

fn class(body: &str) -> Module {
    let mut module = Module { has_code: true, ..Module::default() };
    for line in body.lines() {
        let constant =
            line.trim().split_once(" : Final[").and_then(|(name, rest)| Some((name, rest.split_once("] = ")?.1)));
        let Some((name, value)) = constant else { continue };
        match name {
            "stride" => module.stride = pair(value),
            "padding" => module.padding = if value == "\"valid\"" { Some([0; 2]) } else { pair(value) },
            "dilation" => module.dilation = pair(value),
            "eps" => module.epsilon = value.parse().ok(),
            "dim" => module.dim = value.parse().ok(),
            "padding_mode" => module.padding_mode = Some(value.trim_matches('"').to_owned()),
            _ => {}
        }
    }
    let calls = calls(body);
    for call in &calls {
        let argument = |at: usize| call.arguments.get(at).map(String::as_str).unwrap_or_default();
        // Trailing arguments with their default value are omitted.
        let or_default =
            |at: usize, default| if argument(at).is_empty() { Some([default; 2]) } else { pair(argument(at)) };
        match call.function.as_str() {
            "torch._convolution" | "torch.conv2d" => {
                module.stride = module.stride.or(or_default(3, 1));
                module.padding = module.padding.or(or_default(4, 0));
                module.dilation = module.dilation.or(or_default(5, 1));
            }
            "torch.batch_norm" => {
                module.epsilon = module.epsilon.or(argument(7).parse().ok());
                module.trains |= argument(5) == "True";
            }
            "torch.dropout" | "torch.dropout_" | "torch.feature_dropout" => module.trains |= argument(2) == "True",
            _ => {}
        }
    }
    module.calls = calls.into();
    module
}

/// Returns all calls of functions, including nested calls: of `torch`, of `ops`, and of other packages by their qualified
/// names, directly or by an alias (`_0 = __torch__.mine.helper`).
fn calls(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut aliases = 0;
    for prefix in ["torch.", "ops.", "__torch__."] {
        for (at, name, rest) in names(text, prefix) {
            if calls.len() >= MAX_CALLS || aliases > MAX_ALIASES {
                calls.push(Call { function: TOO_MANY.to_owned(), arguments: Vec::new() });
                return calls;
            }
            let function = name.strip_prefix("__torch__.").unwrap_or(name);
            if let Some(rest) = rest.strip_prefix('(') {
                calls.push(Call { function: function.to_owned(), arguments: arguments(rest) });
            } else if let Some(alias) = alias(text, at, rest) {
                aliases += 1;
                let uses = names(text, alias).filter(|(_, name, rest)| *name == alias && rest.starts_with('('));
                let uses = uses.take(MAX_CALLS.saturating_sub(calls.len()));
                calls.extend(uses.map(|(_, _, rest)| Call {
                    function: function.to_owned(),
                    arguments: arguments(rest.get(1..).unwrap_or_default()),
                }));
            }
        }
    }
    calls
}

/// Returns each qualified name that starts with `prefix`: its offset, the name, and the text after it.
fn names<'t>(text: &'t str, prefix: &'t str) -> impl Iterator<Item = (usize, &'t str, &'t str)> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let before = at.checked_sub(1).and_then(|at| text.as_bytes().get(at)).copied().unwrap_or(b' ');
        let rest = text.get(at..)?;
        let length = rest.bytes().take_while(|byte| is_part(*byte)).count();
        let (name, rest) = rest.split_at_checked(length)?;
        (!is_part(before)).then_some((at, name, rest))
    })
}

/// Returns the name to which a line assigns the function at this offset, unless it is the type of an attribute.
fn alias<'t>(text: &'t str, at: usize, rest: &str) -> Option<&'t str> {
    let line = text.get(..at)?.rsplit('\n').next()?;
    let name = line.trim().strip_suffix('=')?.trim();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && (rest.is_empty() || rest.starts_with('\n'))).then_some(name)
}

/// Splits an argument list at its top-level commas, up to the closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
    /// Longest argument that is kept; literals are short.
    const LONGEST: usize = 64;
    let mut arguments = vec![String::new()];
    let (mut depth, mut quoted) = (0usize, false);
    for letter in text.chars().take(LONGEST_CALL) {
        match letter {
            '"' => quoted = !quoted,
            ')' if !quoted && depth == 0 => break,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                if arguments.len() == MAX_ARGUMENTS {
                    break;
                }
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(argument) = arguments.last_mut().filter(|argument| argument.len() < LONGEST) {
            argument.push(letter);
        }
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// Parses `[2, 2]` or `(2, 2)`.
fn pair(text: &str) -> Option<[usize; 2]> {
    let inner = text.strip_prefix(['[', '('])?.strip_suffix([']', ')'])?;
    let numbers: Option<Vec<usize>> = inner.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> (String, Module) {
        let mut classes = HashMap::new();
        read("__torch__/torch/nn/modules/conv/___torch_mangle_1.py", text, &mut classes);
        assert_eq!(classes.len(), 1);
        classes.into_iter().next().unwrap()
    }

    fn functions(module: &Module) -> Vec<&str> {
        module.calls.iter().map(|call| &*call.function).collect()
    }

    #[test]
    fn a_traced_convolution_has_arguments() {
        let (name, module) = only(
            "class Conv2d(Module):\n  weight : Tensor\n  def forward(self: X,\n    input: Tensor) -> Tensor:\n    \
             y = torch._convolution(torch.relu(input), weight, None, [2, 1], [0, 1], [3, 3], False, [0, 0], 16, False)\n",
        );
        assert_eq!(name, "__torch__.torch.nn.modules.conv.___torch_mangle_1.Conv2d");
        assert_eq!((module.stride, module.padding, module.dilation), (Some([2, 1]), Some([0, 1]), Some([3, 3])));
        assert_eq!(functions(&module), ["torch._convolution", "torch.relu"]);
        assert_eq!(module.calls[0].arguments[0], "torch.relu(input)");
    }

    #[test]
    fn a_scripted_module_has_constants() {
        let (_, module) = only(
            "class Norm(Module):\n  eps : Final[float] = 0.001\n  stride : Final[Tuple[int, int]] = (2, 2)\n  \
             padding_mode : Final[str] = \"zeros\"\n  def forward(self) -> Tensor:\n    \
             _0 = __torch__.torch.nn.functional.batch_norm\n    return torch.conv2d(_0(x, ), w)\n",
        );
        assert_eq!((module.epsilon, module.stride), (Some(1e-3), Some([2, 2])));
        assert_eq!((module.padding, module.padding_mode.as_deref()), (Some([0; 2]), Some("zeros")));
        assert_eq!(functions(&module), ["torch.conv2d", "torch.nn.functional.batch_norm"]);
    }

    #[test]
    fn every_use_of_a_function_is_a_call() {
        let (_, module) = only(
            "class Net(Module):\n  conv : __torch__.mine.Conv\n  __annotations__[\"0\"] = __torch__.mine.Other\n  \
             def forward(self: __torch__.mine.Net) -> Tensor:\n    _0 = __torch__.torch.nn.functional.hardtanh\n    \
             y = _0(_0(x, 0., 6., True, ), -1., 1., )\n    return __torch__.mine.helper(ops.mine.f(y), _01(y))\n\
             def free(x):\n  return torch.tanh(x)\n",
        );
        let calls: Vec<_> = module.calls.iter().map(|call| (&*call.function, call.arguments.join("|"))).collect();
        let expected = [
            ("ops.mine.f", "y"),
            ("torch.nn.functional.hardtanh", "_0(x, 0., 6., True, )|-1.|1.|"),
            ("torch.nn.functional.hardtanh", "x|0.|6.|True|"),
            ("mine.helper", "ops.mine.f(y)|_01(y)"),
        ];
        assert_eq!(calls, expected.map(|(function, arguments)| (function, arguments.to_owned())));
    }

    #[test]
    fn detects_training_mode() {
        let trains =
            |code: &str| only(&format!("class A(Module):\n  def forward(self):\n    return {code}\n")).1.trains;
        assert!(trains("torch.batch_norm(x, w, b, m, v, True, 0.1, 1e-05, True)"));
        assert!(!trains("torch.batch_norm(x, w, b, m, v, False, 0.1, 1e-05, True)"));
        assert!(trains("torch.dropout(x, 0.2, True)") && !trains("torch.dropout(x, 0.2, False)"));
    }

    #[test]
    fn hostile_code_takes_little_time() {
        let text = format!("class A(Module):\n  x = {}{}", "torch.relu6(".repeat(20_000), ",".repeat(1 << 20));
        let (_, module) = only(&text);
        assert_eq!((module.calls.len(), &*module.calls[MAX_CALLS].function), (MAX_CALLS + 1, TOO_MANY));
        let aliases: String = (0..3000).map(|at| format!("  _{at} = __torch__.a.b\n")).collect();
        only(&format!("class A(Module):\n{aliases}{}", "x".repeat(1 << 16)));
    }

    #[test]
    fn arguments_end_at_their_parenthesis() {
        assert_eq!(arguments("a, [1, 2], f(x, y), \"a, b)\")) + c"), ["a", "[1, 2]", "f(x, y)", "\"a, b)\""]);
        assert_eq!(arguments("unfinished, [1"), ["unfinished", "[1"]);
        assert_eq!(arguments(&",".repeat(1000)).len(), MAX_ARGUMENTS);
        for text in ["", ")", "((((", "\"", "]]]"] {
            arguments(text);
        }
    }
}

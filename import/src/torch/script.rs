//! Code of a TorchScript archive (`torch/csrc/jit/serialization/python_print.cpp`).
//!
//! The pickle of such an archive has neither the attributes of its modules nor their operations. Both are literals in the code
//! of their classes: constants (`stride : Final[Tuple[int, int]] = (2, 2)`) and arguments of calls (`torch.conv2d(x, w, b, [2, 2])`).
//! The code is not executed.

use std::collections::HashMap;

use crate::state_dict::{Call, Module};

/// Maximum number of calls of one class.
const MAX_CALLS: usize = 4096;

/// Reads the classes of a file. `path` is its place below `code/`, such as `__torch__/torch/nn/modules/conv.py`.
pub fn read(path: &str, text: &str, classes: &mut HashMap<String, Module>) {
    let package = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
    let starts: Vec<usize> =
        text.match_indices("class ").map(|(at, _)| at).filter(|at| is_line_start(text, *at)).collect();
    for (number, &start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(text.len());
        let Some(body) = text.get(start..end) else { continue };
        let Some(name) = body.strip_prefix("class ").and_then(|rest| rest.split(['(', ':']).next()) else { continue };
        classes.insert(format!("{package}.{}", name.trim()), class(body));
    }
}

fn is_line_start(text: &str, at: usize) -> bool {
    at == 0 || text.as_bytes().get(at - 1) == Some(&b'\n')
}

fn class(body: &str) -> Module {
    let mut module = Module::default();
    for line in body.lines() {
        let Some((name, value)) =
            line.trim().split_once(" : Final[").and_then(|(name, rest)| Some((name, rest.split_once("] = ")?.1)))
        else {
            continue;
        };
        match name {
            "stride" => module.stride = pair(value),
            "padding" => module.padding = if value == "\"valid\"" { Some([0; 2]) } else { pair(value) },
            "dilation" => module.dilation = pair(value),
            "eps" => module.epsilon = value.parse().ok(),
            "padding_mode" => module.padding_mode = Some(value.trim_matches('"').to_owned()),
            _ => {}
        }
    }
    module.calls = calls(body);
    module.calls.extend(aliased_calls(body));
    for call in &module.calls {
        let argument = |at: usize| call.arguments.get(at).map(String::as_str).unwrap_or_default();
        match call.function.as_str() {
            "_convolution" | "conv2d" => {
                // Trailing arguments with their default value are omitted.
                module.stride = module.stride.or(pair(argument(3))).or(Some([1; 2]));
                module.padding = module.padding.or(pair(argument(4))).or(Some([0; 2]));
                module.dilation = module.dilation.or(pair(argument(5))).or(Some([1; 2]));
            }
            "batch_norm" => module.epsilon = module.epsilon.or(argument(7).parse().ok()),
            _ => {}
        }
    }
    module
}

/// Returns all calls of functions of `torch` in the text, including nested calls.
fn calls(text: &str) -> Vec<Call> {
    const PREFIX: &str = "torch.";
    let mut calls = Vec::new();
    for (at, _) in text.match_indices(PREFIX) {
        let before = text.as_bytes().get(at.wrapping_sub(1)).copied().unwrap_or(b' ');
        let rest = text.get(at + PREFIX.len()..).unwrap_or_default();
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        if before == b'.' || before == b'_' || before.is_ascii_alphanumeric() || length == 0 {
            continue;
        }
        let (function, rest) = rest.split_at(length);
        if let Some(arguments) = rest.strip_prefix('(').map(arguments) {
            calls.push(Call { function: function.to_owned(), arguments });
        }
        if calls.len() == MAX_CALLS {
            break;
        }
    }
    calls
}

/// Returns the calls of functions that a module refers to by an alias: `_0 = __torch__.torch.nn.functional.relu`. Functions of
/// other packages have their qualified name.
fn aliased_calls(text: &str) -> Vec<Call> {
    let aliases = text.lines().filter_map(|line| line.trim().split_once(" = __torch__."));
    // Skips attribute types, `__annotations__["0"]`.
    let aliases = aliases.filter(|(alias, _)| alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    let calls = aliases.take(MAX_CALLS).map(|(alias, name)| {
        let function = name.strip_prefix("torch.nn.functional.").unwrap_or(name).to_owned();
        let is_call = |at: &usize| {
            let before = text.as_bytes().get(at.wrapping_sub(1)).copied().unwrap_or(b' ');
            !(before == b'.' || before == b'_' || before.is_ascii_alphanumeric())
        };
        let opening = format!("{alias}(");
        let at = text.match_indices(&opening).map(|(at, _)| at).find(is_call);
        let rest = at.and_then(|at| text.get(at + opening.len()..));
        Call { function, arguments: rest.map(arguments).unwrap_or_default() }
    });
    calls.collect()
}

/// Splits an argument list at its top-level commas, up to the closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
    /// Longest argument that is kept; literals are short.
    const LONGEST: usize = 64;
    let mut arguments = vec![String::new()];
    let (mut depth, mut quoted) = (0usize, false);
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ')' if !quoted && depth == 0 => break,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
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

    #[test]
    fn a_traced_convolution_has_arguments() {
        let (name, module) = only(
            "class Conv2d(Module):\n  weight : Tensor\n  def forward(self: X,\n    input: Tensor) -> Tensor:\n    \
             y = torch._convolution(torch.relu(input), weight, None, [2, 1], [0, 1], [3, 3], False, [0, 0], 16, False)\n",
        );
        assert_eq!(name, "__torch__.torch.nn.modules.conv.___torch_mangle_1.Conv2d");
        assert_eq!((module.stride, module.padding, module.dilation), (Some([2, 1]), Some([0, 1]), Some([3, 3])));
        let functions: Vec<_> = module.calls.iter().map(|call| &*call.function).collect();
        assert_eq!(functions, ["_convolution", "relu"]);
        assert_eq!(module.calls[0].arguments[0], "torch.relu(input)");
    }

    #[test]
    fn a_scripted_module_has_constants() {
        let (_, module) = only(
            "class Norm(Module):\n  eps : Final[float] = 0.001\n  stride : Final[Tuple[int, int]] = (2, 2)\n  \
             padding_mode : Final[str] = \"zeros\"\n  def forward(self) -> Tensor:\n    \
             _0 = __torch__.torch.nn.functional.batch_norm\n    return torch.conv2d(x, w)\n",
        );
        assert_eq!((module.epsilon, module.stride), (Some(1e-3), Some([2, 2])));
        assert_eq!((module.padding, module.padding_mode.as_deref()), (Some([0; 2]), Some("zeros")));
        let functions: Vec<_> = module.calls.iter().map(|call| &*call.function).collect();
        assert_eq!(functions, ["conv2d", "batch_norm"]);
    }

    #[test]
    fn resolves_aliased_functions() {
        let (_, module) = only(
            "class Net(Module):\n  def forward(self) -> Tensor:\n    _0 = __torch__.torch.nn.functional.hardtanh\n    \
             _1 = __torch__.mine.helper\n    return _10(_0(x, 0., 6., True, ), _1(y, ))\n",
        );
        let call = |at: usize| (&*module.calls[at].function, module.calls[at].arguments.join("|"));
        assert_eq!(call(0), ("hardtanh", "x|0.|6.|True|".to_owned()));
        assert_eq!(call(1), ("mine.helper", "y|".to_owned()));
    }

    #[test]
    fn arguments_end_at_their_parenthesis() {
        assert_eq!(arguments("a, [1, 2], f(x, y), \"a, b)\")) + c"), ["a", "[1, 2]", "f(x, y)", "\"a, b)\""]);
        assert_eq!(arguments("unfinished, [1"), ["unfinished", "[1"]);
        for text in ["", ")", "((((", "\"", "]]]"] {
            arguments(text);
        }
    }
}

//! The code of a TorchScript archive by qualified name. A function is parsed when it is called.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::parser::{Function, function};
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Longest function in bytes. That of a frozen MobileNetV2 has 20 kB.
const MAX_FUNCTION: usize = 1 << 20;

/// Functions and methods by qualified name, such as `__torch__.torch.nn.functional.relu6` or `__torch__.Net.forward`.
#[derive(Debug, Default)]
pub struct Program {
    texts: HashMap<String, String>,
    parsed: RefCell<HashMap<String, Rc<Function>>>,
    /// Classes with hooks, which run without being called in the code.
    hooked: HashSet<String>,
}

impl Program {
    /// Adds a file. `path` is its place below `code/`, such as `__torch__/torch/nn/modules/conv.py`.
    pub fn add(&mut self, path: &str, text: &str) {
        let package = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
        let mut class: Option<String> = None;
        let mut open: Option<(usize, String, String)> = None;
        for line in text.split('\n') {
            let code = line.trim_start_matches(' ');
            let indent = line.len() - code.len();
            if code.is_empty() {
                continue;
            }
            if let Some((outer, _, body)) = &mut open
                && indent > *outer
            {
                body.push_str(line);
                body.push('\n');
                continue;
            }
            self.close(open.take());
            let name = |rest: &str| rest.split(['(', ':']).next().unwrap_or_default().trim().to_owned();
            if indent == 0 {
                class = code.strip_prefix("class ").map(|rest| format!("{package}.{}", name(rest)));
            }
            if let Some(rest) = code.strip_prefix("def ") {
                let owner = class.as_deref().unwrap_or(&package);
                open = Some((indent, format!("{owner}.{}", name(rest)), format!("{line}\n")));
            } else if let Some(class) = &class
                && ["__forward_hooks__", "__forward_pre_hooks__"].iter().any(|hooks| code.starts_with(hooks))
                && !code.ends_with("= []")
            {
                self.hooked.insert(class.clone());
            }
        }
        self.close(open);
    }

    fn close(&mut self, function: Option<(usize, String, String)>) {
        if let Some((_, name, text)) = function {
            self.texts.insert(name, text);
        }
    }

    /// Whether functions are registered to run before or after the methods of a class.
    pub fn has_hooks(&self, class: &str) -> bool {
        self.hooked.contains(class)
    }

    /// Returns the function with this name, if the archive has its code.
    pub fn get(&self, name: &str) -> Result<Option<Rc<Function>>> {
        if let Some(known) = self.parsed.borrow().get(name) {
            return Ok(Some(Rc::clone(known)));
        }
        let Some(text) = self.texts.get(name) else { return Ok(None) };
        if text.len() > MAX_FUNCTION {
            return Err(ImportError::unsupported(format!("the function '{}' is too long", shorten(name)))
                .expected(format!("at most {MAX_FUNCTION} bytes"))
                .found(format!("{} bytes", text.len())));
        }
        let parsed = Rc::new(function(text).map_err(|error| error.at(format!("function '{}'", shorten(name))))?);
        self.parsed.borrow_mut().insert(name.to_owned(), Rc::clone(&parsed));
        Ok(Some(parsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_qualified_name() {
        let mut program = Program::default();
        let text = "class Net(Module):\n  __parameters__ = []\n  __forward_hooks__ = [\"h\", ]\n  x : Final[int] = 1\n  \
                    def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n    if x:\n      y = 1\n    else:\n      pass\n    \
                    return y\n  def other(self) -> int:\n    return 6\ndef free(x: Dict[str, int]=None) -> None:\n  return None\n";
        program.add("__torch__/a/b.py", text);
        let forward = program.get("__torch__.a.b.Net.forward").unwrap().unwrap();
        assert_eq!((forward.parameters.len(), forward.body.len()), (2, 2));
        assert!(program.get("__torch__.a.b.Net.other").unwrap().is_some());
        assert_eq!(program.get("__torch__.a.b.free").unwrap().unwrap().parameters.len(), 1);
        assert!(program.get("__torch__.a.b.Other.forward").unwrap().is_none());
        assert!(program.has_hooks("__torch__.a.b.Net") && !program.has_hooks("__torch__.a.b.free"));
    }

    #[test]
    fn hostile_code_is_an_error() {
        let mut program = Program::default();
        let deep = format!("def deep(x):\n  return {}", "f(".repeat(100_000));
        let long = format!("def long(x):\n  return x{}", ".a".repeat(100_000));
        let blocks: String = (0..1000).map(|at| format!("{}if x:\n", " ".repeat(at + 2))).collect();
        for text in [
            deep,
            long,
            format!("def blocks(x):\n{blocks}"),
            "def open(".into(),
            "def none".into(),
            "def a(x) -> T:\n  x + y".into(),
        ] {
            program.add("a.py", &text);
        }
        for name in ["deep", "long", "blocks", "open", "none", "a"] {
            assert!(program.get(&format!("a.{name}")).is_err(), "{name}");
        }
    }
}

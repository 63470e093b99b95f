//! Arguments of functions in TorchScript code.

use super::signatures;
use super::value::Value;
use crate::text::shorten;

/// A call of a function or a method.
pub struct Arguments<'a> {
    /// Name of the method, or qualified name of the function; without the package, such as `conv2d`, for one of PyTorch.
    pub name: String,
    pub values: Vec<Value<'a>>,
    pub named: Vec<(String, Value<'a>)>,
}

impl<'a> Arguments<'a> {
    /// Whether a named argument is a tensor that the function writes to. It reads none of the image by name.
    pub fn has_output(&self) -> bool {
        self.named.iter().any(|(name, value)| {
            matches!(name.as_str(), "out" | "values" | "indices") && value.is_tensor() || value.depends_on_image()
        })
    }

    /// Returns an argument that a function of PyTorch does not have, or has twice.
    pub fn unexpected(&self) -> Option<String> {
        let named = |name: &String| format!("argument `{}`", shorten(name));
        let Some(known) = signatures::parameters(&self.name) else {
            return self.named.first().map(|(name, _)| named(name));
        };
        if self.values.len() > known.len() {
            return Some(format!("argument {}", known.len() + 1));
        }
        let is_conversion = self.name == "to";
        let taken = if is_conversion { &[] } else { known.get(..self.values.len()).unwrap_or_default() };
        let mut names = self.named.iter().map(|(name, _)| name).enumerate();
        let is_repeated = |at: usize, name: &String| self.named.iter().take(at).any(|(other, _)| other == name);
        let found = names.find(|(at, name)| {
            !known.contains(&name.as_str()) || taken.contains(&name.as_str()) || is_repeated(*at, name)
        });
        found.map(|(_, name)| named(name))
    }

    /// Whether an argument beside the first one is `None`.
    pub fn compares_with_none(&self) -> bool {
        matches!(self.values.as_slice(), [_, Value::None])
    }

    /// Returns an argument by its place or its name; `None` if it is absent or has the value `None`.
    pub fn get(&self, at: usize, name: &str) -> Option<&Value<'a>> {
        let named = || self.named.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        self.values.get(at).or_else(named).filter(|value| !matches!(value, Value::None))
    }

    pub fn int(&self, at: usize, name: &str, default: i64) -> Option<i64> {
        match self.get(at, name) {
            None => Some(default),
            Some(Value::Int(value)) => Some(*value),
            Some(_) => None,
        }
    }

    pub fn bool(&self, at: usize, name: &str, default: bool) -> Option<bool> {
        match self.get(at, name) {
            None => Some(default),
            Some(Value::Bool(value)) => Some(*value),
            Some(_) => None,
        }
    }

    /// Returns a list of integers; empty if it is absent.
    pub fn ints(&self, at: usize, name: &str) -> Option<Vec<i64>> {
        let int = |value: &Value<'a>| if let Value::Int(value) = value { Some(*value) } else { None };
        match self.get(at, name) {
            None => Some(Vec::new()),
            Some(Value::Int(value)) => Some(vec![*value]),
            Some(value) => value.elements()?.iter().map(int).collect(),
        }
    }

    /// Returns vertical and horizontal sizes.
    pub fn pair(&self, at: usize, name: &str, default: usize) -> Option<[usize; 2]> {
        let sizes: Option<Vec<usize>> =
            self.ints(at, name)?.into_iter().map(|size| usize::try_from(size).ok()).collect();
        match *sizes?.as_slice() {
            [] => Some([default; 2]),
            [size] => Some([size; 2]),
            [vertical, horizontal] => Some([vertical, horizontal]),
            _ => None,
        }
    }

    /// Returns the call as in the code, shortened.
    pub fn text(&self) -> String {
        let named = self.named.iter().map(|(name, value)| format!("{name}={}", value.text()));
        let values: Vec<_> = self.values.iter().map(Value::text).chain(named).collect();
        shorten(&format!("torch.{}({})", self.name, values.join(", ")))
    }
}

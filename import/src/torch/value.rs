//! Values of a pickle, in one arena so that shared and cyclic values are safe.

use std::borrow::Cow;

/// Index of a value.
pub type Ref = usize;

/// A value of a pickle. Nothing is executed: an object records a call.
#[derive(Debug)]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 8 bytes.
    Long,
    Float(f64),
    Text(Cow<'a, str>),
    Bytes,
    Tuple(Vec<Ref>),
    /// A list or a set.
    List(Vec<Ref>),
    Dict(Vec<[Ref; 2]>),
    /// The name of a class or function.
    Global(Box<Global<'a>>),
    Object(Box<Object>),
    /// Reference to data outside the pickle.
    Persistent(Ref),
}

/// `module.name`.
#[derive(Debug)]
pub struct Global<'a> {
    pub module: Cow<'a, str>,
    pub name: Cow<'a, str>,
}

/// A recorded call `callable(*arguments)`, and what was added to its result.
#[derive(Debug)]
pub struct Object {
    pub callable: Ref,
    pub arguments: Ref,
    /// Attributes: a dictionary, or a tuple of that and one of slots.
    pub state: Option<Ref>,
    pub entries: Vec<[Ref; 2]>,
    pub elements: Vec<Ref>,
}

/// All values of a pickle and the index of its result.
#[derive(Debug)]
pub struct Pickled<'a> {
    pub values: Vec<Value<'a>>,
    pub root: Ref,
}

impl<'a> Pickled<'a> {
    pub fn get(&self, at: Ref) -> &Value<'a> {
        self.values.get(at).unwrap_or(&Value::None)
    }

    pub fn text(&self, at: Ref) -> Option<&str> {
        match self.get(at) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, at: Ref) -> Option<i64> {
        match self.get(at) {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns a size, an offset or a count.
    pub fn size(&self, at: Ref) -> Option<usize> {
        self.int(at).and_then(|value| usize::try_from(value).ok())
    }

    /// Returns the elements of a tuple or list.
    pub fn elements(&self, at: Ref) -> Option<&[Ref]> {
        match self.get(at) {
            Value::Tuple(elements) | Value::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns a tuple or list of sizes.
    pub fn sizes(&self, at: Ref) -> Option<Vec<usize>> {
        self.elements(at)?.iter().map(|&size| self.size(size)).collect()
    }

    pub fn object(&self, at: Ref) -> Option<&Object> {
        match self.get(at) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns module and name of a class or function.
    pub fn global(&self, at: Ref) -> Option<(&str, &str)> {
        match self.get(at) {
            Value::Global(global) => Some((&global.module, &global.name)),
            _ => None,
        }
    }

    /// Returns the entries of a dictionary, or of an object such as an `OrderedDict`.
    pub fn entries(&self, at: Ref) -> &[[Ref; 2]] {
        match self.get(at) {
            Value::Dict(entries) => entries,
            Value::Object(object) => &object.entries,
            _ => &[],
        }
    }
}

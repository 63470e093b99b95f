//! Modules and tensors of a TorchScript archive: the pickle `data.pkl` and the constants `constants.pkl`.

use std::collections::HashMap;
use std::rc::Rc;

use super::value::{List, Module, Value};
use crate::error::{ImportError, Result};
use crate::source::Constant;
use crate::text::shorten;
use crate::torch::tensor::{Storages, rebuild};
use crate::torch::value::{Pickled, Ref, Value as Stored};

/// Greatest depth of lists in lists.
const MAX_DEPTH: usize = 4;
/// Longest path of a module.
const LONGEST_PATH: usize = 1024;

/// A pickle and the storages of its tensors.
pub struct Objects<'p, 'a> {
    pub pickled: &'p Pickled<'a>,
    pub storages: Storages<'p, 'a>,
    /// Attributes of modules by name.
    attributes: HashMap<Ref, HashMap<&'p str, Ref>>,
    /// Tensors that the code has read.
    pub read: HashMap<Ref, Rc<Constant<'a>>>,
}

impl<'p, 'a> Objects<'p, 'a> {
    pub fn new(pickled: &'p Pickled<'a>, storages: Storages<'p, 'a>) -> Self {
        Self { pickled, storages, attributes: HashMap::new(), read: HashMap::new() }
    }

    /// Returns the qualified name of the class of an object.
    pub fn class(&self, at: Ref) -> Option<String> {
        let (package, name) = self.pickled.global(self.pickled.object(at)?.callable)?;
        package.starts_with("__torch__").then(|| format!("{package}.{name}"))
    }

    /// Returns an attribute of a module.
    pub fn attribute(&mut self, module: &Module, name: &str, budget: &mut usize) -> Result<Option<Value<'a>>> {
        let Some(state) = self.pickled.object(module.at).and_then(|object| object.state) else { return Ok(None) };
        let pickled = self.pickled;
        let attributes = self.attributes.entry(state).or_insert_with(|| {
            pickled.entries(state).iter().filter_map(|[key, at]| Some((pickled.text(*key)?, *at))).collect()
        });
        let Some(&at) = attributes.get(name) else { return Ok(None) };
        let path = if module.path.is_empty() { name.to_owned() } else { format!("{}.{name}", module.path) };
        self.value(at, &path, 0, budget).map(Some).map_err(|error| error.at(format!("tensor '{}'", shorten(&path))))
    }

    /// Returns the element of the constants with this number.
    pub fn constant(&mut self, number: usize, budget: &mut usize) -> Result<Option<Value<'a>>> {
        let at = self.pickled.elements(self.pickled.root).and_then(|constants| constants.get(number)).copied();
        let name = format!("CONSTANTS.c{number}");
        at.map(|at| self.value(at, &name, 0, budget)).transpose().map_err(|error| error.at(format!("tensor '{name}'")))
    }

    fn value(&mut self, at: Ref, path: &str, depth: usize, budget: &mut usize) -> Result<Value<'a>> {
        let unsupported = || ImportError::unsupported("the code reads an attribute of an unsupported type");
        if let Some(known) = self.read.get(&at) {
            return Ok(Value::Constant(Rc::clone(known)));
        }
        if let Some(tensor) = rebuild(self.pickled, at, self.storages) {
            let constant = Rc::new(tensor?.constant(budget)?);
            self.read.insert(at, Rc::clone(&constant));
            return Ok(Value::Constant(constant));
        }
        let list = |objects: &mut Self, elements: &[Ref], budget: &mut usize| -> Result<List<'a>> {
            if depth == MAX_DEPTH {
                return Err(unsupported());
            }
            spend(budget, elements.len())?;
            let elements =
                elements.iter().map(|&at| objects.value(at, path, depth + 1, budget)).collect::<Result<_>>()?;
            List::new(elements).ok_or_else(unsupported)
        };
        let pickled = self.pickled;
        Ok(match pickled.get(at) {
            Stored::None => Value::None,
            Stored::Bool(value) => Value::Bool(*value),
            Stored::Int(value) => Value::Int(*value),
            Stored::Float(value) => Value::Float(*value),
            Stored::Text(text) => {
                spend(budget, text.len())?;
                Value::Text((&**text).into())
            }
            Stored::List(elements) => Value::List(list(self, elements, budget)?),
            Stored::Tuple(elements) => Value::Tuple(list(self, elements, budget)?),
            Stored::Object(object) => match pickled.global(object.callable) {
                Some((package, _)) if package.starts_with("__torch__") && path.len() <= LONGEST_PATH => {
                    Value::Module(Module { at, path: path.into() })
                }
                // A list of a known type: `build_intlist([2, 2])`.
                Some(("torch.jit._pickle", name)) if name.starts_with("build_") => {
                    let argument = pickled.elements(object.arguments).and_then(|arguments| arguments.first());
                    let elements = argument.and_then(|&at| pickled.elements(at)).ok_or_else(unsupported)?;
                    Value::List(list(self, elements, budget)?)
                }
                _ => return Err(unsupported()),
            },
            _ => return Err(unsupported()),
        })
    }
}

/// Counts copies of elements and texts against the budget.
fn spend(budget: &mut usize, count: usize) -> Result<()> {
    let left = budget.checked_sub(count);
    *budget = left.ok_or_else(|| ImportError::unsupported("the code reads too many or too long attributes"))?;
    Ok(())
}

//! The weights of a layers model, whose names are `LAYER/WEIGHT`, with the scopes of nested networks before them if these
//! were built within the outer network.

use std::rc::Rc;

use super::manifest::Tensors;
use crate::error::Result;
use crate::keras::{Key, Layer, Path, Scope, Variables, Weights, of_layer};
use crate::source::Constant;

/// The tensors by path.
pub struct Named<'a> {
    tensors: &'a Tensors,
    paths: Rc<Vec<Path>>,
}

impl<'a> Named<'a> {
    pub fn new(tensors: &'a Tensors) -> Self {
        let path = |(name, key): (&str, Key)| {
            let (scope, name) = name.rsplit_once('/').unwrap_or(("", name));
            Path { scope: scope.to_owned(), name: name.to_owned(), key }
        };
        Self { tensors, paths: Rc::new(tensors.names().map(path).collect()) }
    }
}

impl<'a> Weights<'a> for Named<'a> {
    fn root(&self, _: &[Layer<'a>]) -> Result<Scope<'a>> {
        Ok(Scope::Paths(self.paths.clone()))
    }

    fn nested(&self, _: &Scope<'a>, _: &Layer<'a>, _: &[Layer<'a>]) -> Result<Scope<'a>> {
        Ok(Scope::Paths(self.paths.clone()))
    }

    fn variables(&self, _: &Scope<'a>, name: &str) -> Result<Variables> {
        of_layer(&self.paths, Some(name))
    }

    fn constant(&self, key: Key) -> Result<Constant<'a>> {
        self.tensors.constant(key)
    }

    fn charge(&self, bytes: usize) -> Result<()> {
        self.tensors.charge(bytes)
    }
}

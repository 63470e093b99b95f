//! The graph that the execution of TorchScript code records.
//!
//! A tensor is a view of a cell of memory. Operations in place (`torch.relu_`) change the cell, and thereby all of its
//! views, so that each node reads the value that its operand has at this point of the execution.

use super::arguments::Arguments;
use super::value::{Extent, Module, Tensor, Value};
use crate::error::{ImportError, Result};
use crate::source::{self, MAX_NODES, Node, Op, Place};
use crate::text::shorten;

/// Memory that tensors are views of.
struct Cell {
    /// `None` if it is uncertain.
    value: Option<source::Value>,
    /// Number of operations in place.
    changes: usize,
}

/// The nodes so far, and the state of the memory.
pub struct Recorder<'a> {
    pub nodes: Vec<Node<'a>>,
    cells: Vec<Cell>,
    extents: u32,
    /// Whether an average over windows was read. It covers the image, so that there is no other average.
    pub has_windows: bool,
    /// The module whose code is executed.
    pub module: Module,
    /// Remaining elements of constants to copy or compute.
    pub budget: usize,
}

impl<'a> Recorder<'a> {
    pub fn new(module: Module, budget: usize) -> Self {
        Self { nodes: Vec::new(), cells: Vec::new(), extents: 0, has_windows: false, module, budget }
    }

    /// Returns an error at the current module.
    pub fn refuse(&self, problem: impl Into<String>) -> Box<ImportError> {
        let place = match &*self.module.path {
            "" => "the root module".to_owned(),
            path => format!("module '{}'", shorten(path)),
        };
        ImportError::unsupported(problem.into()).at(place)
    }

    /// Returns an error for a call that has no equivalent.
    pub fn unsupported(&self, call: &Arguments<'a>) -> Box<ImportError> {
        let error = self.refuse("the code calls a function that is not part of MobileNetV2").found(call.text());
        if call.values.iter().any(Value::is_unknown) {
            return error
                .expected("numbers that do not depend on the size of the image")
                .help(crate::state_dict::EXPORT);
        }
        error
            .expected("convolutions with ReLU or ReLU6, additions, an average over the image, dense layers")
            .help("if it has no effect, remove it and save the model again")
    }

    /// Returns a new extent of an image.
    pub fn extent(&mut self) -> Extent {
        self.extents += 1;
        Extent::Image(self.extents)
    }

    /// Returns a tensor in a new cell with this value.
    pub fn view(&mut self, value: source::Value, shape: Vec<Extent>) -> Tensor {
        self.cells.push(Cell { value: Some(value), changes: 0 });
        Tensor { cell: self.cells.len() - 1, shape: shape.into(), averaged: None, may_be_copy: None }
    }

    /// Returns a tensor that is a view of the same cell, or a copy of its current value.
    pub fn maybe_copy(&self, tensor: Tensor) -> Tensor {
        let changes = self.cells.get(tensor.cell).map_or(0, |cell| cell.changes);
        Tensor { may_be_copy: tensor.may_be_copy.or(Some(changes)), ..tensor }
    }

    /// Returns the current value of a tensor.
    ///
    /// # Errors
    /// If a tensor that may be a copy of it, or that it may be a copy of, was changed in place.
    pub fn current(&self, tensor: &Tensor) -> Result<source::Value> {
        let is_unchanged = |cell: &&Cell| tensor.may_be_copy.is_none_or(|before| before == cell.changes);
        self.cells.get(tensor.cell).filter(is_unchanged).and_then(|cell| cell.value).ok_or_else(|| {
            self.refuse("the code reads a tensor that an in-place operation on a possible alias may have changed")
                .help("remove `inplace=True`, or `contiguous()`, and save the model again")
        })
    }

    /// Adds a node that reads `inputs`. Its result is a new tensor, or replaces the first input if the function is in place.
    pub fn node(
        &mut self,
        call: &Arguments<'a>,
        op: Op<'a>,
        inputs: &[&Tensor],
        shape: Vec<Extent>,
    ) -> Result<Value<'a>> {
        if self.nodes.len() == MAX_NODES {
            return Err(self.refuse(format!("the network has more than {MAX_NODES} operations")));
        }
        let inputs_now: Vec<_> = inputs.iter().map(|tensor| self.current(tensor)).collect::<Result<_>>()?;
        let output = self.nodes.len() + 1;
        let place =
            Place { name: self.module.path.to_string().into(), operator: format!("torch.{}", call.name).into() };
        self.nodes.push(Node { place, op, inputs: inputs_now, output });
        if call.name.ends_with('_')
            && let Some(first) = inputs.first()
        {
            if let Some(cell) = self.cells.get_mut(first.cell) {
                cell.value = first.may_be_copy.is_none().then_some(output);
                cell.changes += 1;
            }
            if first.may_be_copy.is_none() {
                return Ok(Value::Tensor((*first).clone()));
            }
        }
        Ok(Value::Tensor(self.view(output, shape)))
    }

    /// Returns a copy of a tensor in a new cell, with the same elements.
    pub fn copy(&mut self, tensor: &Tensor, shape: &[Extent]) -> Result<Tensor> {
        let value = self.current(tensor)?;
        Ok(self.view(value, shape.to_vec()))
    }

    /// Counts elements of constants against the budget.
    pub fn spend_elements(&mut self, count: usize) -> Result<()> {
        let left = self.budget.checked_sub(count);
        self.budget = left.ok_or_else(|| self.refuse("the code computes too many constants"))?;
        Ok(())
    }
}

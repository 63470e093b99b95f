//! Translation of operators that change shapes.

use std::rc::Rc;

use super::axes::Reshape;
use super::layers::axes_of;
use super::proto;
use super::scope::{Axes, Scope, Slot};
use super::tensor::Attributes;
use crate::error::{ImportError, Result};
use crate::source::{Constant, Op, Values};

/// Translates Flatten, Reshape, Squeeze and Unsqueeze.
pub fn reshape<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, axes, numbers) = scope.moved(node)?;
    let of_node = match node.op_type.as_str() {
        "Flatten" => Some(Reshape::Flatten { axis: attributes.int("axis", 1) }),
        "Reshape" => match scope.slot(node, 1)? {
            Some(Slot::Computed) => None,
            _ => {
                let allows_zero = attributes.int("allowzero", 0) != 0;
                Some(Reshape::To { target: axes_of(&*scope.required(node, 1)?)?, allows_zero })
            }
        },
        "Squeeze" => Some(Reshape::Squeeze { axes: listed(scope, node, attributes)? }),
        _ => {
            let missing = || ImportError::malformed("axes are missing");
            Some(Reshape::Unsqueeze { axes: listed(scope, node, attributes)?.ok_or_else(missing)? })
        }
    };
    let axes = match of_node {
        Some(of_node) => axes.reshaped(&of_node, scope.images)?,
        None => Axes::Unknown,
    };
    let flat = scope.push(node, Op::Flatten, vec![value]);
    scope.quants.inherit(flat, value);
    scope.name(node, numbers.of(flat, axes))
}

/// Returns the axes of Squeeze or Unsqueeze: an attribute before opset 13, an input since.
fn listed<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<Option<Vec<i64>>> {
    match attributes.ints("axes") {
        Some(axes) => Ok(Some(axes.to_vec())),
        None => scope.constant(node, 1)?.map(|axes| axes_of(&axes)).transpose(),
    }
}

/// Translates Transpose.
pub fn transpose<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, axes, numbers) = scope.moved(node)?;
    match attributes.ints("perm").and_then(|order| axes.permuted(order)) {
        Some(permuted) => scope.name(node, numbers.of(value, permuted)),
        None => scope.other(node, Op::Other),
    }
}

/// Translates Shape, whose result is a constant for a vector.
pub fn shape<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (_, axes, _) = scope.moved(node)?;
    let is_whole = attributes.get("start").is_none() && attributes.get("end").is_none();
    let slot = match axes.sizes(scope.images).filter(|_| is_whole) {
        Some(sizes) => {
            let sizes: Vec<i64> = sizes.iter().filter_map(|&size| i64::try_from(size).ok()).collect();
            Slot::Constant(Rc::new(Constant::new(vec![sizes.len()], Values::I64(sizes.into()))?))
        }
        None => Slot::Computed,
    };
    scope.name(node, slot)
}

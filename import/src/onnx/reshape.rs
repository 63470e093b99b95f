//! Translation of operators that change shapes.

use std::rc::Rc;

use super::axes::Reshape;
use super::layers::axes_of;
use super::proto;
use super::scope::{Axes, Scope, Slot};
use super::tensor::{Attributes, axis_of};
use crate::error::{ImportError, Result};
use crate::source::{Constant, MAX_RANK, Op, Values};

/// Translates Flatten, Reshape, Squeeze and Unsqueeze.
pub fn reshape<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, axes, numbers) = scope.moved(node)?;
    let of_node = match node.op_type.as_str() {
        "Flatten" => Some(Reshape::Flatten { axis: attributes.int("axis", 1) }),
        "Reshape" => match scope.slot(node, 1)? {
            Some(Slot::Sizes(_) | Slot::Computed) => None,
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
    scope.name_alias(node, numbers.of(flat, axes))
}

/// Returns the axes of Squeeze or Unsqueeze: an attribute before opset 13, an input since.
fn listed<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<Option<Vec<i64>>> {
    match attributes.ints("axes") {
        Some(axes) if axes.len() > MAX_RANK => {
            Err(ImportError::unsupported(format!("{} axes", axes.len())).expected(format!("at most {MAX_RANK}")))
        }
        Some(axes) => Ok(Some(axes.to_vec())),
        None => scope.constant(node, 1)?.map(|axes| axes_of(&axes)).transpose(),
    }
}

/// Translates Transpose.
pub fn transpose<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, axes, numbers) = scope.moved(node)?;
    match attributes.ints("perm").and_then(|order| axes.permuted(order)) {
        Some(permuted) => scope.name_alias(node, numbers.of(value, permuted)),
        None => scope.other(node, Op::Other),
    }
}

/// Translates Shape. Its result is a constant if all sizes are known.
pub fn shape<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (_, axes, _) = scope.moved(node)?;
    let Some(sizes) = axes.sizes(scope.images) else { return scope.name(node, Slot::Computed) };
    let rank = i64::try_from(sizes.len()).unwrap_or(0);
    let end_of = |name: &str, default: i64| {
        let at = attributes.int(name, default);
        usize::try_from(if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank)).unwrap_or(0)
    };
    let sizes = sizes.get(end_of("start", 0)..end_of("end", rank)).unwrap_or_default();
    let sizes: Vec<Option<i64>> = sizes.iter().map(|size| i64::try_from((*size)?).ok()).collect();
    let slot = known(&sizes)?.unwrap_or_else(|| Slot::Sizes(sizes.into()));
    scope.name(node, slot)
}

/// Translates Gather of sizes, of which those of rows and columns are unknown.
pub fn gathered<'a>(sizes: &[Option<i64>], indices: &Constant<'_>) -> Result<Slot<'a>> {
    let pick = |&index: &i64| sizes.get(axis_of(index, sizes.len())?).copied().flatten();
    let picked: Vec<Option<i64>> = axes_of(indices)?.iter().map(pick).collect();
    Ok(match (known(&picked)?, picked.as_slice()) {
        // A scalar index picks a scalar.
        (Some(_), &[Some(size)]) if indices.shape().is_empty() => {
            Slot::Constant(Rc::new(Constant::new(vec![], Values::I64(vec![size].into()))?))
        }
        (known, _) => known.unwrap_or(Slot::Computed),
    })
}

/// Returns the sizes as a constant if all are known.
fn known<'a>(sizes: &[Option<i64>]) -> Result<Option<Slot<'a>>> {
    let Some(sizes) = sizes.iter().copied().collect::<Option<Vec<i64>>>() else { return Ok(None) };
    Ok(Some(Slot::Constant(Rc::new(Constant::new(vec![sizes.len()], Values::I64(sizes.into()))?))))
}

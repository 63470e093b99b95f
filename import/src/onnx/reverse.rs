//! Reversals of the channels of an image: RGB to BGR, or back.

use super::evaluate::indices;
use super::proto;
use super::scope::{Axes, Scope};
use super::tensor::{Attributes, axis_of};
use crate::error::Result;

/// Axes of an image.
const AXES: usize = 4;
/// Channels of an image that are reversed.
const CHANNELS: usize = 3;

/// Whether a `Gather` of the channels `[2, 1, 0]`, or a `Slice` with step -1, reverses the channels of an image.
pub fn is_reversal<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<bool> {
    let channels = match scope.slot(node, 0)?.and_then(|slot| slot.activation()) {
        Some((_, Axes::Nchw(CHANNELS))) => 1,
        Some((_, Axes::Nhwc(CHANNELS))) => 3,
        _ => return Ok(false),
    };
    if node.op_type == "Gather" {
        let taken = numbers(scope, node, 1, CHANNELS)?;
        let reversed = taken.as_deref().is_some_and(|taken| matches!(taken, [2 | -1, 1 | -2, 0 | -3]));
        return Ok(reversed && axis_of(attributes.int("axis", 0), AXES) == Some(channels));
    }
    let mut parameters = [0; 4];
    for (number, at) in parameters.iter_mut().zip(1..) {
        match numbers(scope, node, at, 1)?.as_deref() {
            Some(&[found]) => *number = found,
            _ => return Ok(false),
        }
    }
    let [start, end, axis, step] = parameters;
    let reversed = indices(CHANNELS, start, end, step).is_some_and(|taken| taken == [2, 1, 0]);
    Ok(reversed && axis_of(axis, AXES) == Some(channels))
}

/// Returns the vector of `count` integers at input `at`; `None` if it is something else.
fn numbers<'a>(scope: &Scope<'a>, node: &'a proto::Node, at: usize, count: usize) -> Result<Option<Vec<i64>>> {
    let Some(constant) = scope.known(node, at)? else { return Ok(None) };
    let is_vector = constant.shape() == [count] && !constant.is_real();
    Ok(is_vector.then(|| constant.to_i64()))
}

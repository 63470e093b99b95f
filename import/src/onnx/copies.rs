//! Copies of a gray image along the channels, as a network for color images reads it.

use super::proto;
use super::scope::{Axes, Scope};
use super::tensor::{Attributes, axis_of};
use crate::error::Result;

/// Axes of an image.
const AXES: usize = 4;

/// Returns the number of copies of a `Concat`, `Tile` or `Expand`; `None` for one that does not only copy channels.
pub fn channels<'a>(scope: &Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<Option<usize>> {
    let activation = |at| -> Result<_> { Ok(scope.slot(node, at)?.and_then(|slot| slot.activation())) };
    let Some((value, axes)) = activation(0)? else { return Ok(None) };
    let [axis, rows, columns] = match axes {
        Axes::Nchw(1) => [1, 2, 3],
        Axes::Nhwc(1) => [3, 1, 2],
        _ => return Ok(None),
    };
    if node.op_type == "Concat" {
        let mut copies = axis_of(attributes.int("axis", 0), AXES) == Some(axis);
        for at in 1..node.input.len() {
            copies &= activation(at)?.is_some_and(|(other, _)| other == value);
        }
        return Ok(copies.then_some(node.input.len()));
    }
    let Some(sizes) = scope.known(node, 1)? else { return Ok(None) };
    if sizes.len() != AXES {
        return Ok(None);
    }
    let sizes: Vec<Option<usize>> = sizes.to_i64().into_iter().map(|size| usize::try_from(size).ok()).collect();
    let [height, width, _] = scope.image;
    let is_kept = |at: usize, image: Option<usize>| {
        // Expand may repeat the size of the image.
        sizes[at] == Some(1) || node.op_type == "Expand" && image.is_some() && sizes[at] == image
    };
    let is_copied = sizes[0] == Some(1) && is_kept(rows, height) && is_kept(columns, width);
    Ok(sizes[axis].filter(|_| is_copied))
}

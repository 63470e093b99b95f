//! Softmax and LogSoftmax, which must be over the classes.

use mbvc_runtime::HeadActivation;

use super::proto;
use super::scope::{Layout, Scope};
use super::tensor::Attributes;
use crate::error::{ImportError, Result};
use crate::source::Op;

/// Translates a softmax of floats.
pub fn read<'a>(
    scope: &mut Scope<'a>,
    node: &'a proto::Node,
    attributes: Attributes<'a>,
    activation: HeadActivation,
) -> Result<()> {
    let (_, layout) = scope.data(node, 0)?;
    check(attributes, layout, scope.opset < 13)?;
    scope.unary(node, Op::Scores(activation))
}

/// Checks that a softmax is over the classes. If `joined`, as before opset 13, all axes from `axis` on are normalized
/// together.
pub fn check(attributes: Attributes<'_>, layout: Layout, joined: bool) -> Result<()> {
    let axis = attributes.int("axis", if joined { 1 } else { -1 });
    let classes: &[i64] = match (layout, joined) {
        (Layout::Flat, _) => &[1, -1],
        (Layout::Nchw, _) => &[1, -3],
        (Layout::Nhwc, true) => &[1, 3, -1, -3],
        (Layout::Nhwc, false) => &[3, -1],
    };
    if !classes.contains(&axis) {
        return Err(ImportError::unsupported("the softmax is not over the classes")
            .expected(format!("axis {}", classes[0]))
            .found(format!("axis {axis}")));
    }
    Ok(())
}

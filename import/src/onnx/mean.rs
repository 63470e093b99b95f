//! Means over height and width.

use super::axes::AxisMean;
use super::layers::axes_of;
use super::proto;
use super::scope::{Axes, Scope, Slot};
use super::tensor::{Attributes, axis_of, display};
use crate::error::{ImportError, Result};
use crate::source::Op;

/// Translates a mean of floats over height and width, or over one of them.
pub fn reduce_mean<'a>(scope: &mut Scope<'a>, node: &'a proto::Node, attributes: Attributes<'a>) -> Result<()> {
    let (value, axes) = scope.data(node, 0)?;
    // That of an unknown operation is reported first.
    if scope.is_unknown(value) {
        return scope.other(node, Op::Other);
    }
    let over = match attributes.ints("axes") {
        Some(over) => over.to_vec(),
        None => scope.constant(node, 1)?.map_or(Ok(vec![]), |over| axes_of(&over))?,
    };
    let keeps_rank = attributes.int("keepdims", 1) != 0;
    if let Some(before) = scope.axis_means.get(&value).copied()
        && before.is_completed_by(&over, keeps_rank)
    {
        return scope.emit(node, Op::AxisMean, vec![value], before.pooled());
    }
    if let Some(first) = AxisMean::of(axes, &over, keeps_rank) {
        let mean = scope.push(node, Op::AxisMean, vec![value]);
        scope.axis_means.insert(mean, first);
        return scope.name(node, Slot::Data { value: mean, axes: Axes::Unknown });
    }
    let pooled = mean_over(axes, &over, keeps_rank)?;
    scope.emit(node, Op::Pool { window: None }, vec![value], pooled)
}

/// Checks that a mean is over height and width, and returns the axes of its result.
pub fn mean_over(axes: Axes, over: &[i64], keeps_rank: bool) -> Result<Axes> {
    let mut spatial: Vec<_> = over.iter().filter_map(|&axis| axis_of(axis, 4)).collect();
    spatial.sort_unstable();
    let expected = axes.spatial();
    if spatial != expected || over.len() != 2 {
        return Err(ImportError::unsupported("the mean is not over height and width")
            .expected(format!("axes {expected:?}"))
            .found(format!("axes {}", display(over))));
    }
    if !matches!(axes, Axes::Nchw(_) | Axes::Nhwc(_)) {
        return Err(ImportError::unsupported("the mean is not of an image"));
    }
    Ok(axes.pooled(keeps_rank))
}

//! Shapes of tensors in TorchScript code.

use super::arguments::Arguments;
use super::value::{Extent, Tensor, Value};
use crate::source::MAX_RANK;

/// Returns the shape after `flatten`, `view`, `reshape`, `squeeze`, `unsqueeze`, `select` or `slice`, which keep the order of the elements: a
/// vector with one number for each channel, whose other axes have size 1. `None` for others.
pub fn reshaped(x: &Tensor, function: &str, call: &Arguments<'_>) -> Option<Vec<Extent>> {
    let mut shape = x.shape.to_vec();
    let is_single = |extent: &Extent| matches!(extent, Extent::Batch | Extent::Known(1));
    match function {
        "flatten" => {
            if !x.is_vector() {
                return None;
            }
            let (start, end) = (x.axis(call.int(1, "start_dim", 0)?)?, x.axis(call.int(2, "end_dim", -1)?)?);
            let merged = shape.get(start..=end)?;
            let channels = merged.iter().find(|extent| !is_single(extent)).or(merged.last()).copied()?;
            let merged = if start == 0 && end == 0 { Extent::Batch } else { channels };
            shape.splice(start..=end, [merged]);
        }
        "view" | "reshape" => {
            let channels = x.channels().filter(|_| x.is_vector())?;
            let sizes = call.get(1, if function == "view" { "size" } else { "shape" })?.elements()?;
            shape = viewed(channels, sizes)?;
        }
        // The axis of a single channel is kept, so that the number stays a vector.
        "squeeze" => match call.get(1, "dim") {
            None if x.channels() == Some(1) => shape.truncate(x.channel_axis() + 1),
            None => shape.retain(|extent| !is_single(extent)),
            Some(_) => {
                let axis = x.axis(call.int(1, "dim", 0)?)?;
                match shape.get(axis)? {
                    _ if axis == x.channel_axis() => {}
                    Extent::Batch | Extent::Known(1) => drop(shape.remove(axis)),
                    Extent::Known(_) => {}
                    Extent::Image(_) => return None,
                }
            }
        },
        // `x[:, :, 0, 0]` of one pixel.
        "select" => {
            let axis = x.axis(call.int(1, "dim", 0)?)?;
            let is_first = matches!(call.int(2, "index", 0)?, 0 | -1);
            if !is_first || axis <= x.channel_axis() || shape.get(axis) != Some(&Extent::Known(1)) {
                return None;
            }
            shape.remove(axis);
        }
        // `x[:]`.
        "slice" => {
            let is_whole = call.int(2, "start", 0)? == 0 && call.int(3, "end", i64::MAX)? == i64::MAX;
            if !is_whole || call.int(4, "step", 1)? != 1 {
                return None;
            }
        }
        _ => {
            let axis = call.int(1, "dim", 0)?;
            let rank = shape.len() as i64;
            let axis = if axis < 0 { axis + rank + 1 } else { axis };
            let axis = usize::try_from(axis).ok().filter(|axis| *axis <= shape.len())?;
            let is_batch = axis == 0 && x.channel_axis() == 0;
            if !x.is_vector() || (axis <= x.channel_axis() && !is_batch) {
                return None;
            }
            shape.insert(axis, if is_batch { Extent::Batch } else { Extent::Known(1) });
        }
    }
    if shape.len() > MAX_RANK {
        return None;
    }
    let reshaped = Tensor { shape: shape.into(), ..x.clone() };
    let is_kept = reshaped.is_image() || reshaped.is_vector() && reshaped.channels() == x.channels();
    is_kept.then(|| reshaped.shape.to_vec())
}

/// Returns the shape of `channels` numbers of one image, for sizes of which one may be -1.
fn viewed(channels: usize, sizes: &[Value<'_>]) -> Option<Vec<Extent>> {
    let mut known = 1usize;
    let mut free = 0;
    for size in sizes {
        match size {
            Value::Extent(Extent::Batch) => {}
            Value::Int(-1) => free += 1,
            Value::Int(size) => known = known.checked_mul(usize::try_from(*size).ok()?)?,
            _ => return None,
        }
    }
    let rest = channels.checked_div(known).filter(|rest| rest * known == channels && (free == 1 || *rest == 1))?;
    if free > 1 {
        return None;
    }
    let size = |size: &Value<'_>| match size {
        Value::Extent(_) => Some(1),
        Value::Int(-1) => Some(rest),
        Value::Int(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    let mut shape: Vec<Extent> = sizes.iter().map(|value| size(value).map(Extent::Known)).collect::<Option<_>>()?;
    if shape.len() > 1 {
        let batch = shape.first_mut().filter(|batch| **batch == Extent::Known(1))?;
        *batch = Extent::Batch;
    }
    Some(shape)
}

/// Whether two tensors have the same shape, as far as it is known.
pub fn are_equal(one: &Tensor, other: &Tensor) -> bool {
    one.shape.len() == other.shape.len()
        && one.shape.iter().zip(other.shape.iter()).all(|pair| match pair {
            (Extent::Image(_), Extent::Image(_)) => true,
            (one, other) => one == other,
        })
}

/// Returns one number, or one number for each channel, of a constant that is broadcast to `x`.
pub fn per_channel(x: &Tensor, constant: &Value<'_>) -> Option<Vec<f64>> {
    let Value::Constant(constant) = constant else { return constant.number().map(|number| vec![number]) };
    let rank = constant.shape().len();
    let before = x.shape.len().checked_sub(rank)?;
    if constant.len() == 1 {
        return Some(constant.to_f64());
    }
    let fits = constant
        .shape()
        .iter()
        .enumerate()
        .all(|(axis, size)| *size == if before + axis == x.channel_axis() { x.channels().unwrap_or(0) } else { 1 });
    fits.then(|| constant.to_f64())
}

/// Whether `window` is height and width of `x`.
pub fn is_whole_image(x: &Tensor, window: Option<&Value<'_>>) -> bool {
    let is =
        |value: &Value<'_>, axis: usize| matches!(value, Value::Extent(extent) if x.shape.get(axis) == Some(extent));
    match window {
        Some(Value::Extent(_)) => false,
        Some(window) => matches!(window.elements(), Some([height, width]) if is(height, 2) && is(width, 3)),
        None => false,
    }
}

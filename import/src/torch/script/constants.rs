//! Functions on tensors that do not depend on the image: parametrizations of weights, and numbers for normalization.

use std::rc::Rc;

use super::arguments::Arguments;
use super::recorder::Recorder;
use super::value::{List, Value};
use crate::error::Result;
use crate::source::{Constant, DType, Values};
use crate::state_dict::weight_norm;
use crate::text::elements;

/// Integers below are exact as f64.
const LARGEST_INTEGER: f64 = (1u64 << 53) as f64;

type Folded<'a> = Option<Result<Constant<'a>>>;

/// Computes a function whose tensors are all constants; `None` if it is not supported.
pub fn call<'a>(recorder: &mut Recorder<'a>, call: &Arguments<'a>) -> Option<Result<Value<'a>>> {
    let first = match call.values.first()? {
        Value::Constant(constant) => Rc::clone(constant),
        value => scalar(value)?,
    };
    if call.name == "size" {
        let size = |size: &usize| Value::Int(*size as i64);
        return match call.int(1, "dim", i64::MAX)? {
            i64::MAX => List::new(first.shape().iter().map(size).collect()).map(|sizes| Ok(Value::List(sizes))),
            axis => first.shape().get(usize::try_from(axis).ok()?).map(|found| Ok(size(found))),
        };
    }
    // A counter of batches.
    if call.name == "add_" {
        return Some(Err(recorder
            .refuse("the code changes a tensor of the file, as in training mode")
            .help("call `model.eval()` before `torch.jit.trace` or `torch.jit.script`")));
    }
    let count = call.values.iter().filter_map(|value| match value {
        Value::Constant(constant) => Some(constant.len()),
        _ => None,
    });
    if let Err(error) = recorder.spend_elements(count.max().unwrap_or(0)) {
        return Some(Err(error));
    }
    let folded = match call.name.as_str() {
        "dim" => return Some(Ok(Value::Int(first.shape().len() as i64))),
        "__is__" | "__isnot__" => {
            return call.compares_with_none().then_some(Ok(Value::Bool(call.name == "__isnot__")));
        }
        "contiguous" | "detach" | "clone" | "alias" | "data" | "to" | "tensor" | "as_tensor" => {
            return is_cast_exact(call).then(|| converted(call, first).map(Value::Constant));
        }
        "any" => return Some(Ok(Value::Bool(first.to_f64().iter().any(|value| *value != 0.0)))),
        "add" | "sub" | "mul" | "div" | "eq" => elementwise(call, &first),
        "t" => transposed(&first, &[1, 0]),
        "transpose" => match (call.int(1, "dim0", 0), call.int(2, "dim1", 1)) {
            (Some(0 | -2), Some(1 | -1)) | (Some(1 | -1), Some(0 | -2)) => transposed(&first, &[1, 0]),
            _ => None,
        },
        "view" | "reshape" => call.ints(1, "size").and_then(|shape| reshaped(&first, &shape)),
        "unsqueeze" => call.int(1, "dim", 0).and_then(|axis| unsqueezed(&first, axis)),
        "_weight_norm" => match call.values.get(1)? {
            Value::Constant(gain) => call.int(2, "dim", 0).map(|axis| weight_norm(&first, gain, axis)),
            _ => None,
        },
        _ => None,
    }?;
    Some(folded.map(|constant| Value::Constant(Rc::new(constant))))
}

/// Whether a conversion keeps all values: to float32 or float64, or to another device.
pub fn is_cast_exact(call: &Arguments<'_>) -> bool {
    // `to` and `type_as` have the type of a tensor or a number of c10's `ScalarType` after the device, if any.
    let is_type = |value: &&Value<'_>| !matches!(value, Value::None | Value::Bool(_) | Value::Opaque);
    let positional = call.values.get(1..).unwrap_or_default().iter().find(is_type);
    let mut named = call.named.iter().filter(|(name, _)| matches!(name.as_str(), "dtype" | "other"));
    positional.is_none_or(is_wide) && named.all(|(_, value)| matches!(value, Value::None) || is_wide(value))
}

/// Whether a type, or that of a tensor, is float32 or float64.
fn is_wide(value: &Value<'_>) -> bool {
    match value {
        Value::Int(dtype) => matches!(dtype, 6 | 7),
        Value::FloatType | Value::Tensor(_) => true,
        Value::Constant(constant) => has_wide_floats(constant),
        _ => false,
    }
}

fn has_wide_floats(constant: &Constant<'_>) -> bool {
    constant.is_real() && matches!(constant.dtype(), None | Some(DType::F32 | DType::F64))
}

/// Whether a constant has integers that arithmetic computes as exactly as PyTorch: of 64 bits, below 2^53.
fn has_exact_integers(constant: &Constant<'_>) -> bool {
    let is_long = !constant.is_real() && matches!(constant.dtype(), None | Some(DType::I64));
    is_long && constant.to_f64().iter().all(|value| value.abs() < LARGEST_INTEGER)
}

/// Converts a constant to a type of a call, if there is one.
fn converted<'a>(call: &Arguments<'a>, constant: Rc<Constant<'a>>) -> Result<Rc<Constant<'a>>> {
    let is_type = |value: &Value<'a>| matches!(value, Value::Int(_) | Value::FloatType) || value.is_tensor();
    let has_type = call.values.iter().skip(1).any(is_type) || call.named.iter().any(|(_, value)| is_type(value));
    if !has_type || has_wide_floats(&constant) {
        return Ok(constant);
    }
    Constant::new(constant.shape().to_vec(), Values::F64(constant.to_f64().into())).map(Rc::new)
}

/// Whether a conversion has `copy=True`, the second condition among its arguments.
pub fn is_copied(call: &Arguments<'_>) -> bool {
    let named = call.named.iter().find(|(name, _)| name == "copy").map(|(_, value)| value);
    let positional = call.values.iter().filter(|value| matches!(value, Value::Bool(_))).nth(1);
    matches!(named.or(positional), Some(Value::Bool(true)))
}

fn scalar<'a>(value: &Value<'a>) -> Option<Rc<Constant<'a>>> {
    let values = match value {
        Value::Int(value) => Values::I64(vec![*value].into()),
        Value::Float(value) => Values::F64(vec![*value].into()),
        _ => return None,
    };
    Constant::new(Vec::new(), values).ok().map(Rc::new)
}

/// `alpha` is 1, or absent.
pub fn has_no_factor(call: &Arguments<'_>) -> bool {
    call.get(2, "alpha").is_none_or(|alpha| alpha.number() == Some(1.0))
        && call.get(usize::MAX, "rounding_mode").is_none()
        && call.values.len() <= 3
}

/// Computes an operation on two tensors of the same shape, or a tensor and a number.
fn elementwise<'a>(call: &Arguments<'a>, one: &Constant<'a>) -> Folded<'a> {
    if !has_no_factor(call) {
        return None;
    }
    let other = match call.values.get(1)? {
        Value::Constant(constant) => Rc::clone(constant),
        value => scalar(value)?,
    };
    let is_exact = |constant: &Constant<'a>| has_wide_floats(constant) || has_exact_integers(constant);
    if call.name != "eq" && !(is_exact(one) && is_exact(&other)) {
        return None;
    }
    let (first, second) = (one.to_f64(), other.to_f64());
    let shape = match (one.len(), other.len()) {
        _ if one.shape() == other.shape() => one.shape(),
        (_, 1) if one.shape().len() >= other.shape().len() => one.shape(),
        (1, _) if other.shape().len() >= one.shape().len() => other.shape(),
        _ => return None,
    };
    let compute = |a: f64, b: f64| match call.name.as_str() {
        "add" => a + b,
        "sub" => a - b,
        "mul" => a * b,
        "eq" => f64::from(u8::from(a == b)),
        _ => a / b,
    };
    let count = first.len().max(second.len());
    let pick =
        |values: &[f64], at: usize| values.get(if values.len() == 1 { 0 } else { at }).copied().unwrap_or(f64::NAN);
    let values: Vec<f64> = (0..count).map(|at| compute(pick(&first, at), pick(&second, at))).collect();
    let values = match call.name.as_str() {
        "eq" => Values::Bytes(DType::U8, values.into_iter().map(|value| value as u8).collect()),
        // One tensor of float32 or float64 makes the result one. Integers of fewer bits wrap around.
        "div" => Values::F64(values.into()),
        _ if has_wide_floats(one) || has_wide_floats(&other) => Values::F64(values.into()),
        _ if values.iter().all(|value| value.abs() < LARGEST_INTEGER) => {
            Values::I64(values.into_iter().map(|value| value as i64).collect())
        }
        _ => return None,
    };
    Some(Constant::new(shape.to_vec(), values))
}

fn transposed<'a>(constant: &Constant<'a>, order: &[usize]) -> Folded<'a> {
    let keeps_type = has_wide_floats(constant) || has_exact_integers(constant);
    (keeps_type && constant.shape().len() == order.len()).then(|| constant.transposed(order))
}

fn reshaped<'a>(constant: &Constant<'a>, shape: &[i64]) -> Folded<'a> {
    let known = shape.iter().filter_map(|&size| usize::try_from(size).ok()).try_fold(1usize, usize::checked_mul)?;
    let free = shape.iter().filter(|size| **size == -1).count();
    let rest = constant.len().checked_div(known).unwrap_or(0);
    let size = |size: &i64| if *size == -1 { Some(rest) } else { usize::try_from(*size).ok() };
    let shape: Vec<usize> = shape.iter().map(size).collect::<Option<_>>()?;
    (free <= 1 && elements(&shape).ok()? == constant.len()).then(|| with_shape(constant, shape))?
}

fn unsqueezed<'a>(constant: &Constant<'a>, axis: i64) -> Folded<'a> {
    let rank = constant.shape().len();
    let axis = if axis < 0 { axis.checked_add(rank as i64 + 1)? } else { axis };
    let axis = usize::try_from(axis).ok().filter(|axis| *axis <= rank)?;
    let mut shape = constant.shape().to_vec();
    shape.insert(axis, 1);
    with_shape(constant, shape)
}

/// Returns the same elements with another shape; `None` if their type would be lost.
fn with_shape<'a>(constant: &Constant<'a>, shape: Vec<usize>) -> Folded<'a> {
    let values = match (has_wide_floats(constant), has_exact_integers(constant)) {
        (true, _) => Values::F64(constant.to_f64().into()),
        (_, true) => Values::I64(constant.to_i64().into()),
        _ => return None,
    };
    Some(Constant::new(shape, values))
}

//! Functions on numbers, conditions and lists in TorchScript code.

use std::borrow::Cow;
use std::rc::Rc;

use super::arguments::Arguments;
use super::constants::{has_no_factor, is_cast_exact};
use super::value::{Extent, List, Value};
use crate::error::{ImportError, Result};
use crate::source::{Constant, Values};

/// Computes a function whose arguments are not tensors; `None` if it is unknown.
pub fn call<'a>(call: &Arguments<'a>) -> Option<Result<Value<'a>>> {
    let values = call.values.as_slice();
    let known = |value| Some(Ok(value));
    match (call.name.as_str(), values) {
        ("RaiseException", _) => Some(Err(ImportError::unsupported("the code raises an exception").found(call.text()))),
        ("warn" | "format" | "_assert", _) => known(Value::None),
        ("device", _) => known(Value::Opaque),
        ("NumToTensor" | "ScalarImplicit" | "IntImplicit" | "FloatImplicit", [value]) => known(value.clone()),
        ("Int", [value]) => converted("int", value).map(Ok),
        ("Float", [value]) => converted("float", value).map(Ok),
        ("Bool", [value]) => converted("bool", value).map(Ok),
        ("__is__", [one, other]) => is_same(one, other).map(|same| Ok(Value::Bool(same))),
        ("__isnot__", [one, other]) => is_same(one, other).map(|same| Ok(Value::Bool(!same))),
        ("__not__", [Value::Bool(value)]) => known(Value::Bool(!value)),
        ("__not__", [Value::Unknown]) => known(Value::Unknown),
        ("__and__" | "__or__", [one, other]) => connected(call.name == "__and__", one, other).map(Ok),
        ("len", [list]) => list.elements().map(|elements| Ok(Value::Int(elements.len() as i64))),
        ("add", [Value::List(one), Value::List(other)]) => {
            List::new(one.iter().chain(other.iter()).cloned().collect()).map(|list| Ok(Value::List(list)))
        }
        ("eq" | "ne", [Value::Text(one), Value::Text(other)]) => {
            known(Value::Bool((one == other) == (call.name == "eq")))
        }
        ("eq" | "ne" | "lt" | "le" | "gt" | "ge", [one, other]) => compared(&call.name, one, other).map(Ok),
        (_, [one, other]) if has_no_factor(call) => computed(&call.name, one, other).map(Ok),
        ("neg", [Value::Int(value)]) => value.checked_neg().map(|value| Ok(Value::Int(value))),
        ("neg", [Value::Float(value)]) => known(Value::Float(-value)),
        ("neg" | "ceil" | "floor", [value]) if value.is_unknown() => known(Value::Unknown),
        ("tensor" | "as_tensor", [list]) if is_cast_exact(call) => constant(list, call),
        _ => None,
    }
}

/// Converts a number to `int`, `float` or `bool`.
pub fn converted<'a>(kind: &str, value: &Value<'a>) -> Option<Value<'a>> {
    if value.is_unknown() && value.elements().is_none() {
        return Some(if kind == "int" { value.clone() } else { Value::Unknown });
    }
    let number = value.number()?;
    Some(match kind {
        "int" if number.fract() == 0.0 && number.abs() < 2f64.powi(53) => Value::Int(number as i64),
        "float" => Value::Float(number),
        "bool" => Value::Bool(number != 0.0),
        _ => return None,
    })
}

/// Whether two values are the same object, if one of them is `None`.
fn is_same(one: &Value<'_>, other: &Value<'_>) -> Option<bool> {
    match (one, other) {
        (Value::None, Value::None) => Some(true),
        (Value::None, _) | (_, Value::None) => Some(false),
        _ => None,
    }
}

fn connected<'a>(is_and: bool, one: &Value<'a>, other: &Value<'a>) -> Option<Value<'a>> {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => {
            Some(Value::Bool(if is_and { *one && *other } else { *one || *other }))
        }
        (Value::Bool(known), Value::Unknown) | (Value::Unknown, Value::Bool(known)) => {
            Some(if *known == is_and { Value::Unknown } else { Value::Bool(*known) })
        }
        (Value::Unknown, Value::Unknown) => Some(Value::Unknown),
        _ => None,
    }
}

fn compared<'a>(name: &str, one: &Value<'a>, other: &Value<'a>) -> Option<Value<'a>> {
    // The network computes one image.
    let number = |value: &Value<'a>| match value {
        Value::Extent(Extent::Batch) => Some(1.0),
        value => value.number(),
    };
    let (Some(one), Some(other)) = (number(one), number(other)) else {
        return (one.is_unknown() || other.is_unknown()).then_some(Value::Unknown);
    };
    Some(Value::Bool(match name {
        "eq" => one == other,
        "ne" => one != other,
        "lt" => one < other,
        "le" => one <= other,
        "gt" => one > other,
        _ => one >= other,
    }))
}

fn computed<'a>(name: &str, one: &Value<'a>, other: &Value<'a>) -> Option<Value<'a>> {
    let name = name.trim_end_matches('_');
    if !matches!(name, "add" | "sub" | "mul" | "div" | "floordiv" | "floor_divide" | "remainder") {
        return None;
    }
    if one.is_unknown() || other.is_unknown() {
        return Some(Value::Unknown);
    }
    if let (Value::Int(one), Value::Int(other)) = (one, other)
        && name != "div"
    {
        return match name {
            "add" => one.checked_add(*other),
            "sub" => one.checked_sub(*other),
            "mul" => one.checked_mul(*other),
            // Python rounds down.
            "remainder" => one.checked_rem_euclid(*other).filter(|_| *other > 0),
            _ => one.checked_div_euclid(*other).filter(|_| *other > 0),
        }
        .map(Value::Int);
    }
    let (one, other) = (one.number()?, other.number()?);
    Some(Value::Float(match name {
        "add" => one + other,
        "sub" => one - other,
        "mul" => one * other,
        "div" => one / other,
        _ => return None,
    }))
}

/// Returns a tensor of the numbers of a list: integers, or floats rounded to float32 as in PyTorch.
fn constant<'a>(list: &Value<'a>, call: &Arguments<'a>) -> Option<Result<Value<'a>>> {
    let one = [list.clone()];
    let (shape, elements) = match list.elements() {
        Some(elements) => (vec![elements.len()], elements),
        None => (Vec::new(), &one[..]),
    };
    let integer = |value: &Value<'a>| if let Value::Int(value) = value { Some(*value) } else { None };
    let integers: Option<Vec<i64>> = elements.iter().map(integer).collect();
    let values = match (integers, call.get(usize::MAX, "dtype")) {
        (Some(integers), None) => Values::I64(integers.into()),
        _ => {
            let numbers = elements.iter().map(|value| value.number().filter(|_| !matches!(value, Value::Bool(_))));
            let rounded: Vec<f32> = numbers.map(|number| number.map(|number| number as f32)).collect::<Option<_>>()?;
            Values::F32(Cow::Owned(rounded))
        }
    };
    let constant = Constant::new(shape, values);
    Some(constant.map(|constant| Value::Constant(Rc::new(constant))))
}

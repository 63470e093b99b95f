//! Arguments of the calls of a layer, `inbound_nodes`, in the notations of Keras 2 and 3.
//!
//! ```text
//! Keras 2  [[["conv", 0, 0, {}], ["input", 0, 0, {}]]]           a list of tensors
//!          [["input", 0, 0, {"y": 127.5, "name": null}]]         one tensor, and arguments by name
//!          [["_CONSTANT_VALUE", -1, 1.0, {"y": ["input", 0, 0]}]]
//! Keras 3  [{"args": [TENSOR, 127.5], "kwargs": {}}], with TENSOR = {"class_name": "__keras_tensor__",
//!           "config": {"keras_history": ["input", 0, 0], ...}}
//! ```

use serde_json::Value as Json;

use super::config::{numbers, row};
use crate::error::{ImportError, Result};

/// One argument of a call. Flags, names and nulls are omitted.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument<'a> {
    Tensor(Tensor<'a>),
    /// One number per channel, or one; empty if they differ along another axis.
    Numbers(Vec<f64>),
}

/// Result `index` of call `call` of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tensor<'a> {
    pub layer: &'a str,
    pub call: usize,
    pub index: usize,
}

/// The arguments of one call.
pub type Call<'a> = Vec<Argument<'a>>;

pub fn calls(inbound: &Json) -> Result<Vec<Call<'_>>> {
    match inbound {
        Json::Null => Ok(Vec::new()),
        Json::Array(nodes) => nodes.iter().map(call).collect(),
        _ => Err(unreadable()),
    }
}

/// Reads `input_layers` and `output_layers`: one reference to a tensor, a list, or an object with one reference per name.
pub fn tensors(value: &Json) -> Result<Vec<Tensor<'_>>> {
    if let Some(one) = tensor(value) {
        return Ok(vec![one]);
    }
    match value {
        Json::Array(items) => items.iter().map(|item| tensor(item).ok_or_else(unreadable)).collect(),
        Json::Object(named) => named.values().map(|item| tensor(item).ok_or_else(unreadable)).collect(),
        _ => Err(unreadable()),
    }
}

fn unreadable() -> Box<ImportError> {
    ImportError::malformed("the connections of layers in the configuration are invalid")
        .help("save the model with Keras itself")
}

fn call(node: &Json) -> Result<Call<'_>> {
    let mut arguments = Vec::new();
    match node {
        Json::Object(parts) => {
            for part in ["args", "kwargs"].iter().filter_map(|key| parts.get(*key)) {
                modern(part, &mut arguments)?;
            }
        }
        Json::Array(items) if items.first().is_some_and(Json::is_string) => old(node, &mut arguments)?,
        Json::Array(items) => items.iter().try_for_each(|item| old(item, &mut arguments))?,
        _ => return Err(unreadable()),
    }
    Ok(arguments)
}

/// `["layer", 0, 0, ...]`.
fn tensor(value: &Json) -> Option<Tensor<'_>> {
    let [layer, call, index, ..] = value.as_array()?.as_slice() else { return None };
    let number = |value: &Json| value.as_u64().and_then(|number| usize::try_from(number).ok());
    Some(Tensor { layer: layer.as_str()?, call: number(call)?, index: number(index)? })
}

fn old<'a>(value: &'a Json, arguments: &mut Call<'a>) -> Result<()> {
    match (tensor(value), value.as_array().map(Vec::as_slice)) {
        (Some(tensor), _) => arguments.push(Argument::Tensor(tensor)),
        (None, Some([Json::String(name), _, constant, ..])) if name == "_CONSTANT_VALUE" => {
            arguments.extend(self::constant(constant));
        }
        _ => return Err(unreadable()),
    }
    // Keyword arguments.
    if let Some(Json::Object(named)) = value.get(3) {
        for value in named.values() {
            match tensor(value) {
                Some(tensor) => arguments.push(Argument::Tensor(tensor)),
                None => arguments.extend(constant(value)),
            }
        }
    }
    Ok(())
}

/// Returns the numbers of a constant whose axes but the last have size 1; none for other constants.
fn constant(value: &Json) -> Option<Argument<'_>> {
    numbers(value).map(|_| Argument::Numbers(row(value).unwrap_or_default()))
}

/// Recursion is bounded by the JSON parser.
fn modern<'a>(value: &'a Json, arguments: &mut Call<'a>) -> Result<()> {
    match value {
        Json::Array(items) => match constant(value) {
            Some(numbers) => arguments.push(numbers),
            None => items.iter().try_for_each(|item| modern(item, arguments))?,
        },
        Json::Number(_) => arguments.extend(constant(value)),
        Json::Object(parts) => match parts.get("class_name").and_then(Json::as_str) {
            Some("__keras_tensor__") => {
                let history = parts.get("config").and_then(|config| config.get("keras_history"));
                arguments.push(Argument::Tensor(history.and_then(tensor).ok_or_else(unreadable)?));
            }
            Some(_) => {
                let value = parts.get("config").and_then(|config| config.get("value"));
                arguments.extend(value.and_then(constant));
            }
            None => parts.values().try_for_each(|value| modern(value, arguments))?,
        },
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tensor(layer: &str, call: usize) -> Argument<'_> {
        Argument::Tensor(Tensor { layer, call, index: 0 })
    }

    #[test]
    fn reads_both_notations() {
        let two = json!([[["a", 0, 0, {}], ["b", 1, 0, {"training": false}]]]);
        assert_eq!(calls(&two).unwrap(), [[tensor("a", 0), tensor("b", 1)]]);
        let scaled = json!([["a", 0, 0, {"y": 127.5, "name": null}]]);
        assert_eq!(calls(&scaled).unwrap(), [[tensor("a", 0), Argument::Numbers(vec![127.5])]]);
        let turned = json!([["_CONSTANT_VALUE", -1, 1.0, {"y": ["a", 0, 0]}]]);
        assert_eq!(calls(&turned).unwrap(), [[Argument::Numbers(vec![1.0]), tensor("a", 0)]]);
        let history =
            |layer| json!({"class_name": "__keras_tensor__", "config": {"keras_history": [layer, 0, 0], "shape": [1]}});
        let modern = json!([{"args": [[history("a"), history("b")], 2], "kwargs": {"training": false, "mask": null}}]);
        assert_eq!(calls(&modern).unwrap(), [[tensor("a", 0), tensor("b", 0), Argument::Numbers(vec![2.0])]]);
        let rows = json!([["a", 0, 0, {"y": [[[1.0, 2.0]]]}], ["a", 0, 0, {"y": [[1.0], [2.0]]}]]);
        let numbers = |numbers: &[f64]| Argument::Numbers(numbers.to_vec());
        assert_eq!(calls(&rows).unwrap(), [[tensor("a", 0), numbers(&[1.0, 2.0])], [tensor("a", 0), numbers(&[])]]);
        assert_eq!(calls(&json!([])).unwrap().len(), 0);
        for other in [json!([["a", 0, 0]]), json!({"image": ["a", 0, 0]})] {
            assert_eq!(tensors(&json!(["a", 0, 0])).unwrap(), tensors(&other).unwrap(), "{other}");
        }
    }

    #[test]
    fn rejects_invalid_notations() {
        for odd in [json!([1]), json!("a"), json!([[["a"]]]), json!([{"args": [{"class_name": "__keras_tensor__"}]}])] {
            assert!(calls(&odd).is_err(), "{odd}");
        }
        assert!(tensors(&json!([[1, 2, 3]])).is_err());
    }
}

//! Python arithmetic on tensors, as each version of Keras saves it.
//!
//! ```text
//! TensorFlow 2.3    TensorFlowOpLayer, {"node_def": {"op": "RealDiv"}, "constants": {"1": 127.5}}
//! TensorFlow 2.4    TFOpLambda, {"function": "math.truediv"}, operands in `inbound_nodes`
//! Keras 3           TrueDivide, operands in `inbound_nodes`
//! ```

use serde_json::Value as Json;

use super::builder::Operand;
use super::config::{Layer, row};
use crate::error::Result;
use crate::source::{Arithmetic, Op};

/// An operation without weights.
pub enum Operation<'a> {
    Op(Op<'a>),
    /// Arithmetic of two operands.
    Arithmetic(Arithmetic, Op<'a>),
    /// The activation with this name.
    Activation(&'static str),
    /// A softmax over this axis, by default the last one.
    Softmax {
        axis: Option<f64>,
    },
    /// A change of the shape; the sizes are among the operands.
    Reshape,
    /// A cast to floats.
    ToFloat,
    /// Returns its input.
    Nothing,
}

/// Translates an operation or a merging layer; [`Op::Other`] if it is unknown.
pub fn operation<'a>(layer: &Layer<'a>, operands: &[Operand]) -> Result<Operation<'a>> {
    let mut operands = operands.to_vec();
    let name = match layer.class {
        "TFOpLambda" => layer.text("function")?.unwrap_or_default(),
        "TensorFlowOpLayer" => {
            insert_constants(layer, &mut operands);
            node_operator(layer)
        }
        class => class,
    };
    let operator = match name {
        "nn.bias_add" if layer.inbound.to_string().contains("NCHW") => return Ok(Operation::Op(Op::Other)),
        "math.add" | "__operators__.add" | "nn.bias_add" | "AddV2" | "BiasAdd" | "Add" => Arithmetic::Add,
        "math.subtract" | "Sub" | "Subtract" => Arithmetic::Subtract,
        "math.multiply" | "Mul" | "Multiply" => Arithmetic::Multiply,
        "math.truediv" | "math.divide" | "realdiv" | "RealDiv" | "Divide" | "TrueDivide" => Arithmetic::Divide,
        "nn.softmax" => return Ok(softmax(&operands)),
        "nn.relu" | "Relu" => return Ok(Operation::Activation("relu")),
        "nn.relu6" | "Relu6" => return Ok(Operation::Activation("relu6")),
        "math.sigmoid" | "nn.sigmoid" | "Sigmoid" => return Ok(Operation::Activation("sigmoid")),
        "cast" | "Cast" if !is_float(layer)? => return Ok(Operation::Op(Op::Other)),
        "cast" | "Cast" => return Ok(Operation::ToFloat),
        "identity" => return Ok(Operation::Nothing),
        "reshape" => return Ok(Operation::Reshape),
        "tile" | "Tile" | "Repeat" => return Ok(Operation::Op(copies(layer, &operands)?)),
        "image.grayscale_to_rgb" => return Ok(Operation::Op(Op::Repeat { channels: 3 })),
        _ => return Ok(Operation::Op(Op::Other)),
    };
    Ok(Operation::Arithmetic(operator, binary(operator, &operands)))
}

/// A softmax, whose argument `axis` is a number.
fn softmax<'a>(operands: &[Operand]) -> Operation<'a> {
    match operands {
        [Operand::Value(_)] => Operation::Softmax { axis: None },
        [Operand::Value(_), Operand::Numbers(axis)] if axis.len() == 1 => {
            Operation::Softmax { axis: axis.first().copied() }
        }
        _ => Operation::Op(Op::Other),
    }
}

/// Whether a conversion is to floats, which keeps pixels: Keras 3 has the type in the configuration, Keras 2 in the call.
fn is_float(layer: &Layer<'_>) -> Result<bool> {
    let name = match (layer.class, layer.inbound.as_array().map(Vec::as_slice)) {
        ("Cast", _) => layer.policy()?,
        (_, Some([call])) => call.pointer("/3/dtype").and_then(Json::as_str),
        // Several calls can have different types.
        _ => None,
    };
    Ok(matches!(name, Some("float32" | "float64")))
}

/// Copies of an image along the channels: `Repeat` of the last axis, or a tile of the others by 1.
fn copies<'a>(layer: &Layer<'a>, operands: &[Operand]) -> Result<Op<'a>> {
    let repeats = match operands {
        [Operand::Value(_)] => layer.numbers("repeats")?.unwrap_or_default(),
        [Operand::Value(_), Operand::Numbers(multiples)] if layer.class == "TFOpLambda" => multiples.clone(),
        _ => Vec::new(),
    };
    let count = match (layer.class, repeats.as_slice()) {
        ("Repeat", &[count]) if matches!(layer.number("axis")?, Some(-1.0 | 3.0)) => count,
        ("Tile" | "TFOpLambda", &[1.0, 1.0, 1.0, count]) => count,
        _ => return Ok(Op::Other),
    };
    // More copies than any network reads are not an operation of MobileNetV2 either.
    Ok(if count == 3.0 { Op::Repeat { channels: 3 } } else { Op::Other })
}

fn binary<'a>(operator: Arithmetic, operands: &[Operand]) -> Op<'a> {
    use Operand::{Numbers, Value};
    match operands {
        [Value(_), Value(_)] if operator == Arithmetic::Add => Op::Add,
        [Value(_), Numbers(numbers)] => Op::with_constant(operator, numbers.clone(), false),
        [Numbers(numbers), Value(_)] => Op::with_constant(operator, numbers.clone(), true),
        _ => Op::Other,
    }
}

/// `node_def` is JSON, or JSON in a string.
fn node_operator<'a>(layer: &Layer<'a>) -> &'a str {
    let Some(node) = layer.config.get("node_def") else { return layer.class };
    if let Some(operator) = node.get("op").and_then(Json::as_str) {
        return operator;
    }
    /// Those of TensorFlow have a few hundred bytes.
    const LONGEST: usize = 1 << 14;
    let operators = ["RealDiv", "Sub", "Mul", "AddV2", "Relu6"];
    let text = node.as_str().filter(|text| text.len() <= LONGEST).unwrap_or_default();
    operators.into_iter().find(|operator| text.contains(&format!("\"op\": \"{operator}\""))).unwrap_or(layer.class)
}

/// Inserts constants at their positions among the operands.
fn insert_constants(layer: &Layer<'_>, operands: &mut Vec<Operand>) {
    let constants = layer.config.get("constants").and_then(Json::as_object);
    // An operation has two operands.
    for (position, value) in constants.into_iter().flatten().take(2) {
        if let Ok(position) = position.parse::<usize>() {
            // Other shapes have no numbers, which no operation accepts.
            operands.insert(position.min(operands.len()), Operand::Numbers(row(value).unwrap_or_default()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn affine(entry: &Json, operands: &[Operand]) -> Option<[f64; 2]> {
        match operation(&Layer::new(entry).unwrap(), operands).unwrap() {
            Operation::Arithmetic(_, Op::Affine(affine)) => affine.scale(0).zip(affine.offset(0)).map(<[f64; 2]>::from),
            _ => None,
        }
    }

    #[test]
    fn copies_are_along_the_channels() {
        let value = Operand::Value(3);
        let is_copied = |class: &str, config: Json, operands: &[Operand]| {
            let entry = json!({"class_name": class, "config": config});
            matches!(
                operation(&Layer::new(&entry).unwrap(), operands).unwrap(),
                Operation::Op(Op::Repeat { channels: 3 })
            )
        };
        let one = std::slice::from_ref(&value);
        assert!(is_copied("Tile", json!({"repeats": [1, 1, 1, 3]}), one));
        assert!(is_copied("Repeat", json!({"repeats": 3, "axis": -1}), one));
        assert!(is_copied("Repeat", json!({"repeats": [3], "axis": 3}), one));
        for (class, config) in [
            ("Tile", json!({"repeats": [1, 1, 3, 1]})),
            ("Tile", json!({"repeats": 3})),
            ("Repeat", json!({"repeats": 3, "axis": 2})),
            ("Repeat", json!({"repeats": 3, "axis": null})),
            ("Repeat", json!({"repeats": [1, 1, 1, 3], "axis": -1})),
            ("Repeat", json!({"repeats": 2, "axis": -1})),
        ] {
            assert!(!is_copied(class, config.clone(), one), "{class} {config}");
        }
        let multiples = |numbers: [f64; 4]| [value.clone(), Operand::Numbers(numbers.to_vec())];
        let tile = || json!({"function": "tile"});
        assert!(is_copied("TFOpLambda", tile(), &multiples([1.0, 1.0, 1.0, 3.0])));
        assert!(!is_copied("TFOpLambda", tile(), &multiples([1.0, 2.0, 1.0, 3.0])));
    }

    #[test]
    fn all_notations_of_arithmetic_are_read() {
        let (value, four) = (Operand::Value(3), Operand::Numbers(vec![4.0]));
        let after = [value.clone(), four.clone()];
        let before = [four, value.clone()];
        let lambda = |function: &str| json!({"class_name": "TFOpLambda", "config": {"function": function}});
        assert_eq!(affine(&lambda("math.truediv"), &after), Some([0.25, 0.0]));
        assert_eq!(affine(&lambda("math.truediv"), &before), None);
        assert_eq!(affine(&lambda("math.subtract"), &after), Some([1.0, -4.0]));
        assert_eq!(affine(&lambda("math.subtract"), &before), Some([-1.0, 4.0]));
        assert_eq!(affine(&lambda("__operators__.add"), &after), Some([1.0, 4.0]));
        let modern = |class: &str| json!({"class_name": class, "config": {"name": "x"}});
        assert_eq!(affine(&modern("TrueDivide"), &after), Some([0.25, 0.0]));
        assert_eq!(affine(&modern("Multiply"), &before), Some([4.0, 0.0]));
        assert_eq!(affine(&modern("Maximum"), &before), None);
        let old = json!({"class_name": "TensorFlowOpLayer",
                         "config": {"node_def": {"op": "RealDiv"}, "constants": {"1": 4.0}}});
        assert_eq!(affine(&old, std::slice::from_ref(&value)), Some([0.25, 0.0]));
        let text = json!({"class_name": "TensorFlowOpLayer",
                          "config": {"node_def": "{\"name\": \"sub\", \"op\": \"Sub\"}", "constants": {"0": 4.0}}});
        assert_eq!(affine(&text, &[value]), Some([-1.0, 4.0]));
    }
}

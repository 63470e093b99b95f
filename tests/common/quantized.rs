//! Results of the exact interpreter for a quantized network.

#[path = "bindings.rs"]
mod bindings;

use std::collections::BTreeMap;

use bindings::{Bound, Stored};
use mbvc::Weights;
use mbvc::weights::Dtype;
use mbvc_compiler::ir::Graph;
use mbvc_compiler::spec::Rounding;
use mbvc_interpreter::run_quantized;

/// The tensors of a container.
fn bound(weights: &Weights) -> Bound {
    let tensors = weights.container().tensors().map(|tensor| {
        let words = tensor.data.as_chunks::<4>().0;
        let stored = match tensor.dtype {
            Dtype::F32 => Stored::F32(words.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            Dtype::I32 => Stored::I32(words.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()),
            Dtype::I8 => Stored::I8(tensor.data.iter().map(|byte| byte.cast_signed()).collect()),
            _ => Stored::U8(tensor.data.to_vec()),
        };
        (tensor.name.to_string(), stored)
    });
    Bound(tensors.collect())
}

/// The last value of each part of the network, such as `block2`, as bytes, by the interpreter on the unfused graph.
pub fn expected(
    graph: &Graph,
    weights: &Weights,
    rounding: Rounding,
    image: &[u8],
    low: i32,
) -> BTreeMap<String, Vec<u8>> {
    let image: Vec<i32> = image.iter().map(|byte| i32::from(*byte) + low).collect();
    let mut parts = BTreeMap::new();
    run_quantized(graph, &bound(weights), rounding, &image, &mut |origin, _, values| {
        let part = origin.name.split('.').next().unwrap_or_default().to_owned();
        parts.insert(part, values.iter().map(|value| (value - low) as u8).collect());
    })
    .expect("the interpreter runs what was lowered");
    parts
}

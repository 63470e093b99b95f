//! TFLite: tables that share one long vector.

use super::flatbuffer::Flatbuffer;
use super::rejection;

const RELU: u32 = 19;
const UINT8: u32 = 3;

/// Returns a file with a chain of `count` operators of this code. Each reads the previous tensor and, if `constant`,
/// the last one. All tensors have 8 bits and the name `long`, which is also the data of the last one.
fn chain(code: u32, count: usize, long: &[u8], constant: bool) -> Vec<u8> {
    let mut file = Flatbuffer::default();
    let start = file.word(0);
    file.bytes.extend(b"TFL3");
    // Version, operator codes, subgraphs, (description), buffers.
    let (model, model_at) = file.table(&[Some(3), Some(0), Some(0), None, Some(0)]);
    file.point(start, model);
    let (codes, codes_at) = file.vector(&[0]);
    file.point(model_at[1], codes);
    let (entry, _) = file.table(&[None, None, None, Some(code)]);
    file.point(codes_at[0], entry);
    let (subgraphs, subgraphs_at) = file.vector(&[0]);
    file.point(model_at[2], subgraphs);
    // Tensors, inputs, (outputs), operators.
    let (subgraph, subgraph_at) = file.table(&[Some(0), Some(0), None, Some(0)]);
    file.point(subgraphs_at[0], subgraph);
    let (inputs, _) = file.vector(&[0]);
    file.point(subgraph_at[1], inputs);
    let (operators, operators_at) = file.vector(&vec![0; count]);
    file.point(subgraph_at[2], operators);
    for (at, place) in operators_at.into_iter().enumerate() {
        // (Code,) inputs, outputs.
        let (operator, operator_at) = file.table(&[None, Some(0), Some(0)]);
        file.point(place, operator);
        let last = count as u32 + 1;
        let inputs = if constant { vec![at as u32, last] } else { vec![at as u32] };
        let (inputs, _) = file.vector(&inputs);
        file.point(operator_at[0], inputs);
        let (outputs, _) = file.vector(&[at as u32 + 1]);
        file.point(operator_at[1], outputs);
    }
    let (tensors, tensors_at) = file.vector(&vec![0; count + 2]);
    file.point(subgraph_at[0], tensors);
    // Shape, type, buffer, name, quantization.
    let (plain, plain_at) = file.table(&[Some(0), None, None, Some(0), None]);
    let (data, data_at) = file.table(&[Some(0), Some(UINT8), Some(1), Some(0), Some(0)]);
    for (at, place) in tensors_at.into_iter().enumerate() {
        file.point(place, if at == count + 1 { data } else { plain });
    }
    let (image, _) = file.vector(&[1, 32, 32, 3]);
    file.point(plain_at[0], image);
    let (shape, _) = file.vector(&[long.len() as u32]);
    file.point(data_at[0], shape);
    // (Minimum, maximum,) scales.
    let (quantization, quantization_at) = file.table(&[None, None, Some(0)]);
    file.point(data_at[4], quantization);
    let (scales, _) = file.vector(&[1f32.to_bits()]);
    file.point(quantization_at[0], scales);
    let (buffers, buffers_at) = file.vector(&[0, 0]);
    file.point(model_at[3], buffers);
    let (empty, _) = file.table(&[]);
    file.point(buffers_at[0], empty);
    let (full, full_at) = file.table(&[Some(0)]);
    file.point(buffers_at[1], full);
    let text = file.word(long.len() as u32);
    file.bytes.extend(long);
    for place in [plain_at[1], data_at[3], full_at[0]] {
        file.point(place, text);
    }
    file.bytes
}

/// A name that is not UTF-8, which takes three bytes per invalid byte, for each node.
#[test]
fn operators_that_share_a_name_of_a_megabyte() {
    let error = rejection(&chain(RELU, 5000, &vec![0xff; 1 << 20], false), "m.tflite");
    assert!(error.contains("unexpected operation") && error.len() < 2000, "{error}");
}

/// Each addition has a factor and an offset per channel in double precision.
#[test]
fn additions_that_share_one_constant() {
    const ADD: u32 = 0;
    let error = rejection(&chain(ADD, 5000, &vec![1; 1 << 16], true), "m.tflite");
    assert!(error.contains("too many scales, zero points or constant operands"), "{error}");
}

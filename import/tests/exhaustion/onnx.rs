//! ONNX: many nodes that read one tensor.

use super::rejection;

const UINT8: u64 = 2;
const INT32: u64 = 6;
const INT64: u64 = 7;
const FLOAT16: u64 = 10;

/// Nodes of each file; a network may have 8192.
const NODES: usize = 2000;
/// Elements of the tensor that they share.
const ELEMENTS: usize = 1 << 20;

/// Numbers and fields of protocol buffers.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn field(tag: u64, content: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// `data` is the number of the field and its content.
fn tensor(name: &str, dims: &[usize], kind: u64, data: (u64, &[u8])) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| number(1, *dim as u64)).collect();
    field(5, &[dims, number(2, kind), field(8, name.as_bytes()), field(data.0, data.1)].concat())
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
    field(1, &[inputs, field(2, output.as_bytes()), field(4, operator.as_bytes())].concat())
}

/// A model with these tensors, an image `x`, and `NODES` nodes that each produce an output, `y0` and so on.
fn model(tensors: &[Vec<u8>], node: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    model_of(3, tensors, node)
}

/// The same for an image with this number of channels.
fn model_of(channels: usize, tensors: &[Vec<u8>], node: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let dims: Vec<u8> = [1, channels as u64, 32, 32].iter().flat_map(|dim| field(1, &number(1, *dim))).collect();
    let image = field(11, &[field(1, b"x"), field(2, &field(1, &[number(1, 1), field(2, &dims)].concat()))].concat());
    let nodes: Vec<u8> = (0..NODES).flat_map(node).collect();
    let outputs: Vec<u8> = (0..NODES).flat_map(|at| field(12, &field(1, format!("y{at}").as_bytes()))).collect();
    let graph = [nodes, tensors.concat(), image, outputs].concat();
    [number(1, 8), field(7, &graph), field(8, &number(2, 17))].concat()
}

/// Many nodes read elements that are stored as 32-bit numbers and must be copied.
#[test]
fn convolutions_that_share_one_weight() {
    let weight = tensor("w", &[ELEMENTS, 1, 1, 1], FLOAT16, (5, &vec![0; ELEMENTS]));
    let error = rejection(&model(&[weight], |at| node("Conv", &["x", "w"], &format!("y{at}"))), "m.onnx");
    assert!(error.contains("several readers"), "{error}");
}

/// Each addition has a factor and an offset per channel in double precision.
#[test]
fn additions_that_share_one_constant() {
    let constant = tensor("c", &[ELEMENTS, 1, 1], UINT8, (9, &vec![1; ELEMENTS]));
    let add = |at: usize| node("Add", &["x", "c"], &format!("y{at}"));
    let error = rejection(&model_of(ELEMENTS, &[constant], add), "m.onnx");
    assert!(error.contains("computes too many constants"), "{error}");
}

/// Each node has all scales and zero points.
#[test]
fn quantizers_that_share_zero_points() {
    const LISTED: usize = ELEMENTS / 8;
    let scale = tensor("s", &[LISTED], 1, (9, &1f32.to_le_bytes().repeat(LISTED)));
    let zeros = tensor("z", &[LISTED], UINT8, (9, &vec![0; LISTED]));
    let quantize = |at: usize| node("QuantizeLinear", &["x", "s", "z"], &format!("y{at}"));
    let error = rejection(&model(&[scale, zeros], quantize), "m.onnx");
    assert!(error.contains("computes too many constants"), "{error}");
}

/// The same axis, a million times.
#[test]
fn paddings_of_a_million_axes() {
    let axes = tensor("a", &[ELEMENTS], INT32, (5, &vec![2; ELEMENTS]));
    let pads = tensor("p", &[2 * ELEMENTS], INT64, (7, &vec![0; 2 * ELEMENTS]));
    let error = rejection(&model(&[axes, pads], |at| node("Pad", &["x", "p", "", "a"], &format!("y{at}"))), "m.onnx");
    assert!(error.contains("2097152 values for axes"), "{error}");
}

/// A slice of an empty constant with a trillion columns.
#[test]
fn a_slice_of_an_empty_constant() {
    let wide = tensor("w", &[0, 1 << 40], INT64, (9, &[]));
    let one = tensor("one", &[1], INT64, (9, &1i64.to_le_bytes()));
    let error = rejection(&model(&[wide, one], |at| node("Slice", &["w", "one", "one"], &format!("y{at}"))), "m.onnx");
    assert!(error.contains("the network ends before this layer"), "{error}");
}

/// An empty name takes two bytes in the file and twenty-four in memory.
#[test]
fn a_node_of_a_million_names() {
    let names = field(1, b"").repeat(ELEMENTS / NODES);
    let error = rejection(&model(&[], |_| field(1, &names)), "m.onnx");
    assert!(error.contains("too many nodes, attributes or tensors"), "{error}");
}

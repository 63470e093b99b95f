//! Bounds the allocations of decoding a file in advance.
//!
//! An empty message takes 2 bytes in the file and a few hundred in memory, so that a hostile file of a gigabyte could
//! allocate a hundred. Counting the messages costs one pass over their headers.

use crate::error::{ImportError, Result};

/// Most messages, ten times those of the largest known export of a MobileNetV2.
const MAX_MESSAGES: usize = 1 << 18;

/// Most levels of messages, above the limit of the decoder.
const MAX_DEPTH: usize = 128;

/// The messages of `proto.rs` that contain others.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// Contains no messages.
    Leaf,
    /// A name, whose decoded size is several times that of an empty one in the file.
    Text,
}

impl Kind {
    /// Returns the kind of message in field `tag`, if it is decoded.
    fn child(self, tag: u64) -> Option<Self> {
        Some(match (self, tag) {
            (Self::Model, 7) => Self::Graph,
            (Self::Model, 8 | 25) => Self::Leaf,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph | Self::Attribute, 5) | (Self::SparseTensor, 1) => Self::Tensor,
            (Self::Graph, 15) => Self::SparseTensor,
            (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Graph, 11 | 12) => Self::ValueInfo,
            (Self::Node, 1 | 2) => Self::Text,
            (Self::Node, 5) => Self::Attribute,
            (Self::Tensor, 13) => Self::Leaf,
            (Self::ValueInfo, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Leaf,
            _ => return None,
        })
    }
}

/// Checks the number of messages, and of nodes' input and output names.
///
/// Visits every field that the decoder reads. Groups are rejected: ONNX files have none.
pub fn check(bytes: &[u8]) -> Result<()> {
    let mut left = MAX_MESSAGES;
    match count(bytes, Kind::Model, &mut left, MAX_DEPTH) {
        Some(()) => Ok(()),
        None if left == 0 => Err(ImportError::unsupported("the file contains too many nodes, attributes or tensors")
            .expected(format!("at most {MAX_MESSAGES}"))),
        None => Err(ImportError::malformed("invalid ONNX file: a field exceeds its message")
            .help("the file may be truncated or in another format; check it with `onnx.checker.check_model`")),
    }
}

/// Returns `None` if the bytes are invalid or contain more than `left` messages. Messages below `depth` levels are not
/// counted, because the decoder rejects them.
fn count(mut bytes: &[u8], kind: Kind, left: &mut usize, depth: usize) -> Option<()> {
    if depth == 0 || matches!(kind, Kind::Text) {
        return Some(());
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                if let Some(child) = kind.child(key >> 3) {
                    *left = left.checked_sub(1)?;
                    count(inner, child, left, depth - 1)?;
                }
            }
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some(())
}

/// Reads a base-128 varint.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model with these bytes as its graph.
    fn model(graph: &[u8]) -> Vec<u8> {
        field(0x3a, graph)
    }

    fn field(key: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![key];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn messages_are_counted_rather_than_bytes() {
        // Empty nodes.
        assert!(check(&model(&[0x0a, 0x00].repeat(1000))).is_ok());
        // Nodes with empty names.
        let node = field(0x0a, &[0x0a, 0x00, 0x12, 0x00].repeat(100));
        assert!(check(&model(&node.repeat(100))).is_ok());
        assert!(check(&model(&node.repeat(MAX_MESSAGES / 200))).unwrap_err().problem.contains("too many"));
        let error = check(&model(&[0x0a, 0x00].repeat(MAX_MESSAGES + 1))).unwrap_err();
        assert!(error.problem.contains("too many"), "{error}");
        let raw = [&[0x2a, 0x84, 0x80, 0x20, 0x4a, 0x80, 0x80, 0x20][..], &vec![0; 1 << 19]].concat();
        assert!(check(&model(&raw)).is_ok());
    }

    /// Graphs in attributes of nodes.
    #[test]
    fn nested_graphs_are_counted_and_bounded() {
        let nested = |levels: usize, inner: Vec<u8>| {
            (0..levels).fold(inner, |graph, _| field(0x0a, &field(0x2a, &field(0x32, &graph))))
        };
        let many = [0x0a, 0x00].repeat(MAX_MESSAGES + 1);
        assert!(check(&model(&nested(2, many))).unwrap_err().problem.contains("too many"));
        let deep = model(&nested(1000, vec![]));
        assert!(check(&deep).is_ok());
        let error = crate::onnx::decode(&deep).unwrap_err();
        assert!(error.problem.contains("recursion"), "{error}");
        assert!(crate::onnx::decode(&model(&nested(10, vec![]))).is_ok());
    }

    #[test]
    fn rejects_invalid_fields_and_groups() {
        for bytes in
            [&b"\x3a"[..], b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x3b\x3c", b"\x39\0", b"\x3a\x05\x0a"]
        {
            let error = check(bytes).unwrap_err();
            assert!(error.problem.contains("invalid ONNX file"), "{error}");
        }
    }
}

//! The error for a network whose features are not followed by a global average pool.

use super::layer::describe;
use super::walk::Walk;
use crate::error::ImportError;
use crate::source::{Node, Op, Value};
use crate::text::display_shape;

const HELP: &str = "train the model with a global average pool between the features and the dense layers";

impl Walk<'_> {
    /// Returns an error if the next layer, the last convolution, is followed by something else than a pool.
    pub fn not_pooled(&self, value: Value) -> Option<Box<ImportError>> {
        let mut node = self.readers(value).next()?;
        let Op::Conv(conv) = &node.op else { return None };
        let channels = conv.kernel.shape().last().copied()?;
        loop {
            node = self.readers(node.output).next()?;
            match node.op {
                Op::BatchNorm(_) | Op::Affine(_) | Op::Clamp { .. } => {}
                Op::Pool { .. } | Op::AxisMean => return None,
                _ => break,
            }
        }
        let problem = format!("after the {channels}-channel layer, expected a global average pool");
        let found = self.found(node, channels);
        Some(ImportError::unsupported(problem).at(node.place.text()).role("head.pool").found(found).help(HELP))
    }

    /// Describes `node`, and the dense layer after it if it is a reshape.
    fn found(&self, node: &Node<'_>, channels: usize) -> String {
        // A reshape may have a second reader of its shape.
        let reshapes = node.inputs.iter().flat_map(|features| self.readers(*features));
        for mut last in reshapes.filter(|reader| matches!(reader.op, Op::Flatten)) {
            while matches!(last.op, Op::Flatten)
                && let Some(next) = self.readers(last.output).next()
            {
                last = next;
            }
            if let Op::Dense(dense) = &last.op {
                let shape = dense.kernel.shape();
                let each = if shape.first() == Some(&channels) { " at each position" } else { "" };
                return format!("a reshape and a dense layer {}{each}", display_shape(&shape));
            }
        }
        describe(node)
    }
}

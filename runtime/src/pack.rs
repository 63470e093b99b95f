//! Packing: canonical weights into the order in which the kernels of one instruction set read them.
//!
//! The compiler emits the plan; values are looked at here, once, when a model is built.

use crate::container::{Container, TensorView};
use crate::conventions::ConventionError;
use crate::isa::Isa;
use crate::scratch::{Line, floats_mut};

/// A static plan: where each layer's weights go.
#[derive(Debug, Clone, Copy)]
pub struct PackPlan {
    pub ops: &'static [PackOp],
    /// Cache lines of the whole block.
    pub lines: usize,
}

/// One layer's weights; all offsets and strides are in floats.
#[derive(Debug, Clone, Copy)]
pub struct PackOp {
    pub weight: &'static str,
    pub bias: &'static str,
    /// Rows of the kernel: products that are summed for one output.
    pub k: usize,
    /// Columns: output channels of the layer.
    pub n: usize,
    /// Output channels `first..last` are packed by this operation.
    pub first: usize,
    pub last: usize,
    /// Channels of a panel; columns past `n` are zero.
    pub panel: usize,
    /// Where the first panel goes: `[1 + k][panel]`, the bias row and then the kernel's rows.
    pub at: usize,
    /// From one panel to the next within a group, and from one group to the next.
    pub panel_stride: usize,
    pub panels_per_group: usize,
    pub group_stride: usize,
}

impl PackPlan {
    /// Packs `weights` into `block`, allocating nothing.
    ///
    /// # Errors
    /// The name of a tensor that is missing, or of another type or size than the plan's.
    pub fn pack(&self, weights: &Container<'_>, block: &mut [Line]) -> Result<(), PackError> {
        if block.len() != self.lines {
            return Err(PackError::BlockSize { expected: self.lines, found: block.len() });
        }
        let block = floats_mut(block);
        block.fill(0.0);
        for op in self.ops {
            let weight = floats_of(weights, op.weight, op.k * op.n)?;
            let bias = floats_of(weights, op.bias, op.n)?;
            op.pack(weight, bias, block);
        }
        Ok(())
    }
}

impl PackOp {
    fn pack(&self, weight: &[[u8; 4]], bias: &[[u8; 4]], block: &mut [f32]) {
        for (index, first) in (self.first..self.last).step_by(self.panel).enumerate() {
            let group = index / self.panels_per_group * self.group_stride;
            let start = self.at + group + index % self.panels_per_group * self.panel_stride;
            let columns = first..self.n.min(first + self.panel).min(self.last);
            for row in 0..=self.k {
                let from = match row.checked_sub(1) {
                    None => &bias[columns.clone()],
                    Some(k) => &weight[k * self.n..][columns.clone()],
                };
                let to = &mut block[start + row * self.panel..][..from.len()];
                for (to, from) in to.iter_mut().zip(from) {
                    *to = f32::from_le_bytes(*from);
                }
            }
        }
    }
}

fn floats_of<'a>(weights: &Container<'a>, name: &'static str, len: usize) -> Result<&'a [[u8; 4]], PackError> {
    let tensor: TensorView<'a> = weights.tensor(name).ok_or(PackError::Missing(name))?;
    let (floats, rest) = tensor.data.as_chunks::<4>();
    if floats.len() != len || !rest.is_empty() {
        return Err(PackError::Size { name, expected: len, found: floats.len() });
    }
    Ok(floats)
}

/// Why weights could not be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackError {
    Missing(&'static str),
    Size {
        name: &'static str,
        expected: usize,
        found: usize,
    },
    BlockSize {
        expected: usize,
        found: usize,
    },
    FileSize {
        expected: usize,
        found: usize,
    },
    /// The file does not lie at a multiple of 64 bytes.
    Alignment,
    NotCompiled(Isa),
    Convention(ConventionError),
}

impl core::fmt::Display for PackError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "the weights have no tensor `{name}`"),
            Self::Size { name, expected, found } => write!(f, "`{name}` holds {found} floats, not {expected}"),
            Self::FileSize { expected, found } => write!(f, "the packed file has {expected} bytes, not {found}"),
            Self::Alignment => f.write_str("the packed file must lie at an address that is a multiple of 64"),
            Self::NotCompiled(isa) => {
                write!(f, "the network was compiled without {isa}; add it to `isa` in the spec or the macro")
            }
            Self::Convention(error) => error.fmt(f),
            Self::BlockSize { expected, found } => {
                write!(f, "packing needs a block of {expected} cache lines, not {found}")
            }
        }
    }
}

impl core::error::Error for PackError {}

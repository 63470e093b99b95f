//! Channel arithmetic: the table and the width multiplier, resolved block by block.

use super::{BlockRow, NetworkSpec, ResidualRule};

/// Every channel count is a multiple of this.
const DIVISOR: f64 = 8.0;

/// A spec's network with its rows repeated and its channels scaled and rounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Input channels of the first block.
    pub stem_channels: usize,
    /// In order of execution.
    pub blocks: Vec<ResolvedBlock>,
    /// Input channels of the classifier.
    pub head_channels: usize,
}

/// One inverted residual block: 1x1 expand (absent where `expansion` is 1), 3x3 depthwise, 1x1 project.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedBlock {
    /// Counts from 1 over the whole network.
    pub index: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Expansion of the row, from 1.
    pub expansion: usize,
    /// `in_channels * expansion`.
    pub expanded_channels: usize,
    /// Output channels of the projection.
    pub out_channels: usize,
    /// Stride of the depthwise convolution, 1 or 2.
    pub stride: usize,
    /// Whether the block's input is added to its output.
    pub residual: bool,
    /// Line of the row in the spec, from 1.
    pub line: usize,
}

/// Rounds `value` half up to a multiple of 8, but at least to 8 and never below 0.9 of `value`.
///
/// The rule of the published models (`_make_divisible` in tensorflow/models, Keras and torchvision).
/// `value` must be positive and below 2^52, which the limits of a parsed spec guarantee.
pub fn make_divisible(value: f64) -> usize {
    let rounded = (((value + DIVISOR / 2.0) / DIVISOR).floor() * DIVISOR).max(DIVISOR);
    let kept = if rounded < 0.9 * value { rounded + DIVISOR } else { rounded };
    kept as usize
}

impl NetworkSpec {
    /// Repeats the rows and applies the width multiplier.
    pub fn resolve(&self) -> Resolved {
        let stem_channels = scaled(self.stem.channels, self.width);
        let mut blocks = Vec::with_capacity(self.blocks.iter().map(|row| row.repeat).sum());
        let mut in_channels = stem_channels;
        for row in &self.blocks {
            for repetition in 0..row.repeat {
                let block = resolve_block(row, self.width, blocks.len() + 1, in_channels, repetition);
                in_channels = block.out_channels;
                blocks.push(block);
            }
        }
        // A narrow network keeps its full head, as published (paper, section 6.1).
        let head_channels = if self.width > 1.0 { scaled(self.head.channels, self.width) } else { self.head.channels };
        Resolved { stem_channels, blocks, head_channels }
    }
}

/// Scales a channel count of the table by the width multiplier.
pub(super) fn scaled(channels: usize, width: f64) -> usize {
    make_divisible(channels as f64 * width)
}

fn resolve_block(row: &BlockRow, width: f64, index: usize, in_channels: usize, repetition: usize) -> ResolvedBlock {
    let out_channels = scaled(row.channels, width);
    let stride = if repetition == 0 { row.stride } else { 1 };
    let shapes_agree = stride == 1 && in_channels == out_channels;
    ResolvedBlock {
        index,
        in_channels,
        expansion: row.expansion,
        expanded_channels: in_channels * row.expansion,
        out_channels,
        stride,
        // A spec whose shapes differ where `Required` is set was rejected, so `Required` and `Auto` are equal here.
        residual: shapes_agree && row.residual != ResidualRule::Never,
        line: row.line,
    }
}

#[cfg(test)]
mod tests {
    use super::make_divisible;

    #[test]
    fn rounds_half_up_to_eights() {
        assert_eq!(make_divisible(12.0), 16);
        assert_eq!(make_divisible(11.9), 16); // 8 would be below 0.9 of it
        assert_eq!(make_divisible(33.6), 32);
        assert_eq!(make_divisible(44.0), 48);
        assert_eq!(make_divisible(1280.0), 1280);
    }

    #[test]
    fn stays_at_eight_or_above() {
        assert_eq!(make_divisible(0.001), 8);
        assert_eq!(make_divisible(8.4), 8);
    }

    #[test]
    fn never_drops_more_than_a_tenth() {
        for tenth in 1..20_000 {
            let value = f64::from(tenth) / 10.0;
            let rounded = make_divisible(value);
            assert!(rounded.is_multiple_of(8) && rounded as f64 >= 0.9 * value, "{value} became {rounded}");
        }
    }
}

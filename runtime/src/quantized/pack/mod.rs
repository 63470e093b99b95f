//! Packing of quantized weights: stores canonical tensors in the order and the form in which kernels read them.
//!
//! Values are read once, when a model is built. Zero points are folded into biases: the sum of bytes times weights,
//! plus the packed bias, is the sum that TensorFlow Lite defines.

mod order;
mod weights;

use super::DotForm;
use super::bounds::Bounds;
use super::edges::{self, Edges};
use super::header::{HEADER, Header};
use super::plan::{ChannelOrder, Matrix, PanelRun, QuantLayer, QuantPlan, Taps};
use super::tensors::{data, pool_kind, quant_of, word};
use super::weight_sums::{Reach, Sums};
use crate::float::pack::{OutputRange, PackError, Plan};
use crate::formats::container::{Container, Dtype};
use crate::numerics::Numerics;
use crate::preprocess::Preprocess;
use crate::quantized::arithmetic::{Add, Fixed, Integer, Limits, Pool, PoolKind, Quant, Requantize};
use crate::scratch::{Line, bytes, bytes_mut};
use crate::simd::quantized::BIAS;
use order::{Positions, Rows};

/// 32-bit numbers in the widest vector.
const MOST_LANES: usize = 16;

impl Plan for QuantPlan<'_> {
    fn lines(&self) -> usize {
        self.lines
    }

    fn pack<'a>(
        &'a self,
        weights: &Container<'_>,
        _: &Preprocess,
        _: Numerics,
        block: &mut [Line],
    ) -> Result<(), PackError<'a>> {
        if block.len() != self.lines {
            return Err(PackError::BlockSize { expected: self.lines, found: block.len() });
        }
        let block = bytes_mut(block);
        let quant = |named| quant_of(weights, named, self.integer);
        let edges = Edges { input: quant(self.input)?, embedding: quant(self.embedding)?, logits: quant(self.logits)? };
        edges.write(&mut block[..edges::BYTES]);
        let end = self.orders.first().map_or(block.len(), |order| order.at);
        let (block, orders) = block.split_at_mut(end);
        for order in self.orders {
            let reader = Packing::new(self, &self.layers[order.reader], weights, &[])?;
            let rows = Rows { stored: reader.weight, width: reader.layer.channels, number: |byte| reader.number(byte) };
            rows.choose(orders[order.at - end..][..order.channels * 2].as_chunks_mut().0);
        }
        self.layers.iter().try_for_each(|layer| Packing::new(self, layer, weights, orders)?.pack(block))
    }

    fn is_sound(&self, block: &[Line]) -> bool {
        self.lists_are_sound(bytes(block))
    }

    fn identify(&self, add: &mut dyn FnMut(&[u8])) {
        add(&[self.integer as u8, self.rounding as u8, self.biased.into()]);
        let mut numbers = |numbers: &[usize]| numbers.iter().for_each(|number| add(&(*number as u64).to_le_bytes()));
        for ChannelOrder { at, channels, reader } in self.orders {
            numbers(&[*at, *channels, *reader]);
        }
        for layer in self.layers {
            let order = |order: Option<usize>| order.map_or(0, |index| 1 + index);
            numbers(&[layer.header, layer.channels, layer.form as usize, order(layer.inputs), order(layer.outputs)]);
            match layer.matrix {
                Matrix::Depthwise { at, lanes, vectors } => numbers(&[at, lanes, vectors]),
                Matrix::Dense(Taps { runs, run, quads, ends, panels }) => {
                    numbers(&[runs, run, quads, ends.into()]);
                    for PanelRun { first, last, lanes, vectors, at, stride } in panels {
                        numbers(&[*first, *last, *lanes, *vectors, *at, *stride]);
                    }
                }
            }
        }
    }
}

/// A layer with its values.
struct Packing<'p, 'w, 'o> {
    plan: &'p QuantPlan<'p>,
    layer: &'p QuantLayer<'p>,
    /// Orders of the input and output channels.
    inputs: Positions<'o>,
    outputs: Positions<'o>,
    /// `[k][channels]`
    weight: &'w [u8],
    /// Bits that differ between a stored weight and its unsigned form, whose zero point is `zero_point`.
    flipped: u8,
    zero_point: u8,
    /// Weights that represent 0, one per lane of a vector.
    zeros: [u8; MOST_LANES],
    bias: &'w [[u8; 4]],
    scales: &'w [[u8; 4]],
    input: Quant,
    output: Quant,
    limits: Limits,
    add: Option<(Add, Quant, Quant)>,
    pool: Option<(PoolKind, Quant)>,
    /// Offset from the network's numbers to bytes.
    offset: i32,
}

impl<'p, 'w, 'o> Packing<'p, 'w, 'o> {
    /// `orders` are the chosen orders of channels, from the first of the plan.
    fn new(
        plan: &'p QuantPlan<'p>,
        layer: &'p QuantLayer<'p>,
        weights: &Container<'w>,
        orders: &'o [u8],
    ) -> Result<Self, PackError<'p>> {
        let quant = |named| quant_of(weights, named, plan.integer);
        let (dtype, flipped) = match plan.integer {
            Integer::Int8 => (Dtype::I8, 0x80),
            Integer::Uint8 => (Dtype::U8, 0),
        };
        let zero_point = match layer.weight_zero_point {
            Some(name) => {
                let zero = word(weights, name, Dtype::I32).map(i32::from_le_bytes)?;
                u8::try_from(zero).map_err(|_| PackError::OutOfRange(name))?
            }
            None => flipped,
        };
        let (input, output) = (quant(layer.input)?, quant(layer.output)?);
        let all = plan.integer.limits();
        let limits = match layer.activation {
            OutputRange::Linear => all,
            OutputRange::Relu => Limits::activated(plan.integer, output, false, plan.rounding),
            OutputRange::Relu6 => Limits::activated(plan.integer, output, true, plan.rounding),
        };
        let add = match layer.add {
            None => None,
            Some([added, sum]) => {
                let (added, sum) = (quant(added)?, quant(sum)?);
                let add = Add::new(plan.rounding, output, added, sum, all);
                Some((add.ok_or(PackError::OutOfRange(layer.weight))?, added, sum))
            }
        };
        let pool = match layer.pool {
            None => None,
            Some((pixels, average)) => {
                let (kind, average) = (pool_kind(weights)?, quant(average)?);
                let pool = Pool::new(plan.rounding, kind, pixels, output, average, all);
                pool.ok_or(PackError::OutOfRange(layer.weight))?;
                Some((kind, average))
            }
        };
        let scales = if layer.weight_zero_point.is_some() { 1 } else { layer.channels };
        let order = |index: Option<usize>| match index.and_then(|index| plan.orders.get(index)) {
            Some(order) if !orders.is_empty() => {
                Positions(orders[order.at - plan.orders[0].at..][..order.channels * 2].as_chunks().0)
            }
            _ => Positions(&[]),
        };
        Ok(Self {
            plan,
            layer,
            inputs: order(layer.inputs),
            outputs: order(layer.outputs),
            weight: data(weights, layer.weight, dtype, layer.matrix.k() * layer.channels)?,
            flipped,
            zero_point,
            zeros: [zero_point ^ flipped; MOST_LANES],
            bias: data(weights, layer.bias, Dtype::I32, layer.channels * 4)?.as_chunks().0,
            scales: data(weights, layer.weight_scale, Dtype::F32, scales * 4)?.as_chunks().0,
            input,
            output,
            limits,
            add,
            pool,
            offset: -all.low,
        })
    }

    pub(super) fn pack(&self, block: &mut [u8]) -> Result<(), PackError<'p>> {
        let biased = self.is_biased()?;
        match self.layer.matrix {
            Matrix::Dense(taps) => taps.panels.iter().try_for_each(|panels| self.dense(taps, *panels, biased, block)),
            Matrix::Depthwise { at, lanes, vectors } => self.depthwise(at, lanes, vectors, biased, block),
        }?;
        let mut header = Header(&mut block[self.layer.header..][..HEADER]);
        header.general(!biased);
        if let Some((kind, average)) = self.pool {
            header.pool(kind, [self.output, average]);
        }
        header.padding(self.input.zero_point(), self.offset);
        match self.add {
            None => header.range(self.output.zero_point(), self.limits, self.offset),
            Some((add, added, sum)) => {
                header.range(sum.zero_point(), self.limits, self.offset);
                header
                    .addends(add, [self.output, added], self.limits, self.offset)
                    .ok_or(PackError::OutOfRange(self.layer.weight))?;
            }
        }
        Ok(())
    }

    /// Returns the stored weights of product `k` for some channels.
    fn weights(&self, k: usize, channels: core::ops::Range<usize>) -> &'w [u8] {
        &self.weight[k * self.layer.channels..][channels]
    }

    /// Returns the weight that a stored byte represents.
    #[inline(always)]
    fn number(&self, byte: u8) -> i16 {
        i16::from(byte ^ self.flipped) - i16::from(self.zero_point)
    }

    /// Returns the sums of the weights of the channels at some positions, at most `Sums::CHANNELS`.
    fn sums(&self, positions: core::ops::Range<usize>) -> Sums {
        let rows = (0..self.layer.matrix.k()).map(|k| self.weights(k, 0..self.layer.channels));
        if !self.outputs.is_ordered() {
            return Sums::new(rows.map(|row| row[positions.clone()].iter().copied()), |byte| self.number(byte));
        }
        let channels = &self.channels(positions.clone())[..positions.len()];
        Sums::new(rows.map(|row| channels.iter().map(|channel| row[*channel])), |byte| self.number(byte))
    }

    /// Returns, for the channels at some positions, the sums of the products of their weights in pairs.
    fn crossed(&self, positions: core::ops::Range<usize>) -> [i32; Sums::CHANNELS] {
        let channels = self.channels(positions.clone());
        let mut sums = [0_i32; Sums::CHANNELS];
        let mut rows = self.weight.chunks_exact(self.layer.channels);
        while let (Some(a), Some(b)) = (rows.next(), rows.next()) {
            for (sum, channel) in sums.iter_mut().zip(&channels[..positions.len()]) {
                let product = i32::from(self.number(a[*channel])) * i32::from(self.number(b[*channel]));
                *sum = sum.wrapping_add(product);
            }
        }
        sums
    }

    /// Returns the channels at some positions, at most `Sums::CHANNELS`.
    fn channels(&self, positions: core::ops::Range<usize>) -> [usize; Sums::CHANNELS] {
        let mut channels = [0; Sums::CHANNELS];
        for (channel, position) in channels.iter_mut().zip(positions) {
            *channel = self.outputs.channel(position);
        }
        channels
    }

    /// Returns the bias with the contributions of zero points.
    fn bias(&self, channel: usize, reach: Reach) -> i32 {
        let zero = self.input.zero_point() + self.offset;
        i32::from_le_bytes(self.bias[channel]).wrapping_sub(reach.sum().wrapping_mul(zero))
    }

    /// Returns the requantization of a sum.
    fn requantize(&self, channel: usize) -> Requantize {
        let weight_scale = f32::from_le_bytes(self.scales[channel % self.scales.len()]);
        let per_tensor = self.layer.weight_zero_point.is_some();
        Requantize::new(self.plan.rounding, self.input.scale(), weight_scale, per_tensor, self.output, self.limits)
    }

    /// Returns the factor by which the reference kernels multiply a sum; `None` in the other rounding.
    fn multiplier(&self, channel: usize) -> Option<Fixed> {
        let fixed = self.requantize(channel).multiplier()?;
        // A factor of 0 with an exponent that all kernels accept.
        Some(if fixed.multiplier == 0 { Fixed { exponent: -1, ..fixed } } else { fixed })
    }

    /// Returns the factor of a sum, within XNNPACK's limits.
    fn scale(&self, channel: usize) -> Result<f32, PackError<'p>> {
        let scale = self.requantize(channel).scale();
        scale
            .filter(|scale| (1.0 / 4_294_967_296.0..256.0).contains(scale))
            .ok_or(PackError::OutOfRange(self.layer.weight_scale))
    }

    /// Whether `BIAS` can be added to all sums, or all factors are below one half, and the limits are those of 8-bit
    /// saturation.
    fn is_biased(&self) -> Result<bool, PackError<'p>> {
        let (zero, whole) = (self.output.zero_point() + self.offset, self.plan.integer.limits());
        if !self.plan.biased || self.layer.activation == OutputRange::Linear || zero != 0 || self.limits != whole {
            return Ok(false);
        }
        for first in (0..self.layer.channels).step_by(Sums::CHANNELS) {
            let positions = first..self.layer.channels.min(first + Sums::CHANNELS);
            for (position, reach) in positions.clone().zip(self.sums(positions).channels()) {
                let channel = self.outputs.channel(position);
                let fits = match self.multiplier(channel) {
                    // No sum is shifted left before the multiplication, and all are shifted right after it.
                    Some(Fixed { exponent, .. }) => exponent < 0,
                    None => Bounds::new(self.bias(channel, reach), reach).biased(self.scale(channel)?).is_some(),
                };
                if !fits {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Returns the packed parameters of a channel: bias, then scale, or multiplier and exponent.
    fn finish(&self, channel: usize, reach: Reach, biased: bool) -> Result<[i32; 3], PackError<'p>> {
        let bias = self.bias(channel, reach);
        // Only after the proof: the bounds are those of the sums before activations are offset.
        let compensated = |bias: i32| bias.wrapping_add(self.layer.form.taken().wrapping_mul(reach.sum()));
        if let Some(Fixed { multiplier, exponent }) = self.multiplier(channel) {
            return Ok([compensated(bias), multiplier, exponent]);
        }
        let scale = self.scale(channel)?;
        let bounds = Bounds::new(bias, reach);
        if !bounds.convert(scale) {
            return Err(PackError::OutOfRange(self.layer.weight_scale));
        }
        let (bias, scale) = match bounds.biased(scale).filter(|_| biased) {
            None => (bias, scale),
            Some((0, scale)) => (bias.wrapping_add(BIAS), scale),
            Some(constant) => constant,
        };
        Ok([compensated(bias), scale.to_bits().cast_signed(), 0])
    }

    /// Packs the numbers that finish the sums of `width` channels from `first`, in rows. Channels past the last one get
    /// zeros.
    fn finishes(&self, first: usize, width: usize, biased: bool, to: &mut [u8]) -> Result<(), PackError<'p>> {
        let mut put = |at: usize, values: [i32; 3]| {
            for (row, number) in to.chunks_exact_mut(width * 4).zip(values) {
                row[at * 4..][..4].copy_from_slice(&number.to_le_bytes());
            }
        };
        let end = self.layer.channels.min(first + width);
        for from in (first..end).step_by(Sums::CHANNELS) {
            let positions = from..end.min(from + Sums::CHANNELS);
            for (position, reach) in positions.clone().zip(self.sums(positions).channels()) {
                put(position - first, self.finish(self.outputs.channel(position), reach, biased)?);
            }
        }
        for position in end.max(first)..first + width {
            put(position - first, [0; 3]);
        }
        if self.layer.form == DotForm::CrossedWords {
            for from in (first..end).step_by(Sums::CHANNELS) {
                let positions = from..end.min(from + Sums::CHANNELS);
                let biases = to[(from - first) * 4..].as_chunks_mut::<4>().0;
                for (bias, crossed) in biases.iter_mut().zip(self.crossed(positions.clone())).take(positions.len()) {
                    *bias = i32::from_le_bytes(*bias).wrapping_sub(crossed).to_le_bytes();
                }
            }
        }
        Ok(())
    }
}

//! Packing quantized weights: canonical tensors into the order and the form in which kernels read them.
//!
//! The compiler emits the plan; values are looked at here, once, when a model is built. Zero points vanish into biases:
//! a sum of bytes times weights, with the bias that is packed, is the sum that TensorFlow Lite defines.

use super::edges::{self, Edges};
use super::form::DotForm;
use super::header::{HEADER, Header};
use super::proof::Bounds;
use super::read::{data, pool_kind, quant_of, word};
use super::rest;
use super::sums::{Reach, Sums};
use crate::float::pack::{PackError, Plan, Range};
use crate::formats::container::{Container, Dtype};
use crate::numerics::Numerics;
use crate::preprocess::Preprocess;
use crate::quantized::arithmetic::{Add, Fixed, Integer, Limits, Pool, PoolKind, Quant, Requantize, Rounding};
use crate::scratch::{Line, bytes, bytes_mut};
use crate::simd::quantized::BIAS;

/// A plan: where the parameters of each layer go. All places and strides are in bytes.
#[derive(Debug, Clone, Copy)]
pub struct QuantPlan<'a> {
    /// The type of weights and values.
    pub integer: Integer,
    /// Whose arithmetic kernels follow.
    pub rounding: Rounding,
    /// How they read weights.
    pub form: DotForm,
    /// Whether what of a weight does not fit a byte with sign has rows of its own.
    pub rest: bool,
    /// Whether there are kernels for sums that carry `BIAS`, or in the reference kernels' rounding for factors below one
    /// half.
    pub biased: bool,
    /// What the image is quantized by.
    pub input: Named<'a>,
    /// What the vector before the classifier is quantized by.
    pub embedding: Named<'a>,
    /// What the classifier's values are quantized by.
    pub logits: Named<'a>,
    /// In order of execution.
    pub layers: &'a [QuantLayer<'a>],
    /// Cache lines of the whole block.
    pub lines: usize,
}

/// The tensors that tell what a value's numbers stand for.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Name of a tensor of one float32.
    pub scale: &'a str,
    /// Name of a tensor of one int32.
    pub zero_point: &'a str,
}

/// One layer's parameters: the names of their tensors, and where they are packed.
#[derive(Debug, Clone, Copy)]
pub struct QuantLayer<'a> {
    /// `[k][channels]` of the network's integers.
    pub weight: &'a str,
    /// Int32, `[channels]`, in steps of input scale times weight scale.
    pub bias: &'a str,
    /// Float32, `[channels]`, or one where the weights have a zero point.
    pub weight_scale: &'a str,
    /// Where the weights have a zero point, one scale serves all channels.
    pub weight_zero_point: Option<&'a str>,
    /// What the sums go over.
    pub input: Named<'a>,
    /// What the sums are requantized to.
    pub output: Named<'a>,
    /// What results are limited to, in steps of `output`.
    pub activation: Range,
    /// What is added, and the sum.
    pub add: Option<[Named<'a>; 2]>,
    /// Pixels that are averaged, and the average.
    pub pool: Option<(usize, Named<'a>)>,
    /// Output channels.
    pub channels: usize,
    /// Where the header goes.
    pub header: usize,
    /// Where the weights go.
    pub matrix: Matrix<'a>,
}

/// Bytes that kernels need of a channel to finish its sums: a bias and a scale, or a bias, a multiplier and its exponent.
/// They lie in rows, of biases, then of scales or multipliers, then of exponents.
pub const fn finish_bytes(rounding: Rounding) -> usize {
    match rounding {
        Rounding::Xnnpack => 8,
        Rounding::TfliteReference => 12,
    }
}

/// Where the weights of a layer go, by the kind of its sums.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// `[runs * run][channels]`, in quads of weights along the runs.
    Dense(Taps<'a>),
    /// 3x3, a vector of channels after the other: what finishes its sums ([`finish_bytes`]), and for each of the four
    /// places that three rows can have in or between row quads, the weights of the three columns.
    Depthwise {
        /// Where the first vector goes.
        at: usize,
        /// Channels of a vector.
        lanes: usize,
        /// As many as hold all channels.
        vectors: usize,
    },
}

/// The runs of contiguous activations that a dense sum goes over.
#[derive(Debug, Clone, Copy)]
pub struct Taps<'a> {
    /// Rows of the window.
    pub runs: usize,
    /// Weights of a run.
    pub run: usize,
    /// Quads that a run is read in; those past its end are zero.
    pub quads: usize,
    /// Whether each run has one weight more, and these last ones of all runs make one quad.
    pub ends: bool,
    /// Where the weights go, in order of channels.
    pub panels: &'a [PanelRun],
}

/// Panels of one form: what finishes their sums ([`finish_bytes`]), then quads of weights.
#[derive(Debug, Clone, Copy)]
pub struct PanelRun {
    /// Output channels `first..last` are packed here.
    pub first: usize,
    /// The channel after the last.
    pub last: usize,
    /// Channels of a vector.
    pub lanes: usize,
    /// Vectors of a panel.
    pub vectors: usize,
    /// Where the first panel goes.
    pub at: usize,
    /// From one panel to the next.
    pub stride: usize,
}

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
        self.layers.iter().try_for_each(|layer| Packing::new(self, layer, weights)?.pack(block))
    }

    fn is_sound(&self, block: &[Line]) -> bool {
        self.lists_are_sound(bytes(block))
    }

    fn identify(&self, add: &mut dyn FnMut(&[u8])) {
        add(&[self.integer as u8, self.rounding as u8, self.form as u8, self.rest.into(), self.biased.into()]);
        let mut numbers = |numbers: &[usize]| numbers.iter().for_each(|number| add(&(*number as u64).to_le_bytes()));
        for layer in self.layers {
            numbers(&[layer.header, layer.channels]);
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

impl QuantPlan<'_> {
    /// Where in a vector of a depthwise layer the number of its rests stands, and the bytes from a vector to the next.
    pub(super) fn depthwise_places(&self, lanes: usize) -> (usize, usize) {
        let all = DEPTHWISE_QUADS * self.form.bytes(lanes);
        let count = lanes * finish_bytes(self.rounding) + all;
        (count, count + if self.rest { REST_COUNT + rest::ROWS * all } else { 0 })
    }
}

/// Quads of a vector of a depthwise layer: for each of four places of the rows those of three columns.
const DEPTHWISE_QUADS: usize = 4 * 3;
/// Bytes of the number of rests of a vector of a depthwise layer.
const REST_COUNT: usize = 64;

/// Numbers of 32 bits in the widest vector.
const MOST_LANES: usize = 16;

/// A layer with its values.
struct Packing<'p, 'w> {
    plan: &'p QuantPlan<'p>,
    layer: &'p QuantLayer<'p>,
    /// `[k][channels]`
    weight: &'w [u8],
    /// What turns the bytes of weights into those without sign, with the zero point `zero_point`.
    flipped: u8,
    zero_point: u8,
    /// Weights that stand for 0, as many as a vector has lanes.
    zeros: [u8; MOST_LANES],
    bias: &'w [[u8; 4]],
    scales: &'w [[u8; 4]],
    input: Quant,
    output: Quant,
    limits: Limits,
    add: Option<(Add, Quant, Quant)>,
    pool: Option<(PoolKind, Quant)>,
    /// What is added to the network's numbers to make them bytes.
    offset: i32,
}

impl<'p, 'w> Packing<'p, 'w> {
    fn new(plan: &'p QuantPlan<'p>, layer: &'p QuantLayer<'p>, weights: &Container<'w>) -> Result<Self, PackError<'p>> {
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
            Range::Linear => all,
            Range::Relu => Limits::activated(plan.integer, output, false, plan.rounding),
            Range::Relu6 => Limits::activated(plan.integer, output, true, plan.rounding),
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
        Ok(Self {
            plan,
            layer,
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

    fn pack(&self, block: &mut [u8]) -> Result<(), PackError<'p>> {
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

    /// The weights of product `k`, as they are stored, of some channels.
    fn weights(&self, k: usize, channels: core::ops::Range<usize>) -> &'w [u8] {
        &self.weight[k * self.layer.channels..][channels]
    }

    /// The number that a stored weight stands for.
    #[inline(always)]
    fn number(&self, byte: u8) -> i16 {
        i16::from(byte ^ self.flipped) - i16::from(self.zero_point)
    }

    /// Sums of the weights of the channels from `first` on, as many as fit.
    fn sums(&self, first: usize) -> Sums {
        let channels = first..self.layer.channels.min(first + Sums::CHANNELS);
        let rows = (0..self.layer.matrix.k()).map(|k| self.weights(k, channels.clone()));
        Sums::new(rows, |byte| self.number(byte))
    }

    /// The bias with all that zero points add to it.
    fn bias(&self, channel: usize, reach: Reach) -> i32 {
        let zero = self.input.zero_point() + self.offset;
        i32::from_le_bytes(self.bias[channel]).wrapping_sub(reach.sum().wrapping_mul(zero))
    }

    /// What becomes of a sum.
    fn requantize(&self, channel: usize) -> Requantize {
        let weight_scale = f32::from_le_bytes(self.scales[channel % self.scales.len()]);
        let per_tensor = self.layer.weight_zero_point.is_some();
        Requantize::new(self.plan.rounding, self.input.scale(), weight_scale, per_tensor, self.output, self.limits)
    }

    /// What the reference kernels multiply a sum by; `None` in another rounding.
    fn multiplier(&self, channel: usize) -> Option<Fixed> {
        let fixed = self.requantize(channel).multiplier()?;
        // By 0, whatever the exponent: one that all kernels take.
        Some(if fixed.multiplier == 0 { Fixed { exponent: -1, ..fixed } } else { fixed })
    }

    /// What a sum is multiplied by; XNNPACK's limits.
    fn scale(&self, channel: usize) -> Result<f32, PackError<'p>> {
        let scale = self.requantize(channel).scale();
        scale
            .filter(|scale| (1.0 / 4_294_967_296.0..256.0).contains(scale))
            .ok_or(PackError::OutOfRange(self.layer.weight_scale))
    }

    /// Whether all sums can carry `BIAS`, or all factors are below one half, and the limits are those that 8 bits have
    /// anyway.
    fn is_biased(&self) -> Result<bool, PackError<'p>> {
        let (zero, whole) = (self.output.zero_point() + self.offset, self.plan.integer.limits());
        if !self.plan.biased || self.layer.activation == Range::Linear || zero != 0 || self.limits != whole {
            return Ok(false);
        }
        for first in (0..self.layer.channels).step_by(Sums::CHANNELS) {
            for (channel, reach) in (first..self.layer.channels).zip(self.sums(first).channels()) {
                let fits = match self.multiplier(channel) {
                    // No sum is shifted to the left before it is multiplied, and all are shifted to the right after it.
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

    /// What is packed for a channel: bias, then scale, or multiplier and exponent.
    fn finish(&self, channel: usize, reach: Reach, biased: bool) -> Result<[i32; 3], PackError<'p>> {
        let bias = self.bias(channel, reach);
        // Only after the proof: bounds are those of the sums, the same whatever activations lose on their way into them.
        let made_up = |bias: i32| bias.wrapping_add(self.plan.form.taken().wrapping_mul(reach.sum()));
        if let Some(Fixed { multiplier, exponent }) = self.multiplier(channel) {
            return Ok([made_up(bias), multiplier, exponent]);
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
        Ok([made_up(bias), scale.to_bits().cast_signed(), 0])
    }

    fn dense(&self, taps: Taps<'_>, panels: PanelRun, biased: bool, block: &mut [u8]) -> Result<(), PackError<'p>> {
        let (lanes, width) = (panels.lanes, panels.lanes * panels.vectors);
        for (index, first) in (panels.first..panels.last).step_by(width).enumerate() {
            let panel = &mut block[panels.at + index * panels.stride..][..panels.stride];
            let (finish, weights) = panel.split_at_mut(width * finish_bytes(self.plan.rounding));
            self.finishes(first, width, biased, finish)?;
            let row = self.plan.form.bytes(lanes) * panels.vectors;
            let (weights, mut rest) = weights.split_at_mut(row * taps.steps());
            let channels = first..self.layer.channels.min(panels.last);
            for (step, weights) in weights.chunks_exact_mut(row).enumerate() {
                self.row(taps, step, channels.clone(), lanes, 0, weights);
            }
            for steps in taps.parts().filter(|_| self.plan.rest) {
                let (list, others) = rest.split_at_mut(rest::list_bytes(steps.len()));
                let (rows, others) = others.split_at_mut(rest::ROWS * steps.len() * row);
                let mut rows = rows.chunks_exact_mut(row);
                let mut count = 0;
                for (quad, part) in (0..steps.len()).flat_map(|quad| (1..=rest::ROWS).map(move |part| (quad, part))) {
                    let step = steps.start + quad;
                    if self.reaches(taps, step, channels.clone(), part)
                        && let Some(weights) = rows.next()
                    {
                        self.row(taps, step, channels.clone(), lanes, part, weights);
                        count += 1;
                        list[count * 4..][..4].copy_from_slice(&(quad as u32).to_le_bytes());
                    }
                }
                list[..4].copy_from_slice(&(count as u32).to_le_bytes());
                rest = others;
            }
        }
        Ok(())
    }

    /// The weights of the quad of those products, of some channels; those of products that there are none of are 0.
    #[inline(always)]
    fn quad(&self, [a, b, c, d]: [Option<usize>; 4], channels: core::ops::Range<usize>) -> [&[u8]; 4] {
        let row = |k| match k {
            Some(k) => self.weights(k, channels.clone()),
            None => &self.zeros[..channels.len()],
        };
        // `map` of arrays would be a call for each.
        [row(a), row(b), row(c), row(d)]
    }

    /// Whether a weight of quad `step` has such a part.
    fn reaches(&self, taps: Taps<'_>, step: usize, channels: core::ops::Range<usize>, part: usize) -> bool {
        let products = taps.products(step).into_iter().flatten();
        let weights = products.flat_map(|k| self.weights(k, channels.clone()));
        let (least, most) = weights.fold((u8::MAX, u8::MIN), |(least, most), byte| (least.min(*byte), most.max(*byte)));
        // Where any weight has one, those that are farthest from 0 have.
        [least, most].into_iter().any(|byte| rest::part(self.number(byte).into(), part) != 0)
    }

    /// Packs a part of the weights of quad `step` of all channels of a panel; of what fits 16 bits, all is one part.
    fn row(
        &self,
        taps: Taps<'_>,
        step: usize,
        channels: core::ops::Range<usize>,
        lanes: usize,
        part: usize,
        to: &mut [u8],
    ) {
        let products = taps.products(step);
        for (at, vector) in to.chunks_exact_mut(self.plan.form.bytes(lanes)).enumerate() {
            let first = channels.end.min(channels.start + at * lanes);
            self.vector(self.quad(products, first..channels.end.min(first + lanes)), part, vector);
        }
    }

    /// Packs a part of a quad of rows of weights; lanes past their end are 0.
    fn vector(&self, [a, b, c, d]: [&[u8]; 4], part: usize, to: &mut [u8]) {
        let form = self.plan.form;
        to.fill(0);
        let weight = |byte: &u8| form.part(self.number(*byte).into(), part);
        for (lane, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
            form.put(to, lane, [weight(a), weight(b), weight(c), weight(d)]);
        }
    }

    fn depthwise(
        &self,
        at: usize,
        lanes: usize,
        vectors: usize,
        biased: bool,
        block: &mut [u8],
    ) -> Result<(), PackError<'p>> {
        // Which of the window's rows meets which byte: rows that begin a quad, or its second row, or its third and
        // fourth with the next quad's first rows in place of this one's.
        const PLACES: [[Option<usize>; 4]; DEPTHWISE_QUADS / 3] = [
            [Some(0), Some(1), Some(2), None],
            [None, Some(0), Some(1), Some(2)],
            [Some(2), None, Some(0), Some(1)],
            [Some(1), Some(2), None, Some(0)],
        ];
        let form = self.plan.form;
        let all = DEPTHWISE_QUADS * form.bytes(lanes);
        let finish = lanes * finish_bytes(self.plan.rounding);
        let (_, stride) = self.plan.depthwise_places(lanes);
        for (index, block) in block[at..].chunks_exact_mut(stride).take(vectors).enumerate() {
            let (finish, weights) = block.split_at_mut(finish);
            self.finishes(index * lanes, lanes, biased, finish)?;
            let channels = index * lanes..self.layer.channels.min((index + 1) * lanes);
            let pack = |part: usize, weights: &mut [u8]| {
                let mut used = false;
                for (step, weights) in weights.chunks_exact_mut(form.bytes(lanes)).enumerate() {
                    let (place, column) = (PLACES[step / 3], step % 3);
                    self.vector(self.quad(place.map(|row| Some(row? * 3 + column)), channels.clone()), part, weights);
                    used |= weights.iter().any(|byte| *byte != 0);
                }
                used
            };
            let (first, rest) = weights.split_at_mut(all);
            pack(0, first);
            if let Some((count, rest)) = rest.split_at_mut_checked(REST_COUNT) {
                let parts = rest.chunks_exact_mut(all).enumerate();
                let used = parts.filter_map(|(at, weights)| pack(at + 1, weights).then_some(at + 1)).last();
                count[..4].copy_from_slice(&(used.unwrap_or(0) as u32).to_le_bytes());
            }
        }
        Ok(())
    }

    /// What finishes the sums of `width` channels from the `first`, in rows; those that do not exist make 0.
    fn finishes(&self, first: usize, width: usize, biased: bool, to: &mut [u8]) -> Result<(), PackError<'p>> {
        let mut put = |at: usize, made: [i32; 3]| {
            for (row, number) in to.chunks_exact_mut(width * 4).zip(made) {
                row[at * 4..][..4].copy_from_slice(&number.to_le_bytes());
            }
        };
        let end = self.layer.channels.min(first + width);
        for from in (first..end).step_by(Sums::CHANNELS) {
            for (channel, reach) in (from..end).zip(self.sums(from).channels()) {
                put(channel - first, self.finish(channel, reach, biased)?);
            }
        }
        for channel in end.max(first)..first + width {
            put(channel - first, [0; 3]);
        }
        Ok(())
    }
}

impl Taps<'_> {
    /// Quads of weights in all.
    pub(super) fn steps(&self) -> usize {
        self.runs * self.quads + usize::from(self.ends)
    }

    /// The products that quad `step` makes; fewer than four past the end of a run.
    fn products(&self, step: usize) -> [Option<usize>; 4] {
        core::array::from_fn(|index| {
            let (run, tap) = match step < self.runs * self.quads {
                true => (step / self.quads, step % self.quads * 4 + index),
                false => (index, self.run - 1),
            };
            (run < self.runs && tap < self.run).then_some(run * self.run + tap)
        })
    }

    /// Those of each run, and that of their ends.
    pub(super) fn parts(&self) -> impl Iterator<Item = core::ops::Range<usize>> {
        let (quads, steps) = (self.quads, self.steps());
        (0..self.runs + usize::from(self.ends)).map(move |run| run * quads..steps.min((run + 1) * quads))
    }
}

impl Matrix<'_> {
    /// Products that are summed for one output.
    fn k(&self) -> usize {
        match self {
            Self::Dense(taps) => taps.runs * taps.run,
            Self::Depthwise { .. } => 9,
        }
    }
}

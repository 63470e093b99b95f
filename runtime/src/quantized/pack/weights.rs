//! The weights of a layer as quads, in the panels of a dense layer or the vectors of a depthwise one.

use core::ops::Range;

use super::{MOST_LANES, Packing};
use crate::float::pack::PackError;
use crate::quantized::dot_form::{DEPTHWISE_QUADS, DotForm};
use crate::quantized::outliers;
use crate::quantized::plan::{OUTLIER_COUNT, PanelRun, Taps, finish_bytes};

/// Stored weights of a quad for the channels of a vector.
type Quad = [[u8; MOST_LANES]; 4];

impl<'p> Packing<'p, '_, '_> {
    pub(super) fn dense(
        &self,
        taps: Taps<'_>,
        panels: PanelRun,
        biased: bool,
        block: &mut [u8],
    ) -> Result<(), PackError<'p>> {
        let (lanes, width) = (panels.lanes, panels.lanes * panels.vectors);
        for (index, first) in (panels.first..panels.last).step_by(width).enumerate() {
            let panel = &mut block[panels.at + index * panels.stride..][..panels.stride];
            let (finish, weights) = panel.split_at_mut(width * finish_bytes(self.plan.rounding));
            self.finishes(first, width, biased, finish)?;
            let row = self.layer.form.bytes(lanes) * panels.vectors;
            let most = self.layer.form.outlier_rows(self.plan.integer);
            let (weights, mut rest) = weights.split_at_mut(row * taps.steps());
            let channels = first..self.layer.channels.min(panels.last).min(first + width);
            for (step, weights) in weights.chunks_exact_mut(row).enumerate() {
                self.row(taps, step, channels.clone(), lanes, 0, weights);
            }
            for steps in taps.parts().filter(|_| most > 0) {
                let (list, others) = rest.split_at_mut(outliers::list_bytes(steps.len(), most));
                let (rows, others) = others.split_at_mut(most * steps.len() * row);
                let mut rows = rows.chunks_exact_mut(row);
                let mut count = 0;
                for (quad, part) in (0..steps.len()).flat_map(|quad| (1..=most).map(move |part| (quad, part))) {
                    let step = steps.start + quad;
                    if self.reaches(taps, step, channels.clone(), lanes, part)
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

    /// Returns the weights of the quad of these products for the channels at some positions, with zeros for missing
    /// products. `gathered` holds them if they are not adjacent.
    #[inline(always)]
    fn quad<'a>(
        &'a self,
        [a, b, c, d]: [Option<usize>; 4],
        positions: Range<usize>,
        gathered: &'a mut Quad,
    ) -> [&'a [u8]; 4] {
        let row = |k| match k {
            Some(k) => self.weights(self.inputs.channel(k), positions.clone()),
            None => &self.zeros[..positions.len()],
        };
        // `map` on arrays would compile to one call per element.
        let rows = [row(a), row(b), row(c), row(d)];
        if !self.outputs.is_ordered() {
            return rows;
        }
        let count = positions.len();
        for (to, k) in gathered.iter_mut().zip([a, b, c, d]) {
            match k {
                Some(k) => {
                    let row = self.weights(self.inputs.channel(k), 0..self.layer.channels);
                    to.iter_mut().zip(positions.clone()).for_each(|(to, at)| *to = row[self.outputs.channel(at)]);
                }
                None => *to = self.zeros,
            }
        }
        let [a, b, c, d] = gathered;
        [&a[..count], &b[..count], &c[..count], &d[..count]]
    }

    /// Whether a weight of quad `step` has a nonzero part with this index.
    fn reaches(&self, taps: Taps<'_>, step: usize, channels: Range<usize>, lanes: usize, part: usize) -> bool {
        let products = taps.products(step, self.layer.form.depth());
        if self.layer.form == DotForm::PairedBytes {
            let vectors = channels.clone().step_by(lanes).map(|first| first..channels.end.min(first + lanes));
            return vectors.into_iter().any(|vector| {
                let mut gathered = Quad::default();
                let [a, b, c, d] = self.quad(products, vector, &mut gathered);
                let pairs = |a: &[u8], b: &[u8]| {
                    let pairs = a.iter().zip(b).map(|(a, b)| [self.number(*a), self.number(*b)]);
                    match part {
                        // No early exit, so that the loop is vectorized.
                        1 => !pairs.fold(true, |all, [a, b]| all & outliers::is_pair(a, b)),
                        _ => pairs.into_iter().any(|pair| outliers::pair_part(pair.map(i32::from), part) != [0; 2]),
                    }
                };
                pairs(a, b) || pairs(c, d)
            });
        }
        let rows = products.into_iter().flatten().map(|k| self.weights(self.inputs.channel(k), channels.clone()));
        let (least, most) =
            rows.flatten().fold((u8::MAX, u8::MIN), |(least, most), byte| (least.min(*byte), most.max(*byte)));
        // If any weight has one, the smallest or the largest weight has one.
        [least, most].into_iter().any(|byte| outliers::part(self.number(byte).into(), part) != 0)
    }

    /// Packs a part of the weights of quad `step` of all channels of a panel. 16-bit weights have one part.
    fn row(&self, taps: Taps<'_>, step: usize, channels: Range<usize>, lanes: usize, part: usize, to: &mut [u8]) {
        let products = taps.products(step, self.layer.form.depth());
        for (at, vector) in to.chunks_exact_mut(self.layer.form.bytes(lanes)).enumerate() {
            let first = channels.end.min(channels.start + at * lanes);
            let quad = &mut Quad::default();
            self.vector(self.quad(products, first..channels.end.min(first + lanes), quad), part, vector);
        }
    }

    /// Packs a part of a quad of rows of weights, with zeros in lanes past their end.
    fn vector(&self, [a, b, c, d]: [&[u8]; 4], part: usize, to: &mut [u8]) {
        let form = self.layer.form;
        to.fill(0);
        let weight = |byte: &u8| i32::from(self.number(*byte));
        for (lane, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
            form.put(to, lane, form.part([weight(a), weight(b), weight(c), weight(d)], part));
        }
    }

    /// Packs the windows of some channels of a depthwise layer.
    fn windows(&self, channels: Range<usize>, to: &mut [u8]) {
        to.fill(0);
        for (lane, position) in channels.enumerate() {
            let channel = self.outputs.channel(position);
            let weight = |tap| self.number(self.weights(tap, channel..channel + 1)[0]);
            DotForm::put_window(to, lane, core::array::from_fn(weight));
        }
    }

    pub(super) fn depthwise(
        &self,
        at: usize,
        lanes: usize,
        vectors: usize,
        biased: bool,
        block: &mut [u8],
    ) -> Result<(), PackError<'p>> {
        // Row of the window for each byte: windows that begin in the first or the second row of a quad, or in its third
        // or fourth row, where the first rows of the next quad replace those of this one.
        const PLACES: [[Option<usize>; 4]; DEPTHWISE_QUADS / 3] = [
            [Some(0), Some(1), Some(2), None],
            [None, Some(0), Some(1), Some(2)],
            [Some(2), None, Some(0), Some(1)],
            [Some(1), Some(2), None, Some(0)],
        ];
        let form = self.layer.form;
        let all = form.depthwise_bytes(lanes);
        let finish = lanes * finish_bytes(self.plan.rounding);
        let (_, stride) = self.plan.depthwise_places(form, lanes);
        for (index, block) in block[at..].chunks_exact_mut(stride).take(vectors).enumerate() {
            let (finish, weights) = block.split_at_mut(finish);
            self.finishes(index * lanes, lanes, biased, finish)?;
            let channels = index * lanes..self.layer.channels.min((index + 1) * lanes);
            if form == DotForm::Windows {
                self.windows(channels, weights);
                continue;
            }
            let pack = |part: usize, weights: &mut [u8]| {
                let mut used = false;
                for (step, weights) in weights.chunks_exact_mut(form.bytes(lanes)).enumerate() {
                    let (place, column) = (PLACES[step / 3], step % 3);
                    let (taps, quad) = (place.map(|row| Some(row? * 3 + column)), &mut Quad::default());
                    self.vector(self.quad(taps, channels.clone(), quad), part, weights);
                    used |= weights.iter().any(|byte| *byte != 0);
                }
                used
            };
            let (first, rest) = weights.split_at_mut(all);
            pack(0, first);
            if let Some((count, rest)) = rest.split_at_mut_checked(OUTLIER_COUNT) {
                let parts = rest.chunks_exact_mut(all).enumerate();
                let used = parts.filter_map(|(at, weights)| pack(at + 1, weights).then_some(at + 1)).last();
                count[..4].copy_from_slice(&(used.unwrap_or(0) as u32).to_le_bytes());
            }
        }
        Ok(())
    }
}

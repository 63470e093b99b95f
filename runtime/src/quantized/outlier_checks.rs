//! Checks of the outlier lists in a packed block: kernels read at offsets in the lists, so a damaged file must
//! be rejected.

use super::DotForm;
use super::outliers;
use super::plan::{Matrix, PanelRun, QuantPlan, Taps, finish_bytes};

impl QuantPlan<'_> {
    /// Whether all lists of outlier weights refer to existing rows and quads.
    pub(super) fn lists_are_sound(&self, block: &[u8]) -> bool {
        self.layers.iter().filter(|layer| layer.form.outlier_rows(self.integer) > 0).all(|layer| match layer.matrix {
            Matrix::Dense(taps) => {
                taps.panels.iter().all(|panels| self.dense_is_sound(layer.form, taps, *panels, block))
            }
            Matrix::Depthwise { at, lanes, vectors } => {
                self.depthwise_is_sound(layer.form, [at, lanes, vectors], block)
            }
        })
    }

    fn dense_is_sound(&self, form: DotForm, taps: Taps<'_>, panels: PanelRun, block: &[u8]) -> bool {
        let width = panels.lanes * panels.vectors;
        let row = form.bytes(panels.lanes) * panels.vectors;
        let most = form.outlier_rows(self.integer);
        let first = width * finish_bytes(self.rounding) + row * taps.steps();
        (0..(panels.last - panels.first).div_ceil(width)).all(|index| {
            let mut at = panels.at + index * panels.stride + first;
            taps.parts().all(|steps| {
                let list = at;
                at += outliers::list_bytes(steps.len(), most) + most * steps.len() * row;
                let word = |index: usize| word(block, list + index * 4);
                let rows = word(0).filter(|rows| *rows <= most * steps.len());
                rows.is_some_and(|rows| (1..=rows).all(|row| word(row).is_some_and(|quad| quad < steps.len())))
            })
        })
    }

    fn depthwise_is_sound(&self, form: DotForm, [at, lanes, vectors]: [usize; 3], block: &[u8]) -> bool {
        let (count, stride) = self.depthwise_places(form, lanes);
        let mut counts = (0..vectors).map(|vector| word(block, at + vector * stride + count));
        counts.all(|rows| rows.is_some_and(|rows| rows <= form.outlier_rows(self.integer)))
    }
}

fn word(block: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*block.get(at..)?.first_chunk()?) as usize)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec;

    use super::super::plan::{Named, QuantLayer};
    use super::*;
    use crate::float::pack::OutputRange;
    use crate::quantized::arithmetic::{Integer, Rounding};

    const NONE: Named<'_> = Named { scale: "", zero_point: "" };
    const DEPTHWISE: Matrix<'_> = Matrix::Depthwise { at: 2048, lanes: 4, vectors: 2 };
    /// Two runs of three quads, in panels of one vector of four lanes: 32 bytes to finish, 96 of weights, then for each
    /// run a list of 64 bytes and six rows of 16.
    const DENSE: Matrix<'_> = Matrix::Dense(Taps {
        runs: 2,
        run: 12,
        quads: 3,
        ends: false,
        panels: &[PanelRun { first: 0, last: 7, lanes: 4, vectors: 1, at: 64, stride: 32 + 96 + 2 * (64 + 6 * 16) }],
    });

    const LAYERS: &[QuantLayer<'_>] = &[layer(DENSE), layer(DEPTHWISE)];

    const fn layer(matrix: Matrix<'_>) -> QuantLayer<'_> {
        QuantLayer {
            weight: "",
            bias: "",
            weight_scale: "",
            weight_zero_point: None,
            input: NONE,
            output: NONE,
            activation: OutputRange::Linear,
            add: None,
            pool: None,
            channels: 7,
            inputs: None,
            outputs: None,
            form: DotForm::Bytes,
            header: 0,
            matrix,
        }
    }

    fn is_sound(words: &[(usize, u32)]) -> bool {
        let plan = QuantPlan {
            integer: Integer::Uint8,
            rounding: Rounding::Xnnpack,
            biased: false,
            input: NONE,
            embedding: NONE,
            logits: NONE,
            layers: LAYERS,
            orders: &[],
            lines: 64,
        };
        let mut block = vec![0; plan.lines * 64];
        for (at, word) in words {
            block[*at..*at + 4].copy_from_slice(&word.to_le_bytes());
        }
        let plain = QuantPlan { integer: Integer::Int8, ..plan };
        assert!(plain.lists_are_sound(&block), "without outliers there are no lists");
        plan.lists_are_sound(&block)
    }

    #[test]
    fn lists_refer_to_existing_rows_and_quads() {
        assert!(is_sound(&[]));
        // The list of the second run of the second panel.
        let list = 64 + 448 + 32 + 96 + 160;
        assert!(is_sound(&[(list, 6), (list + 4, 2), (list + 24, 2)]));
        assert!(!is_sound(&[(list, 7)]), "seven rows of six");
        assert!(!is_sound(&[(list, u32::MAX)]));
        assert!(!is_sound(&[(list, 6), (list + 24, 3)]), "the fourth quad of three");
        assert!(is_sound(&[(list, 5), (list + 24, 3)]), "behind the end of the list");
        assert!(is_sound(&[(list - 4, 7)]), "a row of weights");

        // 32 bytes to finish, twelve quads of four lanes; then the number, and twice as many quads.
        let count = 2048 + 32 + 192;
        let stride = 32 + 192 + 64 + 2 * 192;
        assert!(is_sound(&[(count, 2), (count + stride, 2)]));
        assert!(!is_sound(&[(count, 3)]));
        assert!(!is_sound(&[(count + stride, u32::MAX)]));
        assert!(is_sound(&[(count + 2 * stride, 3)]), "no third vector");
    }
}

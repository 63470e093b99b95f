//! The order in which a streamed block computes its rows.
//!
//! A row quad is four rows of the depthwise input, including the border above. A new quad completes the windows that
//! begin in the second half of the previous quad and in its own first half.

use super::quantized::QUAD;
use crate::ir::Window;

/// Work for one row quad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// First row of the quad that is in the image. The rows outside the image are padding.
    pub first: usize,
    /// Number of the quad's rows that are in the image.
    pub rows: usize,
    /// Output rows whose windows begin in the quad above.
    pub between: usize,
    /// Output rows whose windows begin in this quad.
    pub within: usize,
}

impl Work {
    /// Returns the output rows that the quad completes.
    pub fn completed(self) -> usize {
        self.between + self.within
    }
}

/// The quads `first..first + count`, which all have the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// First quad.
    pub first: usize,
    /// Number of consecutive quads.
    pub count: usize,
    /// Work for each quad.
    pub work: Work,
    /// Output rows that are complete before the phase.
    pub done: usize,
}

/// Returns the phases of a 3x3 depthwise convolution from `height` rows to `output` rows.
pub fn phases(window: Window, height: usize, output: usize) -> Vec<Phase> {
    let (stride, top) = (window.stride[0], window.padding.top);
    let begins = |from: usize| (from..from + QUAD / 2).filter(|row| row % stride == 0 && row / stride < output).count();
    let last = (output - 1) * stride;
    let quads = if last % QUAD < QUAD / 2 { last / QUAD + 1 } else { last / QUAD + 2 };
    let mut phases: Vec<Phase> = Vec::new();
    let mut done = 0;
    for quad in 0..quads {
        let inside = |row: &usize| (top..top + height).contains(&(quad * QUAD + row));
        let first = (0..QUAD).find(inside).unwrap_or(0);
        let work = Work {
            first,
            rows: (0..QUAD).filter(inside).count(),
            between: if quad == 0 { 0 } else { begins(quad * QUAD - QUAD / 2) },
            within: begins(quad * QUAD),
        };
        match phases.last_mut() {
            Some(phase) if phase.work == work => phase.count += 1,
            _ => phases.push(Phase { first: quad, count: 1, work, done }),
        }
        done += work.completed();
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Padding;

    fn of(stride: usize, top: usize, height: usize, output: usize) -> Vec<Phase> {
        let padding = Padding { top, ..Padding::default() };
        phases(Window { kernel: [3; 2], stride: [stride; 2], padding }, height, output)
    }

    #[test]
    fn a_block_has_a_first_quad_many_alike_and_a_last() {
        let phases = of(1, 1, 112, 112);
        let shape = |phase: &Phase| (phase.first, phase.count, phase.work.rows, phase.work.completed(), phase.done);
        assert_eq!(
            phases.iter().map(shape).collect::<Vec<_>>(),
            [(0, 1, 3, 2, 0), (1, 27, 4, 4, 2), (28, 1, 1, 2, 110)]
        );
        let phases = of(2, 0, 112, 56);
        assert_eq!(
            phases.iter().map(shape).collect::<Vec<_>>(),
            [(0, 1, 4, 1, 0), (1, 27, 4, 2, 1), (28, 1, 0, 1, 55)]
        );
    }

    #[test]
    fn every_row_is_made_once_when_its_window_is_complete() {
        for (stride, top) in [(1, 1), (2, 0), (2, 1), (1, 0)] {
            for height in 1..40_usize {
                let output = (height + 2 * top).max(3).saturating_sub(3) / stride + 1;
                let mut done = 0;
                for Phase { first, count, work, done: before } in of(stride, top, height, output) {
                    assert_eq!(before, done);
                    for quad in first..first + count {
                        for row in done..done + work.completed() {
                            let begin = row * stride;
                            let end = quad * QUAD + QUAD;
                            assert!(begin + 3 <= end && begin + QUAD >= end - QUAD, "{row} of {height}");
                        }
                        done += work.completed();
                    }
                }
                assert_eq!(done, output, "stride {stride}, top {top}, {height} rows");
            }
        }
    }
}

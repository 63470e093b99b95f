//! The activations of a dense sum, in quads.

use super::quantized::QUAD;
use crate::ir::{Op, Shape, Tensor, Window};

/// Runs of contiguous activations: the rows of a window, or the channels of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taps {
    /// Number of runs: the rows of the window.
    pub runs: usize,
    /// Activations per run.
    pub run: usize,
    /// Quads per run. The weights past the end of a run are zero.
    pub quads: usize,
    /// Whether each run has one more activation, and the last activations of all runs are gathered in one quad. A
    /// window of 3x3 pixels of three channels then takes seven quads instead of nine.
    pub ends: bool,
}

impl Taps {
    /// Returns the taps of an operation that reads `input`.
    pub fn of(op: &Op, input: Tensor) -> Self {
        let [runs, columns] = op.window().unwrap_or(Window::POINT).kernel;
        let run = columns * input.shape.channels;
        Self { runs, run, quads: run.div_ceil(QUAD), ends: false }
    }

    /// Returns the taps of an operation that produces row quads of `cols` pixels. Ends are gathered if that saves
    /// quads.
    pub fn of_producer(op: &Op, input: Tensor, cols: usize) -> Self {
        let taps = Self::of(op, input);
        let Taps { runs, run, .. } = taps;
        let pixel = op.window().map_or(0, |window| window.stride[1] * input.shape.channels);
        // Three rows are gathered for four pixels, from vectors of 16 bytes that start at or after the first window.
        let span = (QUAD - 1) * pixel;
        let reached = (15..=30).contains(&(run - 1 + span)) && span <= 30 && cols >= QUAD;
        if runs == 3 && run % QUAD == 1 && run > QUAD && reached {
            return Self { quads: run / QUAD, ends: true, ..taps };
        }
        taps
    }

    /// Returns the same taps in steps of `depth` products.
    pub fn in_steps_of(self, depth: usize) -> Self {
        if depth == QUAD { self } else { Self { quads: self.run.div_ceil(depth), ends: false, ..self } }
    }

    /// Returns the pixels after a window that whole quads extend into.
    pub fn pixels_after(window: Window, input: Shape) -> usize {
        let run = window.kernel[1] * input.channels;
        (run.next_multiple_of(QUAD) - run).div_ceil(input.channels.max(1))
    }

    /// Returns the total number of quads.
    pub fn steps(self) -> usize {
        self.runs * self.quads + usize::from(self.ends)
    }
}

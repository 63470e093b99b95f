//! Zero borders for windowed operations, and the ring of image rows before a stem.

use crate::ir::{Fused, Layout, Op, Padding, Shape, Stage, Tensor, Window};
use crate::schedule::quantized::QUAD;
use crate::schedule::taps::Taps;

/// Returns the window of an operation, if it covers more than one pixel.
pub fn window_of(op: &Op) -> Option<Window> {
    match op {
        Op::Conv2d(conv) if !conv.window.is_point() => Some(conv.window),
        Op::DepthwiseConv2d(depthwise) => Some(depthwise.window),
        _ => None,
    }
}

/// Returns the zero padding of `input` that `window` reads.
pub fn border(window: Window, input: Shape, output: Shape) -> Padding {
    let reach = |size: usize, axis: usize| (size - 1) * window.stride[axis] + window.kernel[axis];
    let Padding { top, left, .. } = window.padding;
    Padding {
        top,
        left,
        bottom: reach(output.height, 0).saturating_sub(top + input.height),
        right: reach(output.width, 1).saturating_sub(left + input.width),
    }
}

/// Inserts a ring of image rows before a first stage that is not a pointwise convolution (the stem).
pub fn ring_before_window(fused: &mut Fused, input: Tensor) {
    let Some(first) = fused.stages.first() else { return };
    let (Op::Conv2d(_), Some(window)) = (&first.op, window_of(&first.op)) else { return };
    let mut sides = Padding { top: 0, bottom: 0, ..border(window, input.shape, first.tensor.shape) };
    let reach = |rows: usize| ((rows - 1) * window.stride[0] + window.kernel[0]).min(input.shape.height);
    let ring = Some(if input.element.is_quantized() {
        // A window's row is read in whole quads, which may extend into the next pixels. Four rows are computed at once.
        // The row after the last one they read is padding, which is not zero.
        sides.right += Taps::pixels_after(window, input.shape);
        reach(QUAD) + 1
    } else {
        reach(1)
    });
    let mut origin = first.origin.clone();
    origin.name.push_str(".rows");
    origin.layer = None;
    let layout = Layout { border: sides, ring, ..Layout::nhwc(input.shape.channels) };
    let tensor = Tensor { layout, ..input };
    fused.stages.insert(0, Stage { op: Op::Repack, origin, tensor, tile: None, place: None, workspace: None });
}

//! The layout of a value is one that its readers accept.
//!
//! | reader                          | accepts                                                             |
//! |---------------------------------|---------------------------------------------------------------------|
//! | batch norm, activation, add     | the layout of its result                                            |
//! | convolution                     | all channels of a pixel adjacent; the residual has the layout of the result |
//! | depthwise                       | any groups; its result has the same channels adjacent               |
//! | pool, even in an epilogue, dense, repack | pixels without gap: one group, no border                            |
//! | anything with a window, once laid out | a zero border as wide as the window reaches                   |

use super::site::{self, Site};
use super::{Findings, Invariant};
use crate::ir::{Graph, Layout, NodeId, Op, Order, Padding, Tensor, Window};

/// Checks all layouts. Borders are checked only if `assigned`: before `assign_layouts` there are none.
pub fn check(graph: &Graph, assigned: bool, found: &mut Findings) {
    for id in graph.ids() {
        let end = matches!(graph.node(id).op, Op::Input) || graph.readers(id).is_empty();
        let tensor = graph.node(id).tensor;
        if end && !tensor.layout.is_nhwc(tensor.shape) {
            found.at(
                Invariant::Layout,
                graph,
                id,
                "is not plain NHWC, which inputs and outputs of the network must be",
            );
        }
        if tensor.layout.ring.is_some() && !is_chained(graph, id) {
            found.at(
                Invariant::Layout,
                graph,
                id,
                "produces a ring, which only a stage or a block of the same step can read",
            );
        }
    }
    for site in site::all(graph) {
        let mut broken = Vec::new();
        value_layout(&site, &mut broken);
        if let Some(input) = site.inputs.first() {
            accepted(&site, *input, &mut broken);
            if assigned {
                streamed(&site, &mut broken);
                window(&site, *input, &mut broken);
            }
        }
        for message in broken {
            found.named(Invariant::Layout, &site.origin.name, Some(site.origin.line), message);
        }
    }
}

/// Whether the node produces its rows on demand of its reader.
fn is_chained(graph: &Graph, id: NodeId) -> bool {
    let [reader] = graph.readers(id)[..] else { return false };
    matches!(graph.node(reader).op, Op::Fused(_)) && graph.node(reader).origin.step == graph.node(id).origin.step
}

/// Checks that the layout of the value is not empty.
fn value_layout(site: &Site<'_>, broken: &mut Vec<String>) {
    let Tensor { layout, .. } = site.output;
    if layout.group == 0 || layout.ring == Some(0) {
        broken.push("has an empty layout".to_owned());
    }
}

fn accepted(site: &Site<'_>, input: Tensor, broken: &mut Vec<String>) {
    let output = site.output;
    let side_by_side = groups(input) == 1;
    match site.op {
        op if op.is_elementwise() && site.inputs.iter().any(|input| input.layout != output.layout) => {
            broken.push("reads a value with a layout other than its result's".to_owned());
        }
        Op::Conv2d(_) if !side_by_side => broken.push("reads channels in groups".to_owned()),
        Op::DepthwiseConv2d(_) if groups(output) != 1 || output.layout.group != groups(input) * input.layout.group => {
            broken.push(format!(
                "stores {} channels a pixel, from {} groups of {}",
                output.layout.group,
                groups(input),
                input.layout.group
            ));
        }
        // Tiles sum pixels in raster order across rows.
        Op::Conv2d(conv) if conv.epilogue.pool.is_some() && input.layout.border != Padding::default() => {
            broken.push("reads pixels with gaps between them".to_owned());
        }
        Op::GlobalAvgPool | Op::Dense(_) | Op::Repack if !side_by_side || input.layout.border != Padding::default() => {
            broken.push("reads pixels with gaps between them".to_owned());
        }
        _ => {}
    }
    if site.op.epilogue().residual && site.inputs.iter().skip(1).any(|added| added.layout != output.layout) {
        broken.push("adds a value with a layout other than its result's".to_owned());
    }
}

/// Checks the rings of a stage against the rows of a tile.
fn streamed(site: &Site<'_>, broken: &mut Vec<String>) {
    let Some((fused, _)) = site.stage else { return };
    let Tensor { shape, layout, .. } = site.output;
    let height = fused.stages.last().map_or(0, |last| last.tensor.shape.height);
    if !(1..=height).contains(&fused.rows) {
        broken.push(format!("is streamed in tiles of {} rows of {height}", fused.rows));
    }
    if layout.ring.is_some() && layout.held_groups(shape) < groups(site.output) && fused.rows < height {
        broken.push("keeps one channel group at a time, but is read a tile at a time".to_owned());
    }
    if let (Op::DepthwiseConv2d(_), Some(rows)) = (site.op, layout.ring)
        && rows < fused.rows
    {
        broken.push(format!("holds {rows} rows of tiles of {}", fused.rows));
    }
}

/// Checks the border that a window reads and the rows that a ring holds for it.
fn window(site: &Site<'_>, input: Tensor, broken: &mut Vec<String>) {
    let Some(window) = site.op.window().filter(|window| !window.is_point()) else { return };
    let reach = reach(window, input, site.output);
    let Layout { border, ring, .. } = input.layout;
    if border.left != reach.left || border.right < reach.right {
        broken.push(format!(
            "reaches {} columns left and {} right of its input, which has {} and {}",
            reach.left, reach.right, border.left, border.right
        ));
    }
    match (ring, site.stage) {
        (Some(slots), Some((fused, _))) => {
            // The stem fills its ring row by row or four rows at a time. The depthwise convolution reads a tile, or two
            // quads of rows.
            let rows = match (site.op, site.output.layout.order) {
                (Op::DepthwiseConv2d(_), _) => fused.rows.max(1),
                (_, Order::RowQuads { .. }) => 4,
                _ => 1,
            };
            let quads = matches!(input.layout.order, Order::RowQuads { .. });
            let expected = ((rows - 1) * window.stride[0] + window.kernel[0]).min(input.shape.height);
            let expected = if quads { 8 } else { expected };
            if slots < expected || quads && slots % 4 != 0 {
                broken.push(format!("reads {expected} rows of a ring of {slots}"));
            }
            if quads && border.top != reach.top {
                broken.push(format!("reaches {} rows above its input, which has {}", reach.top, border.top));
            }
            if !quads && border.top + border.bottom > 0 {
                broken.push("reads a ring with rows outside the image".to_owned());
            }
        }
        _ if border.top != reach.top || border.bottom < reach.bottom => broken.push(format!(
            "reaches {} rows above and {} below its input, which has {} and {}",
            reach.top, reach.bottom, border.top, border.bottom
        )),
        _ => {}
    }
}

/// Rows and columns that `window` reads beyond `input` for `output`.
fn reach(window: Window, input: Tensor, output: Tensor) -> Padding {
    let Padding { top, left, .. } = window.padding;
    let end = |size: usize, axis: usize| size.saturating_sub(1) * window.stride[axis] + window.kernel[axis];
    Padding {
        top,
        left,
        bottom: end(output.shape.height, 0).saturating_sub(top + input.shape.height),
        right: end(output.shape.width, 1).saturating_sub(left + input.shape.width),
    }
}

fn groups(tensor: Tensor) -> usize {
    tensor.shape.channels.div_ceil(tensor.layout.group.max(1))
}

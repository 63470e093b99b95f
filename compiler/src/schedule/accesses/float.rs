//! Accesses of float networks.

use mbvc_runtime::Team;

use super::quantized::each_part;
use super::{Area, Model, Run, Trace};
use crate::ir::{Fused, Graph, Node, NodeId, Op, Tensor, Tile};
use crate::schedule::balance::is_balanced;
use crate::schedule::conv::{Conv, Panels};
use crate::target::{Isa, IsaFacts};

/// Converts a run in elements of `tensor` to a run in bytes.
fn in_bytes(tensor: Tensor, run: Run) -> Run {
    let (element, Run { start, bytes, count, pitch }) = (tensor.element.bytes(), run);
    Run { start: start * element, bytes: bytes * element, count, pitch: pitch * element }
}

/// Returns the accesses of any node that is not fused.
pub fn layer<'g>(graph: &'g Graph, id: NodeId, isa: Isa, threads: usize) -> Model<'g> {
    let node = graph.node(id);
    let inputs: Vec<&Node> = graph.inputs(id).into_iter().map(|input| graph.node(input)).collect();
    let input = inputs.first().map(|input| input.tensor);
    let conv = input.and_then(|input| Conv::new(isa, &node.op, input, node.tensor, node.tile));
    let product = conv.map(|conv| Product::new(conv, conv.tile.chunk, threads));
    Box::new(move |trace| {
        // An in-place operation reads only bytes that the same thread writes.
        for place in inputs.iter().filter_map(|input| input.place).filter(|place| node.place != Some(*place)) {
            trace.read(trace.area(place));
        }
        match &product {
            Some(product) => {
                trace.private(node.workspace.filter(|_| product.conv.is_fast()));
                clear_border(node.tensor, trace.value(node), trace);
                product.write(trace.value(node), threads, trace);
            }
            None => simple(node, isa, threads, trace),
        }
    })
}

/// Records the writes of an operation that is not a dense product.
fn simple(node: &Node, isa: Isa, threads: usize, trace: &mut Trace) {
    let (out, shape, thread, lanes) = (trace.value(node), node.tensor.shape, trace.thread(), isa.lanes());
    let row = node.tensor.layout.row_stride(shape);
    let rows = |trace: &mut Trace, first: usize, count: usize| {
        trace.write(out, in_bytes(node.tensor, Run::once(first * row, count * row)));
    };
    let vectors = |trace: &mut Trace, first: usize, count: usize| {
        trace.write(out, in_bytes(node.tensor, Run::once(first * lanes, count * lanes)));
    };
    match (&node.op, node.tile) {
        (Op::DepthwiseConv2d(_), Some(Tile::Depthwise(tile))) => {
            thread.share(shape.height / tile.rows).for_each(|at| rows(trace, at * tile.rows, tile.rows));
        }
        (Op::Activation(_) | Op::Add, _) => {
            let count = node.tensor.elements().div_ceil(lanes);
            each_part(count, threads, thread, &mut |first, count| vectors(trace, first, count));
        }
        (Op::GlobalAvgPool, _) => {
            let (whole, rest) = (shape.channels / lanes, shape.channels % lanes);
            each_part(whole, threads, thread, &mut |first, count| vectors(trace, first, count));
            thread.share(1).for_each(|_| trace.write(out, in_bytes(node.tensor, Run::once(whole * lanes, rest))));
        }
        (Op::Repack, _) => {
            thread.share(node.tensor.layout.stored_rows(shape)).for_each(|at| rows(trace, at, 1));
        }
        _ => {}
    }
}

/// Records the writes that zero the border of a value written in place: the sides of each row, and the rows above and
/// below.
fn clear_border(tensor: Tensor, out: Area, trace: &mut Trace) {
    let Tensor { shape, layout, .. } = tensor;
    if layout.elements(shape) == layout.group * shape.pixels() {
        return;
    }
    let (stride, border, thread) = (layout.row_stride(shape), layout.border, trace.thread());
    let sides = [(0, border.left * layout.group), (stride - border.right * layout.group, border.right * layout.group)];
    let rows = thread.share(shape.height);
    for (from, bytes) in sides {
        let start = (border.top + rows.start) * stride + from;
        trace.write(out, in_bytes(tensor, Run { start, bytes, count: rows.len(), pitch: stride }));
    }
    for _ in thread.share(1) {
        let below = (border.top + shape.height) * stride;
        for (start, bytes) in [(0, border.top * stride), (below, border.bottom * stride)] {
            trace.write(out, in_bytes(tensor, Run::once(start, bytes)));
        }
    }
}

/// A dense product, split into calls of some output rows each.
struct Product {
    conv: Conv,
    /// Output rows of a call.
    rows: usize,
    /// All panels: the form, and the index within the form.
    panels: Vec<(Panels, usize)>,
    /// Parts of a call's pixels if threads share its panels: the first piece and the number of pieces.
    parts: Vec<(usize, usize)>,
}

impl Product {
    fn new(conv: Conv, rows: usize, threads: usize) -> Self {
        let forms = conv.panels();
        let panels = forms.iter().flat_map(|panels| (0..panels.count).map(move |at| (*panels, at))).collect();
        let mut first = 0;
        let sizes = conv.cuts(rows, threads).into_iter().flat_map(|(size, count)| std::iter::repeat_n(size, count));
        let parts = sizes
            .map(|size| {
                let part = (first, size);
                first += size;
                part
            })
            .collect();
        Self { conv, rows, panels, parts }
    }

    /// Records the writes of the whole value. A thread computes whole calls, or its share of each call.
    fn write(&self, out: Area, threads: usize, trace: &mut Trace) {
        let calls = self.conv.output.shape.height / self.rows.max(1);
        if !is_balanced(calls, threads) {
            return (0..calls).for_each(|call| self.write_share(out, call * self.rows, trace));
        }
        for call in trace.thread().share(calls) {
            self.panels.iter().for_each(|panel| self.write_rows(out, panel, call * self.rows, self.rows, trace));
        }
    }

    /// Records the writes of the thread's panels, or of parts of their pixels, in the call from output row `first`.
    fn write_share(&self, out: Area, first: usize, trace: &mut Trace) {
        let flat = self.conv.cut(self.rows).flat;
        for unit in trace.thread().share(self.parts.len() * self.panels.len()) {
            let (panel, (begin, size)) = (&self.panels[unit % self.panels.len()], self.parts[unit / self.panels.len()]);
            match flat {
                true => self.write_pixels(out, panel, [first, begin], size, trace),
                false => self.write_rows(out, panel, first + begin, size, trace),
            }
        }
    }

    fn write_rows(&self, out: Area, panel: &(Panels, usize), first: usize, rows: usize, trace: &mut Trace) {
        let Tensor { shape, layout, .. } = self.conv.output;
        // Contiguous rows are one row of pixels.
        if layout.row_stride(shape) == shape.width * layout.pixel_stride() {
            return self.write_pixels(out, panel, [first, 0], rows * shape.width, trace);
        }
        (first..first + rows).for_each(|row| self.write_pixels(out, panel, [row, 0], shape.width, trace));
    }

    /// Records the writes of a panel of `count` pixels from a row and column. A pool reduces all pixels to one.
    fn write_pixels(
        &self,
        out: Area,
        (panels, at): &(Panels, usize),
        [row, column]: [usize; 2],
        count: usize,
        trace: &mut Trace,
    ) {
        let Tensor { shape, layout, .. } = self.conv.output;
        let first = panels.first + at * panels.width();
        let channels = (panels.nv - 1) * panels.lanes + panels.last;
        let run = match self.conv.epilogue.pool {
            Some(_) => Run::once(first, channels),
            None => {
                let pitch = layout.pixel_stride();
                let pixel = Conv::interior(self.conv.output) + row * layout.row_stride(shape) + column * pitch;
                Run { start: pixel + first, bytes: channels, count, pitch }
            }
        };
        trace.write(out, in_bytes(self.conv.output, run));
    }
}

/// Returns the accesses of a streamed block.
pub fn block<'g>(graph: &'g Graph, id: NodeId, fused: &'g Fused, isa: Isa, threads: usize) -> Model<'g> {
    let node = graph.node(id);
    let [producers @ .., depthwise, project] = &*fused.stages else { return Box::new(|_| {}) };
    let Some(ring) = producers.last() else { return Box::new(|_| {}) };
    let inputs: Vec<_> = graph.inputs(id).into_iter().filter_map(|input| graph.node(input).place).collect();
    let conv = Conv::new(isa, &project.op, depthwise.tensor, project.tensor, project.tile);
    let product = conv.map(|conv| Product::new(conv, fused.rows, threads));
    Box::new(move |trace| {
        let (out, shape, thread) = (trace.value(node), node.tensor.shape, trace.thread());
        inputs.iter().for_each(|place| trace.read(trace.area(*place)));
        producers.iter().for_each(|stage| trace.private(stage.place));
        // The terms that the fast inner product subtracts.
        fused.stages.iter().for_each(|stage| trace.private(stage.workspace));
        if fused.rows < shape.height {
            // Each thread computes the output of its tiles.
            trace.private(depthwise.place);
            let row = node.tensor.layout.row_stride(shape);
            for tile in thread.share(shape.height.div_ceil(fused.rows)) {
                let rows = fused.rows.min(shape.height - tile * fused.rows);
                trace.write(out, in_bytes(node.tensor, Run::once(tile * fused.rows * row, rows * row)));
            }
            return;
        }
        let Some(spatial) = depthwise.place.map(|place| trace.area(place)) else { return };
        let (bytes, count) = (ring.tensor.layout.group, depthwise.tensor.shape.pixels());
        for group in thread.share(ring.tensor.layout.groups(ring.tensor.shape)) {
            let run = Run { start: group * bytes, bytes, count, pitch: depthwise.tensor.layout.pixel_stride() };
            trace.write(spatial, in_bytes(depthwise.tensor, run));
        }
        trace.wait();
        trace.read(spatial);
        inputs.iter().for_each(|place| trace.read(trace.area(*place)));
        trace.private(project.workspace);
        if let Some(product) = &product {
            product.write_share(out, 0, trace);
        }
    })
}

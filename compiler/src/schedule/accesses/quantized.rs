//! Accesses of quantized networks.

use mbvc_runtime::Team;

use super::{Area, Run, Trace};
use crate::ir::{Fused, Graph, Node, NodeId, Op, Order, Place, Tensor, Tile, Window};
use crate::schedule::phases::{Phase, phases};
use crate::schedule::quantized::{PanelForm, QUAD, Sharing, panel_forms, shares_groups, sharing};
use crate::schedule::team::{self, Thread};
use crate::target::{Isa, IsaFacts};

/// Records the accesses of any node that is not fused.
pub fn layer(graph: &Graph, id: NodeId, isa: Isa, threads: usize, trace: &mut Trace) {
    let node = graph.node(id);
    for input in graph.inputs(id).into_iter().filter_map(|input| graph.node(input).place) {
        trace.read(trace.area(input));
    }
    let reader = || graph.readers(id).first().map(|reader| graph.node(*reader));
    match (&node.op, node.tensor.layout.order) {
        (Op::DepthwiseConv2d(op), _) => {
            let ring = graph.inputs(id).first().map(|input| graph.node(*input).tensor);
            if let Some(ring) = ring {
                let filter = Filter { ring, output: node.tensor, window: op.window, lanes: isa.lanes() };
                filter_all(filter, node, threads, trace);
            }
        }
        (_, Order::RowQuads { .. }) => {
            if let Some((window, output)) = reader().and_then(|node| Some((node.op.window()?, node.tensor))) {
                let fill = Filter { ring: node.tensor, output, window, lanes: isa.lanes() };
                let area = trace.value(node);
                fill.each_quad(threads, false, trace.thread(), &mut |group, phase, quad| {
                    fill.pad(area, group, phase, quad, trace);
                    fill.fill(area, group, phase, quad, trace);
                });
            }
        }
        (Op::Repack, _) => once(trace.value(node), node.tensor.bytes(), trace),
        _ => product(graph, node, id, isa, threads, trace),
    }
}

/// Records what the first thread writes for all threads.
fn once(area: Area, bytes: usize, trace: &mut Trace) {
    if trace.thread().index == 0 {
        trace.write(area, Run::once(0, bytes));
    }
}

/// A depthwise convolution and the row quads that it reads.
#[derive(Debug, Clone, Copy)]
struct Filter {
    /// Row quads that the convolution reads.
    ring: Tensor,
    /// Output of the depthwise convolution.
    output: Tensor,
    window: Window,
    lanes: usize,
}

impl Filter {
    fn phases(&self) -> Vec<Phase> {
        phases(self.window, self.ring.shape.height, self.output.shape.height)
    }

    fn groups(&self) -> usize {
        self.ring.layout.groups(self.ring.shape)
    }

    /// Returns the vectors of channels in a group.
    fn vectors(&self) -> usize {
        self.ring.layout.group / self.lanes
    }

    /// Calls `work` for a thread's share of an operation over all row quads. The share is by channel groups or by
    /// quads.
    fn each_quad(&self, threads: usize, in_order: bool, thread: Thread, work: &mut dyn FnMut(usize, &Phase, usize)) {
        let phases = self.phases();
        let quads: usize = phases.iter().map(|phase| phase.count).sum();
        let by_groups = shares_groups(self.groups(), in_order, threads);
        let groups = if by_groups { thread.share(self.groups()) } else { 0..self.groups() };
        let mine = if by_groups { 0..quads } else { thread.share(quads) };
        for group in groups {
            for phase in &phases {
                let quads = mbvc_runtime::clip(&mine, phase.first, phase.first + phase.count);
                quads.for_each(|quad| work(group, phase, quad));
            }
        }
    }

    /// Returns the start of the group's part of a row quad, and its bytes.
    fn quad(&self, group: usize, quad: usize) -> (usize, usize) {
        let Tensor { shape, layout, .. } = self.ring;
        let bytes = layout.row_stride(shape) * QUAD;
        let held = if layout.held_groups(shape) > 1 { group * layout.group_stride(shape) } else { 0 };
        (held + quad * bytes, bytes)
    }

    /// Records the padding of the columns left and right of the image in the group's part of a row quad.
    fn pad(&self, ring: Area, group: usize, phase: &Phase, quad: usize, trace: &mut Trace) {
        if phase.work.rows == 0 {
            return;
        }
        let Tensor { shape, layout, .. } = self.ring;
        let [column, vector] = layout.column_strides(shape, self.lanes);
        let (first, count) = (self.quad(group, quad).0, self.vectors());
        let (left, right) = (layout.border.left * column, layout.border.right * column);
        for (from, bytes) in [(0, left), (vector - right, right)] {
            trace.write(ring, Run { start: first + from, bytes, count, pitch: vector });
        }
    }

    /// Records the writes that fill the group's part of a row quad. A quad outside the image is filled with padding.
    fn fill(&self, ring: Area, group: usize, phase: &Phase, quad: usize, trace: &mut Trace) {
        let Tensor { shape, layout, .. } = self.ring;
        let (first, bytes) = self.quad(group, quad);
        if phase.work.rows == 0 {
            return trace.write(ring, Run::once(first, bytes));
        }
        let [column, vector] = layout.column_strides(shape, self.lanes);
        let start = first + layout.border.left * column;
        trace.write(ring, Run { start, bytes: shape.width * column, count: self.vectors(), pitch: vector });
    }

    /// Records the writes of the output rows that row quad `quad` completes, for a group's channels.
    fn filter(&self, output: Area, group: usize, phase: &Phase, quad: usize, trace: &mut Trace) {
        let Tensor { shape, layout, .. } = self.output;
        let (row, rows, width) = (first_row(phase, quad), phase.work.completed(), shape.width);
        if rows == 0 {
            return;
        }
        let vector = layout.group_stride(shape) / (layout.group / self.lanes);
        let first = group * self.vectors() * vector;
        let run = match layout.order {
            Order::ChannelQuads => {
                // The last store of a row writes four pixels.
                let over = width.next_multiple_of(QUAD) - width;
                let (plane, count) = (layout.plane(shape), self.vectors() * self.lanes / QUAD);
                let (start, bytes) = (first + row * width * QUAD, (rows * width + over) * QUAD);
                Run { start, bytes, count, pitch: plane }
            }
            Order::ChannelPairs => {
                let (start, bytes) = (first + row * width * QUAD, rows * width * QUAD);
                Run { start, bytes, count: self.vectors(), pitch: vector }
            }
            _ => {
                let (start, bytes) = (first + row * width * self.lanes, rows * width * self.lanes);
                Run { start, bytes, count: self.vectors(), pitch: vector }
            }
        };
        trace.write(output, run);
    }
}

/// Returns the first output row that row quad `quad` of a phase completes.
fn first_row(phase: &Phase, quad: usize) -> usize {
    phase.done + (quad - phase.first) * phase.work.completed()
}

/// Records the accesses of a depthwise convolution over a whole value.
fn filter_all(filter: Filter, node: &Node, threads: usize, trace: &mut Trace) {
    let area = trace.value(node);
    // Without pixel quads, the last store of a row overlaps the next row, which then overwrites it.
    let in_order = !matches!(node.tensor.layout.order, Order::PixelQuads { .. });
    filter.each_quad(threads, in_order, trace.thread(), &mut |group, phase, quad| {
        filter.filter(area, group, phase, quad, trace);
    });
}

/// Records the accesses of a product over a whole value: projection, head, classifier, or an unfused stem.
fn product(graph: &Graph, node: &Node, id: NodeId, isa: Isa, threads: usize, trace: &mut Trace) {
    let Some(input) = graph.inputs(id).first().map(|input| graph.node(*input).tensor) else { return };
    let Some(Tile::Gemm(tile)) = node.tile else { return };
    let epilogue = node.op.epilogue();
    let shape = epilogue.unpooled(node.tensor.shape);
    let forms = panel_forms(isa, shape.channels, tile.nv, node.tensor.layout.order);
    let out = trace.value(node);
    if let (Some(_), Some(place)) = (node.widened(input), node.workspace) {
        let at = node.pool_bytes();
        let wide = trace.area(Place { offset: place.offset + at, bytes: place.bytes - at, ..place });
        once(wide, wide.bytes, trace);
        trace.wait();
        trace.read(wide);
    }
    if epilogue.pool.is_some() {
        let sums = node.workspace.map(|place| trace.area(Place { bytes: node.pool_bytes(), ..place }));
        let Some(sums) = sums else { return };
        match sharing(input.layout.order, shape.width) {
            Sharing::Panels => panels(&forms, trace.thread(), &mut |form, first, _| {
                trace.write(sums, Run::once(first * size_of::<i32>(), form.width() * size_of::<i32>()));
            }),
            // Otherwise every thread would write all sums.
            Sharing::Rows(_) => trace.write(sums, Run::once(0, sums.bytes)),
        }
        trace.wait();
        if trace.thread().index == 0 {
            trace.read(sums);
        }
        return once(out, node.tensor.bytes(), trace);
    }
    let pixels = |trace: &mut Trace, first: usize, count: usize, channel: usize, channels: usize| {
        let (start, pitch) = (first * shape.channels + channel, shape.channels);
        trace.write(out, Run { start, bytes: channels, count, pitch });
    };
    match sharing(input.layout.order, shape.width) {
        Sharing::Panels => panels(&forms, trace.thread(), &mut |_, first, channels| {
            pixels(trace, 0, shape.pixels(), first, channels);
        }),
        Sharing::Rows(unit) => {
            let thread = trace.thread();
            each_part(shape.height / unit, threads, thread, &mut |first, units| {
                pixels(trace, first * unit * shape.width, units * unit * shape.width, 0, shape.channels);
            });
        }
    }
}

/// Calls `panel` for each of the thread's panels with the form, the first channel and the number of channels.
fn panels(forms: &[PanelForm], thread: Thread, panel: &mut dyn FnMut(&PanelForm, usize, usize)) {
    for form in forms {
        for at in thread.share(form.whole()) {
            panel(form, form.first + at * form.width(), form.width());
        }
        if form.whole() < form.count {
            for _ in thread.share(1) {
                let channels = form.width() - form.lanes + form.last;
                panel(form, form.first + form.whole() * form.width(), channels);
            }
        }
    }
}

/// Calls `part` for each of the thread's consecutive parts of `total` items with the first item and their number.
pub fn each_part(total: usize, threads: usize, thread: Thread, part: &mut dyn FnMut(usize, usize)) {
    let sizes = team::parts(total, threads);
    let all = sizes.iter().flat_map(|(size, count)| std::iter::repeat_n(*size, *count));
    let mut first = 0;
    let parts: Vec<(usize, usize)> = all
        .map(|size| {
            let part = (first, size);
            first += size;
            part
        })
        .collect();
    for at in thread.share(parts.len()) {
        let (first, size) = parts[at];
        part(first, size);
    }
}

/// Records the accesses of a streamed block.
pub fn block(graph: &Graph, id: NodeId, fused: &Fused, isa: Isa, trace: &mut Trace) {
    let node = graph.node(id);
    let [producers @ .., depthwise, project] = &*fused.stages else { return };
    let (Some(ring), Some(window)) = (producers.last(), depthwise.op.window()) else { return };
    for input in graph.inputs(id).into_iter().filter_map(|input| graph.node(input).place) {
        trace.read(trace.area(input));
    }
    producers.iter().flat_map(|stage| [stage.place, stage.workspace]).for_each(|place| trace.private(place));
    let filter = Filter { ring: ring.tensor, output: depthwise.tensor, window, lanes: isa.lanes() };
    let (out, shape) = (trace.value(node), project.tensor.shape);
    let thread = trace.thread();
    let phases = filter.phases();
    if fused.rows < node.tensor.shape.height {
        // Each thread computes the rows that its row quads complete.
        trace.private(depthwise.place);
        let mine = thread.share(phases.iter().map(|phase| phase.count).sum());
        for phase in &phases {
            for quad in mbvc_runtime::clip(&mine, phase.first, phase.first + phase.count) {
                let (row, rows) = (first_row(phase, quad), phase.work.completed());
                let bytes = shape.width * shape.channels;
                trace.write(out, Run::once(row * bytes, rows * bytes));
            }
        }
        return;
    }
    let Some(spatial) = depthwise.place.map(|place| trace.area(place)) else { return };
    for group in thread.share(filter.groups()) {
        for phase in &phases {
            for quad in phase.first..phase.first + phase.count {
                filter.filter(spatial, group, phase, quad, trace);
            }
        }
    }
    trace.wait();
    trace.read(spatial);
    for input in graph.inputs(id).into_iter().filter_map(|input| graph.node(input).place) {
        trace.read(trace.area(input));
    }
    let Some(Tile::Gemm(tile)) = project.tile else { return };
    panels(
        &panel_forms(isa, shape.channels, tile.nv, project.tensor.layout.order),
        thread,
        &mut |_, first, channels| {
            trace.write(out, Run { start: first, bytes: channels, count: shape.pixels(), pitch: shape.channels });
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::{conflicts, races};
    use super::*;
    use crate::diagnostic::SourceFile;
    use crate::passes::{self, Target};
    use crate::spec::{self, Fusion, Overrides};

    const TINY: &str = include_str!("../../../../specs/tiny.yaml");

    fn scheduled(threads: usize) -> Graph {
        let mut overrides = Overrides::none();
        overrides.set("precision", "int8").set("fusion", "relu6");
        let spec = spec::parse_with(&SourceFile::new("tiny.yaml", TINY), &overrides).expect("a spec of the project");
        let mut graph = crate::lower::lower(&spec);
        passes::run(&mut graph, Fusion::Relu6, None, &mut |_, _| {}).expect("a sound graph");
        let target = Target { threads, ..Target::new(&spec, Isa::Avx512Vnni) };
        passes::schedule(&mut graph, target, None, &mut |_, _| {}).expect("a sound schedule");
        graph
    }

    /// If padding is shared by vectors, and row quads by quads or groups, two threads write the columns left and
    /// right of the image.
    #[test]
    fn padding_by_other_shares_than_row_quads_is_a_race() {
        let threads = 3;
        let graph = scheduled(threads);
        assert_eq!(races(&graph, Isa::Avx512Vnni, threads), []);
        let mut found = 0;
        for id in graph.ids() {
            let node = graph.node(id);
            let (Order::RowQuads { lanes, .. }, [reader]) = (node.tensor.layout.order, &graph.readers(id)[..]) else {
                continue;
            };
            let reader = graph.node(*reader);
            let window = reader.op.window().expect("a depthwise convolution");
            let fill = Filter { ring: node.tensor, output: reader.tensor, window, lanes };
            let traces = (0..threads).map(|index| {
                let mut trace = Trace::new(Thread { index, team: threads });
                let (area, thread) = (trace.value(node), trace.thread());
                let Tensor { shape, layout, .. } = node.tensor;
                let [column, vector] = layout.column_strides(shape, lanes);
                for at in thread.share(layout.elements(shape) / vector) {
                    trace.write(area, Run::once(at * vector, layout.border.left * column));
                    let right = layout.border.right * column;
                    trace.write(area, Run::once((at + 1) * vector - right, right));
                }
                fill.each_quad(threads, false, thread, &mut |group, phase, quad| {
                    fill.fill(area, group, phase, quad, &mut trace);
                });
                trace
            });
            found += conflicts(&traces.collect::<Vec<_>>()).len();
        }
        assert!(found > 0, "the race of padding and row quads is not seen");
    }

    /// Rings, sums and the depthwise output conflict if they are not in per-thread arenas.
    #[test]
    fn rings_that_threads_share_are_a_race() {
        let mut overrides = Overrides::none();
        overrides.set("precision", "int8");
        let spec = spec::parse_with(&SourceFile::new("tiny.yaml", TINY), &overrides).expect("a spec of the project");
        let mut graph = crate::lower::lower(&spec);
        passes::run(&mut graph, Fusion::Block, None, &mut |_, _| {}).expect("a sound graph");
        let target = Target { threads: 2, ..Target::new(&spec, Isa::Avx2) };
        passes::schedule(&mut graph, target, None, &mut |_, _| {}).expect("a sound schedule");
        let blocks: Vec<_> = graph.ids().filter(|id| matches!(graph.node(*id).op, Op::Fused(_))).collect();
        assert!(!blocks.is_empty());
        for id in blocks {
            let mut broken = graph.clone();
            let Op::Fused(fused) = &mut broken.node_mut(id).op else { continue };
            for stage in &mut fused.stages {
                stage.place = stage.place.map(|place| crate::ir::Place { arenas: None, ..place });
            }
            let races = races(&broken, Isa::Avx2, 2);
            assert!(races.iter().any(|race| race.node == id), "{races:?}");
        }
    }
}

//! Predicts the instruction count of a call on a microcontroller with the instruction set `dsp`, and the size of its code.
//!
//! The model counts the work of the kernels: steps of register tiles, results, and windows of depthwise convolutions. The
//! instructions of a step are those of the assembly in the runtime. The cost of the surrounding code, which rustc
//! generates, is an average over networks of several widths and sizes, measured on an emulated Cortex-M4 at
//! `opt-level = 3`. Outlier weights, which do not fit in a signed byte and occur only in uint8 networks, are not counted.

use super::cover::near_equal;
use super::phases::{Phase, phases};
use super::quantized::{QUAD, dense_form, panel_forms, panel_pixels};
use super::taps::Taps;
use crate::ir::{Fused, Graph, Node, NodeId, Op, Order, Stage, Tensor, Tile, Widened, Window};
use crate::spec::{Fusion, NetworkSpec, Rounding};
use crate::target::{DotForm, Isa, IsaFacts};

/// Instruction counts of the code that rustc generates around the assembly. A result is a vector of two channels of a
/// pixel.
struct Costs {
    /// Requantization of a result.
    result: u64,
    /// Extra instructions for each missing result of a tile whose pixel count is not a multiple of four.
    missing: u64,
    /// Additional instructions to store a result in pixel order.
    stored: u64,
    /// Additional instructions to add a residual to a result.
    added: u64,
    /// Additional instructions to pool a result.
    pooled: u64,
    /// Setup of a channel of a depthwise convolution.
    channel: u64,
    /// Setup of a group of windows.
    windows: u64,
    /// Requantization of a result of a depthwise convolution: one channel of a pixel.
    filtered: u64,
    /// Bytes of a kernel's code.
    kernel: usize,
}

impl Costs {
    const fn of(rounding: Rounding) -> Self {
        match rounding {
            Rounding::Xnnpack => Self {
                result: 27,
                missing: 18,
                stored: 7,
                added: 29,
                pooled: 6,
                channel: 13,
                windows: 19,
                filtered: 12,
                kernel: 750,
            },
            // Requantization takes 64-bit multiplications and rounds in two steps.
            Rounding::TfliteReference => Self {
                result: 52,
                missing: 12,
                stored: 6,
                added: 119,
                pooled: 8,
                channel: 22,
                windows: 25,
                filtered: 19,
                kernel: 900,
            },
        }
    }
}

/// Loop overhead per iteration.
const ITERATION: u64 = 3;
/// Instructions to gather four bytes.
const GATHERED: u64 = 9;
/// Instructions of a four-element dot product without assembly.
const DOT: u64 = 8;
/// Instructions per result for each missing row of a row quad.
const MISSING_ROW: u64 = 6;
/// Instructions to copy a byte of the image.
const COPIED: u64 = 3;
/// Instructions to copy a byte of a value into row quads.
const INTERLEAVED: u64 = 6;
/// Instructions per copied row of the image.
const ROW: u64 = 70;

/// Bytes of code outside the kernels.
const PROGRAM: usize = 21_500;
/// Bytes of code per kernel call site.
const CALL: usize = 150;

/// Predicts the instruction counts of a network.
pub struct Predictor<'g> {
    graph: &'g Graph,
    isa: Isa,
    costs: Costs,
}

/// Shape of a matrix product: each result of `pixels` pixels sums `steps` pairs or quads of products.
#[derive(Clone, Copy)]
struct Products {
    pixels: usize,
    steps: usize,
    form: DotForm,
}

impl<'g> Predictor<'g> {
    /// Returns a predictor for a network that is scheduled for `isa`, or `None` if `isa` has no model, or the network is not
    /// quantized or its blocks are not fused.
    pub fn new(graph: &'g Graph, spec: &NetworkSpec, isa: Isa) -> Option<Self> {
        let has_model = isa.multiplies_pairs() && matches!(spec.fusion, Fusion::Block | Fusion::Deep);
        has_model.then_some(Self { graph, isa, costs: Costs::of(spec.rounding?) })
    }

    /// Returns the code size, in bytes, of a program with `kernels` kernels and `calls` kernel call sites.
    pub fn code_bytes(&self, kernels: usize, calls: usize) -> usize {
        PROGRAM + kernels * self.costs.kernel + calls * CALL
    }

    /// Returns the instruction count of each stage of a node, in order, or `None` if the model does not cover the node.
    pub fn stages(&self, id: NodeId) -> Option<Vec<u64>> {
        let node = self.graph.node(id);
        let input = self.graph.node(*self.graph.inputs(id).first()?).tensor;
        match &node.op {
            Op::Fused(fused) => self.block(fused, input),
            Op::Conv2d(_) | Op::Dense(_) => Some(vec![self.layer(node, input)?]),
            Op::Repack => Some(vec![copied(node.tensor)]),
            _ => None,
        }
    }

    /// Returns the instruction count of each stage of a streamed block.
    fn block(&self, fused: &Fused, input: Tensor) -> Option<Vec<u64>> {
        let [producers @ .., depthwise, project] = &*fused.stages else { return None };
        let (ring, window) = (producers.last()?, depthwise.op.window()?);
        let image_rows = producers.len().checked_sub(2).map(|at| producers[at].tensor);
        let widened = fused.widened(ring, input);
        let steps = depthwise.tensor.layout.group / 2;
        let phases = phases(window, ring.tensor.shape.height, depthwise.tensor.shape.height);
        let each = |of: &dyn Fn(&Phase) -> Option<u64>| phases.iter().map(of).sum::<Option<u64>>();
        let projected = |rows: usize| {
            let pixels = rows * project.tensor.shape.width;
            let products = Products { pixels, steps, form: DotForm::Pairs };
            self.products(products, project.tensor, &project.op, project.tile)
        };
        let others = [
            each(&|phase| self.produced(ring, phase, image_rows.unwrap_or(input), widened)),
            each(&|phase| Some(self.depthwise(phase, window, ring.tensor, depthwise.tensor))),
            match fused.is_whole() {
                true => projected(project.tensor.shape.height),
                false => each(&|phase| Some(phase.count as u64 * projected(phase.work.completed())?)),
            },
        ];
        image_rows.map(|rows| Some(copied(rows))).into_iter().chain(others).collect()
    }

    /// Returns the instruction count of a product over a whole value.
    fn layer(&self, node: &Node, input: Tensor) -> Option<u64> {
        let order = input.layout.order;
        if matches!(node.tensor.layout.order, Order::RowQuads { .. }) {
            return None;
        }
        let shape = node.op.epilogue().unpooled(node.tensor.shape);
        let widened = node.widened(input);
        let steps = match order {
            _ if let Some(widened) = widened => widened.pairs(),
            Order::ChannelPairs => input.layout.group / 2,
            _ => Taps::of(&node.op, input).steps(),
        };
        let form = dense_form(self.isa, node.op.product(), order);
        // The windows of adjacent rows overlap, so each row is a separate call.
        let is_point = node.op.window().unwrap_or(Window::POINT).is_point();
        let (pixels, calls) = if is_point { (shape.pixels(), 1) } else { (shape.width, shape.height) };
        let products = self.products(Products { pixels, steps, form }, node.tensor, &node.op, node.tile)?;
        Some(widened.map_or(0, |of| gathered(of.cols * of.rows, of)) + calls as u64 * products)
    }

    /// Returns the instruction count of a product that stores or pools pixels of `output`.
    fn products(&self, products: Products, output: Tensor, op: &Op, tile: Option<Tile>) -> Option<u64> {
        let Some(Tile::Gemm(tile)) = tile else { return None };
        if products.pixels == 0 {
            return Some(0);
        }
        let (costs, epilogue) = (&self.costs, op.epilogue());
        let ends = match (epilogue.pool, epilogue.residual) {
            (Some(_), _) => costs.pooled,
            (None, true) => costs.stored + costs.added,
            (None, false) => costs.stored,
        };
        let panel = |vectors: usize, channels: usize| {
            let mr = panel_pixels((self.isa, products.form), tile.mr, vectors, [products.pixels, 1]);
            let tiles = near_equal(products.pixels, mr).into_iter().map(|(pixels, count)| {
                let missing = (pixels.next_multiple_of(QUAD) - pixels) as u64 * costs.missing;
                let ends = vectors as u64 * (pixels as u64 * ends + missing);
                count as u64 * (self.tile(pixels, [vectors, channels], products) + ends)
            });
            tiles.sum::<u64>()
        };
        let panels = panel_forms(self.isa, output.shape.channels, tile.nv, output.layout.order);
        let forms = panels.iter().map(|of| {
            let whole = of.whole();
            let last = panel(of.vectors, of.width() - of.lanes + of.last);
            whole as u64 * panel(of.vectors, of.width()) + (of.count - whole) as u64 * last
        });
        Some(forms.sum())
    }

    /// Returns the instruction count of an expansion or the stem for the rows of a phase's row quads.
    fn produced(&self, ring: &Stage, phase: &Phase, input: Tensor, widened: Option<Widened>) -> Option<u64> {
        let (shape, rows) = (ring.tensor.shape, phase.work.rows);
        if rows == 0 {
            return Some(0);
        }
        if matches!(ring.op, Op::Repack) {
            return Some((phase.count * rows * shape.width * shape.channels) as u64 * INTERLEAVED);
        }
        let Some(Tile::Gemm(tile)) = ring.tile else { return None };
        let form = dense_form(self.isa, ring.op.product(), input.layout.order);
        let steps = Taps::of_producer(&ring.op, input, shape.width).in_steps_of(form.depth()).steps();
        let cols = widened.map_or(shape.width, |widened| widened.cols);
        let tiles = near_equal(cols, tile.mr).into_iter().map(|(cols, count)| {
            let products = Products { pixels: cols * rows, steps, form };
            let missing = (cols * (QUAD - rows) * tile.nv) as u64 * MISSING_ROW;
            count as u64 * (self.tile(cols * rows, [tile.nv, tile.nv * self.isa.lanes()], products) + missing)
        });
        let panels = shape.channels.div_ceil(tile.nv * self.isa.lanes());
        let gathered = widened.map_or(0, |widened| gathered(rows * shape.width, widened));
        Some(phase.count as u64 * ((shape.width / cols * panels) as u64 * tiles.sum::<u64>() + gathered))
    }

    /// Returns the instruction count of a register tile, excluding the stores. `channels` is the number of channels in use
    /// across its vectors.
    fn tile(&self, pixels: usize, [vectors, channels]: [usize; 2], products: Products) -> u64 {
        let Products { steps, form, .. } = products;
        let products = match form {
            // One step loads and extends the weights, and loads and multiplies the pair of each pixel. An iteration of the
            // loop has four steps.
            DotForm::Pairs if steps < 2 * QUAD => (steps * (3 + 3 * pixels)) as u64,
            DotForm::Pairs => (steps * (3 + 3 * pixels)) as u64 + (steps / QUAD) as u64 * ITERATION,
            _ => (steps * pixels * channels) as u64 * DOT,
        };
        products + (pixels * vectors) as u64 * self.costs.result
    }

    /// Returns the instruction count of the windows that a phase's quads complete.
    fn depthwise(&self, phase: &Phase, window: Window, ring: Tensor, output: Tensor) -> u64 {
        let (costs, width) = (&self.costs, output.shape.width);
        // Instructions to load and extend a column: three from one row quad, five from two.
        let parts = [(phase.work.within, 3), (phase.work.between, 5)].into_iter().filter(|(rows, _)| *rows > 0);
        let channel = parts.map(|(rows, load)| {
            let tiles = [(2, width / 2), (1, width % 2)].into_iter().map(|(cols, count)| {
                let columns = (cols - 1) * window.stride[1] + window.kernel[1];
                // A window column takes two multiply instructions.
                let products = columns * load + cols * rows * window.kernel[1] * 2;
                count as u64 * (products as u64 + costs.windows + (cols * rows) as u64 * costs.filtered)
            });
            costs.channel + tiles.sum::<u64>()
        });
        let channels = phase.count * ring.layout.groups(ring.shape) * ring.layout.group;
        channels as u64 * channel.sum::<u64>()
    }
}

/// Returns the instructions that gather the windows of `pixels` pixels as pairs.
fn gathered(pixels: usize, Widened { run, runs, .. }: Widened) -> u64 {
    (pixels * runs * run) as u64 * GATHERED / QUAD as u64
}

/// Returns the instructions that copy the image.
fn copied(rows: Tensor) -> u64 {
    rows.shape.elements() as u64 * COPIED + rows.shape.height as u64 * ROW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_four_pixels_is_fifteen_instructions() {
        let predictor = Predictor { graph: &Graph::default(), isa: Isa::Dsp, costs: Costs::of(Rounding::Xnnpack) };
        let tile = |steps| {
            let products = Products { pixels: 4, steps, form: DotForm::Pairs };
            predictor.tile(4, [1, 2], products) - 4 * predictor.costs.result
        };
        assert_eq!(tile(1), 15);
        assert_eq!(tile(7), 7 * 15, "too few steps for the loop, which is unrolled by four");
        assert_eq!(tile(8), 8 * 15 + 2 * ITERATION);
        assert_eq!(tile(9), 9 * 15 + 2 * ITERATION);
    }
}

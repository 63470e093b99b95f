//! Predicts the instructions of a call on a microcontroller with the instruction set `dsp`, and the size of its code.
//!
//! The model counts what the kernels do: the steps of register tiles, the results, the windows of depthwise convolutions.
//! The instructions of a step are those of the assembly in the runtime. Those around it, which the compiler generates, are
//! averages over networks of several widths and sizes, counted on an emulated Cortex-M4 at `opt-level = 3`. Weights that
//! are no signed bytes, which only uint8 networks have, are left out.

use super::cover::near_equal;
use super::phases::{Phase, phases};
use super::quantized::{QUAD, dense_form, panel_forms, widest};
use super::taps::Taps;
use crate::ir::{Fused, Graph, Node, NodeId, Op, Order, Stage, Tensor, Tile, Widened, Window};
use crate::spec::Rounding;
use crate::target::{DotForm, Isa, IsaFacts};

/// Instructions of the code that the compiler generates. A result is a vector of two channels of a pixel.
struct Costs {
    /// Requantization of a result.
    result: usize,
    /// What a tile of fewer than four pixels takes for each missing result.
    missing: usize,
    /// What a result takes in addition if it is stored in order of pixels, added to a residual, or pooled.
    stored: usize,
    added: usize,
    pooled: usize,
    /// Start of a channel, of a group of windows and of a result of a depthwise convolution.
    channel: usize,
    windows: usize,
    filtered: usize,
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
            // Multiplications of 64 bits, and rounding in two steps.
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

/// Instructions of an iteration of a loop, of four gathered bytes, and of a dot product of four without assembly.
const ITERATION: usize = 3;
const GATHERED: usize = 9;
const DOT: usize = 8;
/// Instructions for each missing row of a row quad, in each result.
const MISSING_ROW: usize = 6;
/// Instructions of a byte of the image, and of a row.
const COPIED: usize = 3;
const ROW: usize = 70;

/// Bytes of code besides kernels, and of a call of a kernel.
const PROGRAM: usize = 21_500;
const CALL: usize = 150;

/// Predicts instructions of a network.
pub struct Predictor<'g> {
    graph: &'g Graph,
    isa: Isa,
    costs: Costs,
}

/// Products of all pixels with all channels: `steps` pairs or quads of them per result.
#[derive(Clone, Copy)]
struct Products {
    pixels: usize,
    steps: usize,
    form: DotForm,
}

impl<'g> Predictor<'g> {
    /// Returns the predictor of a network that is scheduled for `isa`, or `None` if there is none for this instruction set.
    pub fn new(graph: &'g Graph, isa: Isa, rounding: Option<Rounding>) -> Option<Self> {
        isa.multiplies_pairs().then_some(Self { graph, isa, costs: Costs::of(rounding?) })
    }

    /// Returns the bytes of the code of a program that calls the network: `kernels` kernels in `calls` places.
    pub fn code_bytes(&self, kernels: usize, calls: usize) -> usize {
        PROGRAM + kernels * self.costs.kernel + calls * CALL
    }

    /// Returns the instructions of each stage of a node, in order.
    pub fn stages(&self, id: NodeId) -> Vec<usize> {
        let graph = self.graph;
        let node = graph.node(id);
        let Some(input) = graph.inputs(id).first().map(|input| graph.node(*input).tensor) else { return Vec::new() };
        let all = match &node.op {
            Op::Fused(fused) => return self.block(node, fused, input),
            Op::Repack => copied(node.tensor),
            Op::DepthwiseConv2d(conv) => {
                let phases = phases(conv.window, input.shape.height, node.tensor.shape.height);
                phases.iter().map(|phase| self.depthwise(phase, conv.window, input, node.tensor)).sum()
            }
            _ if matches!(node.tensor.layout.order, Order::RowQuads { .. }) => {
                let reader = graph.readers(id).first().map(|reader| graph.node(*reader));
                let phases = reader.and_then(|reader| {
                    Some(phases(reader.op.window()?, node.tensor.shape.height, reader.tensor.shape.height))
                });
                let stage = Stage::of(node);
                phases.iter().flatten().map(|phase| self.produced(&stage, phase, input, None)).sum()
            }
            _ => self.layer(node, input),
        };
        vec![all]
    }

    /// Returns the instructions of each stage of a streamed block.
    fn block(&self, node: &Node, fused: &Fused, input: Tensor) -> Vec<usize> {
        let [producers @ .., depthwise, project] = &*fused.stages else { return Vec::new() };
        let (Some(ring), Some(window)) = (producers.last(), depthwise.op.window()) else { return Vec::new() };
        let image_rows = producers.len().checked_sub(2).map(|at| producers[at].tensor);
        let widened = fused.widened(ring, input);
        let steps = depthwise.tensor.layout.group / 2;
        let phases = phases(window, ring.tensor.shape.height, depthwise.tensor.shape.height);
        let each = |of: &dyn Fn(&Phase) -> usize| phases.iter().map(of).sum::<usize>();
        let projected = |rows: usize| {
            let pixels = rows * project.tensor.shape.width;
            let products = Products { pixels, steps, form: DotForm::Pairs };
            self.products(products, project.tensor, &project.op, project.tile)
        };
        let whole = fused.rows == node.tensor.shape.height;
        let rows = image_rows.map(copied);
        let others = [
            each(&|phase| self.produced(ring, phase, image_rows.unwrap_or(input), widened)),
            each(&|phase| self.depthwise(phase, window, ring.tensor, depthwise.tensor)),
            match whole {
                true => projected(project.tensor.shape.height),
                false => each(&|phase| phase.count * projected(phase.work.completed())),
            },
        ];
        rows.into_iter().chain(others).collect()
    }

    /// Returns the instructions of a product over a whole value.
    fn layer(&self, node: &Node, input: Tensor) -> usize {
        let shape = node.op.epilogue().unpooled(node.tensor.shape);
        let [kh, kw] = node.op.window().unwrap_or(Window::POINT).kernel;
        let widened = node.widened(input);
        let steps = match input.layout.order {
            _ if let Some(widened) = widened => widened.pairs(),
            Order::ChannelPairs => input.layout.group / 2,
            _ => kh * (kw * input.shape.channels).div_ceil(QUAD),
        };
        let form = dense_form(self.isa, node.op.product(), input.layout.order);
        // Rows of windows overlap: each row is a call.
        let (pixels, calls) = if kh * kw == 1 { (shape.pixels(), 1) } else { (shape.width, shape.height) };
        let products = Products { pixels, steps, form };
        let gathered = widened.map_or(0, |of| self.gathered(of.cols * of.rows, of));
        gathered + calls * self.products(products, node.tensor, &node.op, node.tile)
    }

    /// Returns the instructions of a product that stores or pools pixels of `output`.
    fn products(&self, products: Products, output: Tensor, op: &Op, tile: Option<Tile>) -> usize {
        let (Some(Tile::Gemm(tile)), true) = (tile, products.pixels > 0) else { return 0 };
        let (costs, epilogue) = (&self.costs, op.epilogue());
        let ends = match (epilogue.pool, epilogue.residual) {
            (Some(_), _) => costs.pooled,
            (None, true) => costs.stored + costs.added,
            (None, false) => costs.stored,
        };
        let panels = panel_forms(self.isa, output.shape.channels, tile.nv, output.layout.order);
        let panel = |vectors: usize, channels: usize| {
            let mr = tile.mr.max(widest(self.isa, products.form, vectors)).min(products.pixels);
            let tiles = near_equal(products.pixels, mr).into_iter();
            let tiles = tiles.map(|(pixels, count)| {
                let missing = (pixels.next_multiple_of(QUAD) - pixels) * costs.missing;
                count * (self.tile(pixels, [vectors, channels], products) + vectors * (pixels * ends + missing))
            });
            tiles.sum::<usize>()
        };
        let forms = panels.iter().map(|of| {
            let whole = of.whole();
            let last = panel(of.vectors, of.width() - of.lanes + of.last);
            whole * panel(of.vectors, of.width()) + (of.count - whole) * last
        });
        forms.sum()
    }

    /// Returns the instructions of the rows of a phase's quads that an expansion or the stem fills.
    fn produced(&self, ring: &Stage, phase: &Phase, input: Tensor, widened: Option<Widened>) -> usize {
        let shape = ring.tensor.shape;
        let (Some(Tile::Gemm(tile)), rows @ 1..) = (ring.tile, phase.work.rows) else { return 0 };
        let form = dense_form(self.isa, ring.op.product(), input.layout.order);
        let steps = Taps::of_producer(&ring.op, input, shape.width).in_steps_of(form.depth()).steps();
        let cols = widened.map_or(shape.width, |widened| widened.cols);
        let tiles = near_equal(cols, tile.mr).into_iter().map(|(cols, count)| {
            let products = Products { pixels: cols * rows, steps, form };
            let missing = cols * (QUAD - rows) * tile.nv * MISSING_ROW;
            count * (self.tile(cols * rows, [tile.nv, tile.nv * self.isa.lanes()], products) + missing)
        });
        let panels = shape.channels.div_ceil(tile.nv * self.isa.lanes());
        let gathered = widened.map_or(0, |widened| self.gathered(rows * shape.width, widened));
        phase.count * (shape.width / cols * panels * tiles.sum::<usize>() + gathered)
    }

    /// Returns the instructions of a register tile, without those that store it. `channels` of its vectors are used.
    fn tile(&self, pixels: usize, [vectors, channels]: [usize; 2], products: Products) -> usize {
        let Products { steps, form, .. } = products;
        let products = match form {
            // One step loads and extends the weights, and loads and multiplies the pair of each pixel. A loop has four.
            DotForm::Pairs if steps < 2 * QUAD => steps * (3 + 3 * pixels),
            DotForm::Pairs => steps * (3 + 3 * pixels) + steps / QUAD * ITERATION,
            _ => steps * pixels * channels * DOT,
        };
        products + pixels * vectors * self.costs.result
    }

    /// Returns the instructions that gather the windows of `pixels` pixels as pairs.
    fn gathered(&self, pixels: usize, Widened { run, runs, .. }: Widened) -> usize {
        pixels * runs * run * GATHERED / QUAD
    }

    /// Returns the instructions of the windows that a phase's quads complete.
    fn depthwise(&self, phase: &Phase, window: Window, ring: Tensor, output: Tensor) -> usize {
        let (costs, width) = (&self.costs, output.shape.width);
        // Loads and extends a column of a quad, or of two.
        let parts = [(phase.work.within, 3), (phase.work.between, 5)].into_iter().filter(|(rows, _)| *rows > 0);
        let channel = parts.map(|(rows, load)| {
            let tiles = [(2, width / 2), (1, width % 2)].into_iter().map(|(cols, count)| {
                let columns = (cols - 1) * window.stride[1] + window.kernel[1];
                // Two instructions multiply a column of a window.
                let products = columns * load + cols * rows * window.kernel[1] * 2;
                count * (products + costs.windows + cols * rows * costs.filtered)
            });
            costs.channel + tiles.sum::<usize>()
        });
        phase.count * ring.layout.groups(ring.shape) * ring.layout.group * channel.sum::<usize>()
    }
}

/// Returns the instructions that copy the image.
fn copied(rows: Tensor) -> usize {
    rows.shape.elements() * COPIED + rows.shape.height * ROW
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
        assert_eq!(tile(7), 7 * 15, "too short for a loop of four steps");
        assert_eq!(tile(9), 9 * 15 + 2 * ITERATION);
    }
}

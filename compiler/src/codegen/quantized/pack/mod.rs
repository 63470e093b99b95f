//! The packed block of a quantized network: byte offsets of each layer's header, biases, factors and weights.

mod layer;

use std::collections::HashMap;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use mbvc_runtime::quantized::outliers::list_bytes;
use mbvc_runtime::quantized::{self as runtime, ChannelOrder, PanelRun, arithmetic::Integer};

use super::kernel::{Depthwise, Finish};
use crate::codegen::float::ranges::values;
use crate::codegen::step::{LayerKey, RuntimePlan};
use crate::codegen::tokens::lit;
use crate::ir::{Graph, Node, NodeId, Op, Order, ParamId, Quant, Requantize, Tensor, Tile};
use crate::schedule::quantized::{PanelForm, QUAD, dense_form, panel_forms};
use crate::schedule::taps::Taps;
use crate::spec::{Precision, Rounding};
use crate::target::{DotForm, Isa, IsaFacts};
use layer::{Matrix, Named, QuantLayer};

/// Bytes of a cache line (the alignment of every layer), of the quantizations of input and outputs, and of a layer's
/// header.
const LINE: usize = 64;
const EDGES: usize = 64;
const HEADER: usize = 128;

/// Offsets of the parameters of every layer, and the instructions to pack them.
#[derive(Debug)]
pub struct Plan {
    isa: Isa,
    integer: Integer,
    rounding: Rounding,
    at: HashMap<LayerKey, PackedLayer>,
    layers: Vec<QuantLayer>,
    orders: Vec<ChannelOrder>,
    /// Quantizations of the input, the vector before the classifier, and the logits.
    edges: [Named; 3],
    bytes: usize,
}

/// Offsets of a layer in the block.
#[derive(Debug, Clone)]
pub struct PackedLayer {
    pub header: usize,
    /// Start of a depthwise layer's vectors.
    pub at: usize,
    /// Panels of a dense layer, side by side.
    pub panels: Vec<Panels>,
    /// Form of the dot products.
    pub form: DotForm,
    /// Maximum rows of outlier weights of a quad.
    pub outliers: usize,
}

/// Panels of one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    /// First channel.
    pub first: usize,
    /// Whether vectors have half the width.
    pub half: bool,
    pub vectors: usize,
    pub count: usize,
    /// Channels in the last vector of the last panel.
    pub last: usize,
    pub at: usize,
    /// Distance from one panel to the next.
    pub stride: usize,
}

/// A layer of the graph.
struct Layer<'g> {
    key: LayerKey,
    op: &'g Op,
    input: Tensor,
    output: Tensor,
    tile: Option<Tile>,
    /// Residual that the layer adds.
    residual: Option<Tensor>,
}

impl Plan {
    /// Returns the requantization that any layer can use.
    pub fn general(&self) -> Finish {
        Finish::general(self.rounding)
    }

    /// Returns the fast requantization of layers with an activation. A layer can use it only if its values allow.
    pub fn fast(&self) -> Finish {
        Finish::fast(self.rounding)
    }

    /// Returns the plan of a graph's layers, in order of execution.
    pub fn new(graph: &Graph, order: &[NodeId], isa: Isa, precision: Precision, rounding: Rounding) -> Self {
        let layers = order.iter().flat_map(|id| layers(graph, *id)).collect::<Vec<_>>();
        let tensor = |id: &NodeId| graph.node(*id).tensor;
        let first = order.first().map(tensor);
        let last = order.last().map(tensor);
        let embedding = order.iter().find(|id| graph.node(**id).op.pools()).map(tensor);
        let edges = [first, embedding, last].map(|tensor| named(graph, tensor.and_then(|tensor| tensor.quant)));
        let mut plan = Self {
            isa,
            integer: match precision {
                Precision::Uint8 => Integer::Uint8,
                Precision::Int8 | Precision::F32 | Precision::Bf16 => Integer::Int8,
            },
            rounding,
            at: HashMap::new(),
            layers: Vec::new(),
            orders: Vec::new(),
            edges,
            bytes: EDGES,
        };
        for layer in &layers {
            plan.layer_of(graph, layer);
        }
        plan.order_channels(graph, &layers);
        plan
    }

    /// Returns the offsets of a layer, or `None` if the graph has no such layer.
    pub fn layer(&self, key: LayerKey) -> Option<&PackedLayer> {
        self.at.get(&key)
    }

    fn layer_of(&mut self, graph: &Graph, layer: &Layer<'_>) {
        let header = self.bytes;
        self.bytes += HEADER;
        let (weight, bias, requantize, activation, packed) = match (layer.op, layer.tile) {
            (Op::DepthwiseConv2d(conv), _) => {
                let at = self.depthwise(layer);
                (conv.weight, conv.bias, conv.requantize, conv.epilogue.activation, at)
            }
            (Op::Conv2d(conv), Some(Tile::Gemm(tile))) => {
                let taps = match (layer.input.layout.order, layer.output.layout.order) {
                    (Order::ChannelQuads | Order::PixelQuads { .. }, _) => {
                        Taps { quads: layer.input.layout.group / QUAD, ..Taps::of(layer.op, layer.input) }
                    }
                    (_, Order::RowQuads { .. }) => Taps::of_producer(layer.op, layer.input, layer.output.shape.width),
                    _ => Taps::of(layer.op, layer.input),
                };
                let depth = dense_form(self.isa, layer.op.product(), layer.input.layout.order).depth();
                let at = self.dense(layer, taps.in_steps_of(depth), tile.nv);
                (conv.weight, conv.bias, conv.requantize, conv.epilogue.activation, at)
            }
            (Op::Dense(dense), Some(Tile::Gemm(tile))) => {
                let at = self.dense(layer, Taps::of(layer.op, layer.input), tile.nv);
                (dense.weight, Some(dense.bias), dense.requantize, None, at)
            }
            _ => return,
        };
        let (Some(bias), Some(requantize)) = (bias, requantize) else { return };
        let (packed, matrix) = packed;
        let packed = PackedLayer { header, ..packed };
        self.bytes = self.bytes.next_multiple_of(LINE);
        let name = |param: ParamId| graph.param(param).name.clone();
        let Requantize { weight_scale, weight_zero_point, output } = requantize;
        self.layers.push(QuantLayer {
            weight: name(weight),
            bias: name(bias),
            weight_scale: name(weight_scale),
            weight_zero_point: weight_zero_point.map(name),
            input: named(graph, layer.input.quant),
            output: named(graph, Some(output)),
            activation: values(activation),
            add: layer.residual.map(|added| [named(graph, added.quant), named(graph, layer.output.quant)]),
            pool: layer.op.epilogue().pool.map(|[height, width]| (height * width, named(graph, layer.output.quant))),
            channels: layer.output.shape.channels,
            inputs: None,
            outputs: None,
            form: packed.form,
            header,
            matrix,
        });
        self.at.insert(layer.key, packed);
    }

    fn depthwise(&mut self, layer: &Layer<'_>) -> (PackedLayer, Matrix) {
        let (at, lanes) = (self.bytes, self.isa.lanes());
        let vectors = layer.output.shape.channels.div_ceil(lanes);
        let form = self.isa.depthwise_form();
        let outliers = form.outlier_rows(self.integer);
        self.bytes += vectors * Depthwise::packed(self.isa, self.general(), outliers);
        (PackedLayer { header: 0, at, panels: Vec::new(), form, outliers }, Matrix::Depthwise { at, lanes, vectors })
    }

    fn dense(&mut self, layer: &Layer<'_>, taps: Taps, nv: usize) -> (PackedLayer, Matrix) {
        let channels = layer.output.shape.channels;
        let form = dense_form(self.isa, layer.op.product(), layer.input.layout.order);
        let rows = form.outlier_rows(self.integer);
        let mut panels = Vec::new();
        let mut runs = Vec::new();
        for panel in panel_forms(self.isa, channels, nv, layer.output.layout.order) {
            let PanelForm { first, half, vectors, count, lanes, last } = panel;
            let row = vectors * form.bytes(lanes);
            let outliers = taps.runs * outlier_bytes(rows, taps.quads, row)
                + if taps.ends { outlier_bytes(rows, 1, row) } else { 0 };
            let stride = vectors * lanes * self.general().bytes() + taps.steps() * row + outliers;
            let end = channels.min(first + count * panel.width());
            panels.push(Panels { first, half, vectors, count, last, at: self.bytes, stride });
            runs.push(PanelRun { first, last: end, lanes, vectors, at: self.bytes, stride });
            self.bytes += count * stride;
        }
        (PackedLayer { header: 0, at: 0, panels, form, outliers: rows }, Matrix::Dense { taps, panels: runs })
    }

    /// Assigns an order of channels to every block whose projection benefits from one: all of its layers are in the
    /// plan, and nothing else reads the channels.
    fn order_channels(&mut self, graph: &Graph, layers: &[Layer<'_>]) {
        let layers: Vec<_> = layers.iter().filter(|layer| self.at.contains_key(&layer.key)).collect();
        let index = |key: LayerKey| layers.iter().position(|layer| layer.key == key);
        let convolves = |index: &usize| matches!(layers[*index].op, Op::Conv2d(_));
        for (reader, layer) in layers.iter().enumerate() {
            let filters = |index: &usize| matches!(layers[*index].op, Op::DepthwiseConv2d(_));
            let depthwise = producer(graph, layer.key).and_then(index).filter(filters);
            let Some(depthwise) = depthwise.filter(|_| self.layers[reader].form == DotForm::PairedBytes) else {
                continue;
            };
            let expand = producer(graph, layers[depthwise].key).and_then(index).filter(convolves);
            let channels = layer.input.shape.channels;
            let (Some(expand), Ok(_)) = (expand, u16::try_from(channels)) else { continue };
            let order = Some(self.orders.len());
            self.orders.push(ChannelOrder { at: self.bytes, channels, reader });
            self.bytes += 2 * channels;
            self.layers[reader].inputs = order;
            for index in [expand, depthwise] {
                self.layers[index].outputs = order;
            }
        }
    }

    /// Returns the cache lines of the block.
    pub fn lines(&self) -> usize {
        self.bytes.div_ceil(LINE)
    }
}

impl RuntimePlan for Plan {
    fn tokens(&self) -> TokenStream {
        let integer = format_ident!("{}", format!("{:?}", self.integer));
        let rounding = format_ident!("{}", format!("{:?}", self.rounding));
        let (biased, lines) = (self.isa.has_biased_sums(), lit(self.lines()));
        let [input, embedding, logits] = self.edges.each_ref().map(Named::tokens);
        let layers = self.layers.iter().map(QuantLayer::tokens);
        let orders = self.orders.iter().map(|ChannelOrder { at, channels, reader }| {
            let [at, channels, reader] = [*at, *channels, *reader].map(lit);
            quote!(rt::quantized::ChannelOrder { at: #at, channels: #channels, reader: #reader })
        });
        quote!(rt::quantized::QuantPlan {
            integer: rt::quantized::arithmetic::Integer::#integer, rounding: rt::quantized::arithmetic::Rounding::#rounding,
            biased: #biased,
            input: #input, embedding: #embedding, logits: #logits, layers: &[#(#layers),*], orders: &[#(#orders),*],
            lines: #lines,
        })
    }

    fn with_plan(&self, run: &mut dyn FnMut(&dyn mbvc_runtime::Plan)) {
        let [input, embedding, logits] = self.edges.each_ref().map(Named::borrowed);
        let layers: Vec<_> = self.layers.iter().map(QuantLayer::borrowed).collect();
        run(&runtime::QuantPlan {
            integer: self.integer,
            rounding: self.rounding,
            biased: self.isa.has_biased_sums(),
            input,
            embedding,
            logits,
            layers: &layers,
            orders: &self.orders,
            lines: self.lines(),
        });
    }
}

/// Returns the bytes of the list and the rows of a run's outlier weights, at most `rows` per quad.
pub fn outlier_bytes(rows: usize, quads: usize, row: usize) -> usize {
    if rows > 0 { list_bytes(quads, rows) + rows * quads * row } else { 0 }
}

/// Returns the layer before a layer that is its only reader.
fn producer(graph: &Graph, (id, stage): LayerKey) -> Option<LayerKey> {
    if let Some(before) = stage.checked_sub(1) {
        return Some((id, before));
    }
    let input = *graph.inputs(id).first()?;
    (graph.readers(input).len() == 1).then_some((input, 0))
}

/// Returns the layers of a node, in order.
fn layers(graph: &Graph, id: NodeId) -> Vec<Layer<'_>> {
    let node: &Node = graph.node(id);
    let inputs: Vec<Tensor> = graph.inputs(id).into_iter().map(|input| graph.node(input).tensor).collect();
    let Some(mut input) = inputs.first().copied() else { return Vec::new() };
    let residual = |op: &Op| inputs.get(1).copied().filter(|_| op.epilogue().residual);
    match &node.op {
        Op::Fused(fused) => fused
            .stages
            .iter()
            .enumerate()
            .map(|(at, stage)| {
                let (op, output, tile) = (&stage.op, stage.tensor, stage.tile);
                let layer = Layer { key: (id, at), op, input, output, tile, residual: residual(op) };
                input = output;
                layer
            })
            .collect(),
        op => vec![Layer { key: (id, 0), op, input, output: node.tensor, tile: node.tile, residual: residual(op) }],
    }
}

fn named(graph: &Graph, quant: Option<Quant>) -> Named {
    let name = |param: ParamId| graph.param(param).name.clone();
    // The verifier has checked that every quantized value has both.
    quant.map(|quant| Named { scale: name(quant.scale), zero_point: name(quant.zero_point) }).unwrap_or_default()
}

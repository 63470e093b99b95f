//! The packed block: weights in the order in which kernels read them.

use std::collections::HashMap;

use mbvc_runtime::{self as runtime, PackPanels};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::conv::{Conv, Panels};
use super::ranges::{Range, ranges};
use crate::codegen::step::{LayerKey, RuntimePlan};
use crate::codegen::tokens::lit;
use crate::ir::{DepthwiseConv2d, Factors, Fused, Graph, NodeId, Op, ParamId, Tensor};
use crate::target::{Isa, IsaFacts};

/// Offsets of the weights of every layer, and the instructions to pack them. All numbers are in floats.
#[derive(Debug, Default)]
pub struct PackPlan {
    at: HashMap<LayerKey, PackedLayer>,
    layers: Vec<PackLayer>,
    floats: usize,
    /// Range of each layer, by the name of its weights.
    ranges: HashMap<String, Range>,
}

/// Offsets of a layer in the block.
#[derive(Debug, Clone)]
pub struct PackedLayer {
    /// Start of each run of panels, in the order of [`Conv::panels`].
    pub at: Vec<usize>,
    /// Start of the panels that replace each run in the fast inner product; empty if the layer has none.
    pub fast: Vec<usize>,
    /// Distance from one channel group to the next.
    pub group_stride: usize,
}

/// Packing of one layer; see `PackLayer` of the runtime.
#[derive(Debug, Clone)]
struct PackLayer {
    weight: String,
    bias: String,
    k: usize,
    n: usize,
    factors: Factors,
    range: Range,
    panels: Vec<PackPanels>,
    fast: Vec<PackPanels>,
}

/// Floats per cache line, the alignment of every layer.
const LINE: usize = 16;

impl PackPlan {
    pub fn new(graph: &Graph, order: &[NodeId], isa: Isa) -> Self {
        let mut plan = Self { ranges: ranges(graph, order), ..Self::default() };
        for id in order {
            let node = graph.node(*id);
            let Some(input) = graph.inputs(*id).first().map(|input| graph.node(*input).tensor) else { continue };
            match &node.op {
                Op::Fused(fused) => plan.fused(graph, *id, fused, input, isa),
                Op::DepthwiseConv2d(op) => plan.depthwise(graph, (*id, 0), op, node.tensor, isa, 0),
                op => {
                    if let Some(conv) = Conv::new(isa, op, input, node.tensor, node.tile) {
                        plan.conv(graph, (*id, 0), &conv, 0);
                    }
                }
            }
        }
        plan
    }

    pub fn layer(&self, key: LayerKey) -> Option<&PackedLayer> {
        self.at.get(&key)
    }

    pub fn lines(&self) -> usize {
        self.floats.div_ceil(LINE)
    }

    /// Adds the layers of a fused node. Each group has a panel of the producer and its depthwise weights. The
    /// projection follows.
    fn fused(&mut self, graph: &Graph, id: NodeId, fused: &Fused, input: Tensor, isa: Isa) {
        let Some(at) = fused.stages.iter().position(|stage| matches!(stage.op, Op::DepthwiseConv2d(_))) else { return };
        let input_of = |stage: usize| stage.checked_sub(1).map_or(input, |before| fused.stages[before].tensor);
        let (producer, stage) = (input_of(at), &fused.stages[at]);
        let Op::DepthwiseConv2d(depthwise) = &stage.op else { return };
        let conv = at.checked_sub(1).and_then(|before| {
            let stage = &fused.stages[before];
            Conv::new(isa, &stage.op, input_of(before), stage.tensor, stage.tile)
        });
        let taps: usize = depthwise.window.kernel.iter().product();
        let group = producer.layout.group;
        let conv_floats: usize = conv.iter().map(Conv::group_floats).sum();
        let group_stride = conv_floats + (1 + taps) * group;
        let groups = producer.layout.groups(producer.shape);
        let start = self.floats;
        if let Some(conv) = &conv {
            self.conv(graph, (id, at - 1), conv, group_stride);
            self.floats = start + conv_floats;
        }
        let grouped = Tensor { layout: producer.layout, ..stage.tensor };
        self.depthwise(graph, (id, at), depthwise, grouped, isa, group_stride);
        self.floats = (start + groups * group_stride).next_multiple_of(LINE);
        for (index, stage) in fused.stages.iter().enumerate().skip(at + 1) {
            if let Some(conv) = Conv::new(isa, &stage.op, input_of(index), stage.tensor, stage.tile) {
                self.conv(graph, (id, index), &conv, 0);
            }
        }
    }

    fn conv(&mut self, graph: &Graph, key: LayerKey, conv: &Conv, group_stride: usize) {
        let n = conv.output.shape.channels;
        let grouped = group_stride > 0;
        let packed = |at: usize, panels: &Panels, width: usize, floats: usize| PackPanels {
            first: panels.first,
            last: if grouped { n } else { n.min(panels.first + panels.count * panels.width()) },
            panel: width,
            at,
            panel_stride: floats * width / panels.width(),
            panels_per_group: panels.count * panels.width() / width,
            group_stride,
        };
        let forms = conv.panels();
        let (mut panels, mut fast) = (Vec::new(), Vec::new());
        // Plain panels begin after the first row of scales.
        let scales = forms.first().filter(|_| conv.is_fast()).map_or(0, |panels| panels.lanes);
        let (mut at, mut fast_at) = (self.floats + scales, self.floats);
        for form in &forms {
            panels.push(packed(at, form, form.width(), conv.panel_floats(form)));
            at += form.count * conv.panel_floats(form);
            if conv.is_fast() {
                fast.push(packed(fast_at, form, form.lanes, conv.fast_floats(form)));
                fast_at += form.count * conv.fast_floats(form);
            }
        }
        self.floats += conv.group_floats();
        let starts = |panels: &[PackPanels]| panels.iter().map(|panels| panels.at).collect();
        self.at.insert(key, PackedLayer { at: starts(&panels), fast: starts(&fast), group_stride });
        self.layer_of(graph, [conv.weight, conv.bias], [conv.k(), n], conv.factors, [panels, fast]);
        self.align(grouped);
    }

    /// Adds a depthwise layer. `tensor`'s layout defines the channels of a group.
    fn depthwise(
        &mut self,
        graph: &Graph,
        key: LayerKey,
        op: &DepthwiseConv2d,
        tensor: Tensor,
        isa: Isa,
        group_stride: usize,
    ) {
        let Some(bias) = op.bias else { return };
        let (lanes, n) = (isa.lanes(), tensor.shape.channels);
        let taps: usize = op.window.kernel.iter().product();
        let panel_stride = (1 + taps) * lanes;
        let vectors = tensor.layout.group / lanes;
        let at = self.floats;
        let panels =
            PackPanels { first: 0, last: n, panel: lanes, at, panel_stride, panels_per_group: vectors, group_stride };
        self.at.insert(key, PackedLayer { at: vec![at], fast: Vec::new(), group_stride });
        self.layer_of(graph, [op.weight, bias], [taps, n], Factors::Exact, [vec![panels], Vec::new()]);
        self.floats += vectors * panel_stride;
        self.align(group_stride > 0);
    }

    fn layer_of(
        &mut self,
        graph: &Graph,
        [weight, bias]: [ParamId; 2],
        [k, n]: [usize; 2],
        factors: Factors,
        [panels, fast]: [Vec<PackPanels>; 2],
    ) {
        let [weight, bias] = [weight, bias].map(|param| graph.param(param).name.clone());
        let range = self.ranges.get(&weight).copied().unwrap_or_default();
        self.layers.push(PackLayer { weight, bias, k, n, factors, range, panels, fast });
    }

    /// Aligns the offset to a cache line, unless the layer is grouped. Groups need no gap, since panels are whole
    /// vectors.
    fn align(&mut self, grouped: bool) {
        if !grouped {
            self.floats = self.floats.next_multiple_of(LINE);
        }
    }
}

impl RuntimePlan for PackPlan {
    fn tokens(&self) -> TokenStream {
        let layers = self.layers.iter().map(|layer| {
            let PackLayer { weight, bias, factors, range, .. } = layer;
            let [k, n] = [layer.k, layer.n].map(lit);
            let [factors, values] =
                [format!("{factors:?}"), format!("{:?}", range.values)].map(|name| format_ident!("{name}"));
            let Range { begins_residual, adds_residual, .. } = range;
            let [panels, fast] = [&layer.panels, &layer.fast].map(|panels| panels_tokens(panels));
            quote!(rt::PackLayer {
                weight: #weight, bias: #bias, k: #k, n: #n, factors: rt::Factors::#factors,
                range: rt::OutputRange::#values, begins_residual: #begins_residual, adds_residual: #adds_residual,
                panels: #panels, fast: #fast,
            })
        });
        let lines = lit(self.lines());
        quote!(rt::PackPlan { layers: &[#(#layers),*], lines: #lines })
    }

    fn with_plan(&self, run: &mut dyn FnMut(&dyn runtime::Plan)) {
        let layers = self.layers.iter().map(|layer| runtime::PackLayer {
            weight: &layer.weight,
            bias: &layer.bias,
            k: layer.k,
            n: layer.n,
            factors: layer.factors,
            range: layer.range.values,
            begins_residual: layer.range.begins_residual,
            adds_residual: layer.range.adds_residual,
            panels: &layer.panels,
            fast: &layer.fast,
        });
        let layers: Vec<_> = layers.collect();
        run(&runtime::PackPlan { layers: &layers, lines: self.lines() });
    }
}

fn panels_tokens(panels: &[PackPanels]) -> TokenStream {
    let panels = panels.iter().map(|panels| {
        let [first, last, panel, at] = [panels.first, panels.last, panels.panel, panels.at].map(lit);
        let [panel_stride, panels_per_group, group_stride] =
            [panels.panel_stride, panels.panels_per_group, panels.group_stride].map(lit);
        quote!(rt::PackPanels {
            first: #first, last: #last, panel: #panel, at: #at, panel_stride: #panel_stride,
            panels_per_group: #panels_per_group, group_stride: #group_stride,
        })
    });
    quote!(&[#(#panels),*])
}

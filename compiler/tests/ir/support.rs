//! Specs and graphs that the tests share.

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::ir::{
    Conv2d, DepthwiseConv2d, ElementType, Epilogue, Factors, Graph, Node, NodeId, Op, Origin, Padding, Param, ParamId,
    ParamSource, Product, Shape, Tensor, Window, infer,
};
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes::{self, Target};
use mbvc_compiler::spec::{self, Fusion, Isa, NetworkSpec, Numerics};
use proptest::prelude::*;

/// Table 2 of the paper.
pub const V2: &str = "\
resolution: 224
classes: 1001
stem: { channels: 32, stride: 2 }
blocks:
  - { t: 1, c: 16, n: 1, s: 1 }
  - { t: 6, c: 24, n: 2, s: 2 }
  - { t: 6, c: 32, n: 3, s: 2 }
  - { t: 6, c: 64, n: 4, s: 2 }
  - { t: 6, c: 96, n: 3, s: 1 }
  - { t: 6, c: 160, n: 3, s: 2 }
  - { t: 6, c: 320, n: 1, s: 1 }
head: { channels: 1280 }
";

/// A stem that is streamed into a block without expansion, a block that halves an odd size, a residual, and t = 1 in
/// the middle.
pub const SMALL: &str = "\
resolution: [11, 9]
classes: 3
stem: { channels: 8, stride: 2 }
blocks:
  - { t: 1, c: 16, n: 1, s: 1 }
  - { t: 2, c: 16, n: 2, s: 2 }
  - { t: 1, c: 24, n: 1, s: 1 }
head: { channels: 5 }
";

pub fn parsed(text: &str) -> NetworkSpec {
    spec::parse(&SourceFile::new("test.yaml", text)).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

/// The graph of a spec after the rewriting passes of a fusion level, up to the one named.
pub fn rewritten(spec: &NetworkSpec, fusion: Fusion, up_to: Option<&str>) -> Graph {
    let mut graph = lower(spec);
    passes::run(&mut graph, fusion, up_to, &mut |_, _| {}).unwrap_or_else(|broken| panic!("{broken}"));
    graph
}

/// The graph that code is generated from.
pub fn scheduled(spec: &NetworkSpec, fusion: Fusion, isa: Isa) -> Graph {
    let mut graph = rewritten(spec, fusion, None);
    let target = Target { fusion, numerics: Numerics::Fast, isa, threads: 1, batch: 1 };
    passes::schedule(&mut graph, target, None, &mut |_, _| {}).unwrap_or_else(|broken| panic!("{broken}\n{graph}"));
    graph
}

/// The node or fused node with this name.
pub fn find(graph: &Graph, name: &str) -> NodeId {
    graph.ids().find(|id| graph.node(*id).origin.name == name).unwrap_or_else(|| panic!("no {name} in\n{graph}"))
}

/// Rows of the table: expansion, channels, repetitions, stride, whether residuals are forbidden.
type Row = (usize, usize, usize, usize, bool);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Often without expansion, also in the middle.
    let row =
        (prop_oneof![Just(1_usize), Just(1), Just(2), Just(3)], 5..30_usize, 1..3_usize, 1..3_usize, any::<bool>());
    prop::collection::vec(row, 1..4)
}

/// The YAML of a small network of any form that a spec can have.
pub fn networks() -> impl Strategy<Value = String> {
    let sizes = (1..14_usize, 1..14_usize, 1..9_usize);
    let widths = prop_oneof![Just("0.1"), Just("0.35"), Just("1"), Just("1.4")];
    let words = (
        prop_oneof![Just("same"), Just("symmetric")],
        prop_oneof![Just("relu6"), Just("relu")],
        prop_oneof![Just("rgb"), Just("gray")],
    );
    let ends = (5..24_usize, 1..3_usize, 1..40_usize);
    (sizes, widths, words, ends, rows()).prop_map(
        |((height, width_in_pixels, classes), width, (padding, activation, input), (stem, stride, head), rows)| {
            let rows: String = rows
                .into_iter()
                .map(|(t, c, n, s, never)| {
                    let residual = if never { "false" } else { "auto" };
                    format!("  - {{ t: {t}, c: {c}, n: {n}, s: {s}, residual: {residual} }}\n")
                })
                .collect();
            format!(
                "resolution: [{height}, {width_in_pixels}]\nclasses: {classes}\nwidth: {width}\npadding: {padding}\n\
                 activation: {activation}\ninput: {input}\nstem: {{ channels: {stem}, stride: {stride} }}\nblocks:\n{rows}\
                 head: {{ channels: {head} }}\n"
            )
        },
    )
}

/// A hand-written graph; all nodes are in the same step.
#[derive(Default)]
pub struct Hand(pub Graph);

impl Hand {
    pub fn param(&mut self, name: &str, shape: &[usize]) -> ParamId {
        self.0.add_param(Param {
            name: name.to_owned(),
            shape: shape.to_vec(),
            element: ElementType::F32,
            source: ParamSource::Stored,
        })
    }

    pub fn input(&mut self, shape: Shape) -> NodeId {
        self.node("input", Op::Input, shape, &[])
    }

    pub fn op(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        let shapes: Vec<Shape> = inputs.iter().map(|id| self.0.node(*id).tensor.shape).collect();
        let shape = infer::output_shape(&self.0, &op, &shapes).unwrap_or_else(|why| panic!("{name} {why}"));
        self.node(name, op, shape, inputs)
    }

    /// 1x1 with a bias.
    pub fn point(&mut self, name: &str, input: NodeId, channels: usize, epilogue: Epilogue) -> NodeId {
        let expected = [1, 1, self.0.node(input).tensor.shape.channels, channels];
        let (weight, bias) =
            (self.param(&format!("{name}.weight"), &expected), Some(self.param(&format!("{name}.bias"), &[channels])));
        self.op(
            name,
            Op::Conv2d(Conv2d {
                window: Window::POINT,
                weight,
                bias,
                requantize: None,
                epilogue,
                product: Product::Plain,
                factors: Factors::Exact,
            }),
            &[input],
        )
    }

    /// 3x3 with stride 1, a border of one pixel and a bias.
    pub fn depthwise(&mut self, name: &str, input: NodeId, epilogue: Epilogue) -> NodeId {
        let channels = self.0.node(input).tensor.shape.channels;
        let (weight, bias) = (
            self.param(&format!("{name}.weight"), &[3, 3, channels]),
            Some(self.param(&format!("{name}.bias"), &[channels])),
        );
        let padding = Padding { top: 1, left: 1, bottom: 1, right: 1 };
        let window = Window { kernel: [3, 3], stride: [1, 1], padding };
        self.op(
            name,
            Op::DepthwiseConv2d(DepthwiseConv2d { window, weight, bias, requantize: None, epilogue }),
            &[input],
        )
    }

    fn node(&mut self, name: &str, op: Op, shape: Shape, inputs: &[NodeId]) -> NodeId {
        let origin = Origin { line: 1, step: 0, layer: None, name: name.to_owned() };
        self.0.add(Node { op, origin, tensor: Tensor::nhwc(shape), tile: None, place: None, workspace: None }, inputs)
    }
}

//! From the table to operations: one node for each convolution, batch normalisation, activation and add.
//!
//! ```text
//! block t=6 c=24 s=1   ->   expand: conv2d 1x1, batch_norm, relu6;  depthwise 3x3, batch_norm, relu6;
//!                           project: conv2d 1x1, batch_norm;  add
//! ```
//!
//! Nothing is fused and every value is plain NHWC. Padding becomes four literal numbers here, and every
//! node keeps the line of the spec that made it.

use crate::ir::infer::output_shape;
use crate::ir::{
    Activation, BatchNorm, Conv2d, Dense, DepthwiseConv2d, Epilogue, Graph, Node, NodeId, Op, Origin, Padding, Param,
    ParamId, ParamSource, Shape, Tensor, Window,
};
use crate::spec::{ActivationKind, NetworkSpec, PaddingConvention, ResolvedBlock};

/// Kernel of the stem and of every depthwise convolution.
const KERNEL: usize = 3;
/// Red, green and blue.
const IMAGE_CHANNELS: usize = 3;

/// The network of `spec`, unfused.
pub fn lower(spec: &NetworkSpec) -> Graph {
    let resolved = spec.resolve();
    let mut lowering = Lowering { spec, graph: Graph::default(), line: spec.stem.line, step: 0, layer: 0 };
    let [height, width] = spec.resolution;
    let image = lowering.node("input".to_owned(), None, Op::Input, Shape::new(height, width, IMAGE_CHANNELS), &[]);
    let stem = Convolution { channels: resolved.stem_channels, stride: spec.stem.stride, ..Convolution::WINDOW };
    let mut value = lowering.conv("stem", image, stem);
    for block in &resolved.blocks {
        lowering.line = block.line;
        // Without an expansion the first block is streamed from the stem, so that they run as one step.
        if !(block.index == 1 && block.expansion == 1) {
            lowering.step += 1;
        }
        value = lowering.block(block, value);
    }
    lowering.line = spec.head.line;
    lowering.step += 1;
    let head = Convolution { channels: resolved.head_channels, ..Convolution::POINT };
    value = lowering.conv("head", value, head);
    value = lowering.op("head.pool".to_owned(), Op::GlobalAvgPool, &[value]);
    lowering.step += 1;
    lowering.classifier(value, spec.classes);
    lowering.graph
}

/// The four paddings of `window`-sized steps over an image: what `convention` makes of kernel and stride.
pub fn padding(convention: PaddingConvention, kernel: usize, stride: usize, [height, width]: [usize; 2]) -> Padding {
    let along = |size: usize| match convention {
        PaddingConvention::Same => {
            let steps = size.div_ceil(stride).max(1) - 1;
            let total = (steps * stride + kernel).saturating_sub(size);
            [total / 2, total - total / 2]
        }
        PaddingConvention::Symmetric => [(kernel - 1) / 2; 2],
    };
    let ([top, bottom], [left, right]) = (along(height), along(width));
    Padding { top, left, bottom, right }
}

/// A convolution of the table.
#[derive(Clone, Copy)]
struct Convolution {
    depthwise: bool,
    /// Output channels.
    channels: usize,
    kernel: usize,
    stride: usize,
    activated: bool,
}

impl Convolution {
    const POINT: Self = Self { depthwise: false, channels: 0, kernel: 1, stride: 1, activated: true };
    const WINDOW: Self = Self { kernel: KERNEL, ..Self::POINT };
}

struct Lowering<'s> {
    spec: &'s NetworkSpec,
    graph: Graph,
    /// What the next node belongs to.
    line: usize,
    step: usize,
    /// Number of the last convolution.
    layer: usize,
}

impl Lowering<'_> {
    fn block(&mut self, block: &ResolvedBlock, input: NodeId) -> NodeId {
        let name = |part: &str| format!("block{}.{part}", block.index);
        let mut value = input;
        if block.expansion > 1 {
            let expand = Convolution { channels: block.expanded_channels, ..Convolution::POINT };
            value = self.conv(&name("expand"), value, expand);
        }
        let channels = block.expanded_channels;
        let filter = Convolution { depthwise: true, channels, stride: block.stride, ..Convolution::WINDOW };
        value = self.conv(&name("depthwise"), value, filter);
        // The projection is linear: information would be lost in so few channels (paper, section 3.2).
        let project = Convolution { channels: block.out_channels, activated: false, ..Convolution::POINT };
        value = self.conv(&name("project"), value, project);
        if block.residual { self.op(name("add"), Op::Add, &[value, input]) } else { value }
    }

    /// Convolution, batch normalisation and, where it has one, activation.
    fn conv(&mut self, name: &str, input: NodeId, wanted: Convolution) -> NodeId {
        let Shape { height, width, channels } = self.graph.node(input).tensor.shape;
        let Convolution { kernel, stride, .. } = wanted;
        let padding = padding(self.spec.padding, kernel, stride, [height, width]);
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], padding };
        let (bias, epilogue) = (None, Epilogue::default());
        let raw_weight = format!("{name}.raw_weight");
        let op = if wanted.depthwise {
            let weight = self.param(raw_weight, vec![kernel, kernel, wanted.channels]);
            Op::DepthwiseConv2d(DepthwiseConv2d { window, weight, bias, epilogue })
        } else {
            let weight = self.param(raw_weight, vec![kernel, kernel, channels, wanted.channels]);
            Op::Conv2d(Conv2d { window, weight, bias, epilogue })
        };
        let mut value = self.layer(name.to_owned(), op, input);
        let mut statistic = |part: &str| self.param(format!("{name}.bn.{part}"), vec![wanted.channels]);
        let norm = BatchNorm {
            gamma: statistic("gamma"),
            beta: statistic("beta"),
            mean: statistic("mean"),
            variance: statistic("variance"),
            epsilon: self.spec.batch_norm_epsilon,
        };
        value = self.op(format!("{name}.bn"), Op::BatchNorm(norm), &[value]);
        if wanted.activated {
            let activation = match self.spec.activation {
                ActivationKind::Relu => Activation::Relu,
                ActivationKind::Relu6 => Activation::Relu6,
            };
            value = self.op(format!("{name}.{}", activation.name()), Op::Activation(activation), &[value]);
        }
        value
    }

    fn classifier(&mut self, input: NodeId, classes: usize) -> NodeId {
        let channels = self.graph.node(input).tensor.shape.channels;
        let weight = self.param("classifier.weight".to_owned(), vec![channels, classes]);
        let bias = self.param("classifier.bias".to_owned(), vec![classes]);
        self.layer("classifier".to_owned(), Op::Dense(Dense { weight, bias }), input)
    }

    fn param(&mut self, name: String, shape: Vec<usize>) -> ParamId {
        self.graph.add_param(Param { name, shape, source: ParamSource::Stored })
    }

    /// A node that the published table counts.
    fn layer(&mut self, name: String, op: Op, input: NodeId) -> NodeId {
        self.layer += 1;
        let shape = self.infer(&op, &[input]);
        self.node(name, Some(self.layer), op, shape, &[input])
    }

    fn op(&mut self, name: String, op: Op, inputs: &[NodeId]) -> NodeId {
        let shape = self.infer(&op, inputs);
        self.node(name, None, op, shape, inputs)
    }

    fn infer(&self, op: &Op, inputs: &[NodeId]) -> Shape {
        let inputs: Vec<Shape> = inputs.iter().map(|input| self.graph.node(*input).tensor.shape).collect();
        // A mistake of this file; the verifier finds the empty shape, and says why there is no other.
        output_shape(&self.graph, op, &inputs).unwrap_or(Shape::new(0, 0, 0))
    }

    fn node(&mut self, name: String, layer: Option<usize>, op: Op, shape: Shape, inputs: &[NodeId]) -> NodeId {
        let origin = Origin { line: self.line, step: self.step, layer, name };
        self.graph
            .add(Node { op, origin, tensor: Tensor::nhwc(shape), tile: None, place: None, workspace: None }, inputs)
    }
}

//! Lowers the table to operations: one node per convolution, batch normalization, activation and add.
//!
//! ```text
//! block t=6 c=24 s=1   ->   expand: conv2d 1x1, batch_norm, relu6;  depthwise 3x3, batch_norm, relu6;
//!                           project: conv2d 1x1, batch_norm;  add
//! ```
//!
//! Quantized layers have no batch normalization, which was folded before quantization. They requantize their sums.
//!
//! In bf16 networks, the submodule `bf16` sets the element types.
//!
//! Nothing is fused and every value is plain NHWC. Padding becomes four numbers, and every node keeps its line of the spec.

mod bf16;

use crate::ir::infer::output_shape;
use crate::ir::{
    BatchNorm, Conv2d, Dense, DepthwiseConv2d, ElementType, Epilogue, Factors, Graph, Node, NodeId, Op, Origin,
    Padding, Param, ParamId, ParamSource, Product, Quant, Requantize, Shape, Tensor, Window,
};
use crate::spec::{self, NetworkSpec, Precision, ResolvedBlock};

/// Kernel of the stem and of every depthwise convolution.
const KERNEL: usize = 3;

/// Lowers `spec` to an unfused graph.
pub fn lower(spec: &NetworkSpec) -> Graph {
    let resolved = spec.resolve();
    let element = match spec.precision {
        Precision::F32 | Precision::Bf16 => ElementType::F32,
        Precision::Int8 => ElementType::I8,
        Precision::Uint8 => ElementType::U8,
    };
    let mut lowering = Lowering { spec, element, graph: Graph::default(), line: spec.stem.line, step: 0, layer: 0 };
    let [height, width] = spec.resolution;
    let quant = lowering.quant("input");
    let shape = Shape::new(height, width, spec.input.channels());
    let image = lowering.node("input".to_owned(), None, Op::Input, shape, quant, &[]);
    let stem = Convolution { channels: resolved.stem_channels, stride: spec.stem.stride, ..Convolution::WINDOW };
    let mut value = lowering.conv("stem", image, stem);
    for block in &resolved.blocks {
        lowering.line = block.line;
        // A first block without an expansion is streamed from the stem: both are one step.
        if !(block.index == 1 && block.expansion == 1) {
            lowering.step += 1;
        }
        value = lowering.block(block, value);
    }
    lowering.line = spec.head.line;
    lowering.step += 1;
    let head = Convolution { channels: resolved.head_channels, ..Convolution::POINT };
    value = lowering.conv("head", value, head);
    value = lowering.combined("head.pool".to_owned(), Op::GlobalAvgPool, &[value]);
    lowering.step += 1;
    for (at, units) in spec.head.dense.iter().enumerate() {
        value = lowering.dense(&format!("dense{}", at + 1), value, *units);
    }
    lowering.classifier(value, spec.classes);
    bf16::assign_elements(&mut lowering.graph);
    lowering.graph
}

/// The padding of a window of `kernel` and `stride` over an image of `[height, width]`.
pub fn padding(convention: spec::Padding, kernel: usize, stride: usize, [height, width]: [usize; 2]) -> Padding {
    let along = |size: usize| match convention {
        spec::Padding::Same => {
            let steps = size.div_ceil(stride).max(1) - 1;
            let total = (steps * stride + kernel).saturating_sub(size);
            [total / 2, total - total / 2]
        }
        spec::Padding::Symmetric => [(kernel - 1) / 2; 2],
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
    /// Element type of all values.
    element: ElementType,
    graph: Graph,
    /// Line of the next node; `step` is its step.
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
        // The projection is linear: an activation would lose information in few channels (paper, section 3.2).
        let project = Convolution { channels: block.out_channels, activated: false, ..Convolution::POINT };
        value = self.conv(&name("project"), value, project);
        if block.residual { self.combined(name("add"), Op::Add, &[value, input]) } else { value }
    }

    /// Adds a convolution, its batch normalization and its activation.
    fn conv(&mut self, name: &str, input: NodeId, conv: Convolution) -> NodeId {
        let Shape { height, width, channels } = self.graph.node(input).tensor.shape;
        let Convolution { kernel, stride, .. } = conv;
        let padding = padding(self.spec.padding, kernel, stride, [height, width]);
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], padding };
        let epilogue = Epilogue::default();
        let shape = if conv.depthwise {
            vec![kernel, kernel, conv.channels]
        } else {
            vec![kernel, kernel, channels, conv.channels]
        };
        let (weight, bias, requantize) = self.weights(name, shape);
        let op = if conv.depthwise {
            Op::DepthwiseConv2d(DepthwiseConv2d { window, weight, bias, requantize, epilogue })
        } else {
            // The image and the weights of the stem are not rounded.
            let factors = if window.is_point() { self.factors(Factors::Bf16) } else { Factors::Exact };
            Op::Conv2d(Conv2d { window, weight, bias, requantize, epilogue, product: Product::Plain, factors })
        };
        let mut value = self.layer(name.to_owned(), op, input);
        if !self.element.is_quantized() {
            value = self.batch_norm(name, value);
        }
        if conv.activated {
            let activation = self.spec.activation;
            value = self.op(format!("{name}.{}", activation.word()), Op::Activation(activation), &[value]);
        }
        value
    }

    /// Weight, bias and requantization of a layer; only a raw weight before batch normalization.
    fn weights(&mut self, name: &str, shape: Vec<usize>) -> (ParamId, Option<ParamId>, Option<Requantize>) {
        if !self.element.is_quantized() {
            return (self.param(format!("{name}.raw_weight"), shape), None, None);
        }
        let channels = shape.last().copied().unwrap_or(0);
        let weight = self.typed(format!("{name}.weight"), shape, self.element);
        let (scales, zero_point) = match self.element {
            ElementType::U8 => (1, Some(self.typed(format!("{name}.weight.zero_point"), vec![1], ElementType::I32))),
            _ => (channels, None),
        };
        let weight_scale = self.param(format!("{name}.weight.scale"), vec![scales]);
        let bias = self.typed(format!("{name}.bias"), vec![channels], ElementType::I32);
        // `Some`, because the element type is quantized.
        let requantize =
            self.quant(name).map(|output| Requantize { weight_scale, weight_zero_point: zero_point, output });
        (weight, Some(bias), requantize)
    }

    fn batch_norm(&mut self, name: &str, input: NodeId) -> NodeId {
        let channels = self.graph.node(input).tensor.shape.channels;
        let mut statistic = |part: &str| self.param(format!("{name}.bn.{part}"), vec![channels]);
        let norm = BatchNorm {
            gamma: statistic("gamma"),
            beta: statistic("beta"),
            mean: statistic("mean"),
            variance: statistic("variance"),
            epsilon: self.spec.batch_norm_epsilon,
        };
        self.op(format!("{name}.bn"), Op::BatchNorm(norm), &[input])
    }

    /// Adds a dense layer and its activation: a 1x1 convolution of the pooled image, which has one pixel.
    fn dense(&mut self, name: &str, input: NodeId, units: usize) -> NodeId {
        let channels = self.graph.node(input).tensor.shape.channels;
        let (weight, bias, requantize) = self.biased(name, vec![1, 1, channels, units]);
        let (window, epilogue, product) = (Window::POINT, Epilogue::default(), Product::Plain);
        let factors = self.factors(Factors::Bf16Weights);
        let op = Op::Conv2d(Conv2d { window, weight, bias: Some(bias), requantize, epilogue, product, factors });
        let value = self.layer(name.to_owned(), op, input);
        let activation = self.spec.head.dense_activation;
        self.op(format!("{name}.{}", activation.word()), Op::Activation(activation), &[value])
    }

    fn classifier(&mut self, input: NodeId, classes: usize) -> NodeId {
        let channels = self.graph.node(input).tensor.shape.channels;
        let name = "classifier";
        let (weight, bias, requantize) = self.biased(name, vec![channels, classes]);
        let factors = self.factors(Factors::Bf16Weights);
        self.layer(name.to_owned(), Op::Dense(Dense { weight, bias, requantize, factors }), input)
    }

    /// Weight, bias and requantization of a layer without batch normalization.
    fn biased(&mut self, name: &str, shape: Vec<usize>) -> (ParamId, ParamId, Option<Requantize>) {
        let outputs = shape.last().copied().unwrap_or(0);
        if self.element.is_quantized()
            && let (weight, Some(bias), requantize) = self.weights(name, shape.clone())
        {
            return (weight, bias, requantize);
        }
        let weight = self.param(format!("{name}.weight"), shape);
        (weight, self.param(format!("{name}.bias"), vec![outputs]), None)
    }

    /// Returns `factors` in bf16 networks.
    fn factors(&self, factors: Factors) -> Factors {
        if self.spec.precision == Precision::Bf16 { factors } else { Factors::Exact }
    }

    fn param(&mut self, name: String, shape: Vec<usize>) -> ParamId {
        self.typed(name, shape, ElementType::F32)
    }

    fn typed(&mut self, name: String, shape: Vec<usize>, element: ElementType) -> ParamId {
        self.graph.add_param(Param { name, shape, element, source: ParamSource::Stored })
    }

    /// The scale and zero point of the value `name`; `None` for float32.
    fn quant(&mut self, name: &str) -> Option<Quant> {
        self.element.is_quantized().then(|| Quant {
            scale: self.param(format!("{name}.scale"), vec![1]),
            zero_point: self.typed(format!("{name}.zero_point"), vec![1], ElementType::I32),
        })
    }

    /// A layer of the published table.
    fn layer(&mut self, name: String, op: Op, input: NodeId) -> NodeId {
        self.layer += 1;
        let shape = self.infer(&op, &[input]);
        let quant = op.requantize().map(|requantize| requantize.output);
        self.node(name, Some(self.layer), op, shape, quant, &[input])
    }

    /// An operation whose result is quantized like its input.
    fn op(&mut self, name: String, op: Op, inputs: &[NodeId]) -> NodeId {
        let shape = self.infer(&op, inputs);
        let quant = inputs.first().and_then(|input| self.graph.node(*input).tensor.quant);
        self.node(name, None, op, shape, quant, inputs)
    }

    /// An operation whose result has its own quantization.
    fn combined(&mut self, name: String, op: Op, inputs: &[NodeId]) -> NodeId {
        let shape = self.infer(&op, inputs);
        let quant = self.quant(&name);
        self.node(name, None, op, shape, quant, inputs)
    }

    fn infer(&self, op: &Op, inputs: &[NodeId]) -> Shape {
        let inputs: Vec<Shape> = inputs.iter().map(|input| self.graph.node(*input).tensor.shape).collect();
        // An error is a bug of the lowering. The verifier reports the empty shape with the reason.
        output_shape(&self.graph, op, &inputs).unwrap_or(Shape::new(0, 0, 0))
    }

    fn node(
        &mut self,
        name: String,
        layer: Option<usize>,
        op: Op,
        shape: Shape,
        quant: Option<Quant>,
        inputs: &[NodeId],
    ) -> NodeId {
        let origin = Origin { line: self.line, step: self.step, layer, name };
        let tensor = match quant {
            Some(quant) => Tensor::quantized(shape, self.element, quant),
            None => Tensor::nhwc(shape),
        };
        self.graph.add(Node { op, origin, tensor, tile: None, place: None, workspace: None }, inputs)
    }
}

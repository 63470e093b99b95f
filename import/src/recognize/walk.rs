//! Traversal of the source graph from layer to layer, with checks.

use super::activation::{self, Clamped};
use super::layer::{Expected, Layer, Norm, check, describe};
use super::padding::{self, literal};
use crate::error::{ImportError, Result};
use crate::source::{Conv, Node, Op, Output, Pads, Quants, SourceGraph, Value};
use crate::text::elements;

/// State of the traversal.
pub struct Walk<'g> {
    nodes: &'g [Node<'g>],
    /// Outputs of the model.
    pub outputs: &'g [Output<'g>],
    /// Indices of the readers of each value.
    readers: Vec<Vec<usize>>,
    /// Channels of the current value; 0 before the stem if the file does not record those of the image.
    pub channels: usize,
    /// Height and width of the current image, if known.
    image: Option<[usize; 2]>,
    /// Height and width of the input.
    pub resolution: Option<[usize; 2]>,
    /// Product of all strides.
    stride: usize,
    pub padding: padding::Evidence,
    /// Sizes of the input at which explicit padding of an image of unknown size is that of `same`: the multiples of this.
    pub size_multiple: usize,
    pub activation: activation::Evidence,
    /// Activation of the dense layers before the classifier.
    pub dense_activation: activation::Evidence,
    pub quants: &'g Quants,
    /// Remaining parameters.
    left: usize,
}

impl<'g> Walk<'g> {
    pub fn new(graph: &'g SourceGraph<'_>, most: usize) -> Self {
        let values = graph.nodes.iter().map(|node| node.output + 1).max().unwrap_or(0).max(graph.input + 1);
        let mut readers = vec![Vec::new(); values];
        for (at, node) in graph.nodes.iter().enumerate() {
            for &input in &node.inputs {
                if let Some(readers) = readers.get_mut(input)
                    && readers.last() != Some(&at)
                {
                    readers.push(at);
                }
            }
        }
        let [height, width, channels] = graph.input_shape;
        let resolution = height.zip(width).map(|(height, width)| [height, width]);
        Self {
            nodes: &graph.nodes,
            outputs: &graph.outputs,
            readers,
            channels: channels.unwrap_or(0),
            image: resolution,
            resolution,
            stride: 1,
            padding: padding::Evidence::new(),
            size_multiple: 1,
            activation: activation::Evidence::default(),
            dense_activation: activation::Evidence::default(),
            quants: &graph.quants,
            left: most,
        }
    }

    pub fn nodes(&self) -> &'g [Node<'g>] {
        self.nodes
    }

    pub fn readers(&self, value: Value) -> impl Iterator<Item = &'g Node<'g>> {
        let nodes = self.nodes;
        self.readers.get(value).into_iter().flatten().filter_map(move |&at| nodes.get(at))
    }

    /// Returns the only reader of `value`. If `may_fork`, additions are ignored, because a residual may start here.
    pub fn next(&self, value: Value, role: &str, expected: &str, may_fork: bool) -> Result<&'g Node<'g>> {
        let mut readers = self.readers(value).filter(|node| !may_fork || !matches!(node.op, Op::Add));
        match (readers.next(), readers.next()) {
            (Some(node), None) => Ok(node),
            (None, _) => {
                let last = self.nodes.iter().find(|node| node.output == value);
                let error =
                    ImportError::unsupported("the network ends before this layer").role(role).expected(expected);
                Err(match last {
                    Some(node) => error.found(format!("nothing after {}", node.place.text())),
                    None => error.found("nothing that reads the input"),
                })
            }
            (Some(one), Some(other)) => {
                Err(ImportError::unsupported("the value has several readers, but MobileNetV2 has one path here")
                    .role(role)
                    .expected(expected)
                    .found(format!("{} and {}", one.place.text(), other.place.text())))
            }
        }
    }

    /// Returns the reader of `value` if there is exactly one.
    pub fn only(&self, value: Value) -> Option<&'g Node<'g>> {
        let mut readers = self.readers(value);
        readers.next().filter(|_| readers.next().is_none())
    }

    /// Lists the first readers of `value`.
    fn readers_text(&self, value: Value) -> String {
        let readers: Vec<_> = self.readers(value).take(4).map(|node| node.place.text()).collect();
        if readers.is_empty() { "nothing".into() } else { readers.join(", ") }
    }

    pub fn unexpected(node: &Node<'_>, role: &str, expected: &str) -> Box<ImportError> {
        let error = ImportError::unsupported("unexpected operation")
            .at(node.place.text())
            .role(role)
            .expected(expected)
            .found(describe(node));
        match &*node.place.operator {
            "If" | "Loop" | "Scan" => error.help(
                "export the model without branches and loops, or fold constant conditions, for instance with onnxsim",
            ),
            operator if operator.starts_with("QLinear") => {
                error.help("quantize with `quant_format=QuantFormat.QDQ`, which keeps float operators between pairs")
            }
            _ => error,
        }
    }

    /// Returns the number of depthwise convolutions, one for each block of a network of the family.
    pub fn depthwise_layers(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(&node.op, Op::Conv(conv) if conv.groups > 1)).count()
    }

    /// Whether the next convolution is depthwise.
    pub fn reads_depthwise(&self, value: Value) -> bool {
        let mut readers = self.readers(value).filter(|node| !matches!(node.op, Op::Add));
        let next = readers.next().and_then(|node| match node.op {
            Op::Pad(_) => self.only(node.output),
            _ => Some(node),
        });
        matches!(next, Some(Node { op: Op::Conv(conv), .. }) if conv.groups > 1)
    }

    pub fn is_end(&self, value: Value) -> bool {
        self.readers(value).next().is_none()
    }

    pub fn is_pooled(&self, value: Value) -> bool {
        self.readers(value).any(|node| matches!(node.op, Op::Pool { .. } | Op::AxisMean))
    }

    /// Reads a convolution with its padding, normalization and activation.
    pub fn layer(&mut self, value: Value, role: &str, expected: Expected) -> Result<(Layer<'g>, Value)> {
        self.convolution(value, role, expected).map_err(|error| error.role(role))
    }

    fn convolution(&mut self, value: Value, role: &str, expected: Expected) -> Result<(Layer<'g>, Value)> {
        let mut node = self.next(value, role, expected.text(), true)?;
        let mut padded = None;
        if let Op::Pad(sides) = node.op {
            padded = Some(sides);
            node = self.next(node.output, role, expected.text(), false)?;
        }
        let Op::Conv(conv) = &node.op else { return Err(Self::unexpected(node, role, expected.text())) };
        if self.channels == 0 {
            self.channels = conv.kernel.shape().get(2).copied().unwrap_or(0);
        }
        let (shape, stride) = check(node, conv, expected, self.channels)?;
        self.window(node, conv, padded, role, stride)?;
        self.spend(&shape)?;
        self.channels = conv.kernel.shape().last().copied().unwrap_or(0);
        let mut steps = vec![node.output];
        let norms = self.norms(&mut steps)?;
        self.clamps(node, &mut steps, role, expected)?;
        let value = steps.last().copied().unwrap_or(node.output);
        let bias = conv.bias.as_deref();
        let place = node.place.text();
        let (role, kernel, activated) = (role.to_owned(), &conv.kernel, expected.activated());
        let (copies, merged, before) = (None, None, Vec::new());
        Ok((Layer { role, place, kernel, bias, copies, merged, before, norms, shape, stride, activated, steps }, value))
    }

    /// Adds explicit padding to that of the convolution, and updates the image size.
    fn window(
        &mut self,
        node: &Node<'_>,
        conv: &Conv<'_>,
        padded: Option<[usize; 4]>,
        role: &str,
        stride: usize,
    ) -> Result<()> {
        let pads = match (conv.pads, padded) {
            (pads, None | Some([0, 0, 0, 0])) => pads,
            (Pads::Explicit(own), Some(before)) => {
                let mut sum = own;
                sum.iter_mut().zip(before).for_each(|(side, more)| *side = side.saturating_add(more));
                Pads::Explicit(sum)
            }
            (Pads::Same | Pads::SameLower, Some(_)) => {
                return Err(ImportError::unsupported(
                    "explicit padding before a convolution with SAME padding is unsupported",
                )
                .at(node.place.text()));
            }
        };
        let wrong_padding = |[expected, found]: [String; 2]| {
            ImportError::unsupported("unexpected padding").at(node.place.text()).expected(expected).found(found)
        };
        if conv.kernel.shape().starts_with(&[1, 1]) {
            return match pads {
                Pads::Explicit([0, 0, 0, 0]) | Pads::Same | Pads::SameLower => Ok(()),
                Pads::Explicit(found) => Err(wrong_padding(["no padding".into(), format!("{found:?}")])),
            };
        }
        self.padding.add(role, pads, self.image, stride).map_err(wrong_padding)?;
        self.stride = self.stride.saturating_mul(stride);
        if self.image.is_none() && pads == Pads::Explicit([0, 0, 1, 1]) {
            // All inputs of windows with stride 2 so far must be even.
            self.size_multiple = self.stride;
        }
        if let (Some([height, width]), Some(_)) = (self.image, literal(pads, self.image, stride)) {
            // The output size is equal for both conventions.
            self.image = Some([height.div_ceil(stride), width.div_ceil(stride)]);
        }
        Ok(())
    }

    pub fn spend(&mut self, shape: &[usize]) -> Result<()> {
        self.left = self.left.checked_sub(elements(shape)?).ok_or_else(|| {
            ImportError::unsupported("the number of parameters exceeds the limit for a file of this size")
        })?;
        Ok(())
    }

    /// Reads normalization and arithmetic that fold into the preceding or the following layer, and appends their outputs to `steps`.
    pub fn norms(&self, steps: &mut Vec<Value>) -> Result<Vec<Norm<'g>>> {
        /// Exporters leave at most three: a bias, a factor, an offset. Each costs a pass over the weights.
        const MOST: usize = 16;
        let mut norms = Vec::new();
        while let Some(node) = steps.last().and_then(|value| self.only(*value)) {
            match &node.op {
                Op::BatchNorm(norm) => {
                    for constant in [&norm.gamma, &norm.beta, &norm.mean, &norm.variance] {
                        if constant.len() != self.channels {
                            return Err(ImportError::malformed("the normalization does not match its convolution")
                                .at(node.place.text())
                                .expected(format!("{} channels", self.channels))
                                .found(format!("{} channels", constant.len())));
                        }
                    }
                    norms.push(Norm::BatchNorm(norm));
                }
                Op::Affine(affine) if affine.fits(self.channels) => norms.push(Norm::Affine(affine)),
                _ => break,
            }
            if norms.len() > MOST {
                return Err(ImportError::unsupported("too many operations after one layer")
                    .at(node.place.text())
                    .expected(format!("at most {MOST} operations"))
                    .help("fold constants first, for instance with onnxsim"));
            }
            steps.push(node.output);
        }
        Ok(norms)
    }

    /// Reads the activation, which may have several steps, and appends their outputs to `steps`.
    fn clamps(&mut self, conv: &Node<'_>, steps: &mut Vec<Value>, role: &str, expected: Expected) -> Result<()> {
        let clamped = self.clamped(conv, steps);
        clamped.add_to(&mut self.activation, self.quants, role, expected.activated())
    }

    /// Reads clamps after a layer, and appends their outputs to `steps`.
    pub fn clamped(&self, layer: &Node<'_>, steps: &mut Vec<Value>) -> Clamped {
        let mut bounds: Option<[f64; 2]> = None;
        let mut place = layer.place.text();
        let mut value = steps.last().copied().unwrap_or(layer.output);
        while let Some(node) = self.only(value)
            && let Op::Clamp { low, high } = node.op
        {
            let through = |bound: f64| if bound > low { bound.min(high) } else { low.min(high) };
            bounds = Some(bounds.map_or([low, high], |[a, b]| [through(a), through(b)]));
            value = node.output;
            steps.push(value);
            place = node.place.text();
        }
        // A quantizer may remove the lower bound of an activation in two steps.
        let from_zero =
            |value: &Value| self.quants.once(*value).is_some_and(|quant| quant.steps_above_zero().is_some());
        if let Some([low @ f64::NEG_INFINITY, _]) = &mut bounds
            && steps.iter().any(from_zero)
        {
            *low = 0.0;
        }
        let next = self.readers(value).next().map_or("the end of the network".into(), describe);
        Clamped { bounds, place, value, next }
    }

    /// Returns whether a block has a residual, and its output. `shapes` describes a block whose shapes do not allow one.
    pub fn residual(
        &self,
        input: Value,
        output: Value,
        number: usize,
        shapes: Option<String>,
    ) -> Result<(bool, Value)> {
        let role = format!("block{number}.add");
        if let Some(add) = self.readers(input).find(|node| matches!(node.op, Op::Add)) {
            if !adds(add, input, output) || self.readers(input).filter(|node| matches!(node.op, Op::Add)).count() > 1 {
                return Err(ImportError::unsupported("unexpected skip connection")
                    .at(add.place.text())
                    .role(role)
                    .expected("the sum of a block's input and projection")
                    .found(format!("a projection that is read by {}", self.readers_text(output))));
            }
            if self.only(output).is_none() {
                return Err(ImportError::unsupported("a projection has readers other than its residual add")
                    .role(role)
                    .found(self.readers_text(output)));
            }
            if let Some(shapes) = shapes {
                return Err(ImportError::unsupported("unexpected residual")
                    .at(add.place.text())
                    .role(role)
                    .expected("a block with stride 1 and as many output channels as input channels")
                    .found(shapes)
                    .help("remove this addition and train the model again"));
            }
            return Ok((true, add.output));
        }
        Ok((false, output))
    }

    /// Reads the average over the image and the following reshapes. Returns whether it is a windowed pool, and its
    /// output.
    pub fn pool(&mut self, value: Value) -> Result<(bool, Value)> {
        const EXPECTED: &str = "a global average pool";
        let node = self.next(value, "head.pool", EXPECTED, false)?;
        let window = match node.op {
            Op::Pool { window } => window,
            Op::AxisMean => return self.second_mean(node).map(|output| (false, self.flattened(output))),
            _ => return Err(Self::unexpected(node, "head.pool", EXPECTED)),
        };
        if let (Some(window), None) = (window, self.image) {
            // The network computes the same for an image of this size.
            self.resolution = Some(window.map(|size| size.saturating_mul(self.stride)));
        }
        if let (Some(window), Some(image)) = (window, self.image)
            && window != image
        {
            return Err(ImportError::unsupported("the average pool does not cover the image")
                .at(node.place.text())
                .role("head.pool")
                .expected(format!("a window of {}x{}", image[0], image[1]))
                .found(format!("{}x{}", window[0], window[1])));
        }
        Ok((window.is_some(), self.flattened(node.output)))
    }

    /// Returns the output of the mean over the axis that `first` leaves. The value between must not be rounded.
    fn second_mean(&self, first: &Node<'_>) -> Result<Value> {
        match self.only(first.output) {
            Some(Node { op: Op::AxisMean, output, .. }) if self.quants.get(first.output).is_none() => Ok(*output),
            _ => Err(Self::unexpected(first, "head.pool", "a mean over height and width")),
        }
    }

    pub fn flattened(&self, mut value: Value) -> Value {
        while let Some(node) = self.only(value)
            && matches!(node.op, Op::Flatten)
        {
            value = node.output;
        }
        value
    }
}

/// Whether `node` adds `one` and `other`, in either order.
fn adds(node: &Node<'_>, one: Value, other: Value) -> bool {
    matches!(node.op, Op::Add) && matches!(*node.inputs, [a, b] if (a, b) == (one, other) || (a, b) == (other, one))
}

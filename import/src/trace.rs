//! The tensors of a model file that contain the network's values, for comparison with another engine.

use mbvc_compiler::spec::Activation;

use crate::recognize::{Chain, Front, Layer};
use crate::source::{Holder, Layout, SourceGraph, Value};

/// Tensors of a model file that contain the network's values.
///
/// Identified by the edges of the graph, not by names.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The model's input.
    pub input: SourceTensor,
    /// Factor from pixels (0..255) to the input, if the graph preprocesses them or reads them as uint8; `None` if the input is
    /// preprocessed.
    pub pixel_scale: Option<f32>,
    /// Whether the input is BGR.
    pub reversed: bool,
    /// Height and width, if fixed in the file.
    pub resolution: Option<[usize; 2]>,
    /// Values in order of execution; integers for a quantized network. Values without a tensor, such as sums before a fused
    /// activation, are omitted.
    pub values: Vec<Traced>,
}

/// A value and its tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Name of the producer in the unfused graph of [`mbvc_compiler::lower`]: `stem`, `stem.relu6`, `block3.add`,
    /// `head.pool`, `classifier`; `input` if the graph preprocesses pixels.
    pub node: String,
    /// Tensor with the value.
    pub tensor: SourceTensor,
}

/// A tensor of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTensor {
    /// Name in the file.
    pub name: String,
    /// Index in a TFLite file, in which names need not be unique.
    pub index: Option<usize>,
    /// Order of the axes.
    pub layout: Layout,
}

impl From<&Holder<'_>> for SourceTensor {
    fn from(Holder { name, index, layout }: &Holder<'_>) -> Self {
        Self { name: name.clone().into_owned(), index: *index, layout: *layout }
    }
}

/// Finds the tensors of the values of `chain`, integers if `quantized`. Returns `None` for formats that no other engine
/// runs.
pub fn trace(chain: &Chain<'_>, graph: &SourceGraph<'_>, quantized: bool) -> Option<Trace> {
    // The input of a quantized model may be floats.
    let input = graph.holders.get(graph.input, false).or_else(|| graph.holders.get(graph.input, true))?.into();
    let mut tracer = Tracer { graph, quantized, activation: chain.activation, values: Vec::new() };
    // The network reads RGB, or one gray channel.
    if let Some(front) = chain.front.filter(|front| !front.reversed && chain.stem.copies.is_none()) {
        tracer.value("input", front.output);
    }
    tracer.layer(&chain.stem);
    for (at, block) in chain.blocks.iter().enumerate() {
        let layers = block.expand.iter().chain([&block.depthwise, &block.project]);
        layers.for_each(|layer| tracer.layer(layer));
        if block.residual {
            tracer.value(&format!("block{}.add", at + 1), block.output);
        }
    }
    tracer.layer(&chain.head);
    tracer.value("head.pool", chain.pool.output);
    tracer.activation = chain.dense_activation;
    chain.dense.iter().chain([&chain.classifier]).for_each(|layer| tracer.layer(layer));
    let arithmetic = chain.front.filter(Front::is_arithmetic);
    let pixel_scale = arithmetic.map(|front| if front.takes_bytes() { 1.0 } else { 1.0 / 255.0 });
    // Integers are pixels.
    let pixel_scale = if graph.input_quantization.is_some() { Some(1.0) } else { pixel_scale };
    Some(Trace { input, pixel_scale, reversed: false, resolution: chain.resolution, values: tracer.values })
}

struct Tracer<'g> {
    graph: &'g SourceGraph<'g>,
    quantized: bool,
    /// Activation of the following layers.
    activation: Activation,
    values: Vec<Traced>,
}

impl Tracer<'_> {
    fn value(&mut self, node: &str, value: Value) {
        if let Some(holder) = self.graph.holders.get(value, self.quantized) {
            self.values.push(Traced { node: node.to_owned(), tensor: holder.into() });
        }
    }

    /// Adds a layer's normalized sums and its activated output.
    fn layer(&mut self, layer: &Layer<'_>) {
        let Some(output) = layer.output() else { return };
        // The classifier's sums are its output.
        let sums = layer.steps.get(layer.norms.len()).copied();
        if !layer.activated {
            return self.value(&layer.role, output);
        }
        // Integers are activated during requantization.
        if let Some(sums) = sums.filter(|sums| *sums != output && !self.quantized) {
            self.value(&layer.role, sums);
        }
        self.value(&format!("{}.{}", layer.role, self.activation.word()), output);
    }
}

#[cfg(test)]
mod tests {
    use crate::onnx::{self, Operator as Node, Tensor};
    use crate::options::ReadOptions;
    use crate::read::read_bytes;

    const FIXTURE: &[u8] = include_bytes!("../tests/fixtures/same_plain_op13.onnx");

    /// The fixture, preceded by `pixels * scale + offset`.
    fn with_front(scale: f32, offset: f32) -> Vec<u8> {
        let mut model = onnx::decode(FIXTURE).unwrap();
        let graph = model.graph.as_mut().unwrap();
        graph.input[0].name = "pixels".into();
        for (at, (operator, input, constant, output)) in
            [("Mul", "pixels", scale, "scaled"), ("Add", "scaled", offset, "image")].into_iter().enumerate()
        {
            let name = format!("{operator}.constant");
            let tensor = Tensor { data_type: 1, float_data: vec![constant], name: name.clone(), ..Tensor::default() };
            graph.initializer.push(tensor);
            let (input, output) = (vec![input.into(), name], vec![output.into()]);
            graph.node.insert(at, Node { op_type: operator.into(), input, output, ..Node::default() });
        }
        prost::Message::encode_to_vec(&model)
    }

    #[test]
    fn a_model_with_preprocessing_reads_pixels() {
        for (scale, takes) in [(1.0 / 127.5, 1.0), (2.0, 1.0 / 255.0)] {
            let model = read_bytes(&with_front(scale, -1.0), "front.onnx", &ReadOptions::default())
                .unwrap_or_else(|error| panic!("{error}"));
            let trace = model.trace.unwrap();
            assert_eq!((trace.pixel_scale, &*trace.input.name), (Some(takes), "pixels"));
            let first: Vec<_> = trace.values.iter().take(2).map(|value| (&*value.node, &*value.tensor.name)).collect();
            assert_eq!(first, [("input", "image"), ("stem", "stem.conv")]);
        }
    }

    #[test]
    fn swapped_channels_are_recorded() {
        let mut model = read_bytes(FIXTURE, "plain.onnx", &ReadOptions::default()).unwrap();
        model.swap_channels();
        assert!(model.trace.is_some_and(|trace| trace.reversed));
    }
}

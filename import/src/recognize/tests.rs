//! Hand-written graphs of the family and close to it.

use std::borrow::Cow;
use std::rc::Rc;

use mbvc_compiler::spec::{Activation, Padding};
use mbvc_runtime::HeadActivation;

use super::{Chain, recognize};
use crate::error::ImportError;
use crate::limits::MAX_PARAMETERS;
use crate::source::{
    Affine, Constant, Conv, DType, Dense, Format, Kernel, Node, Op, Pads, Place, Quantized, SourceGraph, Value,
    ValueQuant, Values,
};

/// Builds a network node by node after the last value.
struct Builder {
    nodes: Vec<Node<'static>>,
    last: Value,
    values: Value,
    size: usize,
}

fn constant(shape: &[usize]) -> Rc<Constant<'static>> {
    let values = vec![0.5; shape.iter().product()];
    Rc::new(Constant::new(shape.to_vec(), Values::F32(Cow::Owned(values))).unwrap())
}

fn kernel(shape: &[usize]) -> Kernel<'static> {
    Kernel { constant: constant(shape), order: (0..shape.len()).collect(), scale: 1.0 }
}

fn conv(shape: [usize; 4], groups: usize, stride: usize, pads: [usize; 4]) -> Conv<'static> {
    let pads = Pads::Explicit(pads);
    Conv { kernel: kernel(&shape), bias: None, groups, stride: [stride; 2], dilation: [1; 2], pads }
}

fn dense(inputs: usize, outputs: usize) -> Op<'static> {
    Op::Dense(Dense { kernel: kernel(&[inputs, outputs]), bias: None })
}

const RELU6: Op<'static> = Op::Clamp { low: 0.0, high: 6.0 };
const SOFTMAX: Op<'static> = Op::Scores(HeadActivation::Softmax);

impl Builder {
    fn new(size: usize) -> Self {
        Self { nodes: Vec::new(), last: 0, values: 1, size }
    }

    fn op(&mut self, name: &'static str, op: Op<'static>) -> &mut Self {
        let inputs = vec![self.last];
        self.node(name, op, inputs)
    }

    fn node(&mut self, name: &'static str, op: Op<'static>, inputs: Vec<Value>) -> &mut Self {
        let place = Place { name: name.into(), operator: "Test".into() };
        self.nodes.push(Node { place, op, inputs, output: self.values });
        self.last = self.values;
        self.values += 1;
        self
    }

    fn stem(&mut self) -> &mut Self {
        self.op("stem", Op::Conv(conv([3, 3, 3, 8], 1, 2, [0, 0, 1, 1]))).op("stem.act", RELU6)
    }

    fn depthwise(&mut self, channels: usize, stride: usize, pads: [usize; 4]) -> &mut Self {
        self.op("dw", Op::Conv(conv([3, 3, 1, channels], channels, stride, pads))).op("dw.act", RELU6)
    }

    fn point(&mut self, name: &'static str, from: usize, to: usize) -> &mut Self {
        self.op(name, Op::Conv(conv([1, 1, from, to], 1, 1, [0; 4])))
    }

    /// Head, pool and classifier for 8 channels.
    fn tail(&mut self) -> &mut Self {
        self.point("head", 8, 16).op("head.act", RELU6);
        self.op("pool", Op::Pool { window: None }).op("flat", Op::Flatten);
        self.op("fc", Op::Dense(Dense { kernel: kernel(&[16, 5]), bias: None }))
    }

    fn finish(&mut self) -> SourceGraph<'static> {
        SourceGraph {
            input_shape: [Some(self.size), Some(self.size), Some(3)],
            nodes: std::mem::take(&mut self.nodes),
            ..SourceGraph::of(Format::Onnx)
        }
    }

    fn error(&mut self) -> ImportError {
        *recognize(&self.finish(), MAX_PARAMETERS).map(|chain| chain.blocks.len()).unwrap_err()
    }
}

/// Stem and one block of factor 1 without residual.
fn block(size: usize) -> Builder {
    let mut b = Builder::new(size);
    b.stem().depthwise(8, 1, [1; 4]).point("project", 8, 8);
    b
}

fn check(graph: &SourceGraph<'_>, test: impl FnOnce(Chain<'_>)) {
    test(recognize(graph, MAX_PARAMETERS).unwrap_or_else(|error| panic!("{error}")));
}

#[test]
fn blocks_with_and_without_residual() {
    check(&block(32).tail().finish(), |chain| {
        assert!(!chain.blocks[0].residual);
        assert_eq!(chain.padding, Some(Padding::Same));
    });
    let mut b = block(32);
    let (input, output) = (2, b.last);
    check(&b.node("add", Op::Add, vec![output, input]).tail().finish(), |chain| assert!(chain.blocks[0].residual));
}

/// At 1x1 pixel, or with an output of 1x1 pixel, the shapes of such a sum fit by broadcasting.
#[test]
fn a_residual_around_a_stride_is_refused() {
    let mut b = Builder::new(2);
    b.stem().depthwise(8, 2, [1; 4]).point("project", 8, 8);
    let (input, output) = (2, b.last);
    let error = b.node("add", Op::Add, vec![output, input]).tail().error();
    assert_eq!(error.role.as_deref(), Some("block1.add"));
    let text = error.to_string();
    assert!(text.contains("found: a block with stride 2 from 8 to 8 channels"), "{text}");
    assert!(text.contains("help: remove this addition"), "{text}");
}

#[test]
fn explicit_padding_of_any_size_is_same_at_even_sizes_only() {
    let with_pads = |pads: [usize; 4], size: Option<usize>| {
        let mut b = Builder::new(32);
        b.op("stem", Op::Conv(conv([3, 3, 3, 8], 1, 2, pads))).op("act", RELU6);
        b.depthwise(8, 2, pads).point("project", 8, 8).depthwise(8, 1, [1; 4]).point("project", 8, 8).tail();
        SourceGraph { input_shape: [size, size, Some(3)], ..b.finish() }
    };
    for (pads, size, multiple) in [([0, 0, 1, 1], None, 4), ([0, 0, 1, 1], Some(32), 1), ([1; 4], None, 1)] {
        check(&with_pads(pads, size), |chain| assert_eq!(chain.size_multiple, multiple, "{pads:?} {size:?}"));
    }
}

#[test]
fn both_conventions_fit_odd_sizes() {
    let mut b = Builder::new(33);
    b.op("stem", Op::Conv(conv([3, 3, 3, 8], 1, 2, [1; 4]))).op("act", RELU6);
    b.depthwise(8, 2, [1; 4]).point("project", 8, 8).tail();
    check(&b.finish(), |chain| assert_eq!(chain.padding, None));
}

#[test]
fn rejects_mixed_conventions() {
    let mut b = Builder::new(32);
    let error = b.stem().depthwise(8, 2, [1; 4]).point("project", 8, 8).tail().error();
    assert_eq!(error.role.as_deref(), Some("block1.depthwise"));
    let text = error.to_string();
    assert!(text.contains("expected: padding 0 above, 0 left, 1 below, 1 right (same), as in stem"), "{text}");
    assert!(text.contains("found: padding 1 above"), "{text}");
}

#[test]
fn explicit_padding_before_a_convolution_is_added() {
    let mut b = Builder::new(32);
    b.op("pad", Op::Pad([1, 1, 1, 1])).op("stem", Op::Conv(conv([3, 3, 3, 8], 1, 2, [0; 4]))).op("act", RELU6);
    b.depthwise(8, 1, [1; 4]).point("project", 8, 8).tail();
    check(&b.finish(), |chain| assert_eq!(chain.padding, Some(Padding::Symmetric)));
}

#[test]
fn rejects_an_expansion_convolution_of_factor_1() {
    let mut b = Builder::new(32);
    b.stem().point("expand", 8, 8).op("act", RELU6).depthwise(8, 1, [1; 4]).point("project", 8, 8);
    let error = b.tail().error();
    assert_eq!(error.role.as_deref(), Some("block1.expand"));
    assert!(error.to_string().contains("with factor 1"), "{error}");
}

#[test]
fn rejects_a_fractional_expansion_factor() {
    let mut b = Builder::new(32);
    b.stem().point("expand", 8, 12).op("act", RELU6).depthwise(12, 1, [1; 4]).point("project", 12, 8);
    assert!(b.tail().error().to_string().contains("not whole"));
}

#[test]
fn rejects_an_activated_projection() {
    // As in MobileNetV1.
    let error = block(32).op("act", RELU6).tail().error();
    assert_eq!(error.role.as_deref(), Some("block1.project"));
    assert_eq!(error.expected.as_deref(), Some("no activation"));
}

#[test]
fn rejects_mixed_activations() {
    let mut b = block(32);
    b.point("head", 8, 16).op("head.relu", Op::Clamp { low: 0.0, high: f64::INFINITY });
    let error = b.op("pool", Op::Pool { window: None }).error().to_string();
    assert!(error.contains("relu6, as in stem"), "{error}");
}

#[test]
fn an_activation_may_have_two_steps() {
    let mut b = Builder::new(32);
    b.op("stem", Op::Conv(conv([3, 3, 3, 8], 1, 2, [0, 0, 1, 1])));
    b.op("max", Op::Clamp { low: 0.0, high: f64::INFINITY });
    b.op("min", Op::Clamp { low: f64::NEG_INFINITY, high: 6.0 });
    b.depthwise(8, 1, [1; 4]).point("project", 8, 8).tail();
    check(&b.finish(), |chain| assert_eq!(chain.blocks.len(), 1));
}

/// A quantizer removes `max(x, 0)` if the range starts at 0, and keeps the following `min(x, 6)`.
#[test]
fn the_range_of_quantized_values_completes_an_activation() {
    let graph = |zero_point| {
        let mut b = Builder::new(32);
        b.op("stem", Op::Conv(conv([3, 3, 3, 8], 1, 2, [0, 0, 1, 1])));
        let convolved = b.last;
        b.op("min", Op::Clamp { low: f64::NEG_INFINITY, high: 6.0 });
        let mut graph = b.depthwise(8, 1, [1; 4]).point("project", 8, 8).tail().finish();
        graph.quants.add(convolved, Quantized::Once(ValueQuant { dtype: DType::U8, scale: 0.1, zero_point }));
        graph
    };
    check(&graph(0), |chain| assert_eq!(chain.activation, Activation::Relu6));
    let error = recognize(&graph(1), MAX_PARAMETERS).map(|chain| chain.activation).unwrap_err().to_string();
    assert!(error.contains("an activation that clamps to [-inf, 6]"), "{error}");
}

#[test]
fn rejects_unexpected_windows() {
    let stem = |conv: Conv<'static>| Builder::new(32).op("stem", Op::Conv(conv)).op("act", RELU6).error().to_string();
    assert!(stem(conv([3, 3, 3, 8], 1, 3, [1; 4])).contains("unexpected stride"));
    assert!(stem(conv([7, 7, 3, 8], 1, 2, [3; 4])).contains("unexpected kernel size"));
    assert!(stem(conv([3, 3, 4, 8], 1, 2, [1; 4])).contains("expected: 3 input channels"));
    assert!(stem(Conv { dilation: [2, 2], ..conv([3, 3, 3, 8], 1, 1, [2; 4]) }).contains("dilated"));
    assert!(stem(Conv { groups: 3, ..conv([3, 3, 1, 9], 3, 2, [1; 4]) }).contains("unexpected kind"));
    assert!(stem(Conv { pads: Pads::SameLower, ..conv([3, 3, 3, 8], 1, 2, [0; 4]) }).contains("padding 1 above"));
}

/// A network for `channels` channels after operations on an image of one channel.
fn of_gray(channels: usize, front: impl FnOnce(&mut Builder)) -> SourceGraph<'static> {
    let mut b = Builder::new(32);
    front(&mut b);
    b.op("stem", Op::Conv(conv([3, 3, channels, 8], 1, 2, [0, 0, 1, 1]))).op("stem.act", RELU6);
    let graph = b.depthwise(8, 1, [1; 4]).point("project", 8, 8).tail().finish();
    SourceGraph { input_shape: [Some(32), Some(32), Some(1)], ..graph }
}

#[test]
fn a_gray_image_may_be_copied_before_the_stem() {
    check(&of_gray(1, |_| {}), |chain| assert_eq!((chain.stem.shape[2], chain.stem.copies), (1, None)));
    let copied = of_gray(3, |b| {
        b.op("copies", Op::Repeat { channels: 3 });
    });
    check(&copied, |chain| {
        assert_eq!((chain.stem.shape[2], chain.stem.copies, chain.front), (1, Some([1.0; 3]), None));
    });
    // One mean: (x - 0.5) / std.
    let scaled = |b: &mut Builder| {
        b.op("mean", Op::Affine(Affine::shifting(vec![-0.5])));
        b.op("std", Op::Affine(Affine::scaling(vec![2.0, 4.0, 1.0])));
    };
    check(&of_gray(3, scaled), |chain| {
        assert_eq!(chain.stem.copies, Some([1.0, 2.0, 0.5]));
        let front = chain.front.expect("arithmetic");
        assert_eq!((front.scale, front.offset), ([2.0; 3], [-1.0; 3]));
    });
}

#[test]
fn rejects_other_copies_and_channels() {
    let error = |graph: SourceGraph<'_>| {
        recognize(&graph, MAX_PARAMETERS).map(|chain| chain.stem.shape[2]).unwrap_err().to_string()
    };
    let means = |b: &mut Builder| {
        b.op("means", Op::Affine(Affine::shifting(vec![-0.5, -0.4, -0.3])));
    };
    assert!(error(of_gray(3, means)).contains("different means"));
    let four = |b: &mut Builder| {
        b.op("copies", Op::Repeat { channels: 4 });
    };
    assert!(error(of_gray(4, four)).contains("found: 4 copies of an image"));
    assert!(error(of_gray(3, |_| {})).contains("expected: 1 input channels"));
    let twice = |b: &mut Builder| {
        b.op("one", Op::Repeat { channels: 3 }).op("two", Op::Repeat { channels: 3 });
    };
    assert!(error(of_gray(9, twice)).contains("found: 3 copies of an image"));
}

#[test]
fn rejects_forks_and_unexpected_skips() {
    let mut b = block(32);
    let projected = b.last;
    b.node("other", RELU6, vec![projected]);
    b.last = projected;
    assert!(b.tail().error().to_string().contains("several readers"));

    let mut b = block(32);
    let projected = b.last;
    // The stem's value is added to a value other than its block's projection.
    b.node("squared", Op::Other, vec![projected]);
    let other = b.last;
    let error = b.node("add", Op::Add, vec![2, other]).tail().error();
    assert!(error.to_string().contains("unexpected skip connection"), "{error}");
}

#[test]
fn a_pool_must_cover_the_image() {
    let pooled = |window| {
        let mut b = block(32);
        b.point("head", 8, 16).op("head.act", RELU6).op("pool", Op::Pool { window: Some(window) });
        b.op("fc", Op::Dense(Dense { kernel: kernel(&[16, 5]), bias: None }));
        recognize(&b.finish(), MAX_PARAMETERS).map(|chain| chain.classifier.out_channels())
    };
    assert_eq!(pooled([16, 16]).unwrap(), 5);
    let error = pooled([7, 7]).unwrap_err().to_string();
    assert!(error.contains("expected: a window of 16x16"), "{error}");
}

#[test]
fn the_head_ends_with_an_average_pool() {
    let mut b = block(32);
    b.point("head", 8, 20).op("head.act", RELU6).op("flat", Op::Flatten);
    let error = b.op("fc", Op::Dense(Dense { kernel: kernel(&[20, 5]), bias: None })).error().to_string();
    for part in
        ["after the 20-channel layer, expected a global average pool", "found: a reshape and a dense layer 20x5"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn dense_layers_before_the_classifier_have_one_activation() {
    type Step = (&'static str, fn() -> Op<'static>);
    let head = |steps: &[Step]| {
        let mut b = block(32);
        b.point("head", 8, 16).op("head.act", RELU6).op("pool", Op::Pool { window: None });
        for (name, op) in steps {
            b.op(name, op());
        }
        b
    };
    let relu: fn() -> Op<'static> = || Op::Clamp { low: 0.0, high: f64::INFINITY };
    let [one, two, last]: [fn() -> Op<'static>; 3] = [|| dense(16, 12), || dense(12, 7), || dense(7, 5)];
    let mut b = head(&[("one", one), ("a", relu), ("two", two), ("b", relu), ("fc", last)]);
    check(&b.finish(), |chain| {
        let dense: Vec<_> = chain.dense.iter().map(|layer| (&*layer.role, layer.shape.clone())).collect();
        assert_eq!(dense, [("dense1", vec![1, 1, 16, 12]), ("dense2", vec![1, 1, 12, 7])]);
        assert_eq!((chain.dense_activation, chain.classifier.out_channels()), (Activation::Relu, 5));
    });
    let error = head(&[("one", one), ("a", || RELU6), ("two", two), ("b", relu), ("fc", last)]).error().to_string();
    assert!(error.contains("expected: relu6, as in dense1") && error.contains("dense2, node 'b'"), "{error}");
    let mut b = head(&[("one", one), ("two", two), ("b", relu), ("fc", last)]);
    check(&b.finish(), |chain| {
        let dense: Vec<_> = chain.dense.iter().map(|layer| (&*layer.role, layer.shape.clone())).collect();
        assert_eq!(dense, [("dense1", vec![1, 1, 16, 7])]);
        let merged = chain.dense.first().and_then(|layer| layer.merged.as_ref()).unwrap();
        assert_eq!((&*merged.place, &merged.shape), ("node 'one' (Test)", &vec![16, 12]));
    });
    // The rounding of quantized values between them is part of the model.
    let mut graph = head(&[("one", one), ("two", two)]).finish();
    let quant = ValueQuant { dtype: DType::U8, scale: 0.1, zero_point: 128 };
    graph.quants.add(graph.nodes.len() - 1, Quantized::Once(quant));
    let error = recognize(&graph, MAX_PARAMETERS).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no activation, but a dense layer"), "{error}");
    let error = head(&[("one", one), ("a", relu)]).error().to_string();
    assert!(error.contains("node 'a'") && error.contains("the end of the network"), "{error}");
}

#[test]
fn the_classifier_must_match_its_features() {
    let mut b = block(32);
    b.point("head", 8, 16).op("head.act", RELU6).op("pool", Op::Pool { window: None });
    let error = b.op("fc", Op::Dense(Dense { kernel: kernel(&[12, 5]), bias: None })).error().to_string();
    assert!(error.contains("expected: 16 features") && error.contains("12 by 5"), "{error}");
}

#[test]
fn rejects_a_network_without_classifier() {
    let mut b = block(32);
    b.point("head", 8, 16).op("head.act", RELU6);
    let error = b.op("pool", Op::Pool { window: None }).op("flat", Op::Flatten).error();
    assert_eq!(error.role.as_deref(), Some("classifier"));
    assert!(error.to_string().contains("the network ends with features after the pool"), "{error}");
    assert!(error.to_string().contains("`embed` returns the features"), "{error}");
    let mut b = block(32);
    let error = b.point("head", 8, 16).op("head.act", RELU6).error().to_string();
    assert!(error.contains("the network ends with features after the last convolution"), "{error}");
}

#[test]
fn rejects_layers_after_the_scores() {
    let error = block(32).tail().op("more", RELU6).error();
    assert_eq!(error.role.as_deref(), Some("output"));
    check(&block(32).tail().op("softmax", SOFTMAX).op("best", Op::Ranking).finish(), |chain| {
        let rankings: Vec<&str> = chain.rankings.iter().map(|node| &*node.place.name).collect();
        assert_eq!(rankings, ["best"]);
        assert_eq!(chain.head_activation, Some((HeadActivation::Softmax, "node 'softmax' (Test)".into())));
    });
}

#[test]
fn every_reader_of_the_scores_is_checked() {
    let mut b = block(32);
    let scores = b.tail().last;
    b.op("softmax", SOFTMAX);
    let error = b.node("more", RELU6, vec![scores]).error();
    assert!(error.to_string().contains("node 'more'"), "{error}");
}

#[test]
fn the_logits_have_one_activation() {
    let twice = |op| block(32).tail().op("softmax", SOFTMAX).op("more", op).error().to_string();
    for (op, found) in [(SOFTMAX, "softmax"), (Op::Scores(HeadActivation::Sigmoid), "sigmoid")] {
        let error = twice(op);
        assert!(error.contains(&format!("found: {found}, and softmax at node 'softmax'")), "{error}");
    }
    let mut b = block(32);
    let logits = b.tail().last;
    b.op("softmax", SOFTMAX).node("more", Op::Scores(HeadActivation::Sigmoid), vec![logits]);
    assert!(b.error().to_string().contains("two activations"));
    // Two outputs with the same scores.
    let mut b = block(32);
    let logits = b.tail().last;
    b.op("softmax", SOFTMAX).node("again", SOFTMAX, vec![logits]);
    check(&b.finish(), |chain| assert_eq!(chain.head_activation.as_ref().unwrap().0, HeadActivation::Softmax));
}

#[test]
fn operations_on_the_scores_are_recorded() {
    let recovered = |b: &mut Builder| {
        let graph = b.finish();
        let chain = recognize(&graph, MAX_PARAMETERS).unwrap_or_else(|error| panic!("{error}"));
        let (recovered, facts, notes) =
            crate::recover::recover(&chain, &graph).unwrap_or_else(|error| panic!("{error}"));
        let fact = facts.into_iter().find(|fact| fact.key == "head_activation").unwrap();
        assert_eq!(fact.value, recovered.head_activation.word());
        (recovered.head_activation, fact.how, notes)
    };
    let (activation, how, notes) = recovered(block(32).tail().op("scores", Op::Scores(HeadActivation::Sigmoid)));
    assert_eq!((activation, &*how), (HeadActivation::Sigmoid, "node 'scores' (Test)"));
    assert!(notes.is_empty(), "{notes:?}");
    let (activation, how, notes) = recovered(block(32).tail().op("best", Op::Ranking));
    assert_eq!(activation, HeadActivation::Softmax);
    assert!(how.contains("not recorded"), "{how}");
    assert!(
        notes.iter().any(|note| note.contains("the argmax or top-k at node 'best' (Test) is omitted")),
        "{notes:?}"
    );
}

#[test]
fn arithmetic_on_the_input_is_preprocessing() {
    let mut b = Builder::new(32);
    b.op("scale", Op::Affine(Affine::scaling(vec![2.0])))
        .op("shift", Op::Affine(Affine::shifting(vec![-1.0, -1.5, -2.0])));
    b.stem().depthwise(8, 1, [1; 4]).point("project", 8, 8).tail();
    check(&b.finish(), |chain| {
        let front = chain.front.unwrap();
        assert_eq!((front.scale, front.offset), ([2.0; 3], [-1.0, -1.5, -2.0]));
    });
}

#[test]
fn arithmetic_after_a_convolution_is_folded() {
    let mut b = block(32);
    b.op("bias", Op::Affine(Affine::shifting(vec![1.0; 8]))).op("gain", Op::Affine(Affine::scaling(vec![4.0])));
    check(&b.tail().finish(), |chain| {
        let [weight, bias] = crate::fold::fold(&chain.blocks[0].project).unwrap();
        assert_eq!(weight.data.f32s(), Some(&[2.0; 64][..]));
        assert_eq!(bias.data.f32s(), Some(&[4.0; 8][..]));
    });
}

/// A hundred layers that share one large tensor would have a hundred times the file's size.
#[test]
fn shared_tensors_count_for_each_layer() {
    let mut b = Builder::new(32);
    b.op("stem", Op::Conv(conv([3, 3, 3, 1024], 1, 2, [0, 0, 1, 1]))).op("act", RELU6);
    let shared = constant(&[1, 1, 1024, 1024]);
    for _ in 0..100 {
        b.depthwise(1024, 1, [1; 4]);
        let kernel = Kernel { constant: Rc::clone(&shared), order: vec![0, 1, 2, 3], scale: 1.0 };
        b.op("project", Op::Conv(Conv { kernel, ..conv([1, 1, 1, 1], 1, 1, [0; 4]) }));
    }
    let error = b.error().to_string();
    assert!(error.contains("exceeds the limit for a file of this size"), "{error}");
}

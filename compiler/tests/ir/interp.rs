//! The interpreter compared with hand-written arithmetic, and its errors.

use std::collections::BTreeMap;

use mbvc_compiler::ir::{
    Activation, Conv2d, Dense, DepthwiseConv2d, Epilogue, Factors, Graph, NodeId, Op, Padding, Product, Shape, Window,
};
use mbvc_compiler::lower::lower;
use mbvc_compiler::spec::{Fusion, Isa};
use mbvc_interpreter::{InterpError, Mode, parameters, random_bindings, random_input, run};

use crate::support::{Hand, SMALL, V2, find, parsed, rewritten, scheduled};

const WINDOW: Window =
    Window { kernel: [3, 3], stride: [2, 1], padding: Padding { top: 0, left: 1, bottom: 2, right: 1 } };

fn result(graph: &Graph, bindings: &BTreeMap<String, Vec<f32>>, input: &[f32], mode: Mode) -> Vec<f32> {
    run(graph, bindings, input, mode, &mut |_, _, _| {}).unwrap_or_else(|why| panic!("{why}\n{graph}"))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A tap of the image, +0 outside it.
fn tap(image: &[f32], shape: Shape, y: usize, x: usize, c: usize) -> f32 {
    let Padding { top, left, .. } = WINDOW.padding;
    match (y.checked_sub(top), x.checked_sub(left)) {
        (Some(y), Some(x)) if y < shape.height && x < shape.width => image[(y * shape.width + x) * shape.channels + c],
        _ => 0.0,
    }
}

/// Every output as one chain over `taps(ky, kx, c)` in the order given.
fn chains(
    image: &[f32],
    (input, output): (Shape, Shape),
    taps: &[(usize, usize, usize)],
    bias: &[f32],
    weight: impl Fn(usize, usize, usize, usize) -> f32,
    channel: impl Fn(usize, usize) -> usize,
) -> Vec<f32> {
    let [sh, sw] = WINDOW.stride;
    let mut out = Vec::new();
    for y in 0..output.height {
        for x in 0..output.width {
            for (n, bias) in bias.iter().enumerate() {
                let mut sum = *bias;
                for (ky, kx, c) in taps {
                    let value = tap(image, input, y * sh + ky, x * sw + kx, channel(*c, n));
                    sum = value.mul_add(weight(*ky, *kx, *c, n), sum);
                }
                out.push(sum);
            }
        }
    }
    out
}

#[test]
fn strict_dense_convolutions_take_taps_in_raster_order() {
    let (shape, channels) = (Shape::new(5, 4, 3), 4);
    let mut hand = Hand::default();
    let input = hand.input(shape);
    let (weight, bias) = (hand.param("w", &[3, 3, 3, channels]), Some(hand.param("b", &[channels])));
    let epilogue = Epilogue::default();
    let conv = hand.op(
        "conv",
        Op::Conv2d(Conv2d {
            window: WINDOW,
            weight,
            bias,
            requantize: None,
            epilogue,
            product: Product::Plain,
            factors: Factors::Exact,
        }),
        &[input],
    );
    let output = hand.0.node(conv).tensor.shape;
    assert_eq!(output, Shape::new(3, 4, 4));
    let (bindings, image) = (random_bindings(&hand.0, 1), random_input(shape, 2));
    let found = result(&hand.0, &bindings, &image, Mode::Strict);

    let mut taps: Vec<_> = (0..3).flat_map(|ky| (0..3).flat_map(move |kx| (0..3).map(move |c| (ky, kx, c)))).collect();
    let weights = &bindings["w"];
    let weight = |ky: usize, kx: usize, c: usize, n: usize| weights[((ky * 3 + kx) * 3 + c) * channels + n];
    let same = |c: usize, _: usize| c;
    let expected = chains(&image, (shape, output), &taps, &bindings["b"], weight, same);
    assert_eq!(bits(&found), bits(&expected));
    // Another order gives other bits, so the comparison above is meaningful.
    taps.sort_by_key(|(ky, kx, c)| (*kx, *ky, *c));
    assert_ne!(bits(&found), bits(&chains(&image, (shape, output), &taps, &bindings["b"], weight, same)));
}

#[test]
fn strict_depthwise_convolutions_take_taps_column_by_column() {
    let shape = Shape::new(5, 4, 6);
    let mut hand = Hand::default();
    let input = hand.input(shape);
    let (weight, bias) = (hand.param("w", &[3, 3, 6]), Some(hand.param("b", &[6])));
    let epilogue = Epilogue::default();
    let op = Op::DepthwiseConv2d(DepthwiseConv2d { window: WINDOW, weight, bias, requantize: None, epilogue });
    let conv = hand.op("conv", op, &[input]);
    let output = hand.0.node(conv).tensor.shape;
    let (bindings, image) = (random_bindings(&hand.0, 1), random_input(shape, 2));
    let found = result(&hand.0, &bindings, &image, Mode::Strict);

    let mut taps: Vec<_> = (0..3).flat_map(|kx| (0..3).map(move |ky| (ky, kx, 0))).collect();
    let weights = &bindings["w"];
    let weight = |ky: usize, kx: usize, _: usize, n: usize| weights[(ky * 3 + kx) * 6 + n];
    let own = |_: usize, n: usize| n;
    let expected = chains(&image, (shape, output), &taps, &bindings["b"], weight, own);
    assert_eq!(bits(&found), bits(&expected));
    taps.sort();
    assert_ne!(bits(&found), bits(&chains(&image, (shape, output), &taps, &bindings["b"], weight, own)));
}

/// Padding is a tap like any other: it changes a chain at -0 to +0, and with an infinite weight it is NaN.
#[test]
fn strict_padding_takes_part_as_positive_zero() {
    let mut hand = Hand::default();
    let input = hand.input(Shape::new(1, 1, 1));
    let depthwise = hand.depthwise("d", input, Epilogue::default());
    let bind = |weights: [f32; 9]| {
        BTreeMap::from([("d.weight".to_owned(), weights.to_vec()), ("d.bias".to_owned(), vec![-0.0])])
    };
    assert_eq!(hand.0.node(depthwise).tensor.shape, Shape::new(1, 1, 1));
    let value = |weights| result(&hand.0, &bind(weights), &[-0.0], Mode::Strict)[0];
    assert_eq!(value([1.0; 9]).to_bits(), 0.0_f32.to_bits());
    assert_eq!(value([-1.0, -1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0]).to_bits(), (-0.0_f32).to_bits());
    assert!(value([f32::INFINITY, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]).is_nan());
}

#[test]
fn strict_pool_and_dense() {
    let mut hand = Hand::default();
    let shape = Shape::new(3, 3, 5);
    let input = hand.input(shape);
    let pool = hand.op("pool", Op::GlobalAvgPool, &[input]);
    let (weight, bias) = (hand.param("w", &[5, 2]), hand.param("b", &[2]));
    hand.op("dense", Op::Dense(Dense { weight, bias, requantize: None, factors: Factors::Exact }), &[pool]);
    let (bindings, image) = (random_bindings(&hand.0, 1), random_input(shape, 2));
    let found = result(&hand.0, &bindings, &image, Mode::Strict);
    let means: Vec<f32> =
        (0..5).map(|c| image.iter().skip(c).step_by(5).fold(0.0, |sum, v| sum + v) * (1.0_f32 / 9.0)).collect();
    let expected: Vec<f32> = (0..2)
        .map(|n| (0..5).fold(bindings["b"][n], |sum, k| means[k].mul_add(bindings["w"][k * 2 + n], sum)))
        .collect();
    assert_eq!(bits(&found), bits(&expected));
}

#[test]
fn activations_clamp_and_take_nan_to_zero() {
    let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.5, 6.0, 6.5, -1.0];
    for (activation, expected) in [
        (Activation::Relu, [0.0, f32::INFINITY, 0.0, 0.0, 0.5, 6.0, 6.5, 0.0]),
        (Activation::Relu6, [0.0, 6.0, 0.0, 0.0, 0.5, 6.0, 6.0, 0.0]),
    ] {
        let mut hand = Hand::default();
        let input = hand.input(Shape::new(1, 1, 8));
        hand.op("relu", Op::Activation(activation), &[input]);
        for mode in [Mode::Strict, Mode::F64] {
            assert_eq!(bits(&result(&hand.0, &BTreeMap::new(), &values, mode)), bits(&expected), "{activation:?}");
        }
    }
}

#[test]
fn an_epilogue_activates_and_then_adds() {
    let mut hand = Hand::default();
    let input = hand.input(Shape::new(1, 1, 1));
    let conv = hand.point("conv", input, 1, Epilogue::default());
    let Op::Conv2d(op) = &mut hand.0.node_mut(conv).op else { panic!() };
    op.epilogue = Epilogue { activation: Some(Activation::Relu6), residual: true, pool: None };
    hand.0.push_input(conv, input);
    let bindings = BTreeMap::from([("conv.weight".to_owned(), vec![-2.0]), ("conv.bias".to_owned(), vec![-1.0])]);
    assert_eq!(result(&hand.0, &bindings, &[3.0], Mode::Strict), [3.0]);
    assert_eq!(result(&hand.0, &bindings, &[-9.0], Mode::Strict), [-3.0]);
}

#[test]
fn f64_is_the_more_precise() {
    let mut hand = Hand::default();
    let input = hand.input(Shape::new(1, 1, 3));
    hand.point("conv", input, 1, Epilogue::default());
    let bindings =
        BTreeMap::from([("conv.weight".to_owned(), vec![1.0, 1.0, 1.0]), ("conv.bias".to_owned(), vec![0.25])]);
    let image = [1e9, -1e9, 0.5];
    assert_eq!(result(&hand.0, &bindings, &image, Mode::Strict), [0.5]);
    assert_eq!(result(&hand.0, &bindings, &image, Mode::F64), [0.75]);
}

#[test]
fn missing_values_are_reported_by_name() {
    let graph = lower(&parsed(SMALL));
    let (all, image) = (random_bindings(&graph, 1), random_input(Shape::new(11, 9, 3), 1));
    let refused = |bindings: &BTreeMap<String, Vec<f32>>, image: &[f32]| {
        run(&graph, bindings, image, Mode::Strict, &mut |_, _, _| {}).unwrap_err()
    };
    let mut some = all.clone();
    some.remove("block2.expand.bn.mean");
    assert_eq!(refused(&some, &image).to_string(), "no values for parameter `block2.expand.bn.mean`");
    some.insert("block2.expand.bn.mean".to_owned(), vec![0.0; 31]);
    let length = refused(&some, &image);
    assert_eq!(length.to_string(), "expected 32 values for parameter `block2.expand.bn.mean`, found 31");
    let short = refused(&all, &image[1..]).to_string();
    assert_eq!(short, "expected an image of shape 11x9x3 with 297 values, found 296");
    // The error names the missing parameter of a recipe.
    let folded = rewritten(&parsed(SMALL), Fusion::None, None);
    let unbound = run(&folded, &BTreeMap::new(), &image, Mode::Strict, &mut |_, _, _| {}).unwrap_err();
    assert_eq!(unbound, InterpError::Unbound("stem.raw_weight".to_owned()));
}

#[test]
fn a_broken_graph_is_an_error() {
    let mut graph = scheduled(&parsed(SMALL), Fusion::Relu6, Isa::Neon);
    let [over, stem]: [NodeId; 2] = ["stem.border", "stem"].map(|name| find(&graph, name));
    graph.node_mut(stem).place = graph.node(over).place;
    let bindings = random_bindings(&graph, 1);
    let refused = run(&graph, &bindings, &[], Mode::Strict, &mut |_, _, _| {});
    assert!(matches!(refused, Err(InterpError::Broken(_))), "{refused:?}");
}

#[test]
fn folded_values_are_those_of_the_recipe_unless_they_are_bound() {
    let graph = rewritten(&parsed(SMALL), Fusion::Block, None);
    let raw = random_bindings(&graph, 1);
    assert!(raw.contains_key("stem.raw_weight") && !raw.contains_key("stem.weight"));
    let folded = parameters(&graph, &raw).unwrap();
    let (scale, n) =
        (|n: usize| f64::from(raw["stem.bn.gamma"][n]) / (f64::from(raw["stem.bn.variance"][n]) + 1e-3).sqrt(), 8);
    for (at, weight) in folded["stem.weight"].iter().enumerate() {
        let expected = f64::from(raw["stem.raw_weight"][at]) * scale(at % n);
        assert!((f64::from(*weight) - expected).abs() <= expected.abs() * 1e-7);
    }
    for (at, bias) in folded["stem.bias"].iter().enumerate() {
        let expected = f64::from(raw["stem.bn.beta"][at]) - f64::from(raw["stem.bn.mean"][at]) * scale(at);
        assert!((f64::from(*bias) - expected).abs() <= expected.abs() * 1e-6);
    }
    // The tensors of a container suffice, and give the same result.
    assert_eq!(folded.len(), 2 * 13);
    let image = random_input(Shape::new(11, 9, 3), 1);
    let [from_raw, from_folded] = [&raw, &folded].map(|values| result(&graph, values, &image, Mode::Strict));
    assert_eq!(bits(&from_raw), bits(&from_folded));
    let mut other = folded.clone();
    other.insert("classifier.bias".to_owned(), vec![9.0; 3]);
    assert_ne!(bits(&from_raw), bits(&result(&graph, &other, &image, Mode::Strict)));
}

#[test]
fn every_layer_is_seen_at_every_stage() {
    let spec = parsed(SMALL);
    let graphs = [
        lower(&spec),
        rewritten(&spec, Fusion::None, None),
        rewritten(&spec, Fusion::Block, None),
        scheduled(&spec, Fusion::Block, Isa::Avx2),
    ];
    for graph in graphs {
        let (bindings, image) = (random_bindings(&graph, 1), random_input(Shape::new(11, 9, 3), 1));
        let (mut layers, mut last) = (Vec::new(), Vec::new());
        let logits = run(&graph, &bindings, &image, Mode::Strict, &mut |origin, shape, values| {
            assert_eq!(values.len(), shape.elements(), "{}", origin.name);
            layers.extend(origin.layer);
            last = values.to_vec();
        });
        assert_eq!(layers, (1..=13).collect::<Vec<_>>());
        assert_eq!(bits(&logits.unwrap()), bits(&last));
    }
}

#[test]
fn random_activations_neither_vanish_nor_explode() {
    let spec = parsed(&V2.replace("resolution: 224", "resolution: 64").replace("classes: 1001", "classes: 10"));
    let graph = rewritten(&spec, Fusion::Relu6, None);
    let (bindings, image) = (random_bindings(&graph, 7), random_input(Shape::new(64, 64, 3), 7));
    let mut seen = 0;
    let logits = run(&graph, &bindings, &image, Mode::F64, &mut |origin, _, values| {
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count).sqrt();
        assert!((0.05..20.0).contains(&deviation), "{}: {deviation}", origin.name);
        if graph.node(find(&graph, &origin.name)).op.epilogue().activation.is_some() {
            let zeros = values.iter().filter(|v| **v == 0.0).count() as f32 / count;
            assert!((0.05..0.9).contains(&zeros), "{}: {zeros} are 0", origin.name);
            seen += 1;
        }
    });
    assert_eq!((seen, logits.unwrap().len()), (35, 10));
    // Values are looked up by name at any stage.
    assert_eq!(bindings, random_bindings(&lower(&spec), 7));
    assert_ne!(bindings, random_bindings(&graph, 8));
}

//! Layers by tensor names: safetensors files of one block.

use mbvc_import::{ImportError, Imported, ReadOptions, read_bytes};

use super::{fact, spec};

const ONE_BLOCK: &str = "
resolution: 32
classes: 3
padding: symmetric
stem: { channels: 8, stride: 2 }
blocks:
  - { t: 1, c: 8, n: 1, s: 1 }
head: { channels: 16 }
";

/// A convolution, its normalization, the shape of its weight.
type Layer<'n> = (&'n str, &'n str, [usize; 4]);
/// A tensor that is not of a convolution.
type Other<'n> = (&'n str, &'n [usize]);

const BODY: [Layer<'_>; 4] = [
    ("features.0.0", "features.0.1", [8, 3, 3, 3]),
    ("features.1.conv.0.0", "features.1.conv.0.1", [8, 1, 3, 3]),
    ("features.1.conv.1", "features.1.conv.2", [8, 8, 1, 1]),
    ("features.2.0", "features.2.1", [16, 8, 1, 1]),
];
const LINEAR: [Other<'_>; 2] = [("classifier.1.weight", &[3, 16]), ("classifier.1.bias", &[3])];

/// A safetensors file of float32 tensors that are zero, except for ones in `running_var`.
fn safetensors(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        let value = if name.ends_with("running_var") { 1f32 } else { 0.0 };
        (0..shape.iter().product()).for_each(|_| data.extend(value.to_le_bytes()));
        let place = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), place);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

fn import(layers: &[Layer<'_>], others: &[Other<'_>]) -> Result<Imported, Box<ImportError>> {
    let mut tensors = Vec::new();
    for (conv, norm, shape) in layers {
        tensors.push((format!("{conv}.weight"), shape.to_vec()));
        for kind in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{norm}.{kind}"), vec![shape[0]]));
        }
    }
    tensors.extend(others.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())));
    let options = &ReadOptions { spec: Some(&spec(ONE_BLOCK)), ..ReadOptions::default() };
    read_bytes(&safetensors(&tensors), "m.safetensors", options)
}

fn error(layers: &[Layer<'_>], others: &[Other<'_>]) -> String {
    import(layers, others).unwrap_err().to_string()
}

#[test]
fn other_implementations_are_known() {
    // tonylins/pytorch-mobilenet-v2 and similar ones, in a user's module with another classifier.
    let flat = [
        ("net.features.0.0", "net.features.0.1", [8, 3, 3, 3]),
        ("net.features.1.conv.0", "net.features.1.conv.1", [8, 1, 3, 3]),
        ("net.features.1.conv.3", "net.features.1.conv.4", [8, 8, 1, 1]),
        ("net.conv.0", "net.conv.1", [16, 8, 1, 1]),
    ];
    assert_eq!(fact(&import(&flat, &[("head.2.weight", &[3, 16])]).unwrap(), "names").0, "torchvision");
    // Its `features` alone, in a user's module.
    for prefix in ["", "backbone.", "mobilenet.0."] {
        let named = |name: &str| name.replacen("features.", prefix, 1);
        let body = BODY.map(|(conv, norm, shape)| (named(conv), named(norm), shape));
        let body: Vec<_> = body.iter().map(|(conv, norm, shape)| (conv.as_str(), norm.as_str(), *shape)).collect();
        let imported = import(&body, &[("output.weight", &[3, 16]), ("output.bias", &[3])]).unwrap();
        assert_eq!(fact(&imported, "names").0, "torchvision");
    }
    let openmmlab = [
        ("backbone.conv1.conv", "backbone.conv1.bn", [8, 3, 3, 3]),
        ("backbone.layer1.0.conv.0.conv", "backbone.layer1.0.conv.0.bn", [8, 1, 3, 3]),
        ("backbone.layer1.0.conv.1.conv", "backbone.layer1.0.conv.1.bn", [8, 8, 1, 1]),
        ("backbone.conv2.conv", "backbone.conv2.bn", [16, 8, 1, 1]),
    ];
    let imported = import(&openmmlab, &[("head.fc.weight", &[3, 16]), ("head.fc.bias", &[3])]).unwrap();
    assert_eq!(fact(&imported, "names").0, "mmpretrain");
    let always_expanding = [
        ("conv1", "bn1", [8, 3, 3, 3]),
        ("layers.0.conv1", "layers.0.bn1", [8, 8, 1, 1]),
        ("layers.0.conv2", "layers.0.bn2", [8, 1, 3, 3]),
        ("layers.0.conv3", "layers.0.bn3", [8, 8, 1, 1]),
        ("conv2", "bn2", [16, 8, 1, 1]),
    ];
    let error = error(&always_expanding, &[("linear.weight", &[3, 16])]);
    assert!(error.contains("expansion convolution with factor 1"), "{error}");
}

#[test]
fn a_folded_convolution_has_a_bias_in_place_of_a_normalization() {
    let mut folded = BODY;
    folded[2].1 = "elsewhere";
    let error = error(&folded, &LINEAR);
    assert!(error.contains("missing tensor 'features.1.conv.2.weight'"), "{error}");
    let bias: &[Other<'_>] = &[LINEAR[0], LINEAR[1], ("features.1.conv.1.bias", &[8])];
    let error = self::error(&folded, bias);
    assert!(error.contains("tensor 'elsewhere.bias'"), "every tensor has a place: {error}");
}

/// An activation may be between it and the pool, as in SqueezeNet.
#[test]
fn a_1x1_convolution_is_no_classifier() {
    let text = error(&BODY, &[("output.weight", &[3, 16, 1, 1]), ("output.bias", &[3])]);
    assert!(text.contains("module 'output'") && text.contains("the classifier is a 1x1 convolution"), "{text}");
    assert!(text.contains("torch.onnx.export"), "{text}");
}

#[test]
fn reports_a_body_without_its_one_classifier() {
    assert!(import(&BODY, &LINEAR).is_ok());
    let text = error(&BODY, &[]);
    assert!(text.contains("the file has no classifier"), "{text}");
    let text = error(&BODY, &[("fc1.weight", &[8, 16]), ("fc2.weight", &[3, 8])]);
    assert!(text.contains("more than one dense layer") && text.contains("'fc2'"), "{text}");
    let text = error(&BODY, &[("head.0.weight", &[8, 16]), ("head.2.weight", &[3, 8])]);
    assert!(text.contains("module 'head.1'") && text.contains("--spec FILE"), "{text}");
    let text = error(&BODY, &[("classifier.1.weight", &[3, 12])]);
    assert!(text.contains("expected: 16 features"), "{text}");
}

#[test]
fn reports_layers_outside_the_family() {
    let mut wide = BODY;
    wide[1].2 = [8, 1, 5, 5];
    let text = error(&wide, &LINEAR);
    assert!(text.contains("block1.depthwise") && text.contains("'features.1.conv.0.0' (Conv2d)"), "{text}");
    let more = [&BODY[..], &[("features.1.se.fc1", "features.1.se.bn", [2, 8, 1, 3])]].concat();
    let text = error(&more, &LINEAR);
    assert!(text.contains("unexpected convolution") && text.contains("features.1.se.fc1"), "{text}");
    let odd = [&BODY[..], &[("features.1.conv.7", "features.1.conv.8", [8, 8, 1, 1])]].concat();
    let text = error(&odd, &LINEAR);
    assert!(text.contains("module 'features.1.conv'") && text.contains("expected: 0.0, 1.0, 2; or 0.0, 1;"), "{text}");
    let text = error(&[("layer1.0", "bn", [8, 3, 7, 7])], &LINEAR);
    assert!(text.contains("unknown tensor names") && text.contains("'layer1.0'") && text.contains("onnx"), "{text}");
}

#[test]
fn one_of_several_networks_is_not_guessed() {
    let under =
        |prefix: &str| BODY.map(|(conv, norm, shape)| (format!("{prefix}{conv}"), format!("{prefix}{norm}"), shape));
    let both = [under("student."), under("teacher.")].concat();
    let both: Vec<_> = both.iter().map(|(conv, norm, shape)| (conv.as_str(), norm.as_str(), *shape)).collect();
    let text = error(&both, &LINEAR);
    assert!(text.contains("several networks") && text.contains("`student.`, `teacher.`"), "{text}");
}

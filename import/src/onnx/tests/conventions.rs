//! Numbers of the file that change the preprocessing, the weights or the conventions of the network.

use mbvc_compiler::spec::Padding::{self, Same, Symmetric};
use mbvc_compiler::spec::Preprocessing;
use prost::Message as _;

use super::super::proto::{Attribute, DimensionValue, Node, Tensor};
use super::{File, node};
use crate::{Imported, ReadOptions, read_bytes};

fn tensor(name: &str, data_type: i32, dims: &[i64], numbers: &[i64]) -> Tensor {
    let raw_data = numbers.iter().map(|number| *number as u8).collect::<Vec<_>>().into();
    let tensor = Tensor { name: name.into(), data_type, dims: dims.to_vec(), ..Tensor::default() };
    match data_type {
        7 => Tensor { int64_data: numbers.to_vec(), ..tensor },
        _ => Tensor { raw_data, ..tensor },
    }
}

fn integer(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i, ..Attribute::default() }
}

/// One scale for each color would change the preprocessing.
#[test]
fn an_image_that_is_quantized_per_channel_is_refused() {
    let image = |scales: &[f32]| {
        let mut file = File::open("same_plain_op13.onnx");
        let count = i64::try_from(scales.len()).unwrap();
        let float_data = scales.to_vec();
        let dims = if count == 1 { vec![] } else { vec![count] };
        let zeros = tensor("zeros", 2, &dims, &vec![128; scales.len()]);
        file.graph()
            .initializer
            .extend([Tensor { name: "scales".into(), data_type: 1, dims, float_data, ..Tensor::default() }, zeros]);
        let operator = node("DequantizeLinear", &["image", "scales", "zeros"], "floats");
        let mut file = file.splice("image", Node { attribute: vec![integer("axis", 1)], ..operator });
        file.graph().input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = 2;
        read_bytes(&file.0.encode_to_vec(), "m.onnx", &ReadOptions::default())
    };
    let imported = image(&[0.0625]).unwrap();
    assert_eq!(imported.recovered.preprocessing.scale, [0.0625; 3]);
    let error = image(&[0.0625, 0.125, 0.25]).map(|imported| imported.facts).unwrap_err().to_string();
    assert!(error.contains("the image is quantized per channel") && error.contains("extra"), "{error}");
}

/// ONNX Runtime computes `(A B + C) alpha`, and the layer's own bias is in that unit.
#[test]
fn the_factor_of_a_quantized_gemm_is_that_of_the_sum() {
    let classifier = |alpha: Option<f32>| {
        let mut file = File::open("qop_unsigned.onnx");
        let gemm = file.graph().node.iter_mut().find(|node| node.op_type == "QGemm").unwrap();
        gemm.attribute.retain(|attribute| attribute.name != "alpha");
        gemm.attribute.extend(alpha.map(|f| Attribute { name: "alpha".into(), f, ..Attribute::default() }));
        let imported = read_bytes(&file.0.encode_to_vec(), "m.onnx", &ReadOptions::default()).unwrap();
        ["classifier.weight", "classifier.bias"].map(|name| imported.container.tensor(name).unwrap().data.to_f64())
    };
    let (plain, half) = (classifier(None), classifier(Some(0.5)));
    assert!(plain[1].iter().any(|bias| *bias != 0.0));
    assert_eq!(half, plain.map(|values| values.iter().map(|value| value * 0.5).collect::<Vec<_>>()));
}

/// At an odd size both conventions are equal.
#[test]
fn equal_padding_is_that_of_pytorch_at_an_odd_size() {
    let padding = |producer: &str, explicit: bool| -> Padding {
        let mut file = File::open("symmetric_torchvision_op17.onnx");
        producer.clone_into(&mut file.0.producer_name);
        let shape =
            file.graph().input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
        for dimension in &mut shape.dim[2..] {
            dimension.value = Some(DimensionValue::Size(33));
        }
        for attribute in file.graph().node.iter_mut().flat_map(|node| &mut node.attribute) {
            if attribute.name == "pads" && attribute.ints.iter().any(|pad| *pad != 0) {
                attribute.ints = vec![1; 4];
                if !explicit {
                    *attribute = Attribute { name: "auto_pad".into(), s: "SAME_UPPER".into(), ..Attribute::default() };
                }
            }
        }
        file.read().unwrap().recovered.padding
    };
    assert_eq!(padding("", true), Symmetric);
    assert_eq!(padding("", false), Same);
    assert_eq!(padding("tf2onnx", true), Same);
    assert_eq!(padding("pytorch", false), Symmetric);
}

/// A spec has no epsilon of 0, but the weights are folded.
#[test]
fn an_epsilon_of_zero_is_folded() {
    let mut file = File::open("same_plain_op13.onnx");
    let logits = file.made_by("Flatten", 0);
    let numbers = |name: &str, value: f32| Tensor {
        name: name.into(),
        data_type: 1,
        dims: vec![5],
        float_data: vec![value; 5],
        ..Tensor::default()
    };
    file.graph().initializer.extend([numbers("gamma", 2.0), numbers("beta", 0.0), numbers("variance", 0.25)]);
    let epsilon = Attribute { name: "epsilon".into(), f: 0.0, ..Attribute::default() };
    let norm = node("BatchNormalization", &[&logits, "gamma", "beta", "beta", "variance"], "extra.out");
    let imported = file.splice(&logits, Node { attribute: vec![epsilon], ..norm }).read().unwrap();
    let plain = File::open("same_plain_op13.onnx").read().unwrap();
    assert_eq!(imported.recovered.batch_norm_epsilon, 1e-3);
    let [found, before] = [&imported, &plain].map(|of| of.container.tensor("classifier.weight").unwrap().data.to_f64());
    assert_eq!(found, before.iter().map(|weight| weight * 4.0).collect::<Vec<_>>());
}

#[test]
fn a_reversal_of_the_channels_reverses_the_stem() {
    let stem = |imported: &Imported| imported.container.tensor("stem.weight").unwrap().data.to_f64();
    let plain = File::open("same_plain_op13.onnx").read().unwrap();
    let outputs = plain.container.tensor("stem.weight").unwrap().shape[3];
    let reversed: Vec<f64> = stem(&plain)
        .chunks_exact(3 * outputs)
        .flat_map(|tap| tap.chunks_exact(outputs).rev().flatten().copied())
        .collect();
    let before = |operator: &str, constants: &[&[i64]], axis: i64| {
        let mut file = File::open("same_plain_op13.onnx");
        let mut reads = vec!["image".to_owned()];
        for (at, numbers) in constants.iter().enumerate() {
            reads.push(format!("number{at}"));
            let dims = [i64::try_from(numbers.len()).unwrap()];
            file.graph().initializer.push(tensor(&reads[at + 1], 7, &dims, numbers));
        }
        let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
        let operator = node(operator, &reads, "extra.out");
        file.splice("image", Node { attribute: vec![integer("axis", axis)], ..operator }).read()
    };
    // Of bytes, before they are converted to floats.
    let bytes = |reversal: bool| {
        let mut file = File::open("same_plain_op13.onnx");
        let tensor_type = file.graph().input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
        tensor_type.elem_type = 2;
        let cast = Node { attribute: vec![integer("to", 1)], ..node("Cast", &["image"], "cast.out") };
        let file = file.splice("image", cast);
        if !reversal {
            return file.read();
        }
        let mut file = file;
        file.graph().initializer.push(tensor("order", 7, &[3], &[2, 1, 0]));
        let gather = node("Gather", &["image", "order"], "extra.out");
        file.splice("image", Node { attribute: vec![integer("axis", 1)], ..gather }).read()
    };
    let [straight, turned] = [bytes(false).unwrap(), bytes(true).unwrap()];
    assert_eq!((stem(&straight), stem(&turned)), (stem(&plain), reversed.clone()));
    assert_eq!(turned.recovered.preprocessing, Preprocessing::from_range(0.0, 255.0));
    assert_eq!(turned.recovered.preprocessing, straight.recovered.preprocessing);
    for imported in [
        before("Gather", &[&[2, 1, 0]], 1),
        before("Gather", &[&[-1, -2, 0]], -3),
        before("Slice", &[&[-1], &[i64::MIN], &[1], &[-1]], 0),
        before("Slice", &[&[2], &[-4], &[-3], &[-1]], 0),
    ] {
        assert_eq!(stem(&imported.unwrap()), reversed);
    }
    for refused in [
        before("Gather", &[&[2, 1, 0]], 2),
        before("Gather", &[&[2, 0, 1]], 1),
        before("Gather", &[&[2, 1]], 1),
        before("Slice", &[&[-1], &[0], &[1], &[-1]], 0),
        before("Slice", &[&[0], &[3], &[1], &[1]], 0),
        before("Slice", &[&[-1], &[i64::MIN], &[2], &[-1]], 0),
        before("Slice", &[&[-1], &[i64::MIN]], 0),
    ] {
        let error = refused.map(|imported| imported.facts).unwrap_err().to_string();
        assert!(error.contains("extra"), "{error}");
    }
}

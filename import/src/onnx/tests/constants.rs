//! Constants that the graph changes, and those that are stored as sparse tensors.

use super::super::proto::{Attribute, Node, SparseTensor, Tensor};
use super::{File, ignored, node};
use crate::Imported;

/// Numbers of the classifier's bias that a cast to 16 bits rounds.
const NUMBERS: [f32; 5] = [0.1, -1.000_3, std::f32::consts::PI, 1e-6, 300.6];

fn floats(name: &str, numbers: &[f32]) -> Tensor {
    let dims = vec![i64::try_from(numbers.len()).unwrap()];
    Tensor { name: name.into(), data_type: 1, dims, float_data: numbers.to_vec(), ..Tensor::default() }
}

/// Adds `NUMBERS` to the logits, after casts to these types.
fn added(casts: &[i64]) -> Imported {
    let mut file = File::open("same_plain_op13.onnx");
    file.graph().initializer.push(floats("numbers", &NUMBERS));
    let mut name = "numbers".to_owned();
    for (at, to) in casts.iter().enumerate() {
        let attribute = vec![Attribute { name: "to".into(), i: *to, ..Attribute::default() }];
        let makes = format!("cast{at}");
        file.graph().node.insert(at, Node { attribute, ..node("Cast", &[&name], &makes) });
        name = makes;
    }
    let logits = file.made_by("Flatten", 0);
    file.splice(&logits, node("Add", &[&logits, &name], "extra.out")).read().unwrap()
}

fn bias(imported: &Imported) -> Vec<f64> {
    imported.container.tensor("classifier.bias").unwrap().data.to_f64()
}

#[test]
fn a_cast_of_a_constant_rounds() {
    let plain = bias(&File::open("same_plain_op13.onnx").read().unwrap());
    let expected = |rounded: [f64; 5]| -> Vec<f64> {
        plain.iter().zip(rounded).map(|(bias, number)| f64::from((bias + number) as f32)).collect()
    };
    let exact = expected(NUMBERS.map(f64::from));
    // float32, double, and both.
    for casts in [&[][..], &[1], &[11], &[11, 1]] {
        assert_eq!(bias(&added(casts)), exact, "{casts:?}");
    }
    let half = expected([0.099_975_585_937_5, -1.0, 3.140_625, 1.013_278_961_181_640_6e-6, 300.5]);
    for casts in [&[10, 1][..], &[10, 11, 1], &[10, 10, 1]] {
        assert_eq!(bias(&added(casts)), half, "{casts:?}");
    }
    let bfloat = expected([0.100_097_656_25, -1.0, 3.140_625, 9.983_778_e-7, 300.0]);
    let found = bias(&added(&[16, 1]));
    assert!(
        found.iter().zip(&bfloat).all(|(found, expected)| (found - expected).abs() < 1e-9),
        "{found:?}, {bfloat:?}"
    );
    assert_ne!(half, exact);
}

/// The network computes in float32.
#[test]
fn casts_of_values_to_halves_are_noted() {
    for (to, is_noted) in [(1, false), (10, true), (11, false), (16, true)] {
        let mut file = File::open("same_plain_op13.onnx");
        let logits = file.made_by("Flatten", 0);
        let attribute = vec![Attribute { name: "to".into(), i: to, ..Attribute::default() }];
        let imported =
            file.splice(&logits, Node { attribute, ..node("Cast", &[&logits], "extra.out") }).read().unwrap();
        assert_eq!(imported.notes.iter().any(|note| note.contains("casts values to float16")), is_noted, "{to}");
    }
}

#[test]
fn a_sparse_initializer_is_refused_with_its_name() {
    let sparse = |name: &str| SparseTensor { values: Some(floats(name, &[1.0; 5])) };
    let mut file = File::open("same_plain_op13.onnx");
    file.graph().sparse_initializer.push(sparse("bias"));
    assert!(ignored(&file.read().unwrap())[0].contains("'bias'"));
    let logits = file.made_by("Flatten", 0);
    let error = file.splice(&logits, node("Add", &[&logits, "bias"], "extra.out")).refused();
    assert!(error.contains("'extra' (Add): input 1, 'bias', is a sparse initializer"), "{error}");
    assert!(error.contains("help: replace the sparse initializers with dense ones"), "{error}");

    let mut file = File::open("same_plain_op13.onnx");
    let attribute = vec![Attribute { name: "sparse_value".into(), ..Attribute::default() }];
    file.graph().node.insert(0, Node { attribute, ..node("Constant", &[], "bias") });
    let error = file.splice(&logits, node("Add", &[&logits, "bias"], "extra.out")).refused();
    assert!(error.contains("'extra' (Constant): the constant is a sparse tensor"), "{error}");
}

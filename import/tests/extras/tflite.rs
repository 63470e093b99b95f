//! TFLite: every builtin operator.

use std::path::Path;
use std::process::Command;

use mbvc_import::{Imported, ReadOptions, read};

use super::common::{fixture, has, python};

/// `BuiltinOperator`s that are imported at each place: those with one input, and those with a constant operand. QUANTIZE
/// (114), DEQUANTIZE (6) and the reshapes (22, 43, 70) keep values. RELU (19) and RELU6 (21) keep activated values. SHAPE
/// (77) at a branch has no effect. LOGISTIC (14), LOG_SOFTMAX (50), TOPK_V2 (48) and ARG_MAX (56) read
/// logits.
const IMPORTED: [(&str, &[u32], &[u32]); 6] = [
    ("before", &[6, 114], &[]),
    ("inside", &[6, 114], &[]),
    ("head", &[6, 19, 21, 114], &[]),
    ("pool", &[6, 22, 43, 70, 114], &ARITHMETIC),
    ("after", &[6, 14, 22, 43, 48, 50, 56, 70, 114], &ARITHMETIC),
    ("branch", &[6, 77, 114], &[]),
];
/// ADD, MUL, SUB and DIV, which fold into the classifier.
const ARITHMETIC: [u32; 4] = [0, 18, 41, 42];
const SHAPE: u32 = 77;
/// 161 operators with one input, and 12 with a constant operand, at 6 places.
const FILES: usize = 1038;

/// Weight `[in, out]` and bias.
type Classifier = [Vec<f32>; 2];

fn classifier(imported: &Imported) -> Classifier {
    let values = |name| imported.container.tensor(name).unwrap().data.f32s().unwrap().to_vec();
    [values("classifier.weight"), values("classifier.bias")]
}

/// The classifier after arithmetic with the number 2 on its input (`pool`) or output.
fn folded(place: &str, code: u32, [weight, bias]: &Classifier) -> Classifier {
    let (factor, offset) = match code {
        0 => (1.0, 2.0),
        41 => (1.0, -2.0),
        18 => (2.0, 0.0),
        _ => (0.5, 0.0),
    };
    let of_pool = place == "pool";
    let sum = |output: usize| weight.iter().skip(output).step_by(bias.len()).sum::<f32>();
    let bias = bias.iter().enumerate().map(|(at, bias)| match of_pool {
        true => bias + offset * sum(at),
        false => bias * factor + offset,
    });
    [weight.iter().map(|weight| weight * factor).collect(), bias.collect()]
}

#[test]
fn every_additional_operator_is_known_or_refused_by_name() {
    if !has("numpy, flatbuffers") {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("extra-operators");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/extras/tflite.py");
    let ran = Command::new(python()).args([Path::new(script), &folder, &fixture("")]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let plain = read(&fixture("same_fused.tflite"), &ReadOptions::default()).unwrap();
    let unused = folder.join("unused.tflite");
    let imported = read(&unused, &ReadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let ignored = imported.facts.iter().find(|fact| fact.key == "ignored").unwrap();
    assert_eq!((&*ignored.value, &*ignored.how), ("1 tensor", "read by no operator: unread"));
    std::fs::remove_file(unused).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let [place, kind, code] = name.split('-').collect::<Vec<_>>().try_into().unwrap();
        let code: u32 = code.parse().unwrap();
        let (_, unary, binary) = IMPORTED.iter().find(|(known, ..)| *known == place).unwrap();
        let is_imported = if kind == "unary" { unary } else { binary }.contains(&code);
        count += 1;
        match read(&path, &ReadOptions::default()) {
            Ok(imported) => {
                assert!(is_imported, "{name} is imported");
                let expected = classifier(&plain);
                let expected = if kind == "binary" { folded(place, code, &expected) } else { expected };
                for (found, expected) in classifier(&imported).iter().zip(expected) {
                    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
                }
                let others = |imported: &Imported| -> Vec<_> {
                    let tensors = imported.container.tensors.iter();
                    tensors.filter(|tensor| !tensor.name.starts_with("classifier")).cloned().collect()
                };
                assert!(others(&imported) == others(&plain), "{name}");
            }
            Err(error) => {
                assert!(!is_imported, "{name}: {error}");
                // Nothing reads values after SHAPE.
                assert!(error.to_string().contains("'extra") || code == SHAPE, "{name}: {error}");
            }
        }
    }
    assert_eq!(count, FILES);
    std::fs::remove_dir_all(folder).unwrap();
}

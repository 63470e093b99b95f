//! A small network that is saved, opened and run, and model files that are damaged or foreign.

use mbvc_compiler::spec::Fusion;
use mbvc_runtime::{Isa, Weights};
use serde_json::Value;

use super::*;
use crate::carried;
use crate::classifier::Classifier;
use crate::progress::Silent;

fn tiny() -> Bundle {
    let text = format!("{}isa: portable\n", include_str!("../../../specs/tiny.yaml"));
    let mut overrides = Overrides::new(Words::Command);
    overrides.set("fusion", "relu6");
    let file = SourceFile::new("tiny.yaml", text);
    let weights = Weights::from_static(carried::weights::bytes()).unwrap();
    Bundle::new(Source::new(file, overrides).unwrap(), weights)
}

/// The scores of a picture.
fn scores(bundle: &Bundle) -> Vec<f32> {
    // SAFETY: the library comes from `completed`.
    let network = unsafe { bundle.network(Some(Isa::Portable), &Silent) }.unwrap();
    let classifier = Classifier::new(network, &bundle.weights);
    let pixels: Vec<u8> = (0..classifier.input().iter().product::<usize>()).map(|at| (at * at % 251) as u8).collect();
    classifier.scores(&mut classifier.caller(), &pixels)
}

/// Rewrites the manifest of a model file.
fn with_manifest(file: &[u8], edit: impl Fn(&mut Value)) -> Vec<u8> {
    let mut zip = ZipArchive::new(Cursor::new(file)).unwrap();
    let mut edited = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    for name in names {
        let mut content = Vec::new();
        zip.by_name(&name).unwrap().read_to_end(&mut content).unwrap();
        if name == MANIFEST {
            let mut manifest = serde_json::from_slice(&content).unwrap();
            edit(&mut manifest);
            content = serde_json::to_vec(&manifest).unwrap();
        }
        edited.start_file(name, options).unwrap();
        edited.write_all(&content).unwrap();
    }
    edited.finish().unwrap().into_inner()
}

fn refusal(file: &[u8]) -> String {
    match Bundle::from_bytes(file, "model.mbvc") {
        Ok(_) => panic!("the file is accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_model_file_computes_what_the_network_does() {
    let part = tiny();
    let small = part.to_bytes().unwrap();
    let bundle = part.completed(&Silent).unwrap();
    let whole = bundle.to_bytes().unwrap();
    assert!(!part.is_complete() && bundle.is_complete() && small.len() < whole.len());
    assert_eq!(bundle.completed(&Silent).unwrap().to_bytes().unwrap(), whole, "deterministic");

    let expected = scores(&tiny());
    for file in [&small, &whole] {
        let read = Bundle::from_bytes(file, "model.mbvc").unwrap();
        assert_eq!(scores(&read), expected);
        assert_eq!(read.to_bytes().unwrap(), *file);
        assert_eq!((read.source.file.name.as_str(), read.source.spec.fusion), ("tiny.yaml", Fusion::Relu6));
    }
}

#[test]
fn every_truncated_or_damaged_model_file_is_refused() {
    let file = tiny().to_bytes().unwrap();
    for end in (0..file.len()).step_by(97) {
        assert!(Bundle::from_bytes(&file[..end], "model.mbvc").is_err(), "{end} of {} bytes", file.len());
    }
    let mut accepted = Vec::new();
    for at in (0..file.len()).step_by(101) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        if Bundle::from_bytes(&damaged, "model.mbvc").is_ok() {
            accepted.push(at);
        }
    }
    // Only bytes that no one reads, such as the time stamps of the archive.
    assert!(accepted.len() < 8, "{accepted:?} of {}", file.len());
}

#[test]
fn foreign_model_files_are_refused_with_the_reason() {
    let mut bundle = tiny();
    bundle.library = Some(b"not a library".to_vec());
    let file = bundle.to_bytes().unwrap();
    Bundle::from_bytes(&file, "model.mbvc").unwrap();

    let platform = with_manifest(&file, |manifest| manifest["library"]["platform"] = "sparc-solaris".into());
    assert!(refusal(&platform).starts_with("model.mbvc was compiled for sparc-solaris, but this machine is "));
    let version = with_manifest(&file, |manifest| {
        manifest["mbvc"] = "9.9.9".into();
        manifest["library"]["interface"] = "0".into();
    });
    assert!(refusal(&version).contains("was saved by mbvc 9.9.9; its compiled network is incompatible with mbvc"));
    let format = with_manifest(&file, |manifest| {
        manifest["format"] = 2.into();
        manifest["further"] = "key".into();
    });
    assert_eq!(refusal(&format), "model.mbvc: expected format 1 of model files, found 2");
    let unknown = with_manifest(&file, |manifest| manifest["encryption"] = true.into());
    assert!(refusal(&unknown).contains("unknown field `encryption`"));
    let checksum = with_manifest(&file, |manifest| manifest["weights"]["length"] = 1.into());
    assert!(refusal(&checksum).contains("cannot read weights.safetensors: the checksum does not match"));
    for other in [&b""[..], b"{}", b"PK\x03\x04", tiny().weights.as_bytes()] {
        let text = refusal(other);
        assert!(text.contains("is not a model file of mbvc") || text.contains("is a damaged model file"), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = Bundle::open(&folder.path().join("absent.mbvc")).err().unwrap().to_string();
    assert!(missing.ends_with("absent.mbvc: no such file"), "{missing}");
    assert!(Bundle::open(folder.path()).err().unwrap().to_string().ends_with("not a regular file"));
}

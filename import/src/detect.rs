//! Detection of a file's format: by content, or by extension if the content is ambiguous.

use std::path::Path;

use crate::archive::{self, Archive};
use crate::error::{ErrorKind, ImportError, Result};
use crate::files::SAVED_MODEL_HELP;
use crate::source::Format;
use crate::state_dict::safetensors;
use crate::{hdf5, keras, onnx, torch};

/// Supported formats, for messages.
const READ: &str = "ONNX, TFLite, Keras, TensorFlow.js, PyTorch and safetensors";

/// Magic bytes of unsupported files, with a description and a remedy.
const FOREIGN: [(&[u8], &str, &str); 6] = [
    (archive::MAGIC, "a zip archive without a model", "unpack it first"),
    (b"\x89PNG", "a PNG image", "pass a model file"),
    (b"\xff\xd8\xff", "a JPEG image", "pass a model file"),
    (b"BM", "a BMP image", "pass a model file"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch it with `git lfs pull`"),
];

const OPENVINO_HELP: &str = "import the model that it was converted from, or convert that model to ONNX";
const CORE_ML_HELP: &str = "import the model that it was converted from: Core ML files cannot be converted back";
const EXPORTED_PROGRAM_HELP: &str =
    "export it to ONNX: `torch.onnx.export(torch.export.load(\"model.pt2\"), f=\"model.onnx\", external_data=False)`";
const FROZEN_GRAPH_HELP: &str = "convert it with `python -m tf2onnx.convert --graphdef model.pb --inputs input:0 --outputs output:0 --output \
     model.onnx` (with the graph's node names), or `tf.compat.v1.lite.TFLiteConverter.from_frozen_graph`";

const CHECKPOINT_HELP: &str = "a TensorFlow checkpoint contains weights only: load it into its model in Python, then \
                               `model.save(\"model.keras\")`";

const SHARD_HELP: &str =
    "the file may be damaged; if it has weights of a TensorFlow.js model, pass model.json of the same folder";

/// Detects the format by content, else by `hint`, else by the extension of `name`.
pub fn detect(bytes: &[u8], name: &str, hint: Option<Format>) -> Result<Format> {
    let not_a_model = |problem: String| ImportError::new(ErrorKind::NotAModel, problem).file(name);
    if bytes.is_empty() {
        return Err(not_a_model("the file is empty".into()).help("download or export the model again"));
    }
    if bytes.get(4..8) == Some(b"ORTM") {
        return Err(not_a_model(format!(
            "this is a model in ONNX Runtime's own format (.ort); supported formats: {READ}"
        ))
        .help("import the .onnx file that it was converted from: files of this format cannot be converted back"));
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Ok(Format::TfLite);
    }
    if is_safetensors(bytes) {
        return Ok(if safetensors::is_container(bytes) { Format::Container } else { Format::SafeTensors });
    }
    if is_pytorch(bytes, name) {
        return Ok(Format::PyTorch);
    }
    if bytes.starts_with(hdf5::MAGIC) || is_keras_archive(bytes) {
        return Ok(Format::Keras);
    }
    if let Some(json) = json(bytes) {
        return match json {
            JsonFile::Model => Ok(Format::TensorFlowJs),
            JsonFile::Other(what, remedy) => {
                Err(not_a_model(format!("this is {what}; supported formats: {READ}")).help(remedy))
            }
        };
    }
    if let Some((what, remedy)) = tensorflow_protobuf(bytes) {
        return Err(not_a_model(format!("this is {what}; supported formats: {READ}")).help(remedy));
    }
    if let Some((what, remedy)) = other_framework(bytes) {
        return Err(not_a_model(format!("this is {what}; supported formats: {READ}")).help(remedy));
    }
    if let Some((_, what, remedy)) = FOREIGN.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        return Err(not_a_model(format!("this is {what}; supported formats: {READ}")).help(*remedy));
    }
    let by_extension = || Format::of_extension(Path::new(name).extension()?.to_str()?);
    // ONNX has no magic number: field 1 (`ir_version`, a small varint) comes first in what exporters write.
    let like_onnx = bytes.len() > 2 && bytes[0] == 0x08 && (1..=64).contains(&bytes[1]);
    match hint.or_else(by_extension) {
        Some(Format::TfLite) => {
            Err(not_a_model("not a TFLite model: the identifier `TFL3` is missing at byte 4".into())
                .help("the file may be truncated or in another format"))
        }
        Some(Format::Keras) => Err(not_a_model("not a Keras model: neither an HDF5 file nor a zip archive".into())
            .help("the file may be truncated or in another format")),
        Some(Format::TensorFlowJs) => Err(not_a_model("not a TensorFlow.js model: not a JSON object".into())
            .help("pass model.json, which names the files with the weights")),
        Some(Format::PyTorch) => {
            let error = not_a_model("not a `torch.save` file".into())
                .expected("a zip archive or pickles")
                .help("save the model again with `torch.save(model.state_dict(), FILE)`");
            Err(if is_of_tensorflow(name) { error.help(CHECKPOINT_HELP) } else { error })
        }
        Some(Format::Container | Format::SafeTensors) => {
            Err(not_a_model("not a safetensors file: invalid header".into()).help("download or save it again"))
        }
        Some(Format::Onnx) => Ok(Format::Onnx),
        None if like_onnx || onnx::decode(bytes).is_ok_and(|model| model.graph.is_some()) => Ok(Format::Onnx),
        None => Err(not_a_model("unrecognized model format".into())
            .expected(format!("{READ}, or a weights file of mbvc"))
            .help(if is_of_tensorflow(name) {
                CHECKPOINT_HELP
            } else if Path::new(name).extension().is_some_and(|extension| extension == "bin") {
                SHARD_HELP
            } else {
                "the file may be damaged; download or export it again"
            })),
    }
}

/// Whether the file is an archive with a `data.pkl` or a pickle. A damaged archive is identified by its extension.
fn is_pytorch(bytes: &[u8], name: &str) -> bool {
    let named = || {
        Path::new(name).extension()?.to_str().map(|extension| Format::of_extension(extension) == Some(Format::PyTorch))
    };
    let zipped = bytes.starts_with(archive::MAGIC) && (torch::is_archive(bytes) || named() == Some(true));
    let pickled = matches!(bytes, [0x80, 2..=5, ..]);
    zipped || pickled || bytes.get(257..262) == Some(b"ustar")
}

/// Whether the name is that of a part of a checkpoint or SavedModel, which have no magic numbers.
fn is_of_tensorflow(name: &str) -> bool {
    let path = Path::new(name);
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    matches!(extension, "pb" | "index" | "meta" | "ckpt")
        || extension.starts_with("data-")
        || path.file_name().is_some_and(|name| name == "checkpoint")
}

/// Whether the file is a zip archive with a Keras configuration.
fn is_keras_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(archive::MAGIC)
        && Archive::open(bytes).is_ok_and(|archive| archive.names().any(|name| name == keras::CONFIG))
}

/// Identifies TensorFlow's files by the first fields of their protocol buffers; returns a description and a remedy.
///
/// `saved_model.pb` starts with version 1 and a MetaGraphDef (field 2), whose first field is a message. ONNX files
/// start with version 3 or later. A GraphDef starts with a NodeDef (field 1) with a name and an operator (fields 1 and
/// 2).
fn tensorflow_protobuf(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const META_GRAPH: &[u8] = b"\x08\x01\x12";
    if let Some(rest) = bytes.strip_prefix(META_GRAPH) {
        let (_, graph) = varint(rest)?;
        return (graph.first() == Some(&0x0a)).then_some(("a TensorFlow SavedModel", SAVED_MODEL_HELP));
    }
    let node = field(bytes, 0x0a)?.0;
    let (name, rest) = field(node, 0x0a)?;
    let (operator, _) = field(rest, 0x12)?;
    let is_name = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    let is_graph = is_name(name) && is_name(operator) && operator.first().is_some_and(u8::is_ascii_uppercase);
    is_graph.then_some(("a frozen TensorFlow graph", FROZEN_GRAPH_HELP))
}

/// Kind of a JSON file.
enum JsonFile {
    /// `model.json` of TensorFlow.js.
    Model,
    /// A file without weights: a description and a remedy.
    Other(&'static str, &'static str),
}

/// Identifies a JSON object by its keys; `None` for other files.
fn json(bytes: &[u8]) -> Option<JsonFile> {
    let start = start(bytes);
    let text = start.trim_start_matches('\u{feff}').trim_start();
    let object = text.strip_prefix('{')?.trim_start();
    if !object.starts_with(['"', '}']) {
        return None;
    }
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    Some(if ["modelTopology", "weightsManifest", "layers-model", "graph-model"].into_iter().any(has) {
        JsonFile::Model
    } else if has("packageName") && has("labels") {
        JsonFile::Other("the metadata of a Teachable Machine model", "pass model.json, which is in the same folder")
    } else if has("class_name") && has("config") {
        JsonFile::Other(
            "the configuration of a Keras model, without weights",
            "save the model: `model.save(\"model.keras\")`",
        )
    } else {
        JsonFile::Other("a JSON file without a model", "pass the model file")
    })
}

/// Returns the part of a text file that names its format.
fn start(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    const LENGTH: usize = 4096;
    String::from_utf8_lossy(bytes.get(..LENGTH).unwrap_or(bytes))
}

/// Identifies files of other frameworks that have no magic bytes; returns a description and a remedy.
fn other_framework(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let start = start(bytes);
    let text = start.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('<') {
        let is_openvino = text.contains("<net ") && text.contains("<layers");
        return Some(match is_openvino {
            true => ("an OpenVINO model", OPENVINO_HELP),
            false => ("a text file (HTML or XML)", "download the model file itself"),
        });
    }
    if bytes.starts_with(archive::MAGIC) && Archive::open(bytes).is_ok_and(|archive| is_exported_program(&archive)) {
        return Some(("a `torch.export` program (.pt2)", EXPORTED_PROGRAM_HELP));
    }
    is_core_ml(bytes).then_some(("a Core ML model", CORE_ML_HELP))
}

/// Whether an archive is written by `torch.export.save`, in one of its two layouts.
fn is_exported_program(archive: &Archive<'_>) -> bool {
    archive.names().any(|name| {
        let name = name.rsplit('/').next().unwrap_or(name);
        matches!(name, "serialized_exported_program.json" | "archive_format")
    })
}

/// A Core ML file starts with a version and a description, whose first field is an input with a name. An ONNX file has the
/// text of its producer there.
fn is_core_ml(bytes: &[u8]) -> bool {
    let description = bytes.strip_prefix(&[0x08]).and_then(varint).and_then(|(_, rest)| field(rest, 0x12));
    let input = description.and_then(|(description, _)| field(description, 0x0a));
    let name = input.and_then(|(input, _)| field(input, 0x0a));
    name.is_some_and(|(name, _)| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
}

/// Splits off a length-delimited field with this key.
fn field(bytes: &[u8], key: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes.strip_prefix(&[key])?)?;
    rest.split_at_checked(length)
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    const LONGEST: usize = 5;
    let last = bytes.iter().take(LONGEST).position(|byte| byte & 0x80 == 0)?;
    let (digits, rest) = bytes.split_at_checked(last + 1)?;
    Some((digits.iter().rev().fold(0, |value, digit| value << 7 | usize::from(digit & 0x7f)), rest))
}

/// Whether the file starts with the length of a JSON header and its first byte.
fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    rest.first() == Some(&b'{') && length >= 2 && length <= rest.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_wins_over_the_extension() {
        assert_eq!(detect(b"\x1c\0\0\0TFL3....", "model.onnx", None).unwrap(), Format::TfLite);
        assert_eq!(detect(b"\x02\0\0\0\0\0\0\0{}", "model.onnx", None).unwrap(), Format::SafeTensors);
        let container = br#"{"__metadata__":{"mbvc.format":"1"}}"#;
        let container = [&(container.len() as u64).to_le_bytes()[..], container].concat();
        assert_eq!(detect(&container, "model.bin", None).unwrap(), Format::Container);
        assert_eq!(detect(torch::LEGACY_MAGIC, "model.onnx", None).unwrap(), Format::PyTorch);
        assert_eq!(detect(b"\x08\x08:\x01", "model.bin", None).unwrap(), Format::Onnx);
    }

    #[test]
    fn foreign_files_are_identified_by_magic_bytes() {
        for (magic, what, _) in FOREIGN {
            let error = detect(magic, "model.onnx", None).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotAModel);
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn other_frameworks_are_identified_by_content() {
        let text = |bytes: &[u8]| detect(bytes, "model.bin", None).unwrap_err().to_string();
        let openvino = text(b"<?xml version=\"1.0\"?>\n<net name=\"Model0\" version=\"11\">\n<layers>");
        assert!(openvino.contains("an OpenVINO model"), "{openvino}");
        assert!(text(b"<!DOCTYPE html>").contains("a text file (HTML or XML)"));
        let mut exported = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        exported.start_file("model/archive_format", zip::write::SimpleFileOptions::default()).unwrap();
        let exported = text(&exported.finish().unwrap().into_inner());
        assert!(exported.contains("a `torch.export` program") && exported.contains("torch.onnx.export"), "{exported}");
        let core_ml = text(b"\x08\x04\x12\x0b\x0a\x09\x0a\x05image\x1a\x00");
        assert!(core_ml.contains("a Core ML model"), "{core_ml}");
        assert_eq!(detect(b"\x08\x07\x12\x07pytorch\x3a\x00", "model.bin", None).unwrap(), Format::Onnx);
    }

    #[test]
    fn json_files_are_identified_by_their_keys() {
        for text in [
            r#"{"format": "layers-model", "generatedBy": "keras v2.4.0", "modelTopology": {}}"#,
            r#"{"modelTopology":{"class_name":"Sequential","config":{}}}"#,
            "\u{feff}\n{ \"weightsManifest\": [] }",
        ] {
            assert_eq!(detect(text.as_bytes(), "model.bin", None).unwrap(), Format::TensorFlowJs, "{text}");
        }
        let text = |bytes: &[u8]| detect(bytes, "model.json", None).unwrap_err().to_string();
        let metadata = text(br#"{"packageName": "@teachablemachine/image", "labels": ["a"]}"#);
        assert!(metadata.contains("Teachable Machine") && metadata.contains("pass model.json"), "{metadata}");
        let config = text(br#"{"class_name": "Functional", "config": {}}"#);
        assert!(config.contains("without weights") && config.contains("model.save"), "{config}");
        assert!(text(b"{}").contains("a JSON file without a model"));
        assert!(text(b"{hello").contains("not a JSON object"));
        assert!(text(b"[1, 2]").contains("not a JSON object"));
    }

    #[test]
    fn rejects_tensorflow_files_with_their_conversion() {
        let text = |bytes: &[u8], name| detect(bytes, name, None).unwrap_err().to_string();
        let saved = text(b"\x08\x01\x12\x80\x04\x0a\x10....", "saved_model.pb");
        assert!(saved.contains("a TensorFlow SavedModel") && saved.contains("from_saved_model"), "{saved}");
        let frozen = text(b"\x0a\x14\x0a\x05input\x12\x0bPlaceholder", "graph.pb");
        assert!(frozen.contains("a frozen TensorFlow graph") && frozen.contains("--graphdef"), "{frozen}");
        assert!(text(b"hello", "m.h5").contains("not a Keras model"));
        for name in ["variables/variables.data-00000-of-00001", "model.ckpt.index", "a/checkpoint"] {
            assert!(text(b"\0\0hello", name).contains("a TensorFlow checkpoint contains weights only"), "{name}");
        }
    }

    #[test]
    fn empty_and_unknown_files_are_errors() {
        assert!(detect(b"", "m.onnx", None).unwrap_err().problem.contains("empty"));
        assert!(detect(b"hello world", "m.tflite", None).unwrap_err().problem.contains("TFL3"));
        assert_eq!(detect(b"hello world", "m.txt", None).unwrap_err().kind, ErrorKind::NotAModel);
        assert!(detect(b"\0\0\0\0", "group1-shard1of1.bin", None).unwrap_err().to_string().contains("pass model.json"));
    }
}

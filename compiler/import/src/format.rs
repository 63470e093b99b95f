//! Which kind of file is it? Content decides, the extension only where content is silent.

use std::fmt;
use std::path::Path;

use crate::error::{ErrorKind, ImportError, Result};
use crate::state_dict::safetensors;
use crate::{archive, torch};

/// The kinds of file that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Onnx,
    TfLite,
    /// What `torch.save` writes: a zip archive or, before 1.6, pickles.
    PyTorch,
    /// Safetensors with the names of PyTorch's state dicts.
    SafeTensors,
    /// The canonical container (safetensors).
    Container,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "ONNX",
            Self::TfLite => "TFLite",
            Self::PyTorch => "PyTorch",
            Self::SafeTensors | Self::Container => "safetensors",
        })
    }
}

/// Beginnings of files that people do hand to an importer, and what to do with them.
const FOREIGN: [(&[u8], &str, &str); 8] = [
    (b"\x89HDF", "a Keras HDF5 file", "convert it in Python with `tf.lite.TFLiteConverter.from_keras_model`"),
    (b"PK\x03\x04", "a zip archive (a .keras file?)", "export the model to ONNX or TFLite"),
    (b"\x89PNG", "a PNG image", "give a model file"),
    (b"\xff\xd8\xff", "a JPEG image", "give a model file"),
    (b"BM", "a BMP image", "give a model file"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`"),
    (b"<", "a text file (HTML or XML)", "download the model file itself"),
];

const READ: &str = "ONNX, TFLite, PyTorch and safetensors";

/// Decides by content, else by `hint`, else by the extension of `name`.
pub fn detect(bytes: &[u8], name: &str, hint: Option<Format>) -> Result<Format> {
    let not_a_model = |problem: String| ImportError::new(ErrorKind::NotAModel, problem).file(name);
    if bytes.is_empty() {
        return Err(not_a_model("the file is empty".into()).help("download or export the model again"));
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
    if let Some((_, what, remedy)) = FOREIGN.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        return Err(not_a_model(format!("this is {what}; {READ} are read")).help(*remedy));
    }
    let by_extension = || of_extension(Path::new(name).extension()?.to_str()?);
    // ONNX has no magic number: field 1 (`ir_version`, a small varint) comes first in what exporters write.
    let like_onnx = bytes.len() > 2 && bytes[0] == 0x08 && (1..=64).contains(&bytes[1]);
    match hint.or_else(by_extension) {
        Some(Format::TfLite) => {
            Err(not_a_model("not a TFLite model: the identifier `TFL3` is missing at byte 4".into())
                .help("the file may be truncated or of another kind"))
        }
        Some(Format::Container | Format::SafeTensors) => {
            Err(not_a_model("not a safetensors file: its header is damaged".into()).help("download or make it again"))
        }
        Some(Format::PyTorch) => {
            Err(not_a_model("not a file that `torch.save` wrote".into()).expected("a zip archive, or pickles"))
        }
        Some(Format::Onnx) => Ok(Format::Onnx),
        None if like_onnx => Ok(Format::Onnx),
        None => Err(not_a_model("not recognised as a model file".into())
            .expected(format!("one of those that are read: {READ}, or an mbvc container"))
            .help("name it .onnx if it is an ONNX model")),
    }
}

/// The format that files with this extension usually have.
pub fn of_extension(extension: &str) -> Option<Format> {
    match extension.to_ascii_lowercase().as_str() {
        "onnx" => Some(Format::Onnx),
        "tflite" | "lite" => Some(Format::TfLite),
        "pth" | "pt" | "ckpt" => Some(Format::PyTorch),
        "safetensors" => Some(Format::SafeTensors),
        _ => None,
    }
}

/// An archive with a `data.pkl`, or a pickle; by its name, too, where the archive is damaged.
fn is_pytorch(bytes: &[u8], name: &str) -> bool {
    let named =
        || Path::new(name).extension()?.to_str().map(|extension| of_extension(extension) == Some(Format::PyTorch));
    let zipped = bytes.starts_with(archive::MAGIC) && (torch::is_archive(bytes) || named() == Some(true));
    let pickled = matches!(bytes, [0x80, 2..=5, ..]);
    zipped || pickled || bytes.get(257..262) == Some(b"ustar")
}

/// An 8-byte length of a JSON header, and that header's first byte.
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
    fn tells_foreign_files_by_their_beginning() {
        for (magic, what, _) in FOREIGN {
            let error = detect(magic, "model.onnx", None).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotAModel);
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn empty_and_unknown_files_are_errors() {
        assert!(detect(b"", "m.onnx", None).unwrap_err().problem.contains("empty"));
        assert!(detect(b"hello world", "m.tflite", None).unwrap_err().problem.contains("TFL3"));
        assert_eq!(detect(b"hello world", "m.txt", None).unwrap_err().kind, ErrorKind::NotAModel);
    }
}

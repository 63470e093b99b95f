//! Which kind of file is it? Content decides, the extension only where content is silent.

use std::fmt;
use std::path::Path;

use crate::error::{ErrorKind, ImportError, Result};

/// The kinds of file that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Onnx,
    TfLite,
    /// The canonical container (safetensors).
    Container,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "ONNX",
            Self::TfLite => "TFLite",
            Self::Container => "safetensors",
        })
    }
}

/// Beginnings of files that people do hand to an importer, and what to do with them.
const FOREIGN: [(&[u8], &str, &str); 9] = [
    (b"\x89HDF", "a Keras HDF5 file", "convert it in Python with `tf.lite.TFLiteConverter.from_keras_model`"),
    (b"PK\x03\x04", "a zip archive (a PyTorch or .keras file?)", "export it with `torch.onnx.export`, or to TFLite"),
    (b"\x80\x02", "a Python pickle (an old PyTorch file?)", "export the model with `torch.onnx.export`"),
    (b"\x89PNG", "a PNG image", "give a model file"),
    (b"\xff\xd8\xff", "a JPEG image", "give a model file"),
    (b"BM", "a BMP image", "give a model file"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`"),
    (b"<", "a text file (HTML or XML)", "download the model file itself"),
];

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
        return Ok(Format::Container);
    }
    if let Some((_, what, remedy)) = FOREIGN.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        return Err(not_a_model(format!("this is {what}; ONNX and TFLite models are read")).help(*remedy));
    }
    let by_extension = || {
        let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "onnx" => Some(Format::Onnx),
            "tflite" | "lite" => Some(Format::TfLite),
            "safetensors" => Some(Format::Container),
            _ => None,
        }
    };
    // ONNX has no magic number: field 1 (`ir_version`, a small varint) comes first in what exporters write.
    let like_onnx = bytes.len() > 2 && bytes[0] == 0x08 && (1..=64).contains(&bytes[1]);
    match hint.or_else(by_extension) {
        Some(Format::TfLite) => {
            Err(not_a_model("not a TFLite model: the identifier `TFL3` is missing at byte 4".into())
                .help("the file may be truncated or of another kind"))
        }
        Some(Format::Container) => Err(not_a_model("not a safetensors file: its header is damaged".into())
            .help("make it again with `mbvc import`")),
        Some(Format::Onnx) => Ok(Format::Onnx),
        None if like_onnx => Ok(Format::Onnx),
        None => Err(not_a_model("not recognised as a model file".into())
            .expected("an ONNX or TFLite model, or an mbvc container (safetensors)")
            .help("name it .onnx if it is an ONNX model")),
    }
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
        assert_eq!(detect(b"\x02\0\0\0\0\0\0\0{}", "model.onnx", None).unwrap(), Format::Container);
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

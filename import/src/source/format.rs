//! Formats of model files.

use std::fmt;

/// Format of a model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.onnx`: a ModelProto.
    Onnx,
    /// `.tflite`: a FlatBuffer with the identifier `TFL3`.
    TfLite,
    /// `.keras` and `.h5`.
    Keras,
    /// `model.json` with its shards of weights.
    TensorFlowJs,
    /// `torch.save` files: a zip archive or, before 1.6, pickles.
    PyTorch,
    /// Safetensors with the names of a PyTorch state dict.
    SafeTensors,
    /// The weights file of mbvc (safetensors).
    Container,
}

impl Format {
    /// Returns the usual format of files with this extension.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "onnx" => Some(Self::Onnx),
            "tflite" | "lite" => Some(Self::TfLite),
            "keras" | "h5" | "hdf5" => Some(Self::Keras),
            "json" => Some(Self::TensorFlowJs),
            "pth" | "pt" | "ckpt" => Some(Self::PyTorch),
            "safetensors" => Some(Self::SafeTensors),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "ONNX",
            Self::TfLite => "TFLite",
            Self::Keras => "Keras",
            Self::TensorFlowJs => "TensorFlow.js",
            Self::PyTorch => "PyTorch",
            Self::SafeTensors | Self::Container => "safetensors",
        })
    }
}

//! Options of reading a model.

use mbvc_compiler::spec::NetworkSpec;

use crate::source::Format;

/// Treatment of a quantized model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// Integers, scales and zero points are kept.
    Keep,
    /// Weights are dequantized to float32; the quantization of values is dropped.
    Dequantize,
}

/// Options of [`read`](crate::read).
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Format of the file, used if the content is ambiguous.
    pub format: Option<Format>,
    /// Treatment of a quantized model.
    pub quantization: Quantization,
    /// Spec of the network. Provides the strides of a file that contains weights only.
    pub spec: Option<&'a NetworkSpec>,
    /// Configuration files that accompany a file of weights. If both are `None`, the folder of the file is searched.
    pub config_files: ConfigFiles<'a>,
    /// Files that the model refers to by name, such as `model.onnx.data`, and their contents. If empty, the folder of the
    /// file is searched.
    pub beside: &'a [(&'a str, &'a [u8])],
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        Self {
            format: None,
            quantization: Quantization::Dequantize,
            spec: None,
            config_files: ConfigFiles::default(),
            beside: &[],
        }
    }
}

impl ReadOptions<'_> {
    /// Returns the defaults, except that quantized models stay quantized.
    pub fn keep_quantization() -> Self {
        Self { quantization: Quantization::Keep, ..Self::default() }
    }
}

/// Content of the configuration files that accompany weights in a repository.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfigFiles<'a> {
    /// `config.json` of timm or transformers.
    pub config: Option<&'a [u8]>,
    /// `preprocessor_config.json` of transformers.
    pub preprocessor: Option<&'a [u8]>,
}

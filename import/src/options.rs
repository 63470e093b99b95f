//! How a file is read.

use mbvc_compiler::spec::NetworkSpec;

use crate::source::Format;

/// What becomes of a quantized model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// It stays what it is: integers, scales and zero points.
    Keep,
    /// Its weights become the float32 numbers that they stand for; the quantization of values is dropped.
    Dequantize,
}

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Decides where the content does not tell the format.
    pub format: Option<Format>,
    /// What becomes of the model where it is quantized.
    pub quantization: Quantization,
    /// The network as the user knows it. Strides are taken from it where a file has weights alone.
    pub spec: Option<&'a NetworkSpec>,
    /// What stands beside a file of weights alone; a file's own folder is looked into where it is `None`.
    pub beside: Beside<'a>,
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        Self { format: None, quantization: Quantization::Dequantize, spec: None, beside: Beside::default() }
    }
}

impl ReadOptions<'_> {
    /// Returns the defaults, except that quantized models stay quantized.
    pub fn keep_quantization() -> Self {
        Self { quantization: Quantization::Keep, ..Self::default() }
    }
}

/// The content of the files that repositories of weights have beside them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// `config.json` of timm or transformers.
    pub config: Option<&'a [u8]>,
    /// `preprocessor_config.json` of transformers.
    pub preprocessor: Option<&'a [u8]>,
}

//! A model as its reader translates it.

use mbvc_compiler::spec::{Padding, Preprocessing};
use mbvc_runtime::Framing;

use super::fact::Fact;
use super::format::Format;
use super::holder::Holders;
use super::ops::{Node, Value};
use super::quant::Quants;

/// More nodes than any MobileNetV2 export has; bounds the work on a hostile file.
pub const MAX_NODES: usize = 8192;

/// A model as its file tells it.
#[derive(Debug)]
pub struct SourceGraph<'a> {
    pub format: Format,
    /// Who wrote the file, such as `pytorch 2.4`; may be empty.
    pub producer: String,
    pub input: Value,
    /// Height, width and channels of the image, where the file fixes them.
    pub input_shape: [Option<usize>; 3],
    /// Scale and zero point of a quantized 8-bit unsigned input.
    pub input_quantization: Option<(f64, i64)>,
    pub nodes: Vec<Node<'a>>,
    pub quants: Quants,
    /// Of formats that other engines run.
    pub holders: Holders<'a>,
    pub hints: Hints,
    /// What the user should know about the reading.
    pub notes: Vec<String>,
}

/// What a reader knows otherwise than from operations: by convention, or from a file beside the model.
#[derive(Debug, Default)]
pub struct Hints {
    /// How the facts with these keys are known, where it is not from operations.
    pub how: Vec<(&'static str, String)>,
    /// The convention, where the geometry allows both.
    pub padding: Option<Padding>,
    /// And whether it is the model's own rather than a usual one.
    pub preprocessing: Option<(Preprocessing, bool)>,
    /// How pictures are brought to size, and whence it is known.
    pub framing: Option<(Framing, String)>,
    /// And where they are from.
    pub labels: Option<(Vec<String>, String)>,
    /// Facts beside those of the network.
    pub facts: Vec<Fact>,
}

impl Hints {
    /// Says how a fact is known, whatever was said before.
    pub fn explain(&mut self, key: &'static str, how: String) {
        self.how.retain(|(known, _)| *known != key);
        self.how.push((key, how));
    }

    /// Whether the source has weights and no operations, so that conventions stand for these.
    pub fn is_weights_only(&self) -> bool {
        self.padding.is_some()
    }

    /// How the fact is known, where it was said.
    pub fn how(&self, key: &str) -> Option<&str> {
        self.how.iter().find(|(known, _)| *known == key).map(|(_, how)| how.as_str())
    }
}

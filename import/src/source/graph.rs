//! A model as translated by its reader.

use std::borrow::Cow;

use mbvc_compiler::spec::{Padding, Preprocessing};
use mbvc_runtime::{Framing, HeadActivation};

use super::fact::Fact;
use super::format::Format;
use super::holder::Holders;
use super::ops::{Node, Value};
use super::quant::Quants;

/// Most nodes of a graph, above any MobileNetV2 export; bounds the work on a hostile file.
pub const MAX_NODES: usize = 8192;

/// A model as a graph of operations.
#[derive(Debug)]
pub struct SourceGraph<'a> {
    pub format: Format,
    /// Producer of the file, such as `pytorch 2.4`; may be empty.
    pub producer: String,
    pub input: Value,
    /// Height, width and channels of the image, if fixed in the file.
    pub input_shape: [Option<usize>; 3],
    /// Scale and zero point of a uint8 input.
    pub input_quantization: Option<(f64, i64)>,
    pub nodes: Vec<Node<'a>>,
    /// Outputs of the model; empty for formats in which the last operation is the output.
    pub outputs: Vec<Output<'a>>,
    pub quants: Quants,
    /// Tensors of values; empty for formats that no other engine runs.
    pub holders: Holders<'a>,
    pub hints: Hints,
    /// Notes for the user.
    pub notes: Vec<String>,
}

impl SourceGraph<'_> {
    /// Returns an empty graph, for the fields that a format does not have.
    pub fn of(format: Format) -> Self {
        Self {
            format,
            producer: String::new(),
            input: 0,
            input_shape: [None; 3],
            input_quantization: None,
            nodes: Vec::new(),
            outputs: Vec::new(),
            quants: Quants::default(),
            holders: Holders::default(),
            hints: Hints::default(),
            notes: Vec::new(),
        }
    }
}

/// An output of a model.
#[derive(Debug, Clone)]
pub struct Output<'a> {
    pub name: Cow<'a, str>,
    pub value: Value,
}

/// Information from outside the operations: conventions of an implementation, or a configuration file.
#[derive(Debug, Default)]
pub struct Hints {
    /// Evidence for facts that are not based on operations, by key.
    pub how: Vec<(&'static str, String)>,
    /// Padding, if the geometry allows both conventions.
    pub padding: Option<Padding>,
    /// Preprocessing, and whether it is recorded rather than a convention.
    pub preprocessing: Option<(Preprocessing, bool)>,
    /// Resizing of pictures, and its evidence.
    pub framing: Option<(Framing, String)>,
    /// Function from logits to scores, if no operation computes the scores, and its evidence.
    pub head_activation: Option<(HeadActivation, String)>,
    /// Class names and their source.
    pub labels: Option<(Vec<String>, String)>,
    /// Further facts.
    pub facts: Vec<Fact>,
}

impl Hints {
    /// Sets the evidence for a fact.
    pub fn explain(&mut self, key: &'static str, how: String) {
        self.how.retain(|(known, _)| *known != key);
        self.how.push((key, how));
    }

    /// Whether the source has weights but no operations.
    pub fn is_weights_only(&self) -> bool {
        self.padding.is_some()
    }

    /// Returns the evidence for a fact.
    pub fn how(&self, key: &str) -> Option<&str> {
        self.how.iter().find(|(known, _)| *known == key).map(|(_, how)| how.as_str())
    }
}

//! Metadata of a model that is required to classify pictures of any size.

use alloc::string::String;
use alloc::vec::Vec;

use super::framing::Framing;

/// Class labels, and the framing of pictures that the weights were trained with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassifierMetadata {
    /// Labels of the classes in the order of the logits; empty if the weights have none.
    pub labels: Vec<String>,
    /// How a picture of any size is scaled and cropped to the network's input.
    pub framing: Framing,
}

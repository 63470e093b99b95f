//! Metadata of a model that is required to classify pictures of any size.

use alloc::string::String;
use alloc::vec::Vec;

use super::framing::Framing;
use crate::conventions::HeadActivation;

/// Class labels, and the activation of the head and the framing of pictures that the weights were trained with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassifierMetadata {
    /// Function from logits to the scores of the classes.
    pub head_activation: HeadActivation,
    /// Labels of the classes in the order of the scores; empty if the weights have none.
    pub labels: Vec<String>,
    /// How a picture of any size is scaled and cropped to the network's input.
    pub framing: Framing,
}

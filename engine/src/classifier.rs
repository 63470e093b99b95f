//! Networks with the preprocessing, framing, labels and head activation recorded in their weights.

use mbvc_runtime::{Framing, HeadActivation, Network, Preprocess, Rgb, Unobserved, Weights, top_k};

use crate::caller::Caller;

/// A network with the preprocessing, the framing, the labels and the head activation of its weights.
pub struct Classifier {
    /// The network.
    pub network: Box<dyn Network>,
    /// How pictures become the network's input.
    pub framing: Framing,
    /// How pixels become the values of a float network's input.
    pub preprocess: Preprocess,
    /// Function from logits to scores.
    pub activation: HeadActivation,
    /// Labels of the classes; empty if the weights have none.
    pub labels: Vec<String>,
}

impl Classifier {
    /// Combines a network with the weights that it was built from.
    pub fn new(network: Box<dyn Network>, weights: &Weights) -> Self {
        Self {
            network,
            framing: weights.framing(),
            preprocess: weights.preprocessing(),
            activation: weights.head_activation(),
            labels: weights.labels().unwrap_or_default(),
        }
    }

    /// Shape of the network's input: `[height, width, channels]`.
    pub fn input(&self) -> [usize; 3] {
        self.network.info().input
    }

    /// Number of classes: that of the logits, or 2 for a single logit with a sigmoid.
    pub fn classes(&self) -> usize {
        self.activation.classes(self.network.info().classes)
    }

    /// Returns the buffers that a thread needs.
    pub fn caller(&self) -> Caller {
        Caller::new(self.network.info())
    }

    /// Frames a picture: its bytes `[height, width, channels]` at the size of the input.
    pub fn frame(&self, picture: &Rgb<'_>) -> Vec<u8> {
        self.framing.frame(picture, self.input())
    }

    /// Computes the scores of all classes for the bytes of a framed picture.
    pub fn scores(&self, caller: &mut Caller, pixels: &[u8]) -> Vec<f32> {
        caller.show(pixels, &self.preprocess);
        caller.call(&*self.network, &mut Unobserved);
        self.activation.scores(&caller.logits)
    }

    /// Computes the pooled vector of the bytes of a framed picture.
    pub fn embedding(&self, caller: &mut Caller, pixels: &[u8]) -> Vec<f32> {
        caller.embed(&*self.network, pixels)
    }
}

/// Returns at most `count` classes with the highest scores, best first.
pub fn best(scores: &[f32], count: usize) -> Vec<(usize, f32)> {
    let mut found = vec![(0, 0.0); count.min(scores.len())];
    let count = top_k(scores, &mut found);
    found.truncate(count);
    found
}

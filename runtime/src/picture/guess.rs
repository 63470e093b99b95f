//! Classification of pictures: `classify` of generated networks.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::metadata::ClassifierMetadata;
use super::rgb::{Picture, PictureError};
use crate::conventions::HeadActivation;
use crate::network::{Network, NetworkInfo, Unobserved};
use crate::scratch::Line;

/// A class with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess<'a> {
    /// Index of the class: that of its logit, or 0 or 1 if a single logit scores two classes.
    pub class: usize,
    /// Label of the class, if the weights have labels.
    pub label: Option<&'a str>,
    /// Score of the class: its probability, unless the activation is `log_softmax` or `none`.
    pub score: f32,
    /// Head activation of the weights, which computes the score.
    pub activation: HeadActivation,
}

/// `tabby cat 87.1 %`, or `class 3 87.1 %` without a label. A score that is not a probability has no percent sign:
/// `tabby cat 12.1`.
impl fmt::Display for Guess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            Some(label) => f.write_str(label)?,
            None => write!(f, "class {}", self.class)?,
        }
        match self.activation.yields_probabilities() {
            true => write!(f, " {:.1} %", self.score * 100.0),
            false => write!(f, " {:.1}", self.score),
        }
    }
}

/// Returns all classes in descending order of score, and equal scores in ascending order of index.
///
/// # Errors
/// If the picture has no pixels.
pub fn classify<'a>(
    network: &dyn Network,
    metadata: &'a ClassifierMetadata,
    picture: &impl Picture,
) -> Result<Vec<Guess<'a>>, PictureError> {
    let info = network.info();
    let pixels = pixels(info, metadata, picture)?;
    let mut scratch = vec![Line::ZERO; info.scratch_bytes.div_ceil(size_of::<Line>())];
    let scratch = crate::scratch::floats_mut(&mut scratch);
    let mut logits = vec![0.0; info.classes];
    let ran = network.run_pixels_into(&mut scratch[..info.scratch_bytes / 4], &pixels, &mut logits, &mut Unobserved);
    debug_assert_eq!(ran, Ok(()), "all lengths are the network's own");
    let activation = metadata.head_activation;
    let label = |class: usize| metadata.labels.get(class).map(String::as_str);
    let guess = |(class, score)| Guess { class, label: label(class), score, activation };
    let mut guesses: Vec<_> = activation.scores(&logits).into_iter().enumerate().map(guess).collect();
    guesses.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(guesses)
}

/// Returns the pixels of a picture that a network reads, of the shape of its input. `LENGTH` is their number of bytes.
///
/// # Errors
/// If the picture has no pixels.
pub fn frame<const LENGTH: usize>(
    info: &NetworkInfo,
    metadata: &ClassifierMetadata,
    picture: &impl Picture,
) -> Result<Box<[u8; LENGTH]>, PictureError> {
    let pixels = pixels(info, metadata, picture)?;
    let (size, bytes) = ([info.input[0], info.input[1]], pixels.len());
    pixels.into_boxed_slice().try_into().map_err(|_| PictureError { size, bytes })
}

fn pixels(info: &NetworkInfo, metadata: &ClassifierMetadata, picture: &impl Picture) -> Result<Vec<u8>, PictureError> {
    Ok(metadata.framing.frame(&picture.rgb()?, info.input))
}

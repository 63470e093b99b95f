//! From a picture to named guesses: what `classify` of generated networks does.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::{Framing, Picture, PictureError};
use crate::classify::softmax;
use crate::network::{Network, NetworkInfo, Unobserved};
use crate::scratch::Line;

/// What weights tell of pictures and classes, beyond numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Names of the classes in the order of the logits; empty where the weights have none.
    pub labels: Vec<String>,
    /// How a picture of any size is brought to the network's.
    pub framing: Framing,
}

/// A class that a picture may show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess<'a> {
    /// Index of the class.
    pub class: usize,
    /// Its name, if the weights came with names.
    pub label: Option<&'a str>,
    /// Its probability.
    pub score: f32,
}

/// `tabby cat 87.1 %`; a class without a name is told by its number.
impl fmt::Display for Guess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            Some(label) => f.write_str(label)?,
            None => write!(f, "class {}", self.class)?,
        }
        write!(f, " {:.1} %", self.score * 100.0)
    }
}

/// All classes, the likeliest first; of those that are as likely, the one that comes first.
///
/// # Errors
/// If the picture has no pixels.
pub fn classify<'a>(
    network: &dyn Network,
    about: &'a About,
    picture: &impl Picture,
) -> Result<Vec<Guess<'a>>, PictureError> {
    let info = network.info();
    let pixels = pixels(info, about, picture)?;
    let mut scratch = vec![Line::ZERO; info.scratch_bytes.div_ceil(size_of::<Line>())];
    let scratch = crate::scratch::floats_mut(&mut scratch);
    let mut scores = vec![0.0; info.classes];
    let ran = network.run_pixels_into(&mut scratch[..info.scratch_bytes / 4], &pixels, &mut scores, &mut Unobserved);
    debug_assert_eq!(ran, Ok(()), "all lengths are the network's own");
    softmax(&mut scores);
    let label = |class: usize| about.labels.get(class).map(String::as_str);
    let guess = |(class, score)| Guess { class, label: label(class), score };
    let mut guesses: Vec<_> = scores.into_iter().enumerate().map(guess).collect();
    guesses.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(guesses)
}

/// The part of a picture that a network looks at, as it looks at it: `LENGTH` is that of its image.
///
/// # Errors
/// If the picture has no pixels.
pub fn frame<const LENGTH: usize>(
    info: &NetworkInfo,
    about: &About,
    picture: &impl Picture,
) -> Result<Box<[u8; LENGTH]>, PictureError> {
    let pixels = pixels(info, about, picture)?;
    let (size, bytes) = ([info.input[0], info.input[1]], pixels.len());
    pixels.into_boxed_slice().try_into().map_err(|_| PictureError { size, bytes })
}

fn pixels(info: &NetworkInfo, about: &About, picture: &impl Picture) -> Result<Vec<u8>, PictureError> {
    let [height, width, _] = info.input;
    Ok(about.framing.frame(&picture.rgb()?, [height, width]))
}

//! The metadata of a weights file: the conventions of its network, the activation of its head, the preprocessing and the
//! framing of pictures.

use crate::conventions::{Activation, Color, ConventionError, Conventions, FORMAT, HeadActivation, Padding, Precision};
use crate::formats::container::Header;
#[cfg(feature = "alloc")]
use crate::picture::Framing;
use crate::preprocess::Preprocess;

const DENSE_ACTIVATION: &str = "mbvc.dense_activation";
/// Precisions of weights files. The weights of bf16 networks are float32 until they are packed.
const PRECISIONS: &str = "one of `f32` `int8` `uint8`";

impl Conventions {
    /// Reads `mbvc.format`, `mbvc.activation`, `mbvc.padding`, `mbvc.precision`, `mbvc.classes` and, if there is one,
    /// `mbvc.dense_activation`.
    ///
    /// # Errors
    /// If one of them is missing or has an unknown value, or `mbvc.size_multiple` has one.
    pub fn of(header: &Header<'_>) -> Result<Self, ConventionError> {
        match header.metadata("mbvc.format") {
            None => return Err(ConventionError::NotOurs),
            Some(format) if format != FORMAT => return Err(ConventionError::Format),
            Some(_) => {}
        }
        size_multiple(header)?;
        let precision =
            |text: &str| Precision::from_word(text).filter(|precision| precision.of_weights() == *precision);
        Ok(Self {
            activation: read(header, "mbvc.activation", Activation::WORDS, Activation::from_word)?,
            dense_activation: match header.metadata(DENSE_ACTIVATION) {
                None => None,
                Some(_) => Some(read(header, DENSE_ACTIVATION, Activation::WORDS, Activation::from_word)?),
            },
            padding: read(header, "mbvc.padding", Padding::WORDS, Padding::from_word)?,
            precision: read(header, "mbvc.precision", PRECISIONS, precision)?,
            classes: read(header, "mbvc.classes", WHOLE, whole)?,
        })
    }
}

const WHOLE: &str = "a whole number from 1";

fn whole(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number > 0)
}

/// Reads `mbvc.size_multiple`: height and width of an image must be multiples of it, because the padding of the weights'
/// model is that of the network at these sizes only. Without it, it is 1.
///
/// # Errors
/// If it is not a whole number from 1.
pub fn size_multiple(header: &Header<'_>) -> Result<usize, ConventionError> {
    const KEY: &str = "mbvc.size_multiple";
    match header.metadata(KEY) {
        None => Ok(1),
        Some(_) => read(header, KEY, WHOLE, whole),
    }
}

impl HeadActivation {
    /// Reads `mbvc.head_activation`. Without it, it is the [`default_for`](Self::default_for) this number of logits.
    ///
    /// # Errors
    /// If it has an unknown value.
    pub fn of(header: &Header<'_>, logits: usize) -> Result<Self, ConventionError> {
        const KEY: &str = "mbvc.head_activation";
        if header.metadata(KEY).is_none() {
            return Ok(Self::default_for(logits));
        }
        read(header, KEY, Self::WORDS, Self::from_word)
    }
}

impl Preprocess {
    /// Reads `mbvc.preprocessing`.
    ///
    /// # Errors
    /// If it is missing or malformed, or has different numbers for red, green and blue although the network reads gray
    /// pixels.
    pub fn of(header: &Header<'_>) -> Result<Self, ConventionError> {
        const KEY: &str = "mbvc.preprocessing";
        let expected = "`scale R G B offset R G B` with six finite numbers";
        let preprocess = read(header, KEY, expected, |text| Self::parse(text).ok())?;
        let stem = header.tensor(Color::STEM).and_then(|stem| Color::of_stem(stem.shape.dims()));
        if stem == Some(Color::Gray) && !preprocess.is_gray() {
            let expected = "the same for red, green and blue, because the network reads gray pixels";
            return Err(ConventionError::Value { key: KEY, expected });
        }
        Ok(preprocess)
    }
}

#[cfg(feature = "alloc")]
impl Framing {
    /// Reads `mbvc.framing`. Without it, pictures are squashed.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn of(header: &Header<'_>) -> Result<Self, ConventionError> {
        if header.metadata("mbvc.framing").is_none() {
            return Ok(Self::default());
        }
        let expected = "`squash FILTER`, or `crop SCALED/KEPT FILTER` with SCALED >= KEPT";
        read(header, "mbvc.framing", expected, |text| Self::parse(text).ok())
    }
}

/// Parses the value of `key`. No valid value needs a JSON escape, so a value with an escape is rejected.
fn read<T>(
    header: &Header<'_>,
    key: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ConventionError> {
    let text = header.metadata(key).ok_or(ConventionError::Missing { key })?;
    text.as_plain().and_then(parse).ok_or(ConventionError::Value { key, expected })
}

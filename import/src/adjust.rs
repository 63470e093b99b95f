//! Options of an import, which override what the file of a network records or lacks.

use std::ops::RangeInclusive;
use std::path::Path;

use mbvc_compiler::spec::{Color, Preprocessing};
use mbvc_runtime::{Framing, HeadActivation};

use crate::error::{ErrorKind, ImportError, Result};
use crate::imported::Imported;
use crate::labels::Labels;
use crate::options::ReadOptions;
use crate::read::read;

/// Changes to an imported network.
#[derive(Debug, Clone, Default)]
pub struct Adjustments {
    /// Whether the network reads channels in the order blue, green, red.
    pub bgr: bool,
    /// Preprocessing of pixels.
    pub preprocessing: Option<Preprocessing>,
    /// How pictures are resized.
    pub framing: Option<Framing>,
    /// Function from logits to the scores of the classes.
    pub head_activation: Option<HeadActivation>,
    /// Names of the classes.
    pub labels: Option<LabelSource>,
}

/// Where the names of the classes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// These labels.
    Given(Labels),
    /// ImageNet's labels in the order of Keras and torchvision.
    ImageNet,
    /// The network has no labels.
    None,
}

impl LabelSource {
    /// Reads the value of an option: `imagenet`, `none`, or the path of a file.
    ///
    /// # Errors
    /// As [`Labels::open`].
    pub fn open(value: &Path) -> Result<Self> {
        match value.to_str() {
            Some("imagenet") => Ok(Self::ImageNet),
            Some("none") => Ok(Self::None),
            _ => Ok(Self::Given(Labels::open(value)?)),
        }
    }
}

/// Reads a model file and adjusts the network. If `options` have a spec, the network must fit it, and has its preprocessing.
/// `from` is the origin of the adjustments in facts and notes, such as "the options".
///
/// # Errors
/// As [`read`] and [`Imported::adjust`], and if the network does not fit the spec.
pub fn read_adjusted(path: &Path, options: &ReadOptions<'_>, changes: &Adjustments, from: &str) -> Result<Imported> {
    let mut imported = read(path, options)?;
    let adjusted = match options.spec {
        Some(spec) => imported.check_against(spec).map(|()| imported.set_preprocessing(spec.preprocessing, "the spec")),
        None => Ok(()),
    };
    adjusted.and_then(|()| imported.adjust(changes, from)).map_err(|error| match error.file.is_empty() {
        true => error.file(&path.display().to_string()),
        false => error,
    })?;
    Ok(imported)
}

impl Imported {
    /// Changes the network.
    ///
    /// # Errors
    /// If a change does not fit the network: the order of channels or different preprocessing of channels for gray images, or
    /// the number of labels.
    pub fn adjust(&mut self, changes: &Adjustments, from: &str) -> Result<()> {
        if changes.bgr {
            self.read_bgr()?;
        }
        if let Some(preprocessing) = changes.preprocessing {
            if self.spec().input == Color::Gray && !preprocessing.is_gray() {
                return Err(option("mean or std has three numbers, but the model reads gray images")
                    .help("pass one number for mean and one for std, such as 0.5"));
            }
            self.set_preprocessing(preprocessing, from);
        }
        if let Some(framing) = changes.framing {
            self.set_framing(framing, from);
        }
        if let Some(activation) = changes.head_activation {
            self.set_head_activation(activation, from);
        }
        match &changes.labels {
            Some(LabelSource::Given(labels)) => self.set_labels(labels),
            Some(LabelSource::ImageNet) => {
                let classes = self.recovered.scored_classes();
                let labels = Labels::imagenet(classes).ok_or_else(|| {
                    option(format!("the labels `imagenet` require 1000 or 1001 classes, found {classes}"))
                        .help("pass a file with one label per line")
                })?;
                self.set_labels(&labels)
            }
            Some(LabelSource::None) => {
                self.remove_labels();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Converts a network for BGR input to RGB, as [`swap_channels`](Self::swap_channels).
    ///
    /// # Errors
    /// If the network reads gray images.
    pub fn read_bgr(&mut self) -> Result<()> {
        if self.spec().input == Color::Gray {
            return Err(
                option("bgr requires color images, but the model reads gray images").help("remove the option bgr")
            );
        }
        self.swap_channels();
        Ok(())
    }
}

fn option(problem: impl Into<String>) -> Box<ImportError> {
    ImportError::new(ErrorKind::Option, problem)
}

/// Checks the input values of pixels 0 and 255.
///
/// # Errors
/// If they are not finite, or not in this order. The message does not name the option, as those of the other checks.
pub fn check_range([low, high]: [f64; 2]) -> std::result::Result<(), String> {
    match low < high && low.is_finite() && high.is_finite() {
        true => Ok(()),
        false => Err(format!("expected two finite numbers with the lower bound first, found {low}, {high}")),
    }
}

/// Checks means of pixels scaled to 0..1.
///
/// # Errors
/// If one is out of range.
pub fn check_mean(values: &[f64]) -> std::result::Result<(), String> {
    of_unit_pixels(values, &Preprocessing::MEAN)
}

/// Checks standard deviations of pixels scaled to 0..1.
///
/// # Errors
/// If one is out of range.
pub fn check_std(values: &[f64]) -> std::result::Result<(), String> {
    of_unit_pixels(values, &Preprocessing::STD)
}

fn of_unit_pixels(values: &[f64], range: &RangeInclusive<f64>) -> std::result::Result<(), String> {
    let (least, most) = (range.start(), range.end());
    match values.iter().find(|value| !range.contains(value)) {
        None => Ok(()),
        Some(value) if (1.0..=255.0).contains(value) => Err(format!(
            "expected values for pixels scaled to 0..1, found {value}; divide values for pixels of 0..255 by 255"
        )),
        Some(value) => Err(format!("{value} is out of range, expected {least} to {most}")),
    }
}

/// Reads the name of a head activation.
///
/// # Errors
/// If there is no such activation.
pub fn head_activation(word: &str) -> std::result::Result<HeadActivation, String> {
    HeadActivation::from_word(word)
        .ok_or_else(|| format!("expected softmax, log_softmax, sigmoid or none, found {word}"))
}

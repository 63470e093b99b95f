//! Import of models of other frameworks.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{Color, NetworkSpec, Overrides, Preprocessing};
use mbvc_engine::{Bundle, Source};
use mbvc_import::{Imported, Labels, Quantization, ReadOptions};
use mbvc_runtime::{Framing, HeadActivation, Weights};
use pyo3::prelude::*;

use crate::errors::{Failure, Result};

/// Keyword arguments of `mbvc.import_model`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    spec: Option<PathBuf>,
    labels: Option<LabelSource>,
    head_activation: Option<String>,
    dequantize: bool,
    range: Option<[f64; 2]>,
    mean: Option<[f64; 3]>,
    std: Option<[f64; 3]>,
    framing: Option<String>,
    bgr: bool,
}

/// Where labels come from.
#[derive(FromPyObject)]
enum LabelSource {
    /// `imagenet`, `none`, or the path of a file.
    Named(PathBuf),
    Listed(Vec<String>),
}

/// An imported model, and what was found out about the file: keys, values and reasons, and notes.
pub struct Found {
    pub bundle: Bundle,
    pub facts: Vec<(String, String, String)>,
    pub notes: Vec<String>,
}

/// Imports a model file.
///
/// # Errors
/// If the file is not a supported model, or an option does not fit it.
pub fn read(path: &Path, options: &Options) -> Result<Found> {
    let given = match &options.spec {
        Some(spec) => Some(given_spec(spec)?),
        None => None,
    };
    let quantization = if options.dequantize { Quantization::Dequantize } else { Quantization::Keep };
    let spec = given.as_ref().map(|source| &source.spec);
    let mut imported = mbvc_import::read(path, &ReadOptions { quantization, spec, ..ReadOptions::default() })?;
    if let Some(spec) = spec {
        imported.check_against(spec).map_err(|mismatches| Failure::new(format!("{}: {mismatches}", path.display())))?;
        imported.set_preprocessing(spec.preprocessing, "the spec");
    }
    options.apply(&mut imported, path)?;
    let source = match given {
        Some(given) => with_precision(&given, imported.spec())?,
        None => {
            let name = path.with_extension("yaml");
            let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy();
            Source::new(SourceFile::new(&*name, imported.spec_yaml()), Overrides::none())?
        }
    };
    let weights = Weights::from_bytes(imported.container.to_bytes())?.with_source(&path.display().to_string());
    let facts = imported.facts.iter().map(|fact| (fact.key.to_string(), fact.value.clone(), fact.how.to_string()));
    Ok(Found { bundle: Bundle::new(source, weights), facts: facts.collect(), notes: imported.notes.clone() })
}

fn given_spec(path: &Path) -> Result<Source> {
    Ok(Source::new(mbvc_compiler::spec::read(path, &path.to_string_lossy())?, Overrides::none())?)
}

/// The given spec with the precision of the model.
fn with_precision(given: &Source, found: &NetworkSpec) -> Result<Source> {
    let mut overrides = Overrides::none();
    if given.spec.precision != found.precision {
        overrides.set("precision", found.precision.word());
    }
    Ok(Source::new(given.file.clone(), overrides)?)
}

impl Options {
    fn apply(&self, imported: &mut Imported, path: &Path) -> Result<()> {
        if self.bgr {
            if imported.spec().input == Color::Gray {
                let message = format!("{} reads gray images, which have no order of channels", path.display());
                return Err(Failure::new(message));
            }
            imported.swap_channels();
        }
        if let Some(preprocessing) = self.preprocessing()? {
            if imported.spec().input == Color::Gray && !preprocessing.is_gray() {
                return Err(Failure::new(
                    "the model reads gray images: expected the same mean and std for all channels",
                ));
            }
            imported.set_preprocessing(preprocessing, "the arguments");
        }
        if let Some(text) = &self.framing {
            let framing = Framing::parse(text).map_err(|cause| Failure::new(format!("framing: {cause}")))?;
            imported.set_framing(framing, "the arguments");
        }
        if let Some(word) = &self.head_activation {
            let activation = HeadActivation::from_word(word).ok_or_else(|| {
                Failure::new(format!("head_activation: expected softmax, log_softmax, sigmoid or none, found {word:?}"))
            })?;
            imported.set_head_activation(activation, "the arguments");
        }
        match &self.labels {
            None => {}
            Some(LabelSource::Listed(labels)) => {
                imported.set_labels(&Labels::parse(json(labels).as_bytes(), "labels")?)?;
            }
            Some(LabelSource::Named(path)) => match path.to_str() {
                Some("none") => imported.remove_labels(),
                Some("imagenet") => {
                    let classes = imported.recovered.scored_classes();
                    let labels = Labels::imagenet(classes).ok_or_else(|| {
                        Failure::new(format!("labels=\"imagenet\" requires 1000 or 1001 classes, found {classes}"))
                    })?;
                    imported.set_labels(&labels)?;
                }
                _ => imported.set_labels(&Labels::open(path)?)?,
            },
        }
        Ok(())
    }
}

impl Options {
    fn preprocessing(&self) -> Result<Option<Preprocessing>> {
        match (self.range, self.mean, self.std) {
            (None, None, None) => Ok(None),
            (Some([low, high]), None, None) if low < high && low.is_finite() && high.is_finite() => {
                Ok(Some(Preprocessing::from_range(low, high)))
            }
            (Some([low, high]), None, None) => {
                Err(Failure::new(format!("range: expected the lower bound first, found {low}, {high}")))
            }
            (None, Some(mean), Some(std)) => {
                of_unit_pixels("mean", mean, &Preprocessing::MEAN)?;
                of_unit_pixels("std", std, &Preprocessing::STD)?;
                Ok(Some(Preprocessing::from_mean_and_std(mean, std)))
            }
            _ => Err(Failure::new("expected either `range`, or both `mean` and `std`")),
        }
    }
}

/// Checks the values of an argument, which refer to pixels scaled to 0..1.
fn of_unit_pixels(name: &str, values: [f64; 3], range: &RangeInclusive<f64>) -> Result<()> {
    match values.iter().find(|value| !range.contains(value)) {
        None => Ok(()),
        Some(value) if (1.0..=255.0).contains(value) => Err(Failure::new(format!(
            "{name} refers to pixels scaled to 0..1; divide values for pixels of 0..255 by 255"
        ))),
        Some(value) => {
            let (least, most) = (range.start(), range.end());
            Err(Failure::new(format!("{name}: {value} is out of range, expected {least} to {most}")))
        }
    }
}

/// A JSON list of texts.
fn json(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}

//! Import of models of other frameworks.

use std::path::{Path, PathBuf};

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{NetworkSpec, Overrides, Preprocessing};
use mbvc_engine::{Bundle, Source};
use mbvc_import::{Adjustments, LabelSource, Labels, Quantization, ReadOptions};
use mbvc_runtime::{Framing, Weights};
use pyo3::prelude::*;

use crate::errors::{Failure, Result};

/// Keyword arguments of `mbvc.import_model`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    spec: Option<PathBuf>,
    labels: Option<LabelArgument>,
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
enum LabelArgument {
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
    let read = ReadOptions { quantization, spec, ..ReadOptions::default() };
    let imported = mbvc_import::read_adjusted(path, &read, &options.adjustments()?, "the arguments")?;
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
    fn adjustments(&self) -> Result<Adjustments> {
        let framing = |text: &String| Framing::parse(text).map_err(|cause| invalid("framing", cause));
        let activation =
            |word: &String| mbvc_import::head_activation(word).map_err(|cause| invalid("head_activation", cause));
        let labels = |labels: &LabelArgument| match labels {
            LabelArgument::Listed(labels) => Labels::listed(labels.clone()).map(LabelSource::Given),
            LabelArgument::Named(path) => LabelSource::open(path),
        };
        Ok(Adjustments {
            bgr: self.bgr,
            preprocessing: self.preprocessing()?,
            framing: self.framing.as_ref().map(framing).transpose()?,
            head_activation: self.head_activation.as_ref().map(activation).transpose()?,
            labels: self.labels.as_ref().map(labels).transpose()?,
        })
    }

    fn preprocessing(&self) -> Result<Option<Preprocessing>> {
        match (self.range, self.mean, self.std) {
            (None, None, None) => Ok(None),
            (Some(range), None, None) => {
                mbvc_import::check_range(range).map_err(|cause| invalid("range", cause))?;
                Ok(Some(Preprocessing::from_range(range[0], range[1])))
            }
            (None, Some(mean), Some(std)) => {
                mbvc_import::check_mean(&mean).map_err(|cause| invalid("mean", cause))?;
                mbvc_import::check_std(&std).map_err(|cause| invalid("std", cause))?;
                Ok(Some(Preprocessing::from_mean_and_std(mean, std)))
            }
            _ => Err(Failure::new("expected either `range`, or both `mean` and `std`")),
        }
    }
}

fn invalid(argument: &str, cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{argument}: {cause}"))
}

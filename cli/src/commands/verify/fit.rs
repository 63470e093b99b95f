//! Checks that weights, model and spec describe one network.

use mbvc::Weights;
use mbvc_compiler::SourceFile;
use mbvc_import::{Container, Imported, Listing, Mismatch, Trace};

use super::Args;
use crate::engine::{self, Source};
use crate::error::{CliError, Result};
use crate::ui::plural;

/// Inputs of the comparison, before they are checked.
pub struct Sides<'a> {
    pub args: &'a Args,
    pub weights: &'a Weights,
    /// The same weights for the interpreter.
    pub container: &'a Container,
    pub model: &'a Imported,
    pub trace: &'a Trace,
}

impl Sides<'_> {
    /// The spec of the option, else the built-in one if the weights fit it, else the one recovered from the model.
    ///
    /// # Errors
    /// If the spec cannot be read, or the spec or an overriding option is invalid.
    pub fn source(&self) -> Result<Source> {
        let Self { args, weights, container, model, trace } = *self;
        let named = engine::source(args.network.spec.spec.as_deref(), args.network.spec.overrides_for(Some(weights)))?;
        let size = args.network.spec.overrides.resolution.as_ref().map_or(trace.resolution, |_| None);
        let same_size = size.is_none_or(|size| size == named.spec.resolution);
        if args.network.spec.spec.is_some() || (same_size && container.check_against(&named.spec).is_ok()) {
            return Ok(named);
        }
        let name = format!("the spec of {}", args.against.display());
        Source::new(SourceFile::new(name, model.spec_yaml()), args.network.spec.overrides.overrides())
    }

    /// Checks weights and model against the network of `source`.
    ///
    /// # Errors
    /// If the weights or the model do not fit the network. The message lists the first differences, layer by layer.
    pub fn fit(&self, source: &Source) -> Result {
        let Self { args, container, model, .. } = *self;
        let (weights, against) = (self.weights.source().unwrap_or_default(), args.against.display());
        self.precision()?;
        let what = format!("{weights} does not fit {}", source.file.name);
        differences(&what, &container.mismatches(&source.spec)?).map_err(|error| {
            error.help(match args.network.spec.spec {
                Some(_) => "use the spec that `mbvc import` wrote for these weights",
                None => "pass the spec of the weights with --spec FILE, or compare with their model",
            })
        })?;
        let what = format!("{against} is not the network of {weights} and {}", source.file.name);
        differences(&what, &model.mismatches(&source.spec)?)
            .map_err(|error| error.help("compare with the model that the weights were imported from"))?;
        let [height, width] = source.spec.resolution;
        match self.trace.resolution {
            Some([rows, columns]) if [rows, columns] != [height, width] => Err(CliError::new(format!(
                "{against} has an input of {rows}x{columns}, but the network has one of {height}x{width}"
            ))
            .help(format!("compile the network for that size with --resolution {rows}x{columns}"))),
            _ => Ok(()),
        }
    }

    fn precision(&self) -> Result {
        let ours = self.weights.conventions().precision.word();
        let models = self.model.recovered.precision.word();
        if ours == models {
            return Ok(());
        }
        let (weights, against) = (self.weights.source().unwrap_or_default(), self.args.against.display());
        Err(CliError::new(format!("{weights} has precision {ours}, but {against} has {models}"))
            .help("compare with the model that the weights were imported from, in the same precision")
            .help("the error of quantization itself is in the report of `mbvc quantize`"))
    }
}

fn differences(what: &str, found: &[Mismatch]) -> Result {
    match found.len() {
        0 => Ok(()),
        count => Err(CliError::new(format!("{what}: {}{}", plural(count, "difference"), Listing(found)))),
    }
}

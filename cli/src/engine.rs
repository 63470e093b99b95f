//! The engine as the commands use it: with the built-in spec, progress on the terminal, and the command's errors.

use std::cell::RefCell;
use std::path::Path;

use indicatif::ProgressBar;
use mbvc::errors::ModelError;
use mbvc::{Isa, Network, Weights};
use mbvc_compiler::Compiled;
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{self, Overrides};
use mbvc_engine::{Classifier, Progress, Source as Checked};

use crate::error::{CliError, Result};
use crate::options::{FusionArg, NetworkArgs};
use crate::ui;

/// A checked spec.
pub struct Source(Checked);

impl std::ops::Deref for Source {
    type Target = Checked;

    fn deref(&self) -> &Checked {
        &self.0
    }
}

impl Source {
    /// Checks the text of a spec.
    ///
    /// # Errors
    /// If the spec or an override is invalid.
    pub fn new(file: SourceFile, overrides: Overrides) -> Result<Self> {
        Ok(Self(Checked::new(file, overrides)?))
    }

    /// Generates code at a fusion level, for `isas` or, if that is empty, for those of the spec.
    ///
    /// # Errors
    /// If a limit that only compilation checks is exceeded, such as the scratch budget.
    pub fn compile(&self, fusion: FusionArg, isas: &[Isa]) -> Result<Compiled> {
        Ok(self.0.compile(fusion.into(), isas)?)
    }

    /// Help for weights that do not fit if no spec was given. `option` is the argument for one.
    fn remedy(&self, option: &str) -> Option<String> {
        let help = || format!("pass the spec that `mbvc import` wrote next to the weights: {option}");
        self.is_built_in().then(help)
    }
}

/// Reads and checks a spec; without a path the built-in one.
///
/// # Errors
/// If the file cannot be read, or the spec or an override is invalid.
pub fn source(path: Option<&Path>, overrides: Overrides) -> Result<Source> {
    match path {
        Some(path) => Source::new(spec::read(path, &path.to_string_lossy())?, overrides),
        None => Ok(Source(Checked::built_in(overrides)?)),
    }
}

/// The fusion levels with different memory traffic.
pub fn fusion_levels(source: &Source) -> &'static [FusionArg] {
    if source.spec.precision.is_quantized() { &FusionArg::QUANTIZED } else { &FusionArg::FLOAT }
}

/// A network that weights can be bound to, with the command's messages.
pub struct Program {
    program: mbvc_engine::Program,
    /// Help for weights that do not fit.
    remedy: Option<String>,
}

/// Finds the network among those of the command, or generates it for `isa` (by default the best of this processor).
///
/// # Errors
/// If it cannot be generated.
pub fn program(source: &Source, fusion: FusionArg, isa: Option<Isa>) -> Result<Program> {
    program_for(source, fusion, isa, None)
}

/// Like [`program`], but with `threads` threads per call instead of the spec's.
///
/// # Errors
/// See `program`.
pub fn program_for(source: &Source, fusion: FusionArg, isa: Option<Isa>, threads: Option<usize>) -> Result<Program> {
    let program = mbvc_engine::Program::find(&source.0, fusion.into(), isa, threads)?;
    Ok(Program { program, remedy: source.remedy("--spec FILE") })
}

/// The network of `source` with `weights`, at the requested fusion level and with the requested kernels.
///
/// # Errors
/// If it cannot be compiled, or the weights do not fit.
pub fn network(source: &Source, args: &NetworkArgs, weights: &Weights) -> Result<Box<dyn Network>> {
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let isa = args.isa.map(Isa::from);
    program(source, fusion, isa)?.build(weights, isa)
}

/// The network of [`network`] with the preprocessing, framing, labels and head activation of its weights.
///
/// # Errors
/// See `network`.
pub fn classifier(source: &Source, args: &NetworkArgs, weights: &Weights) -> Result<Classifier> {
    Ok(Classifier::new(network(source, args, weights)?, weights))
}

impl Program {
    /// Binds weights to the network, which is compiled first if the cache does not hold it.
    ///
    /// # Errors
    /// If the weights do not fit the network, this processor does not support the instruction set, or the network
    /// cannot be compiled.
    pub fn build(&self, weights: &Weights, isa: Option<Isa>) -> Result<Box<dyn Network>> {
        let built = self.program.build(weights, isa, &Spinner::default());
        built.map_err(|error| fitting(error, self.remedy.as_deref()))
    }
}

/// Adds the help for weights that do not fit.
fn fitting(error: mbvc_engine::Error, remedy: Option<&str>) -> CliError {
    let is_mismatch = matches!(error, mbvc_engine::Error::Model(ModelError::Mismatch { .. }));
    match remedy.filter(|_| is_mismatch) {
        Some(remedy) => CliError::from(error).help(remedy),
        None => error.into(),
    }
}

/// Shows the engine's progress on the terminal.
#[derive(Default)]
struct Spinner(RefCell<Option<ProgressBar>>);

impl Progress for Spinner {
    fn begin(&self, what: &str) {
        self.0.replace(Some(ui::spinner(what)));
    }

    fn end(&self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

/// Opens a weights file.
///
/// # Errors
/// If no file was given, it is not a weights file, or a weight is not finite. The help is the command that writes one.
pub fn weights(path: Option<&Path>) -> Result<Weights> {
    let Some(path) = path else {
        return Err(CliError::new("expected trained weights: --weights FILE")
            .help("import them from an ONNX, TFLite, Keras, TensorFlow.js or PyTorch model of the network:\nmbvc import MODEL")
            .help("pretrained models are published with TensorFlow Lite, Keras, torchvision and the ONNX model zoo"));
    };
    let weights = Weights::open(path).map_err(|cause| {
        let text = cause.to_string();
        let endings = ["onnx", "tflite", "keras", "h5", "pth", "pt", "ckpt"];
        let model = path.extension().is_some_and(|end| endings.iter().any(|known| end == *known));
        let error = CliError::new(text);
        if model && path.is_file() {
            error.help(format!("this is a model; import its weights first:\nmbvc import {}", path.display()))
        } else {
            error
        }
    })?;
    // Networks reject such weights too, but do not know the file.
    let odd = weights
        .container()
        .tensors()
        .find(|tensor| tensor.f32s().is_some_and(|values| !values.is_finite()))
        .map(|tensor| tensor.name.to_string());
    match odd {
        None => Ok(weights),
        Some(name) => {
            let message = format!("{}: tensor `{name}` has an element that is NaN or infinite", path.display());
            Err(CliError::new(message).help("import the model again; if it has the same values, its training diverged"))
        }
    }
}

/// Compares weights with a network that is not compiled yet. `option` is the caller's argument for a spec, which the
/// help shows if none was given.
///
/// # Errors
/// If the weights do not fit the network. The message lists the first differences.
pub fn check(source: &Source, compiled: &Compiled, weights: &Weights, option: &str) -> Result {
    let fits = mbvc_engine::check(compiled, &source.label(), weights);
    fits.map_err(|error| fitting(error, source.remedy(option).as_deref()))
}

/// Returns random weights that fit a network, the same in every run.
///
/// # Errors
/// If the network cannot be compiled.
pub fn random_weights(source: &Source) -> Result<Weights> {
    let compiled = source.compile(source.spec.fusion.into(), &[Isa::Portable])?;
    Ok(mbvc_engine::random_weights(&compiled)?)
}

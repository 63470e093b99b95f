//! The report of `mbvc verify`, printed as JSON or, by `summary.rs`, as text.

use mbvc::Network;
use mbvc_compiler::ir::Shape;
use mbvc_import::SourceTensor;
use serde::Serialize;

use super::Args;
use super::difference::Tolerance;
use super::layers::{Compared, Layers};
use super::logits::Logits;
use super::peer::About;
use crate::engine::Source;
use crate::error::{CliError, Result};
use crate::name;
use crate::ui::{self, plural};

/// Inputs and results of the comparison.
pub struct Found<'a> {
    pub source: &'a Source,
    pub network: &'a dyn Network,
    pub engine: &'a About,
    pub tolerance: Tolerance,
    pub logits: &'a Logits,
    pub layers: &'a Layers<'a>,
    /// Number of unreadable images.
    pub skipped: usize,
}

/// Values and differences are real numbers for float32 networks and quantization steps for quantized ones, whose logits
/// are counted from their zero point. JSON has null for a difference that is infinite or NaN.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether all differences are within the tolerance.
    pub agree: bool,
    pub weights: String,
    pub model: String,
    pub engine: Engine,
    pub network: Side,
    /// For float32 a share of the largest value of each tensor, else quantization steps.
    pub tolerance: f64,
    pub images: usize,
    pub skipped: usize,
    pub logits: LogitsReport,
    pub top1: Top1,
    pub layers: LayersReport,
}

#[derive(Debug, Serialize)]
pub struct Engine {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Serialize)]
pub struct Side {
    pub name: String,
    pub spec: String,
    pub resolution: [usize; 2],
    pub precision: &'static str,
    pub fusion: &'static str,
    pub isa: &'static str,
    /// Only for float32 networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numerics: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct LogitsReport {
    pub largest_difference: f64,
    pub mean_difference: f64,
    /// Difference of the worst image as a share of its largest logit.
    pub relative: f64,
    /// Size of a quantization step, for quantized networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// Number of images with a logit beyond the tolerance.
    pub differing_images: usize,
    pub worst: Option<Worst>,
}

/// The image with the largest difference.
#[derive(Debug, Serialize)]
pub struct Worst {
    pub image: String,
    pub class: usize,
    pub ours: f64,
    pub theirs: f64,
    pub difference: f64,
}

/// Number of images with the same top-1 class.
#[derive(Debug, Serialize)]
pub struct Top1 {
    pub agree: usize,
    pub of: usize,
}

#[derive(Debug, Serialize)]
pub struct LayersReport {
    /// Number of images on which all layers were compared.
    pub images: usize,
    pub first_difference: Option<First>,
    /// In order of execution; each on the image with its largest difference.
    pub values: Vec<ValueReport>,
}

/// The first tensor beyond the tolerance, on the image with its largest difference.
#[derive(Debug, Serialize)]
pub struct First {
    pub layer: String,
    /// Number in the published table, for its 53 convolutions.
    pub number: Option<usize>,
    pub step: String,
    pub spec: String,
    pub line: usize,
    /// Height, width and channels.
    pub shape: [usize; 3],
    /// Row, column and channel.
    pub at: [usize; 3],
    pub ours: f64,
    pub theirs: f64,
    pub elements: usize,
    /// Channels that differ.
    pub channels: Vec<usize>,
    /// Number of images on which it differs.
    pub images: usize,
    #[serde(flatten)]
    pub value: ValueReport,
    /// Text of the line.
    #[serde(skip)]
    pub text: String,
}

#[derive(Debug, Serialize)]
pub struct ValueReport {
    /// The layer, or its activation.
    pub node: String,
    /// Name of the tensor in the model and, for TFLite files, its index.
    pub tensor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    pub difference: f64,
    /// Share of the largest value, for float32 networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
    /// Number of elements beyond the tolerance.
    pub differing: usize,
    pub image: String,
}

impl Report {
    pub fn new(args: &Args, found: &Found<'_>) -> Self {
        let Found { source, network, engine, tolerance, logits, layers, skipped } = *found;
        let (info, spec) = (network.info(), &source.spec);
        let first = layers.first().map(|(compared, tensor)| First::new(found, compared, tensor));
        Self {
            agree: logits.differing() == 0 && first.is_none(),
            weights: args.weights.as_ref().map_or_else(String::new, |path| name::of(path)),
            model: name::of(&args.against),
            engine: Engine { name: engine.name.clone(), version: engine.version.clone() },
            network: Side {
                name: spec.name.clone(),
                spec: source.file.name.clone(),
                resolution: spec.resolution,
                precision: spec.precision.word(),
                fusion: info.fusion,
                isa: network.isa().name(),
                numerics: (!spec.precision.is_quantized()).then(|| info.numerics.to_string()),
            },
            tolerance: tolerance.number(),
            images: logits.images().len(),
            skipped,
            logits: LogitsReport::new(logits),
            top1: Top1 { agree: logits.same_first(), of: logits.images().len() },
            layers: LayersReport {
                images: layers.images(),
                first_difference: first,
                values: layers.values().map(|(value, tensor)| ValueReport::new(value, tensor, tolerance)).collect(),
            },
        }
    }

    /// Prints the report.
    ///
    /// # Errors
    /// If the networks differ, or an image could not be read.
    pub fn show(&self, args: &Args) -> Result {
        if args.json {
            ui::json(self);
        } else {
            self.show_summary();
        }
        if !self.agree {
            return Err(CliError::Different);
        }
        match self.skipped {
            0 => Ok(()),
            skipped => {
                let of = self.images + skipped;
                Err(CliError::new(format!("{} of {of} could not be read", plural(skipped, "image"))))
            }
        }
    }

    pub fn is_quantized(&self) -> bool {
        self.logits.step.is_some()
    }
}

impl LogitsReport {
    fn new(logits: &Logits) -> Self {
        let worst = logits.worst();
        Self {
            largest_difference: logits.largest(),
            mean_difference: logits.mean(),
            relative: worst.map_or(0.0, |(_, difference)| difference.relative()),
            step: logits.step(),
            differing_images: logits.differing(),
            worst: worst.map(|(one, difference)| {
                let [.., class] = difference.at;
                let image = name::of(&one.path);
                Worst { image, class, ours: difference.ours, theirs: difference.theirs, difference: difference.largest }
            }),
        }
    }
}

impl ValueReport {
    fn new(compared: &Compared, tensor: &SourceTensor, tolerance: Tolerance) -> Self {
        let worst = &compared.worst;
        Self {
            node: compared.origin.name.clone(),
            tensor: tensor.name.clone(),
            index: tensor.index,
            difference: worst.largest,
            relative: matches!(tolerance, Tolerance::Relative(_)).then(|| worst.relative()),
            differing: worst.beyond,
            image: name::of(&compared.image),
        }
    }
}

impl First {
    fn new(found: &Found<'_>, compared: &Compared, tensor: &SourceTensor) -> Self {
        let Compared { origin, shape: Shape { height, width, channels }, worst, differs_on, .. } = compared;
        let (layer, file) = (compared.layer(), &found.source.file);
        let step = found.network.info().steps.get(origin.step).map_or("", |step| step.name);
        let text = file.text.lines().nth(origin.line.saturating_sub(1)).unwrap_or_default();
        Self {
            layer: layer.to_owned(),
            number: found.layers.numbers().get(layer).copied(),
            step: step.to_owned(),
            spec: file.name.clone(),
            line: origin.line,
            shape: [*height, *width, *channels],
            at: worst.at,
            ours: worst.ours,
            theirs: worst.theirs,
            elements: worst.elements,
            channels: worst.channels.clone(),
            images: *differs_on,
            value: ValueReport::new(compared, tensor, found.tolerance),
            text: text.trim().to_owned(),
        }
    }
}

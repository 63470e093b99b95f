//! What `verify` found, as one line of JSON; `tell.rs` says it to people.

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
use crate::ui::{self, plural};

/// What was compared, and what came of it.
pub struct Found<'a> {
    pub source: &'a Source,
    pub network: &'a dyn Network,
    pub engine: &'a About,
    pub tolerance: Tolerance,
    pub logits: &'a Logits,
    pub layers: &'a Layers<'a>,
    /// Images that could not be read.
    pub skipped: usize,
}

/// Numbers and differences are real ones of float32 networks, and steps of quantized ones, whose logits are counted from
/// their zero point. JSON has null where a difference is no number.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether nothing differs by more than is tolerated.
    pub agree: bool,
    pub weights: String,
    pub model: String,
    pub engine: Engine,
    pub network: Side,
    /// Of float32 a share of the largest value of each tensor, else steps.
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
    /// Of float32 networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numerics: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct LogitsReport {
    pub largest_difference: f64,
    pub mean_difference: f64,
    /// The difference of the worst image as a share of its largest logit.
    pub relative: f64,
    /// What a step stands for, of quantized networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// Images of which a logit differs by more than is tolerated.
    pub differing_images: usize,
    pub worst: Option<Worst>,
}

/// The image that is furthest off.
#[derive(Debug, Serialize)]
pub struct Worst {
    pub image: String,
    pub class: usize,
    pub ours: f64,
    pub theirs: f64,
    pub difference: f64,
}

/// Images of which both sides name the same class first.
#[derive(Debug, Serialize)]
pub struct Top1 {
    pub agree: usize,
    pub of: usize,
}

#[derive(Debug, Serialize)]
pub struct LayersReport {
    /// Images on which all layers were compared.
    pub images: usize,
    pub first_difference: Option<First>,
    /// In order of execution; each on the image on which it is furthest off.
    pub values: Vec<ValueReport>,
}

/// The first value that differs by more than is tolerated, on the image on which it does most.
#[derive(Debug, Serialize)]
pub struct First {
    pub layer: String,
    /// In the published table, for its 53 convolutions.
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
    /// Those that differ.
    pub channels: Vec<usize>,
    /// Images on which it differs.
    pub images: usize,
    #[serde(flatten)]
    pub value: ValueReport,
    /// What stands in the line.
    #[serde(skip)]
    pub text: String,
}

#[derive(Debug, Serialize)]
pub struct ValueReport {
    /// The layer, or its activation.
    pub node: String,
    /// The model's own name of it and, of TFLite files, its index.
    pub tensor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    pub difference: f64,
    /// As a share of the largest value; of float32 networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
    /// Elements that differ by more than is tolerated.
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
            weights: args.weights.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            model: args.against.display().to_string(),
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

    /// # Errors
    /// If the sides differ, or an image could not be read.
    pub fn show(&self, args: &Args) -> Result {
        if args.json {
            ui::json(self);
        } else {
            self.tell();
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
                let image = one.path.display().to_string();
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
            image: compared.image.display().to_string(),
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

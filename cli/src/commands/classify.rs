//! `mbvc classify`: predicts the classes of images.

use std::path::{Path, PathBuf};

use mbvc::weights::HeadActivation;
use mbvc::{Network, Unobserved, Weights};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::measure::{Caller, quantile_ms};
use crate::options::{NetworkArgs, examples};
use crate::predict::{Prediction, best};
use crate::ui::{ACCENT, BOLD, DIM, plural};
use crate::{engine, files, name, outln, stream, ui};

/// Classify images
///
/// Reads JPEG, PNG, BMP and WebP. Each image is rotated by its Exif orientation, converted to gray if the network reads
/// gray pixels, resized or cropped to the input size as the weights file records it (with Pillow's filters), and
/// preprocessed. The scores are the output of the head activation: probabilities, log probabilities or logits. The times
/// are those of the network alone. An image that cannot be read is reported and skipped, and the command then exits with
/// status 1.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc classify cat.jpg --weights weights.safetensors",
    "mbvc classify photos/ --recursive --weights weights.safetensors --json > results.jsonl",
    "mbvc classify cat.jpg --weights weights.safetensors --resolution 160",
))]
pub struct Args {
    /// Images and folders of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Weights file, written by `mbvc import`
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Number of classes to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// Search subfolders too
    #[arg(long, short)]
    recursive: bool,
    /// Print one line of JSON for each image
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Serialize)]
struct Answer<'a> {
    image: String,
    predictions: Vec<Prediction<'a>>,
    /// Activation that computes the scores.
    activation: &'static str,
    ms: f64,
}

pub fn run(args: &Args) -> Result {
    let weights = engine::weights(args.weights.as_deref())?;
    let source = engine::source(args.network.spec.spec.as_deref(), args.network.spec.overrides_for(Some(&weights)))?;
    let paths = files::images(&args.images, args.recursive)?;
    let network = engine::network(&source, &args.network, &weights)?;
    let skipped = classify(args, &*network, &source.spec.name, &weights, &paths)?;
    match skipped {
        0 => Ok(()),
        skipped if paths.len() == 1 && skipped == 1 => Err(CliError::Reported),
        skipped => Err(CliError::new(format!("{} of {} could not be read", plural(skipped, "image"), paths.len()))),
    }
}

/// Classifies the images in order; returns the number of unreadable ones.
fn classify(args: &Args, network: &dyn Network, name: &str, weights: &Weights, paths: &[PathBuf]) -> Result<usize> {
    let (labels, preprocess) = (weights.labels().unwrap_or_default(), weights.preprocessing());
    let (framing, activation) = (weights.framing(), weights.head_activation());
    let [height, width, _] = network.info().input;
    let mut caller = Caller::new(network.info());
    // Not timed: the first call has cold caches and page faults.
    caller.call(network, &mut Unobserved);
    let mut times = Vec::new();
    let mut skipped = 0;
    let bar = ui::progress(paths.len(), "classifying");
    let done = stream::in_turn(paths.iter().map(PathBuf::as_path), framing, network.info().input, |path, pixels| {
        match pixels {
            Err(cause) => {
                skipped += 1;
                bar.suspend(|| cause.print());
            }
            Ok(pixels) => {
                caller.show(&pixels, &preprocess);
                let took = caller.call(network, &mut Unobserved);
                times.push(took);
                let predictions = best(&activation.scores(&caller.logits), &labels, args.top);
                bar.suspend(|| show(args, path, predictions, activation, took.as_secs_f64() * 1e3));
            }
        }
        bar.inc(1);
        Ok(())
    });
    bar.finish_and_clear();
    done?;
    if !args.json && times.len() > 1 {
        let (median, isa) = (quantile_ms(&times, 0.5), network.isa());
        outln!(
            "{DIM}{}, {median:.2} ms each (median), {name} {height}x{width} on {isa}{DIM:#}",
            plural(times.len(), "image")
        );
    }
    Ok(skipped)
}

fn show(args: &Args, path: &Path, predictions: Vec<Prediction<'_>>, activation: HeadActivation, ms: f64) {
    if args.json {
        let image = name::of(path);
        ui::json(&Answer { image, predictions, activation: activation.word(), ms: (ms * 1e4).round() / 1e4 });
        return;
    }
    outln!("{BOLD}{}{BOLD:#}  {DIM}{ms:.2} ms{DIM:#}", path.display());
    for prediction in predictions {
        let (score, name) = (prediction.score, prediction.name());
        match activation.yields_probabilities() {
            true => outln!("  {:6.2} %  {ACCENT}{:<20}{ACCENT:#}  {name}", score * 100.0, meter(score)),
            false => outln!("  {score:8.3}  {name}"),
        }
    }
}

/// A bar of up to twenty characters, in steps of an eighth.
fn meter(share: f32) -> String {
    let eighths = (share.clamp(0.0, 1.0) * 160.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8).copied());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_fill() {
        assert_eq!(meter(0.0), "");
        assert_eq!(meter(0.5), "█".repeat(10));
        assert_eq!(meter(1.0), "█".repeat(20));
        assert_eq!(meter(0.106), "██▏");
        assert_eq!(meter(f32::NAN), "");
    }
}

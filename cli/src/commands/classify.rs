//! `mbvc classify`: what is in photographs.

use std::path::{Path, PathBuf};

use mbvc::{Network, Unobserved, Weights, softmax, top_k};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::measure::{Caller, quantile_ms};
use crate::options::{NetworkArgs, examples};
use crate::ui::{ACCENT, BOLD, DIM, plural};
use crate::{engine, files, outln, stream, ui};

/// Classify photographs
///
/// Reads JPEG, PNG, BMP and WebP. An image is turned upright, then squashed or cropped to the network's size with the
/// filter that its weights were trained with, as Pillow does it, and preprocessed as they ask for. The times are those of the network
/// alone. An image that cannot be read is reported and left out, and the command fails at the end.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc classify cat.jpg --weights weights.safetensors",
    "mbvc classify photos/ --recursive --weights weights.safetensors --json > results.jsonl",
    "mbvc classify cat.jpg --weights weights.safetensors --resolution 160",
))]
pub struct Args {
    /// Images, and folders of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Weights, as `mbvc import` writes them
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// How many classes to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// Search folders in folders too
    #[arg(long, short)]
    recursive: bool,
    /// One line of JSON for each image
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Serialize)]
struct Answer<'a> {
    image: String,
    predictions: Vec<Prediction<'a>>,
    ms: f64,
}

#[derive(Serialize)]
struct Prediction<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    score: f32,
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

/// Classifies the images in order; returns how many could not be read.
fn classify(args: &Args, network: &dyn Network, name: &str, weights: &Weights, paths: &[PathBuf]) -> Result<usize> {
    let (labels, preprocess) = (weights.labels().unwrap_or_default(), weights.preprocessing());
    let framing = weights.framing();
    let [height, width, _] = network.info().input;
    let mut caller = Caller::new(network.info());
    // The first call finds cold caches and new pages: it is nobody's time.
    caller.call(network, &mut Unobserved);
    let mut times = Vec::new();
    let mut skipped = 0;
    let bar = ui::progress(if paths.len() > 1 { paths.len() } else { 0 }, "classifying");
    if paths.len() < 2 {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let done = stream::in_turn(paths.iter().map(PathBuf::as_path), framing, [height, width], |path, pixels| {
        match pixels {
            Err(cause) => {
                skipped += 1;
                bar.suspend(|| cause.print());
            }
            Ok(pixels) => {
                caller.show(&pixels, &preprocess);
                let took = caller.call(network, &mut Unobserved);
                times.push(took);
                softmax(&mut caller.logits);
                let predictions = best(&caller.logits, &labels, args.top);
                bar.suspend(|| show(args, path, predictions, took.as_secs_f64() * 1e3));
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

fn best<'a>(scores: &[f32], labels: &'a [String], top: usize) -> Vec<Prediction<'a>> {
    let mut found = vec![(0, 0.0); top.min(scores.len())];
    let count = top_k(scores, &mut found);
    found.truncate(count);
    let label = |index: usize| labels.get(index).map(String::as_str);
    found.into_iter().map(|(index, score)| Prediction { index, label: label(index), score }).collect()
}

fn show(args: &Args, path: &Path, predictions: Vec<Prediction<'_>>, ms: f64) {
    if args.json {
        ui::json(&Answer { image: path.display().to_string(), predictions, ms: (ms * 1e4).round() / 1e4 });
        return;
    }
    outln!("{BOLD}{}{BOLD:#}  {DIM}{ms:.2} ms{DIM:#}", path.display());
    for Prediction { index, label, score } in predictions {
        let label = label.map_or_else(|| format!("class {index}"), str::to_owned);
        outln!("  {:6.2} %  {ACCENT}{:<20}{ACCENT:#}  {label}", score * 100.0, meter(score));
    }
}

/// A bar of at most twenty characters, in eighths.
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

    #[test]
    fn fewer_classes_than_asked_for_are_no_harm() {
        let labels = ["cat".to_owned()];
        let found = best(&[0.25, 0.75], &labels, 5);
        assert_eq!(found.iter().map(|one| (one.index, one.label)).collect::<Vec<_>>(), [(1, None), (0, Some("cat"))]);
    }
}

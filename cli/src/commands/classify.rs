//! `mbvc classify`: predicts the classes of images.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mbvc::Unobserved;
use mbvc::weights::HeadActivation;
use mbvc_engine::{Caller, Classifier, parallel};
use mbvc_pictures::{Photo, Target};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::measure::quantile_ms;
use crate::options::{NetworkArgs, examples};
use crate::predict::{Prediction, best};
use crate::ui::{ACCENT, BOLD, DIM, outln, plural};
use crate::{engine, files, name, ui};

mod timing;

use timing::{Stages, Timing};

/// Classify images
///
/// Reads JPEG, PNG, BMP and WebP. Each image is rotated by its Exif orientation, converted to gray if the network reads
/// gray pixels, resized or cropped to the input size as the weights file records it (with Pillow's filters), and
/// preprocessed. The scores are the output of the head activation: probabilities, log probabilities or logits. The times
/// are those of the network alone. An image that cannot be read is reported and skipped, and the command then exits with
/// status 1.
///
/// Each processor decodes, resizes and classifies a different image at the same time; the order of the output is that of the
/// images. Decoded images take at most 1 GiB of memory together. --timing adds a line with the images per second and the
/// mean time of each stage, or with --json an object `timing` with the same numbers.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc classify cat.jpg --weights weights.safetensors",
    "mbvc classify photos/ --recursive --weights weights.safetensors --json > results.jsonl",
    "mbvc classify photos/ --weights weights.safetensors --timing --json | tail -n 1",
    "mbvc classify photos/ --weights weights.safetensors --fast-decode",
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
    /// Decode large JPEG files at a quarter or an eighth of their size
    ///
    /// The decoded image is at least twice as large as the size to which it is scaled. Smaller and progressive images are
    /// decoded in full. Scores change: on photographs by at most 0.10, with the same top class for 95 of 96.
    #[arg(long)]
    fast_decode: bool,
    /// Report images per second, and the time of each stage per image
    #[arg(long)]
    timing: bool,
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
    let classifier = engine::classifier(&source, &args.network, &weights)?;
    let skipped = classify(args, &classifier, &source.spec.name, &paths)?;
    match skipped {
        0 => Ok(()),
        skipped if paths.len() == 1 && skipped == 1 => Err(CliError::Reported),
        skipped => Err(CliError::new(format!("{} of {} could not be read", plural(skipped, "image"), paths.len()))),
    }
}

/// Classifies the images, on all processors; returns the number of unreadable ones.
fn classify(args: &Args, classifier: &Classifier, name: &str, paths: &[PathBuf]) -> Result<usize> {
    let task = Task { classifier, is_reduced: args.fast_decode };
    let [height, width, _] = classifier.input();
    let threads = parallel::threads(paths.len());
    let mut times = Vec::new();
    let mut total = Stages::default();
    let mut skipped = 0;
    let bar = ui::progress(paths.len(), "classifying");
    let start = Instant::now();
    let work = |caller: &mut Caller, path: &PathBuf| task.classify(caller, path);
    let done = parallel::in_order(
        paths,
        threads,
        || task.caller(),
        work,
        |path, classified| {
            match classified {
                Err(cause) => {
                    skipped += 1;
                    bar.suspend(|| cause.print());
                }
                Ok(Classified { scores, call, stages }) => {
                    times.push(call);
                    total.add(stages);
                    let predictions = best(&scores, &classifier.labels, args.top);
                    bar.suspend(|| show(args, path, predictions, classifier.activation, call.as_secs_f64() * 1e3));
                }
            }
            bar.inc(1);
            Ok::<_, CliError>(())
        },
    );
    let elapsed = start.elapsed();
    bar.finish_and_clear();
    done??;
    if !args.json && times.len() > 1 {
        let (median, isa) = (quantile_ms(&times, 0.5), classifier.network.isa());
        outln!(
            "{DIM}{}, {median:.2} ms each (median), {name} {height}x{width} on {isa}{DIM:#}",
            plural(times.len(), "image")
        );
    }
    if args.timing {
        ui::warn_unoptimized();
        Timing::new(times.len(), threads, total, elapsed).show(args.json);
    }
    Ok(skipped)
}

/// What the threads share.
struct Task<'a> {
    classifier: &'a Classifier,
    /// Whether large JPEG files are decoded at a reduced size.
    is_reduced: bool,
}

struct Classified {
    scores: Vec<f32>,
    /// Time of the network alone.
    call: Duration,
    stages: Stages,
}

impl Task<'_> {
    /// The buffers of a thread. The first call, which has cold caches and page faults, is not timed.
    fn caller(&self) -> Caller {
        let mut caller = self.classifier.caller();
        caller.call(&*self.classifier.network, &mut Unobserved);
        caller
    }

    fn classify(&self, caller: &mut Caller, path: &Path) -> Result<Classified> {
        let Classifier { network, framing, preprocess, activation, .. } = self.classifier;
        let target = Target { framing: *framing, input: self.classifier.input() };
        let start = Instant::now();
        let photo = if self.is_reduced { Photo::open_reduced(path, target) } else { Photo::open(path) }?;
        let decoded = Instant::now();
        let pixels = photo.frame(target.framing, target.input);
        drop(photo);
        let resized = Instant::now();
        caller.show(&pixels, preprocess);
        let call = caller.call(&**network, &mut Unobserved);
        let stages = Stages { decode: decoded - start, resize: resized - decoded, network: resized.elapsed() };
        Ok(Classified { scores: activation.scores(&caller.logits), call, stages })
    }
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

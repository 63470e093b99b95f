//! `mbvc verify`: compares the compiled network with the original model in ONNX Runtime or LiteRT.

use std::path::{Path, PathBuf};

use mbvc::{Network, Unobserved, Weights};
use mbvc_compiler::ir::Shape;
use mbvc_compiler::spec::{Precision, Rounding};
use mbvc_engine::Caller;
use mbvc_import::{Container, ReadOptions, Trace};

use crate::error::{CliError, Result};
use crate::options::{NetworkArgs, examples};
use crate::ui::plural;
use crate::{engine, files, stream, ui};

mod difference;
mod feed;
mod fit;
mod layers;
mod logits;
mod peer;
mod report;
mod summary;

use difference::{Tolerance, nhwc};
use feed::Feed;
use fit::Sides;
use layers::Layers;
use logits::Logits;
use peer::Peer;
use report::{Found, Report};

/// Compare the network with its original model in ONNX Runtime or LiteRT
///
/// Both networks get the same images, read and preprocessed as the weights file records. First the logits of all images are
/// compared. Then, on the images with the largest differences, every layer of the reference interpreter is compared with the
/// tensor of the model, which names the first layer that differs. The tolerance of float32 and bf16 networks is a share of the
/// largest value of the tensor; values of int8 and uint8 networks must be identical.
///
/// ONNX models need a Python with numpy and onnxruntime, TFLite models one with numpy and ai-edge-litert (or tflite-runtime, or
/// tensorflow). Exit status: 0 both agree, 3 they differ, 1 they could not be compared.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc verify --weights weights.safetensors --against model.onnx --images photos/",
    "mbvc verify --weights int8.safetensors --against int8.tflite --images photos/ --json",
    "mbvc verify --weights w.safetensors --against model.onnx --images cat.jpg --tolerance 1e-3",
    "mbvc verify --weights w.safetensors --against m.tflite --images photos/ --python venv/bin/python",
))]
pub struct Args {
    /// Weights file, written by `mbvc import`
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Model to compare with: .onnx or .tflite
    #[arg(long, value_name = "MODEL")]
    against: PathBuf,
    /// Images and folders of images
    #[arg(long, value_name = "IMAGES", required = true, num_args = 1..)]
    images: Vec<PathBuf>,
    /// Search subfolders too
    #[arg(long, short)]
    recursive: bool,
    /// Tolerated difference: for float32 and bf16 a share of the largest value [default: 1e-4, bf16: 0.25], for int8 and
    /// uint8 quantization steps [default: 0]
    #[arg(long, value_name = "T", value_parser = parse_tolerance, allow_negative_numbers = true)]
    tolerance: Option<f64>,
    /// Number of images on which all layers are compared, those with the largest differences first
    #[arg(long, value_name = "N", default_value_t = 8)]
    layers: usize,
    /// The model reads channels in the order blue, green, red, as with `mbvc import --bgr`
    #[arg(long)]
    bgr: bool,
    /// Python that runs the model [default: MBVC_PYTHON, or python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Engines sum in different orders, which changes float32 logits by 1e-6 to 1e-5 of the largest.
const RELATIVE: f64 = 1e-4;
/// bf16 has 8 significant bits, and each layer adds an error. On photographs, the last layers of the
/// published network differ by up to 0.16 of the largest value, and its logits by up to 0.03.
const RELATIVE_BF16: f64 = 0.25;

fn parse_tolerance(text: &str) -> std::result::Result<f64, String> {
    let wrong = || "expected a number of at least 0, such as 1e-4".to_owned();
    text.parse().ok().filter(|tolerance: &f64| tolerance.is_finite() && *tolerance >= 0.0).ok_or_else(wrong)
}

pub fn run(args: &Args) -> Result {
    let weights = engine::weights(args.weights.as_deref())?;
    let container = Container::from_bytes(weights.as_bytes(), weights.source().unwrap_or_default())?;
    let mut model = mbvc_import::read(&args.against, &ReadOptions::keep_quantization())?;
    if args.bgr {
        model.read_bgr()?;
    }
    let Some(trace) = model.trace.take() else { return Err(peer::not_run(&args.against, model.format)) };
    let sides = Sides { args, weights: &weights, container: &container, model: &model, trace: &trace };
    let source = sides.source()?;
    sides.fit(&source)?;
    let paths = files::images(&args.images, args.recursive)?;
    let python = python(args.python.as_deref());
    let reference = source.spec.rounding == Some(Rounding::TfliteReference);
    let mut peer = Peer::start(&python, &args.against, model.format, &trace, reference)?;
    let integer = feed::integer(source.spec.precision);
    let input = (args.against.as_path(), &peer.about.input);
    let [height, width] = source.spec.resolution;
    let shape = [height, width, source.spec.input.channels()];
    let feed = Feed::new(&container, weights.preprocessing(), integer, &trace, input, shape)?;
    let network = engine::network(&source, &args.network, &weights)?;

    let given = |default| args.tolerance.unwrap_or(default);
    let tolerance = match source.spec.precision {
        Precision::F32 => Tolerance::Relative(given(RELATIVE)),
        Precision::Bf16 => Tolerance::Relative(given(RELATIVE_BF16)),
        Precision::Int8 | Precision::Uint8 => Tolerance::Steps(given(0.0)),
    };
    let quant = integer.map(|integer| feed::quant(&container, "classifier", integer)).transpose()?;
    let logits = Logits::new(tolerance, quant);
    let task = Task {
        weights: &weights,
        trace: &trace,
        feed,
        network: &*network,
        low: integer.map_or(0, |integer| integer.limits().low),
    };
    let (logits, skipped) = task.logits(&mut peer, &paths, logits)?;
    if logits.images().is_empty() {
        return Err(CliError::new(format!("no image to compare on: {} could not be read", plural(skipped, "file"))));
    }
    let mut layers = Layers::new(&source.spec, &container, &trace, integer, tolerance)?;
    task.layers(&mut peer, &logits.furthest(args.layers), &mut layers)?;
    let (source, network, engine) = (&source, &*network, &peer.about);
    let found = Found { source, network, engine, tolerance, logits: &logits, layers: &layers, skipped };
    Report::new(args, &found).show(args)
}

/// `--python`, else `MBVC_PYTHON`, else `python3`.
fn python(given: Option<&Path>) -> PathBuf {
    let variable = || std::env::var_os("MBVC_PYTHON").filter(|name| !name.is_empty()).map(PathBuf::from);
    given.map(Path::to_owned).or_else(variable).unwrap_or_else(|| "python3".into())
}

/// Both networks, ready to run.
struct Task<'a> {
    weights: &'a Weights,
    trace: &'a Trace,
    feed: Feed,
    network: &'a dyn Network,
    /// Minimum of the network's integer type.
    low: i32,
}

impl Task<'_> {
    /// Compares the logits on all images; also returns the number of unreadable ones.
    fn logits(&self, peer: &mut Peer, paths: &[PathBuf], mut logits: Logits) -> Result<(Logits, usize)> {
        const CLASSIFIER: &str = "classifier";
        let Some(place) = self.trace.values.iter().position(|value| value.node == CLASSIFIER) else {
            return Err(CliError::new("the model has no tensor of logits").help("export it without fusing the softmax"));
        };
        let layout = self.trace.values[place].tensor.layout;
        let shape = Shape::new(1, 1, self.network.info().classes);
        let preprocess = self.weights.preprocessing();
        let mut caller = Caller::new(self.network.info());
        let mut skipped = 0;
        let bar = ui::progress(paths.len(), "comparing");
        let images = paths.iter().map(PathBuf::as_path);
        let done = stream::in_turn(images, self.weights.framing(), self.network.info().input, |path, pixels| {
            bar.inc(1);
            let pixels = match pixels {
                Ok(pixels) => pixels,
                Err(cause) => {
                    skipped += 1;
                    bar.suspend(|| cause.print());
                    return Ok(());
                }
            };
            let mut outputs = peer.run(&self.feed.theirs(&pixels), &[place])?;
            let theirs = outputs.read(0)?;
            let theirs = nhwc(&theirs, layout, shape, self.low).ok_or_else(|| {
                CliError::new(format!(
                    "expected {} logits, found shape {:?} in the model",
                    shape.channels, theirs.shape
                ))
            })?;
            caller.show(&pixels, &preprocess);
            caller.call(self.network, &mut Unobserved);
            logits.compare(path.to_owned(), &caller.logits, &theirs);
            Ok(())
        });
        bar.finish_and_clear();
        done.map(|()| (logits, skipped))
    }

    /// Compares all layers on the images.
    fn layers(&self, peer: &mut Peer, paths: &[PathBuf], layers: &mut Layers<'_>) -> Result {
        let all: Vec<usize> = (0..self.trace.values.len()).collect();
        let bar = ui::progress(paths.len(), "layer by layer");
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for together in paths.chunks(processors) {
            let mut ran = Vec::with_capacity(together.len());
            let images = together.iter().map(PathBuf::as_path);
            stream::in_turn(images, self.weights.framing(), self.network.info().input, |path, pixels| {
                let pixels = pixels?;
                let theirs = peer.run(&self.feed.theirs(&pixels), &all)?.all()?;
                ran.push((path, self.feed.ours(&pixels), theirs));
                Ok(())
            })?;
            let compared: Vec<_> = std::thread::scope(|scope| {
                let layers = &*layers;
                let started: Vec<_> = ran
                    .iter()
                    .map(|(path, ours, theirs)| scope.spawn(move || layers.compare(path, ours, theirs)))
                    .collect();
                started
                    .into_iter()
                    .map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            });
            for one in compared {
                layers.merge(one?);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_not_negative() {
        assert_eq!(parse_tolerance("1e-3"), Ok(1e-3));
        assert_eq!(parse_tolerance("0"), Ok(0.0));
        for text in ["-1", "nan", "inf", "x"] {
            assert!(parse_tolerance(text).is_err_and(|message| message.contains("1e-4")), "{text}");
        }
    }
}

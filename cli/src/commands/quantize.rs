//! `mbvc quantize`: quantizes float32 weights to int8 with calibration images.

use std::path::{Path, PathBuf};

use mbvc::picture::Framing;
use mbvc::weights::Preprocess;
use mbvc_import::Container;
use mbvc_import::calibrate::{self, Comparison, Method, Network, Options, Statistics, WeightScales};

use crate::error::{CliError, Result};
use crate::options::{ForceArgs, SpecOption, examples};
use crate::stream::{self, Pictures, Seen};
use crate::ui::plural;
use crate::{engine, files, ui};

mod report;

/// Quantize float32 weights to int8 with calibration images
///
/// Weights get one scale per output channel; activations get one scale and zero point per tensor, from the values of
/// the float32 network on the calibration images. A hundred images like those of the application suffice. Images are
/// read as by `classify`; one that cannot be read is reported and skipped. Then the quantized network, with the exact
/// arithmetic of its kernels, is compared with the float32 network.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc quantize --weights weights.safetensors --calibrate photos/ --output int8.safetensors",
    "mbvc quantize --weights w.safetensors --calibrate photos/ --evaluate others/ -o int8.safetensors",
    "mbvc quantize --weights w.safetensors --calibrate photos/ -o int8.safetensors --report int8.svg",
    "mbvc quantize --weights w.safetensors --calibrate photos/ -o int8.safetensors --percentile 99.99",
))]
pub struct Args {
    /// Float32 weights file, written by `mbvc import`
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Calibration images, and folders of images
    #[arg(long, value_name = "IMAGES", required = true, num_args = 1..)]
    calibrate: Vec<PathBuf>,
    /// Int8 weights file to write
    #[arg(long, short, value_name = "W.safetensors")]
    output: PathBuf,
    /// Images for the comparison with float32 [default: 64 of the calibration images]
    #[arg(long, value_name = "IMAGES", num_args = 1..)]
    evaluate: Vec<PathBuf>,
    /// Search subfolders too
    #[arg(long, short)]
    recursive: bool,
    /// Also calibrate with N random crops of each image, every second crop mirrored
    #[arg(long, value_name = "N", default_value_t = 0)]
    crops: usize,
    /// Method that selects the range of an activation
    #[arg(
        long,
        value_enum,
        default_value_if("percentile", clap::builder::ArgPredicate::IsPresent, "percentile"),
        default_value = "mse"
    )]
    method: MethodArg,
    /// Percentile at which both ends of a range are clipped [default: 99.99]
    #[arg(long, value_name = "P", value_parser = parse_percentile)]
    percentile: Option<f64>,
    /// Method that selects the scale of a channel's weights
    #[arg(long, value_enum, default_value = "mse")]
    weight_scales: WeightScalesArg,
    /// Do not correct biases for the mean error of rounded weights
    #[arg(long)]
    no_bias_correction: bool,
    /// Write an SVG picture of the error of each activation
    #[arg(long, value_name = "FILE.svg")]
    report: Option<PathBuf>,
    #[command(flatten)]
    overwrite: ForceArgs,
    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    spec: SpecOption,
}

/// Method that selects a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum MethodArg {
    /// From the minimum to the maximum
    Minmax,
    /// Between two percentiles
    Percentile,
    /// The range with the smallest squared error
    Mse,
}

/// Method that selects a scale of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WeightScalesArg {
    /// The largest weight maps to 127
    Max,
    /// The scale with the smallest squared error
    Mse,
}

const PERCENTILE: f64 = 99.99;
/// Images of the comparison without `--evaluate`.
const COMPARED: usize = 64;

fn parse_percentile(text: &str) -> std::result::Result<f64, String> {
    let wrong = || "expected a number from 50 to 100, such as 99.99".to_owned();
    text.parse().ok().filter(|percentile| (50.0..=100.0).contains(percentile)).ok_or_else(wrong)
}

pub fn run(args: &Args) -> Result {
    let options = args.options()?;
    if args.spec.overrides.precision.as_deref().is_some_and(|precision| precision != "int8") {
        return Err(CliError::new("quantize writes int8 weights").help("remove --precision"));
    }
    let inputs: Vec<&Path> = args.spec.spec.iter().chain([&args.weights]).map(PathBuf::as_path).collect();
    let check = |path: &PathBuf| files::check_output(path, args.overwrite.force, &inputs);
    args.report.iter().chain([&args.output]).try_for_each(check)?;
    let task = Task::new(args)?;
    let calibration = files::images(&args.calibrate, args.recursive)?;
    let comparison = match args.evaluate.as_slice() {
        [] => spread(&calibration, COMPARED),
        named => files::images(named, args.recursive)?,
    };
    let (statistics, seen) = task.observe(&calibration, args.crops)?;
    let quantized = calibrate::quantize(&task.network, &task.weights, &statistics, &task.preprocess, options)?;
    // Compared before the file is written, so that a failure leaves no file.
    let (comparison, compared) = task.compare(&quantized, &comparison)?;
    files::write(&args.output, &quantized.to_bytes(), args.overwrite.force)?;
    report::Report::new(args, &task, &quantized, &statistics, &comparison, [seen, compared], options).show(args)
}

impl Args {
    fn options(&self) -> Result<Options> {
        let method = match (self.method, self.percentile) {
            (MethodArg::Percentile, percentile) => Method::Percentile(percentile.unwrap_or(PERCENTILE)),
            (_, Some(_)) => {
                return Err(
                    CliError::new("--percentile requires --method percentile").help("remove one of the options")
                );
            }
            (MethodArg::Minmax, None) => Method::MinMax,
            (MethodArg::Mse, None) => Method::Mse,
        };
        let weight_scales = match self.weight_scales {
            WeightScalesArg::Max => WeightScales::Max,
            WeightScalesArg::Mse => WeightScales::Mse,
        };
        Ok(Options { method, weight_scales, correct_bias: !self.no_bias_correction })
    }
}

/// The network to quantize, with its float32 weights.
struct Task {
    network: Network,
    weights: Container,
    preprocess: Preprocess,
    framing: Framing,
    /// `[height, width, channels]`
    input: [usize; 3],
}

impl Task {
    fn new(args: &Args) -> Result<Self> {
        let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides.overrides())?;
        let network = Network::new(&source.spec)?;
        let shown = args.weights.display();
        // For its error, which has a hint for models that were not imported.
        let checked = engine::weights(Some(&args.weights))?;
        let (preprocess, framing) = (checked.preprocessing(), checked.framing());
        let weights = Container::open(&args.weights)?;
        calibrate::check_float(&weights).map_err(|error| CliError::new(format!("{shown}: {error}")))?;
        weights.check_against(network.float_spec()).map_err(|mismatches| {
            let error = CliError::new(format!("{shown}: {mismatches}"));
            match &args.spec.spec {
                Some(_) => error.help("use the spec that `mbvc import --write-spec` wrote for these weights"),
                None => error.help("pass the spec of the weights with --spec FILE"),
            }
        })?;
        let [height, width] = source.spec.resolution;
        let input = [height, width, source.spec.input.channels()];
        Ok(Self { network, weights, preprocess, framing, input })
    }

    /// Statistics of the activations on the images.
    fn observe(&self, paths: &[PathBuf], crops: usize) -> Result<(Statistics, Seen)> {
        let bar = ui::progress(paths.len() * (crops + 1), "calibrating");
        let pictures = Pictures { paths, framing: self.framing, input: self.input, crops };
        let mut statistics = Statistics::new(&self.network);
        let work = |pixels: &[u8]| {
            let mut picture = vec![0.0; pixels.len()];
            self.preprocess.apply(pixels, &mut picture);
            Ok(Statistics::of(&self.network, &self.weights, &picture)?)
        };
        let seen = stream::each(&pictures, &bar, work, |observed| statistics.merge(&observed));
        bar.finish_and_clear();
        some(seen?, paths, "calibrate with").map(|seen| (statistics, seen))
    }

    /// Compares `quantized` with the float32 weights on the images.
    fn compare(&self, quantized: &Container, paths: &[PathBuf]) -> Result<(Comparison, Seen)> {
        let bar = ui::progress(paths.len(), "comparing");
        let pictures = Pictures { paths, framing: self.framing, input: self.input, crops: 0 };
        let mut comparison = Comparison::new(&self.network);
        let work =
            |pixels: &[u8]| Ok(Comparison::of(&self.network, &self.weights, quantized, &self.preprocess, pixels)?);
        let seen = stream::each(&pictures, &bar, work, |one| comparison.merge(&one));
        bar.finish_and_clear();
        some(seen?, paths, "compare on").map(|seen| (comparison, seen))
    }
}

/// Requires at least one readable image.
fn some(seen: Seen, paths: &[PathBuf], purpose: &str) -> Result<Seen> {
    if seen.images > 0 {
        return Ok(seen);
    }
    Err(CliError::new(format!("no image to {purpose}: {} could not be read", plural(paths.len(), "file"))))
}

/// At most `count` of `paths`, evenly spread.
fn spread(paths: &[PathBuf], count: usize) -> Vec<PathBuf> {
    let count = count.min(paths.len());
    (0..count).map(|at| paths[at * paths.len() / count].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_evenly_spread() {
        let paths: Vec<PathBuf> = (0..100).map(|n| n.to_string().into()).collect();
        let few = spread(&paths, 4);
        assert_eq!(few, ["0", "25", "50", "75"].map(PathBuf::from));
        assert_eq!(spread(&paths[..3], 64), paths[..3]);
        assert!(spread(&[], 64).is_empty());
    }

    #[test]
    fn percentiles() {
        assert_eq!(parse_percentile("99.9"), Ok(99.9));
        for text in ["49", "101", "nan", "x"] {
            assert!(parse_percentile(text).is_err_and(|message| message.contains("99.99")), "{text}");
        }
    }
}

//! `mbvc quantize`: int8 weights from float32 ones and photographs.

use std::path::PathBuf;

use mbvc::picture::Framing;
use mbvc::weights::Preprocess;
use mbvc_import::Container;
use mbvc_import::calibrate::{self, Comparison, Method, Network, Options, Statistics, WeightScales};

use crate::error::{CliError, Result};
use crate::options::{SpecOption, examples};
use crate::stream::{self, Pictures, Seen};
use crate::ui::plural;
use crate::{engine, files, ui};

mod report;

/// Quantize float32 weights to int8, by what the network makes of photographs
///
/// Weights get a scale for each output channel, values one scale and zero point each, found from the values that
/// the float32 network has on the images: a hundred of the kind that it will see are enough. Images are read as by
/// `classify`; one that cannot be read is told and left out. Afterwards the quantized network runs beside the float32
/// one, in exactly the arithmetic that its kernels have, and the report says how near it comes.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc quantize --weights weights.safetensors --calibrate photos/ --output int8.safetensors",
    "mbvc quantize --weights w.safetensors --calibrate photos/ --evaluate others/ --output int8.safetensors",
    "mbvc quantize --weights w.safetensors --calibrate photos/ --output int8.safetensors --report int8.svg",
    "mbvc quantize --weights w.safetensors --calibrate photos/ --output int8.safetensors --percentile 99.99",
))]
pub struct Args {
    /// Float32 weights, as `mbvc import` writes them
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Images, and folders of images, that show what values are like
    #[arg(long, value_name = "IMAGES", required = true, num_args = 1..)]
    calibrate: Vec<PathBuf>,
    /// Where to write the int8 weights
    #[arg(long, short, value_name = "W.safetensors")]
    output: PathBuf,
    /// Images to compare int8 with float32 on [default: 64 of those calibrated with]
    #[arg(long, value_name = "IMAGES", num_args = 1..)]
    evaluate: Vec<PathBuf>,
    /// Search folders in folders too
    #[arg(long, short)]
    recursive: bool,
    /// Also calibrate with so many random crops of each image, every other mirrored
    #[arg(long, value_name = "N", default_value_t = 0)]
    crops: usize,
    /// How the range of a value follows from what was observed
    #[arg(
        long,
        value_enum,
        default_value_if("percentile", clap::builder::ArgPredicate::IsPresent, "percentile"),
        default_value = "mse"
    )]
    method: MethodArg,
    /// Leave out what lies beyond this percentile, at either end [default: 99.99]
    #[arg(long, value_name = "P", value_parser = parse_percentile)]
    percentile: Option<f64>,
    /// How the scale of a channel's weights follows from them
    #[arg(long, value_enum, default_value = "mse")]
    weight_scales: WeightScalesArg,
    /// Leave biases as they are, though rounded weights move the means of results
    #[arg(long)]
    no_bias_correction: bool,
    /// Also draw how near each value comes
    #[arg(long, value_name = "FILE.svg")]
    report: Option<PathBuf>,
    /// The report as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    spec: SpecOption,
}

/// How a range is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum MethodArg {
    /// From the least to the greatest value
    Minmax,
    /// Without the outermost values
    Percentile,
    /// The range with the least squared error
    Mse,
}

/// How weights are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WeightScalesArg {
    /// The largest weight of the channel is the largest number
    Max,
    /// The scale with the least squared error
    Mse,
}

const PERCENTILE: f64 = 99.99;
/// Images that are compared on where none are named for it.
const COMPARED: usize = 64;

fn parse_percentile(text: &str) -> std::result::Result<f64, String> {
    let wrong = || format!("`{text}` is not from 50 to 100; write 99.99, say");
    text.parse().ok().filter(|percentile| (50.0..=100.0).contains(percentile)).ok_or_else(wrong)
}

pub fn run(args: &Args) -> Result {
    let options = args.options()?;
    if args.spec.overrides.precision.as_deref().is_some_and(|precision| precision != "int8") {
        return Err(CliError::new("what is written are numbers of int8").help("leave --precision out"));
    }
    if files::same(&args.weights, &args.output) {
        return Err(CliError::new(format!("{} would be overwritten by its int8 numbers", args.weights.display()))
            .help("give --output another name"));
    }
    [Some(&args.output), args.report.as_ref()].into_iter().flatten().try_for_each(|path| files::has_place(path))?;
    let task = Task::new(args)?;
    let calibration = files::images(&args.calibrate, args.recursive)?;
    let comparison = match args.evaluate.as_slice() {
        [] => spread(&calibration, COMPARED),
        named => files::images(named, args.recursive)?,
    };
    let (statistics, seen) = task.observe(&calibration, args.crops)?;
    let quantized = calibrate::quantize(&task.network, &task.weights, &statistics, &task.preprocess, options)?;
    // Compared before anything is written: weights that cannot be run are none.
    let (comparison, compared) = task.compare(&quantized, &comparison)?;
    quantized.write(&args.output)?;
    report::Report::new(args, &task, &quantized, &statistics, &comparison, [seen, compared], options).show(args)
}

impl Args {
    fn options(&self) -> Result<Options> {
        let method = match (self.method, self.percentile) {
            (MethodArg::Percentile, percentile) => Method::Percentile(percentile.unwrap_or(PERCENTILE)),
            (_, Some(_)) => {
                return Err(CliError::new("--percentile is for --method percentile").help("leave one of the two out"));
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

/// What is quantized.
struct Task {
    network: Network,
    weights: Container,
    preprocess: Preprocess,
    framing: Framing,
    size: [usize; 2],
}

impl Task {
    fn new(args: &Args) -> Result<Self> {
        let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides.overrides())?;
        let network = Network::new(&source.spec)?;
        let shown = args.weights.display();
        // Tells what to do with a model that was not imported, too.
        let checked = engine::weights(Some(&args.weights))?;
        let (preprocess, framing) = (checked.preprocessing(), checked.framing());
        let weights = Container::open(&args.weights)?;
        calibrate::check_float(&weights).map_err(|error| CliError::new(format!("{shown}: {error}")))?;
        weights.check_against(network.float_spec()).map_err(|mismatches| {
            let error = CliError::new(format!("{shown}: {mismatches}"));
            match &args.spec.spec {
                Some(_) => error.help("name the spec that `mbvc import --write-spec` wrote for these weights"),
                None => error.help("name the spec of the weights with --spec FILE"),
            }
        })?;
        Ok(Self { network, weights, preprocess, framing, size: source.spec.resolution })
    }

    /// What values are like on the images.
    fn observe(&self, paths: &[PathBuf], crops: usize) -> Result<(Statistics, Seen)> {
        let bar = ui::progress(paths.len() * (crops + 1), "calibrating");
        let pictures = Pictures { paths, framing: self.framing, size: self.size, crops };
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

    /// How near `quantized` comes to the float32 weights on the images.
    fn compare(&self, quantized: &Container, paths: &[PathBuf]) -> Result<(Comparison, Seen)> {
        let bar = ui::progress(paths.len(), "comparing");
        let pictures = Pictures { paths, framing: self.framing, size: self.size, crops: 0 };
        let mut comparison = Comparison::new(&self.network);
        let work =
            |pixels: &[u8]| Ok(Comparison::of(&self.network, &self.weights, quantized, &self.preprocess, pixels)?);
        let seen = stream::each(&pictures, &bar, work, |one| comparison.merge(&one));
        bar.finish_and_clear();
        some(seen?, paths, "compare on").map(|seen| (comparison, seen))
    }
}

/// At least one image has to be readable.
fn some(seen: Seen, paths: &[PathBuf], purpose: &str) -> Result<Seen> {
    if seen.images > 0 {
        return Ok(seen);
    }
    Err(CliError::new(format!("no image to {purpose}: {} could not be read", plural(paths.len(), "file"))))
}

/// At most `count` of `paths`, evenly from all of them.
fn spread(paths: &[PathBuf], count: usize) -> Vec<PathBuf> {
    let count = count.min(paths.len());
    (0..count).map(|at| paths[at * paths.len() / count].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_images_are_taken_from_all() {
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

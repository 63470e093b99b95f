//! `mbvc import`: trained weights from other formats.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use mbvc::picture::Framing;
use mbvc_compiler::spec::Preprocessing;
use mbvc_import::{ImportError, Imported, Labels, Quantization, ReadOptions};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::options::examples;
use crate::ui::{ACCENT, BOLD, Bytes, DIM, GOOD, grouped};
use crate::{engine, files, outln, ui};

/// Take over trained weights from an ONNX, TFLite, Keras or PyTorch model
///
/// Quantized models (TFLite's of int8 and uint8, ONNX's with QuantizeLinear and DequantizeLinear) are taken as they are
/// or, with --dequantize, as float32. BatchNorm is folded in double precision, and width, classes, padding and other
/// conventions are found where the file tells. The result is a safetensors file that fits every resolution, fusion level
/// and instruction set.
///
/// Of Keras, whole models are taken (.keras, and .h5 of Keras 2 and 3): MobileNetV2 itself, and models that have it as a
/// layer below a pool and one Dense layer. Augmentation and dropout are left out, scaling in front becomes the
/// preprocessing. Keras files hold no names of classes: give them with --labels.
///
/// Of PyTorch, state dicts, checkpoints and whole modules are read (.pth, .pt, .bin, .ckpt, .safetensors), with the names of
/// torchvision, timm, transformers or mmpretrain; nothing in them is executed. They have weights alone: strides are those of
/// the published table or, with --spec, of a spec, and config.json beside the file is read where it is timm's or transformers'.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc import model.h5   writes model.safetensors and model.yaml",
    "mbvc import model.onnx --output weights.safetensors --labels imagenet_labels.txt",
    "mbvc import model.keras --output weights.safetensors --labels classes.txt",
    "mbvc import model.tflite --output weights.safetensors --spec network.yaml   must fit this spec",
    "mbvc import model.pth --output weights.safetensors --write-spec network.yaml",
    "mbvc import quantized.tflite --output weights.safetensors --dequantize",
    "mbvc import model.onnx --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --framing 'crop 256/224 bilinear'",
))]
pub struct Args {
    /// The model: .onnx, .tflite, .keras, .h5, .pth, .pt, .bin, .ckpt or .safetensors
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Where to write the weights [default: beside the model, with the ending .safetensors]
    #[arg(long, short, value_name = "W.safetensors")]
    output: Option<PathBuf>,
    /// Spec that the weights have to fit; its preprocessing is taken over, and strides where the file has none
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Names of the classes: a file of one a line in the order of the outputs, or of JSON; `imagenet` for the 1000 of
    /// ImageNet in the order of Keras and torchvision; `none` [default: the model's own, else ImageNet's where there are
    /// 1000 or 1001 classes]
    #[arg(long, value_name = "FILE|imagenet|none")]
    labels: Option<PathBuf>,
    /// Take the weights of a quantized model as the float32 numbers that they stand for
    #[arg(long)]
    dequantize: bool,
    /// Where to write a spec that describes the model [default without --spec: beside the weights, if nothing is there]
    #[arg(long, value_name = "FILE", conflicts_with = "spec")]
    write_spec: Option<PathBuf>,
    #[command(flatten)]
    pixels: PixelArgs,
    /// What was found, as one line of JSON
    #[arg(long)]
    json: bool,
}

/// What a file may not tell of pictures; where it does, that counts.
#[derive(clap::Args)]
#[command(next_help_heading = "Pictures")]
struct PixelArgs {
    /// What the pixels 0 and 255 become
    #[arg(long, value_name = "LOW,HIGH", value_parser = range, allow_hyphen_values = true, conflicts_with = "mean")]
    range: Option<[f64; 2]>,
    /// Mean of red, green and blue, of pixels from 0 to 1
    #[arg(long, value_name = "R,G,B", value_parser = means, requires = "std")]
    mean: Option<[f64; 3]>,
    /// Deviation of red, green and blue, of pixels from 0 to 1
    #[arg(long, value_name = "R,G,B", value_parser = deviations, requires = "mean")]
    std: Option<[f64; 3]>,
    /// How pictures are brought to size: `squash FILTER`, or `crop SCALED/KEPT FILTER` for the middle; filters are nearest,
    /// bilinear, bicubic and bilinear-aliased
    #[arg(long, value_name = "FRAMING", value_parser = framing)]
    framing: Option<Framing>,
    /// The model takes blue, green, red
    #[arg(long)]
    bgr: bool,
}

impl PixelArgs {
    fn preprocessing(&self) -> Option<Preprocessing> {
        match (self.range, self.mean.zip(self.std)) {
            (Some([low, high]), _) => Some(Preprocessing::from_range(low, high)),
            (None, Some((mean, std))) => Some(Preprocessing::from_mean_and_std(mean, std)),
            (None, None) => None,
        }
    }
}

fn numbers<const N: usize>(text: &str) -> std::result::Result<[f64; N], String> {
    let numbers: Option<Vec<f64>> =
        text.split(',').map(|word| word.trim().parse().ok().filter(|number: &f64| number.is_finite())).collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| format!("`{text}` is not {N} numbers with commas"))
}

fn range(text: &str) -> std::result::Result<[f64; 2], String> {
    numbers(text).and_then(|[low, high]| match low < high {
        true => Ok([low, high]),
        false => Err("write the lower bound first".to_owned()),
    })
}

fn means(text: &str) -> std::result::Result<[f64; 3], String> {
    of_unit_pixels(text, "means", &Preprocessing::MEAN)
}

fn deviations(text: &str) -> std::result::Result<[f64; 3], String> {
    of_unit_pixels(text, "deviations", &Preprocessing::STD)
}

/// Numbers of a range, `what` of pixels from 0 to 1.
fn of_unit_pixels(text: &str, what: &str, range: &RangeInclusive<f64>) -> std::result::Result<[f64; 3], String> {
    let numbers = numbers(text)?;
    match numbers.iter().find(|number| !range.contains(number)) {
        None => Ok(numbers),
        Some(number) if (1.0..=255.0).contains(number) => {
            Err(format!("{what} are of pixels from 0 to 1; divide --mean and --std of pixels from 0 to 255 by 255"))
        }
        Some(_) => Err(format!("{what} are from {} to {}, of pixels from 0 to 1", range.start(), range.end())),
    }
}

fn framing(text: &str) -> std::result::Result<Framing, String> {
    Framing::parse(text).map_err(|error| error.to_string())
}

/// What `--labels` names.
enum Names {
    Listed(Labels),
    ImageNet,
    None,
}

impl Names {
    fn of(named: &Path) -> Result<Self> {
        match named.to_str() {
            Some("imagenet") => Ok(Self::ImageNet),
            Some("none") => Ok(Self::None),
            _ => Ok(Self::Listed(Labels::open(named)?)),
        }
    }
}

fn imagenet(classes: usize) -> Result<Labels> {
    Labels::imagenet(classes).ok_or_else(|| {
        CliError::new(format!("the network has {classes} classes, ImageNet 1000, or 1001 with the background"))
            .help("name the classes in a file: --labels FILE")
    })
}

/// Where things go.
struct Places {
    output: PathBuf,
    spec: Option<PathBuf>,
    /// A spec of the same name, which nobody named, and which stays as it is.
    kept: Option<PathBuf>,
}

impl Places {
    fn new(args: &Args) -> Result<Self> {
        let output = args.output.clone().unwrap_or_else(|| args.model.with_extension("safetensors"));
        let mut spec = args.write_spec.clone().or_else(|| args.spec.is_none().then(|| output.with_extension("yaml")));
        if files::same(&args.model, &output) {
            return Err(CliError::new(format!("{} would be overwritten by its own weights", args.model.display()))
                .help("give --output another name"));
        }
        [Some(&output), spec.as_ref()].into_iter().flatten().try_for_each(|path| files::has_place(path))?;
        if output.exists() && mbvc_import::Container::open(&output).is_err() {
            return Err(CliError::new(format!("{} is there already, and is no file of weights", output.display()))
                .help("give --output another name, or delete the file first"));
        }
        // Nothing is lost that nobody named.
        let kept = spec.take_if(|spec| args.output.is_some() && args.write_spec.is_none() && spec.exists());
        let unnamed = [(&args.output, Some(&output), "--output"), (&args.write_spec, spec.as_ref(), "--write-spec")];
        for (named, place, option) in unnamed {
            if let (None, Some(place)) = (named, place)
                && place.exists()
            {
                return Err(CliError::new(format!("{} is there already", place.display()))
                    .help(format!("name it with {option} to overwrite it, or name another file")));
            }
        }
        Ok(Self { output, spec, kept })
    }
}

#[derive(Serialize)]
struct Report<'a> {
    output: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<String>,
    format: String,
    parameters: usize,
    metadata: std::collections::BTreeMap<&'a str, &'a str>,
    facts: &'a [mbvc_import::Fact],
    notes: &'a [String],
}

impl From<Box<ImportError>> for CliError {
    fn from(cause: Box<ImportError>) -> Self {
        Self::new(cause.to_string())
    }
}

pub fn run(args: &Args) -> Result {
    let places = Places::new(args)?;
    let source = match &args.spec {
        Some(path) => Some(engine::source(Some(path), mbvc_compiler::spec::Overrides::none())?),
        None => None,
    };
    let labels = args.labels.as_deref().map(Names::of).transpose()?;
    let quantization = if args.dequantize { Quantization::Dequantize } else { Quantization::Keep };
    let spec = source.as_ref().map(|source| &source.spec);
    let mut imported = mbvc_import::read(&args.model, &ReadOptions { quantization, spec, ..ReadOptions::default() })?;
    if let Some(source) = &source {
        imported.check_against(&source.spec).map_err(|mismatches| {
            CliError::new(format!("{}: {mismatches}", args.model.display()))
                .help("without --spec the model is imported as it is; --write-spec FILE writes the spec that it fits")
        })?;
        imported.set_preprocessing(source.spec.preprocessing, "the spec");
    }
    if args.pixels.bgr {
        imported.swap_channels();
    }
    if let Some(preprocessing) = args.pixels.preprocessing() {
        imported.set_preprocessing(preprocessing, "the command");
    }
    if let Some(framing) = args.pixels.framing {
        imported.set_framing(framing, "the command");
    }
    match &labels {
        Some(Names::Listed(labels)) => imported.set_labels(labels)?,
        Some(Names::ImageNet) => imported.set_labels(&imagenet(imported.recovered.classes)?)?,
        Some(Names::None) => imported.remove_labels(),
        None => {}
    }
    imported.write(&places.output)?;
    if let Some(path) = &places.spec {
        files::write(path, imported.spec_yaml().as_bytes())?;
    }
    if args.json {
        ui::json(&Report {
            output: places.output.display().to_string(),
            spec: places.spec.as_ref().map(|path| path.display().to_string()),
            format: imported.format.to_string(),
            parameters: imported.container.parameters(),
            metadata: imported.container.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            facts: &imported.facts,
            notes: &imported.notes,
        });
        return Ok(());
    }
    show(args, &places, &imported);
    Ok(())
}

fn show(args: &Args, places: &Places, imported: &Imported) {
    let (output, parameters) = (places.output.display(), imported.container.parameters());
    let bytes = std::fs::metadata(&places.output).map_or(0, |meta| meta.len() as usize);
    outln!("{GOOD}wrote{GOOD:#} {output}: {} parameters, {}", grouped(parameters), Bytes(bytes));
    outln!("\n{BOLD}found in {}{BOLD:#} ({})", args.model.display(), imported.format);
    let widest = imported.facts.iter().map(|fact| fact.key.len()).max().unwrap_or(0);
    for fact in &imported.facts {
        outln!("  {:widest$}  {}  {DIM}{}{DIM:#}", fact.key, fact.value, fact.how);
    }
    let found = imported.facts.iter().any(|fact| fact.key == "labels");
    if let Some(labels) = imported.container.metadata.get("mbvc.labels").filter(|_| !found) {
        outln!("  {:widest$}  {}  {DIM}from --labels{DIM:#}", "labels", labels.lines().count());
    }
    for note in &imported.notes {
        ui::note(note);
    }
    if !imported.container.metadata.contains_key("mbvc.labels") {
        ui::note("without --labels FILE classes are told by number");
    }
    if let Some(path) = &places.spec {
        outln!("\n{GOOD}wrote{GOOD:#} {}", path.display());
    }
    if let Some(path) = &places.kept {
        ui::note(&format!(
            "{} was there already and stays as it is; --write-spec FILE writes the model's",
            path.display()
        ));
    }
    let spec = args.spec.as_ref().or(places.spec.as_ref()).or(places.kept.as_ref());
    let option = spec.map_or_else(String::new, |path| format!(" --spec {}", path.display()));
    outln!("\nNow classify a photograph:\n  {ACCENT}mbvc classify IMAGE --weights {output}{option}{ACCENT:#}");
}

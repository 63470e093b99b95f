//! `mbvc import`: reads trained models of other frameworks.

use std::path::{Path, PathBuf};

use mbvc::picture::Framing;
use mbvc::weights::HeadActivation;
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{Overrides, Preprocessing};
use mbvc_import::{Adjustments, ErrorKind, ImportError, Imported, LabelSource, Quantization, ReadOptions};
use mbvc_runtime::Listing;
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::options::{ForceArgs, examples};
use crate::ui::{ACCENT, BOLD, Bytes, DIM, GOOD, grouped, outln};
use crate::{engine, files, name, ui};

/// Import the weights of an ONNX, TFLite, Keras, TensorFlow.js or PyTorch model
///
/// Quantized models (TFLite with int8 or uint8; ONNX in QDQ or QOperator format) keep their integers or,
/// with --dequantize, become float32. BatchNorm is folded in double precision. Width, classes, padding and other
/// conventions are recovered from the file. The output is a safetensors file. It does not depend on the fusion level or
/// the instruction set, nor on the resolution unless the padding of the model does. Anything the model does not record
/// defaults to the convention of its framework; the options under "Preprocessing" override it.
///
/// Keras: whole models (.keras, and .h5 of Keras 2 and 3), either MobileNetV2 itself or a model that has it as a layer
/// before a pool and one or more Dense layers. Augmentation and dropout are skipped; arithmetic on the image becomes the
/// preprocessing. Keras files contain no labels; add them with --labels.
///
/// TensorFlow.js: model.json of a layers model or a graph model; the files with the weights are read from its folder, and
/// metadata.json of Teachable Machine for labels and preprocessing.
///
/// PyTorch: state dicts, checkpoints and whole modules (.pth, .pt, .bin, .ckpt, .safetensors) with the tensor names of
/// torchvision, timm, transformers, mmpretrain or tonylins, and TorchScript with any names. No code in them is executed.
/// State dicts and checkpoints contain only weights: strides are those of the published table or of --spec, and a
/// config.json of timm or transformers in the same folder is read.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc import model.h5   writes model.safetensors and model.yaml",
    "mbvc import model.onnx --output weights.safetensors --labels imagenet_labels.txt",
    "mbvc import model.json   a TensorFlow.js model, for instance of Teachable Machine",
    "mbvc import model.keras --output weights.safetensors --labels classes.txt",
    "mbvc import model.tflite -o w.safetensors --spec network.yaml  it must fit the spec",
    "mbvc import model.pth --output weights.safetensors --write-spec network.yaml",
    "mbvc import quantized.tflite --output weights.safetensors --dequantize",
    "mbvc import m.onnx --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --framing 'squash bilinear'",
))]
pub struct Args {
    /// Model file: .onnx, .tflite, .keras, .h5, .json, .pth, .pt, .bin, .ckpt or .safetensors
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Weights file to write [default: the model's name with the extension .safetensors, in the current folder]
    #[arg(long, short, value_name = "W.safetensors")]
    output: Option<PathBuf>,
    /// Spec that the weights must fit; its preprocessing, and strides that the file lacks, are used
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Labels: a file with one label per line in the order of the outputs, or JSON; `imagenet`, in the order of Keras
    /// and torchvision; or `none` [default: the model's labels, else ImageNet's for 1000 or 1001 classes]
    #[arg(long, value_name = "FILE|imagenet|none")]
    labels: Option<PathBuf>,
    /// Function from logits to scores: softmax, log_softmax, sigmoid or none [default: the last activation of the model,
    /// or `problem_type` of transformers, else sigmoid for a single logit and softmax for several]
    #[arg(long, value_name = "ACTIVATION", value_parser = mbvc_import::head_activation)]
    head_activation: Option<HeadActivation>,
    /// Convert a quantized model to float32
    #[arg(long)]
    dequantize: bool,
    /// Spec to write, which describes the model [default without --spec: the weights' path with the extension .yaml; an
    /// existing file that fits the weights is kept unless --force is given]
    #[arg(long, value_name = "FILE", conflicts_with = "spec")]
    write_spec: Option<PathBuf>,
    #[command(flatten)]
    overwrite: ForceArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
    // After the other options: its heading would be theirs.
    #[command(flatten)]
    pixels: PixelArgs,
}

/// Preprocessing, which most model files do not record.
#[derive(clap::Args)]
#[command(next_help_heading = "Preprocessing")]
struct PixelArgs {
    /// Input values of pixels 0 and 255
    #[arg(long, value_name = "LOW,HIGH", value_parser = range, allow_hyphen_values = true, conflicts_with = "mean")]
    range: Option<[f64; 2]>,
    /// Means of red, green and blue, or one of gray, for pixels scaled to 0..1
    #[arg(long, value_name = "R,G,B", value_parser = means, requires = "std")]
    mean: Option<[f64; 3]>,
    /// Standard deviations of red, green and blue, or one of gray, for pixels scaled to 0..1
    #[arg(long, value_name = "R,G,B", value_parser = deviations, requires = "mean")]
    std: Option<[f64; 3]>,
    /// Resizing of images: `squash FILTER`, or `crop SCALED/KEPT FILTER` for a center crop; filters are nearest,
    /// bilinear, bicubic and bilinear-aliased
    #[arg(long, value_name = "FRAMING", value_parser = framing)]
    framing: Option<Framing>,
    /// The model reads channels in the order blue, green, red
    #[arg(long)]
    bgr: bool,
}

impl Args {
    fn adjustments(&self) -> Result<Adjustments> {
        Ok(Adjustments {
            bgr: self.pixels.bgr,
            preprocessing: self.pixels.preprocessing(),
            framing: self.pixels.framing,
            head_activation: self.head_activation,
            labels: self.labels.as_deref().map(LabelSource::open).transpose()?,
        })
    }
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
    numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| format!("expected {N} comma-separated numbers"))
}

fn range(text: &str) -> std::result::Result<[f64; 2], String> {
    let bounds = numbers(text)?;
    mbvc_import::check_range(bounds).map(|()| bounds)
}

fn means(text: &str) -> std::result::Result<[f64; 3], String> {
    let means = channels(text)?;
    mbvc_import::check_mean(&means).map(|()| means)
}

fn deviations(text: &str) -> std::result::Result<[f64; 3], String> {
    let deviations = channels(text)?;
    mbvc_import::check_std(&deviations).map(|()| deviations)
}

/// Three numbers, or one for all channels.
fn channels(text: &str) -> std::result::Result<[f64; 3], String> {
    numbers(text).or_else(|expected| match numbers(text) {
        Ok([all]) => Ok([all; 3]),
        Err(_) => Err(format!("{expected}, or one for all channels")),
    })
}

fn framing(text: &str) -> std::result::Result<Framing, String> {
    Framing::parse(text).map_err(|error| error.to_string())
}

/// Output paths.
struct Places {
    output: PathBuf,
    spec: Option<PathBuf>,
    /// An existing spec at the default path, which is not overwritten.
    kept: Option<PathBuf>,
}

impl Places {
    fn new(args: &Args) -> Result<Self> {
        let output = args.output.clone().unwrap_or_else(|| {
            let name = args.model.file_name().unwrap_or(args.model.as_os_str());
            Path::new(name).with_extension("safetensors")
        });
        let mut spec = args.write_spec.clone().or_else(|| args.spec.is_none().then(|| output.with_extension("yaml")));
        if spec.as_ref() == Some(&output) {
            return Err(CliError::new(format!("the weights and the spec have the same path, {}", output.display()))
                .help("name the weights W.safetensors, or pass --write-spec FILE"));
        }
        // A spec that no option names may have been edited.
        let named = args.output.is_none() || args.write_spec.is_some();
        let is_there = |path: &Path| std::fs::metadata(path).is_ok_and(|about| about.len() > 0);
        let kept = spec.take_if(|spec| !named && !args.overwrite.force && is_there(spec));
        let inputs = args.spec.iter().chain(&args.labels).chain([&args.model]).map(PathBuf::as_path);
        let inputs: Vec<&Path> = inputs.collect();
        let check = |path: &PathBuf| files::check_output(path, args.overwrite.force, &inputs);
        [&output].into_iter().chain(&spec).try_for_each(check)?;
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
    files::reject_spec(&args.model, "a model of another framework")?;
    let places = Places::new(args)?;
    let source = match &args.spec {
        Some(path) => Some(engine::source(Some(path), Overrides::none())?),
        None => None,
    };
    let quantization = if args.dequantize { Quantization::Dequantize } else { Quantization::Keep };
    let spec = source.as_ref().map(|source| &source.spec);
    let options = ReadOptions { quantization, spec, ..ReadOptions::default() };
    let imported = mbvc_import::read_adjusted(&args.model, &options, &args.adjustments()?, "the options");
    let imported = imported.map_err(|error| match error.kind {
        ErrorKind::Mismatch => {
            CliError::from(error).help("import it without --spec; --write-spec FILE writes the spec that it fits")
        }
        _ => error.into(),
    })?;
    if let Some(path) = &places.kept {
        check_kept(path, &imported)?;
    }
    // Written only if `check` accepts it.
    let spec_text = places.spec.as_ref().map(|path| {
        let text = imported.spec_yaml();
        let name = path.to_string_lossy();
        mbvc_compiler::spec::parse(&SourceFile::new(&*name, text.as_str())).map(|_| text)
    });
    let spec_text = spec_text.transpose()?;
    files::write(&places.output, &imported.container.to_bytes(), args.overwrite.force)?;
    if let Some((path, text)) = places.spec.as_ref().zip(spec_text) {
        files::write(path, text.as_bytes(), args.overwrite.force)?;
    }
    if args.json {
        ui::json(&Report {
            output: name::of(&places.output),
            spec: places.spec.as_ref().map(|path| name::of(path)),
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

/// Checks that an existing spec, which is kept, fits the imported weights.
fn check_kept(path: &Path, imported: &Imported) -> Result {
    const HELP: &str =
        "--write-spec FILE writes the spec of the model to another file, and --force replaces the existing one";
    let shown = path.display();
    let kept = engine::source(Some(path), Overrides::none()).map_err(|error| {
        CliError::new(format!("{shown} already exists and cannot be used: {error}"))
            .help(format!("`mbvc check {shown}` lists its errors"))
            .help(HELP)
    })?;
    let mismatches = imported.mismatches(&kept.spec)?;
    match mismatches.is_empty() {
        true => Ok(()),
        false => {
            let listing = Listing(&mismatches);
            Err(CliError::new(format!("the model does not fit the existing spec {shown}:{listing}")).help(HELP))
        }
    }
}

fn show(args: &Args, places: &Places, imported: &Imported) {
    let (output, parameters) = (places.output.display(), imported.container.parameters());
    let bytes = std::fs::metadata(&places.output).map_or(0, |meta| meta.len() as usize);
    outln!("{GOOD}wrote{GOOD:#} {output}: {} parameters, {}", grouped(parameters), Bytes(bytes));
    outln!("\n{BOLD}{}{BOLD:#} ({})", args.model.display(), imported.format);
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
        ui::note("the weights have no labels, so classes are shown by number; --labels FILE adds them");
    }
    if let Some(path) = &places.spec {
        outln!("\n{GOOD}wrote{GOOD:#} {}", path.display());
    }
    if let Some(path) = &places.kept {
        ui::note(&format!(
            "{} already exists and was kept; --force replaces it with the spec of the model",
            path.display()
        ));
    }
    let spec = args.spec.as_ref().or(places.spec.as_ref()).or(places.kept.as_ref());
    let option = spec.map_or_else(String::new, |path| format!(" --spec {}", path.display()));
    outln!("\nClassify an image:\n  {ACCENT}mbvc classify IMAGE --weights {output}{option}{ACCENT:#}");
}

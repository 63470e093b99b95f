//! `mbvc init`: writes a commented spec.

use std::path::PathBuf;

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{self, Template};

use crate::error::{CliError, Result};
use crate::files;
use crate::options::{ForceArgs, examples, parse_resolution};
use crate::ui::{ACCENT, GOOD, outln};

/// Write a commented spec to start from
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc init                                                MobileNetV2 at 224x224, as in TensorFlow",
    "mbvc init small.yaml --width 0.35 --resolution 96",
    "mbvc init gray.yaml --input gray --classes 10            images of one channel",
    "mbvc init torch.yaml --padding symmetric --classes 1000  as in torchvision",
))]
pub struct Args {
    /// File to write; `-` is standard output
    #[arg(value_name = "PATH", default_value = "mobilenet_v2.yaml")]
    path: PathBuf,
    /// Name of the Rust type that the macro defines
    #[arg(long, default_value = "MobileNetV2")]
    name: String,
    /// Width multiplier
    #[arg(long, default_value_t = 1.0)]
    width: f64,
    /// Height and width in pixels, one number or HxW
    #[arg(long, value_name = "PIXELS", default_value = "224", value_parser = parse_resolution)]
    resolution: [usize; 2],
    /// Colors of the pixels
    #[arg(long, value_enum, default_value_t = Input::Rgb)]
    input: Input,
    /// Number of classes
    #[arg(long, value_name = "N", default_value_t = 1001)]
    classes: usize,
    /// Padding convention of the framework that trained the weights
    #[arg(long, value_enum, default_value_t = Padding::Same)]
    padding: Padding,
    #[command(flatten)]
    overwrite: ForceArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Input {
    /// Red, green and blue
    Rgb,
    /// One channel, computed from the colors of a picture
    Gray,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Padding {
    /// TensorFlow, Keras
    Same,
    /// PyTorch
    Symmetric,
}

pub fn run(args: &Args) -> Result {
    let padding = match args.padding {
        Padding::Same => spec::Padding::Same,
        Padding::Symmetric => spec::Padding::Symmetric,
    };
    let input = match args.input {
        Input::Rgb => spec::Color::Rgb,
        Input::Gray => spec::Color::Gray,
    };
    let options = Template {
        name: args.name.clone(),
        width: args.width,
        resolution: args.resolution,
        input,
        classes: args.classes,
        padding,
    };
    let text = spec::template(&options);
    let stdout = args.path.as_os_str() == "-";
    let shown = if stdout { "the new spec".to_owned() } else { args.path.display().to_string() };
    // Nothing is written if a value is out of range.
    let checked = spec::parse(&SourceFile::new(shown.as_str(), text.as_str()))?;
    if stdout {
        crate::ui::print(format_args!("{text}"));
        return Ok(());
    }
    if let Some(folder) = args.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|cause| CliError::io("create", folder, &cause))?;
    }
    files::write(&args.path, text.as_bytes(), args.overwrite.force)?;
    let [height, width] = checked.resolution;
    outln!(
        "{GOOD}wrote{GOOD:#} {shown}: {} of width {} at {height}x{width}, {} classes",
        checked.name,
        checked.width,
        checked.classes
    );
    outln!("\nNext:");
    let next = [
        (format!("mbvc check {shown}"), "reports errors, or the cost of the network"),
        (format!("mbvc dump {shown} --svg network.svg"), "draws the graph before and after fusion"),
        (format!("mbvc::mobilenet_v2!(\"{shown}\");"), "compiles it into your Rust crate"),
    ];
    let widest = next.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    for (command, what) in &next {
        outln!("  {ACCENT}{command:widest$}{ACCENT:#}  {what}");
    }
    Ok(())
}

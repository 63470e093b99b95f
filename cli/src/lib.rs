//! The command `mbvc`: compiles, imports, runs and measures networks of the MobileNetV2 family.
//!
//! It is a library so that the Python package has the command too, without a second copy of its code.

mod commands;
mod crops;
mod engine;
mod error;
mod files;
mod measure;
mod name;
mod options;
mod picture;
mod predict;
mod standalone;
mod stream;
mod thumbnail;
mod ui;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use commands::{
    bench, build, check, classify, demo, dump, emit, evaluate, import, init, inspect, pack, profile, quantize, verify,
};

/// Compiles MobileNetV2 networks, written as a YAML table, into specialized SIMD Rust
///
/// A spec is the file with the table. Weights are imported from ONNX, TFLite, Keras, TensorFlow.js or PyTorch models.
/// Without a spec, commands use the built-in network of the paper: width 1.0 at 224x224 with 1001 classes. Without a
/// command, mbvc runs a built-in demo, a small network that classifies icons.
#[derive(Parser)]
#[command(name = "mbvc", version, styles = ui::CLAP, max_term_width = 100, after_help = concat!(
    options::examples!(
        "mbvc                                                 run the demo",
        "mbvc icon.png                                        classify an icon with the demo network",
        "mbvc init network.yaml                               write a spec to start from",
        "mbvc check network.yaml                              report all errors in a spec",
        "mbvc import model.onnx --output weights.safetensors  import trained weights",
        "mbvc classify cat.jpg --weights weights.safetensors  classify a photograph",
    ),
    "\n\n\x1b[1mEnvironment:\x1b[0m",
    "\n  MBVC_ISA       instruction set, one of those in `mbvc classify --help`",
    "\n  MBVC_NUMERICS  summation of float products: strict or fast",
    "\n  MBVC_CACHE     folder for networks that are compiled on first use",
    "\n  RUSTC          Rust compiler for them and for `mbvc build`",
    "\n  MBVC_PYTHON    Python for the other engines of `mbvc verify`",
    "\n\n\x1b[1mJSON:\x1b[0m",
    "\n  --json prints one object per line. In file names, bytes that are not valid UTF-8 are written as `\\xNN`, and a backslash",
    "\n  as `\\\\`; JSON escaping is applied afterwards. Messages go to standard error.",
))]
struct Cli {
    #[command(flatten)]
    demo: demo::Args,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    color: colorchoice_clap::Color,
    /// Print the output of the Rust compiler and the linker if they fail
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Check(check::Args),
    Dump(dump::Args),
    Emit(emit::Args),
    Import(import::Args),
    Inspect(inspect::Args),
    Quantize(quantize::Args),
    Verify(verify::Args),
    Pack(pack::Args),
    Classify(classify::Args),
    Evaluate(evaluate::Args),
    Build(build::Args),
    Bench(bench::Args),
    Profile(profile::Args),
}

/// Runs the command with the arguments `args`, whose first is its name; returns the exit status. Misuse of the command line,
/// `--help` and a closed standard output end the process.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = Cli::parse_from(args);
    cli.color.write_global();
    ui::set_verbose(cli.verbose);
    let done = match cli.command {
        None => start(&cli.demo),
        Some(Command::Init(args)) => init::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Dump(args)) => dump::run(&args),
        Some(Command::Emit(args)) => emit::run(&args),
        Some(Command::Import(args)) => import::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Quantize(args)) => quantize::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        Some(Command::Pack(args)) => pack::run(&args),
        Some(Command::Classify(args)) => classify::run(&args),
        Some(Command::Evaluate(args)) => evaluate::run(&args),
        Some(Command::Build(args)) => build::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Profile(args)) => profile::run(&args),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => {
            failure.print();
            failure.status()
        }
    }
}

/// The commands without the arguments of the demo.
#[derive(Parser)]
#[command(name = "mbvc", styles = ui::CLAP)]
struct Commands {
    #[command(subcommand)]
    _command: Command,
}

/// Runs `mbvc` without a command: the demo, unless the first word is a misspelled command.
fn start(args: &demo::Args) -> error::Result {
    let is_word = |path: &&PathBuf| path.components().count() == 1 && path.extension().is_none() && !path.exists();
    if let Some(word) = args.pictures.first().filter(is_word)
        && let Err(misspelled) = Commands::try_parse_from([Path::new("mbvc"), word])
    {
        // The error suggests the similar command.
        misspelled.exit();
    }
    demo::run(args)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    /// A group of options with a heading passes it on to the options after it.
    #[test]
    fn only_groups_of_options_have_headings() {
        let command = Cli::command();
        command.clone().debug_assert();
        let groups = [
            ("Overrides of the spec", &["width", "resolution", "classes", "precision"][..]),
            ("Preprocessing", &["range", "mean", "std", "framing", "bgr"]),
        ];
        for subcommand in command.get_subcommands() {
            for option in subcommand.get_arguments() {
                let Some(heading) = option.get_help_heading() else { continue };
                let (_, members) = groups.iter().find(|(name, _)| *name == heading).unwrap();
                let (name, id) = (subcommand.get_name(), option.get_id().as_str());
                assert!(members.contains(&id), "{name} --{id} is under {heading}");
            }
        }
    }

    /// A wrapped example looks like two.
    #[test]
    fn examples_fit_the_width_of_the_help() {
        for subcommand in Cli::command().get_subcommands() {
            let text = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in text.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", subcommand.get_name());
            }
        }
    }
}

//! `mbvc pack`: writes weights in the layout of the kernels.

use std::path::{Path, PathBuf};

use mbvc::Isa;
use mbvc::info::{Numerics, Precision};
use mbvc_compiler::Compiled;
use mbvc_runtime::PackedHeader;
use serde::Serialize;

use crate::engine::{self, Source};
use crate::error::{CliError, Result};
use crate::options::{ForceArgs, FusionArg, IsaArg, NumericsArg, SpecOption, examples};
use crate::ui::{ACCENT, Bytes, GOOD, outln, plural};
use crate::{files, name, ui};

/// Pack weights for one network and instruction set
///
/// A packed file holds the weights in the layout that the kernels read, with labels, preprocessing and framing. A
/// program borrows it in place: no heap, no standard library, and no time for packing. Write `weights = "FILE"` in the
/// macro and call `embedded()`, or pass the bytes to `from_packed`.
///
/// The network does not run here, so a file can be packed for another processor; `--isa portable` is for
/// microcontrollers and WebAssembly. A file fits only the network of its spec, with the same width, resolution, fusion
/// level, threads and batch. The program that includes it fails to compile otherwise.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc pack weights.safetensors -o model.packed                  for this processor",
    "mbvc pack tiny.safetensors --spec tiny.yaml --isa portable -o tiny.packed",
    "                                  for a microcontroller; in its src/main.rs:",
    "                                  mobilenet_v2!(\"tiny.yaml\", weights = \"tiny.packed\");",
    "mbvc pack weights.safetensors --isa avx2,neon -o model.packed",
    "                                  writes model.avx2.packed and model.neon.packed",
    "mbvc pack weights.safetensors --isa avx512 --numerics fast -o zen4.packed",
))]
pub struct Args {
    /// Weights file, written by `mbvc import`
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// File to write; with several instruction sets, one for each, named by it before the extension
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Instruction sets, comma-separated [default: the widest of this processor]
    #[arg(long, value_enum, value_delimiter = ',')]
    isa: Vec<IsaArg>,
    /// Summation of products [default: strict; without --isa, fast if this processor gains from it]
    #[arg(long, value_enum)]
    numerics: Option<NumericsArg>,
    /// Fusion level [default: the spec's]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Threads that share a call [default: the spec's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    threads: Option<String>,
    /// Images of a batch [default: the spec's]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    batch: Option<String>,
    #[command(flatten)]
    overwrite: ForceArgs,
    /// Print one line of JSON for each file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    spec: SpecOption,
}

/// A written file.
#[derive(Serialize)]
struct Packed<'a> {
    file: String,
    version: u32,
    network: &'a str,
    isa: &'static str,
    numerics: &'static str,
    fusion: &'static str,
    bytes: usize,
    labels: usize,
}

pub fn run(args: &Args) -> Result {
    let weights = engine::weights(Some(&args.weights))?;
    let mut overrides = args.spec.overrides_for(Some(&weights));
    for (key, value) in [("threads", &args.threads), ("batch", &args.batch)] {
        if let Some(value) = value {
            overrides.set(key, value);
        }
    }
    let source = engine::source(args.spec.spec.as_deref(), overrides)?;
    let numerics = numerics(args, &source)?;
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let mut isas: Vec<Isa> = args.isa.iter().map(|isa| Isa::from(*isa)).collect();
    if isas.is_empty() {
        isas.push(source.isa(None)?);
    }
    isas.sort_unstable();
    isas.dedup();
    let outputs: Vec<PathBuf> = isas.iter().map(|isa| output(&args.output, *isa, isas.len())).collect();
    let inputs: Vec<&Path> = args.spec.spec.iter().chain([&args.weights]).map(PathBuf::as_path).collect();
    for path in &outputs {
        files::check_output(path, args.overwrite.force, &inputs)?;
    }
    let compiled = source.compile(fusion, &isas)?;
    compiled_in(&source, &isas)?;
    engine::check(&source, &compiled, &weights, "--spec FILE")?;
    let bar = ui::progress(isas.len(), "packing");
    for (isa, path) in isas.into_iter().zip(&outputs) {
        let Some(program) = compiled.programs.iter().find(|program| program.isa == isa) else {
            continue;
        };
        let (content, numerics) = mbvc_engine::pack(&compiled, program, numerics, &weights)?;
        files::write(path, &content, args.overwrite.force)?;
        bar.inc(1);
        let packed = Packed {
            file: name::of(path),
            version: PackedHeader::VERSION,
            network: &compiled.spec.name,
            isa: isa.name(),
            numerics: numerics.name(),
            fusion: fusion.name(),
            bytes: content.len(),
            labels: weights.labels().map_or(0, |labels| labels.len()),
        };
        bar.suspend(|| show(args, &packed));
    }
    bar.finish_and_clear();
    if !args.json {
        next(args, &compiled, &outputs);
    }
    Ok(())
}

/// Prints the lines of a program that uses the files.
fn next(args: &Args, compiled: &Compiled, outputs: &[PathBuf]) {
    outln!("\nIn a program, which reads the file when it is compiled:");
    if args.spec.spec.is_none() {
        outln!("  {ACCENT}mbvc init network.yaml{ACCENT:#}");
    }
    let spec = args.spec.spec.as_deref().unwrap_or(Path::new("network.yaml")).display();
    // The spec that `init` writes, or the one that `--precision` overrides, has another precision.
    let precision = match (args.spec.spec.is_none() || args.spec.overrides.precision.is_some(), compiled.spec.precision)
    {
        (true, precision) if precision != Precision::F32 => format!("precision = \"{}\", ", precision.word()),
        _ => String::new(),
    };
    for file in outputs {
        let file = file.display();
        outln!("  {ACCENT}mbvc::mobilenet_v2!(\"{spec}\", {precision}weights = \"{file}\");{ACCENT:#}");
    }
    outln!("  {ACCENT}let model = {}::embedded()?;{ACCENT:#}", compiled.spec.name);
}

/// The requested numerics. Without `--isa` the file depends on this processor anyway, and so does the default.
fn numerics(args: &Args, source: &Source) -> Result<Numerics> {
    let only = match (source.spec.precision, source.spec.numerics) {
        (Precision::Int8 | Precision::Uint8, _) => {
            Some(format!("{} networks sum integers, which is exact", source.spec.precision.word()))
        }
        (Precision::Bf16, _) => Some("bf16 networks have no fast inner product".to_owned()),
        (Precision::F32, mbvc_compiler::spec::Numerics::Strict) => Some("the spec has `numerics: strict`".to_owned()),
        (Precision::F32, mbvc_compiler::spec::Numerics::Fast) => None,
    };
    match (args.numerics.map(Numerics::from), only) {
        (Some(Numerics::Fast), Some(only)) => {
            Err(CliError::new(format!("--numerics fast does not apply: {only}")).help("remove --numerics fast"))
        }
        (_, Some(_)) => Ok(Numerics::Strict),
        (Some(numerics), None) => Ok(numerics),
        (None, None) if args.isa.is_empty() => {
            Numerics::Fast.choose().map_err(|cause| CliError::new(cause.to_string()))
        }
        (None, None) => Ok(Numerics::Strict),
    }
}

/// `model.packed`, or `model.avx2.packed` if there are several.
fn output(path: &Path, isa: Isa, count: usize) -> PathBuf {
    if count == 1 {
        return path.to_owned();
    }
    match path.extension() {
        Some(end) => {
            let mut ending = std::ffi::OsString::from(isa.name());
            ending.push(".");
            ending.push(end);
            path.with_extension(ending)
        }
        None => path.with_extension(isa.name()),
    }
}

/// A network rejects files for instruction sets that it is not compiled for.
fn compiled_in(source: &Source, isas: &[Isa]) -> Result {
    let absent = isas.iter().find(|isa| !source.spec.isas.contains(isa));
    absent.map_or(Ok(()), |isa| {
        let message = format!("{} is not compiled for {isa} and would reject the file", source.spec.name);
        Err(CliError::new(message).help(format!("add `{isa}` to `isa` in {}", source.file.name)))
    })
}

fn show(args: &Args, packed: &Packed<'_>) {
    if args.json {
        ui::json(packed);
        return;
    }
    let Packed { file, network, isa, numerics, bytes, labels, .. } = packed;
    let names = if *labels > 0 { format!(", {}", plural(*labels, "label")) } else { String::new() };
    outln!("{GOOD}wrote{GOOD:#} {file}: {network} for {isa}, {numerics}, {}{names}", Bytes(*bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_are_named_by_instruction_set() {
        let named = |path: &str, count| output(Path::new(path), Isa::Neon, count).display().to_string();
        assert_eq!(named("a/model.packed", 1), "a/model.packed");
        assert_eq!(named("a/model.packed", 2), "a/model.neon.packed");
        assert_eq!(named("v1.0.packed", 2), "v1.0.neon.packed");
        assert_eq!(named("a.b/model", 2), "a.b/model.neon");
    }
}

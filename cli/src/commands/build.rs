//! `mbvc build`: a program, or a library for C, with the weights inside.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mbvc::Isa;
use mbvc_compiler::Compiled;
use mbvc_engine::artifact::{Artifact, Built, Kind, Names};
use mbvc_engine::rustc::Compiler;
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::options::{FusionArg, IsaArg, KindArg, NumericsArg, SpecArgs, examples};
use crate::ui::{ACCENT, Bytes, DIM, GOOD, plural};
use crate::{engine, files, outln, ui};

/// Make a program that classifies pictures, or a library for C, with the weights inside
///
/// What is made needs no other file: it holds the network for every instruction set of its processor architecture, the
/// weights, the names of the classes, and how pictures are framed and preprocessed; weights are packed at its start, for the
/// processor that it runs on. The program reads binary PPM and PGM, BMP, and raw pixels. The header of a library
/// tells how C programs call it and are linked. It takes a Rust compiler, but nothing from a registry.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc build --weights weights.safetensors -o whatsthis && ./whatsthis cat.ppm",
    "mbvc build network.yaml --weights weights.safetensors --kind static -o net --example",
    "mbvc build network.yaml --weights weights.safetensors --kind shared -o net",
    "mbvc build --weights w.safetensors -o net --target aarch64-unknown-linux-gnu --linker aarch64-linux-gnu-gcc",
))]
pub struct Args {
    /// Weights, as `mbvc import` writes them
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// What to call it: the program NAME, or a library's NAME.h and libNAME.a, libNAME.so or what the platform calls it
    #[arg(long, short, value_name = "NAME")]
    output: PathBuf,
    /// What to make
    #[arg(long, value_enum, default_value_t = KindArg::Program)]
    kind: KindArg,
    /// Write NAME.c beside a library, a program that uses it
    #[arg(long)]
    example: bool,
    /// Platform to make it for, as `rustc --print target-list` spells it [default: this machine's]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Linker to use, for another platform usually its C compiler
    #[arg(long, value_name = "PROGRAM")]
    linker: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long)]
    force: bool,
    /// Report as JSON
    #[arg(long)]
    json: bool,
    /// How much is fused [default: as the spec says]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Instruction sets, separated by commas [default: as the spec says, which is all of them if it says nothing]
    #[arg(long, value_enum, value_delimiter = ',')]
    isa: Vec<IsaArg>,
    /// Threads that share each call [default: as the spec says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// How products are summed [default: as the spec says]
    #[arg(long, value_enum)]
    numerics: Option<NumericsArg>,
    #[command(flatten)]
    spec: SpecArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    kind: &'static str,
    network: &'a str,
    resolution: [usize; 2],
    classes: usize,
    precision: &'static str,
    fusion: &'static str,
    numerics: &'static str,
    threads: usize,
    /// Those of the target's architecture.
    isas: Vec<&'static str>,
    target: &'a str,
    weights_bytes: usize,
    files: Vec<File>,
    /// How a C program is compiled with the library.
    #[serde(skip_serializing_if = "Option::is_none")]
    compile: Option<&'a str>,
    seconds: f64,
}

#[derive(Serialize)]
struct File {
    path: String,
    bytes: usize,
}

pub fn run(args: &Args) -> Result {
    let start = Instant::now();
    let kind = Kind::from(args.kind);
    if args.example && !kind.is_library() {
        return Err(CliError::new("--example writes a C program that uses a library, and no library was asked for")
            .help("add --kind static or --kind shared"));
    }
    let names = Names::new(&args.output, kind)?;
    let weights = engine::weights(args.weights.as_deref())?;
    let mut overrides = args.spec.overrides_for(&weights);
    if let Some(threads) = args.threads {
        overrides.set("threads", &threads.to_string());
    }
    if let Some(numerics) = args.numerics {
        overrides.set("numerics", numerics.name());
    }
    let source = engine::source(args.spec.spec.as_deref(), overrides)?;
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let isas: Vec<Isa> = args.isa.iter().map(|isa| Isa::from(*isa)).collect();
    let compiled = source.compile(fusion, &isas)?;
    engine::check(&source, &compiled, &weights)?;

    let compiler = Compiler::find("building a program")?.with(args.target.as_deref(), args.linker.as_deref())?;
    let isas = isas_of(&compiled, &compiler)?;
    let code = engine::module(&compiled);
    let artifact = Artifact { kind, names, compiled: &compiled, code: &code, weights: &weights, example: args.example };
    for output in artifact.outputs(&compiler)? {
        check_place(args, &output)?;
    }
    let spec = &compiled.spec;
    let [height, width] = spec.resolution;
    let spinner = ui::spinner(format!("compiling {} {height}x{width} for {}", spec.name, isas.join(", ")));
    let built = artifact.build(&compiler)?;
    for file in &built.files {
        check_place(args, &file.path)?;
    }
    spinner.set_message("writing");
    files::write_all(&built.files)?;
    spinner.finish_and_clear();
    let written = built.files.iter();
    let report = Report {
        kind: kind.name(),
        network: &spec.name,
        resolution: spec.resolution,
        classes: spec.classes,
        precision: spec.precision.word(),
        fusion: spec.fusion.name(),
        numerics: spec.numerics.name(),
        threads: spec.threads,
        isas,
        target: compiler.target(),
        weights_bytes: weights.as_bytes().len(),
        files: written.map(|file| File { path: file.path.display().to_string(), bytes: file.content.len() }).collect(),
        compile: built.compile.as_deref(),
        seconds: (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    };
    if args.json {
        ui::json(&report)
    } else {
        tell(&report, &built)
    }
    Ok(())
}

/// The instruction sets whose kernels the target can have.
fn isas_of(compiled: &Compiled, compiler: &Compiler) -> Result<Vec<&'static str>> {
    let architecture = compiler.cfg("target_arch")?;
    let fits = |isa: &&Isa| isa.architecture().is_none_or(|one| one == architecture);
    let fitting: Vec<_> = compiled.spec.isas.iter().filter(fits).map(|isa| isa.name()).collect();
    if fitting.is_empty() {
        let named: Vec<_> = compiled.spec.isas.iter().map(|isa| isa.name()).collect();
        return Err(CliError::new(format!("no processor of {} has {}", compiler.target(), named.join(" or ")))
            .help("name an instruction set of that platform with --isa; `portable` runs everywhere"));
    }
    Ok(fitting)
}

/// Finds out before anything is compiled that a file would have no place.
fn check_place(args: &Args, output: &Path) -> Result {
    files::has_place(output)?;
    let shown = output.display();
    let inputs = args.weights.iter().chain(&args.spec.spec);
    if inputs.into_iter().any(|input| files::same(input, output)) {
        return Err(CliError::new(format!("{shown} would be overwritten by what is made of it"))
            .help("choose another name with --output"));
    }
    if output.exists() && !args.force {
        return Err(CliError::new(format!("{shown} is there already"))
            .help("choose another name with --output, or write over it with --force"));
    }
    Ok(())
}

fn tell(report: &Report<'_>, built: &Built) {
    let Report { network, resolution: [height, width], classes, precision, target, isas, .. } = report;
    for file in &report.files {
        outln!("{GOOD}wrote{GOOD:#} {} ({})", file.path, Bytes(file.bytes));
    }
    let weights = Bytes(report.weights_bytes);
    outln!("{network} {height}x{width}, {classes} classes, {precision}, with its weights ({weights})");
    let threads = if report.threads > 1 { format!(", {}", plural(report.threads, "thread")) } else { String::new() };
    outln!("{DIM}for {target}: {}{threads}; took {:.1} s{DIM:#}", isas.join(", "), report.seconds);
    match &built.compile {
        Some(compile) => outln!("\nA C program is compiled with it like this:\n  {ACCENT}{compile}{ACCENT:#}"),
        None => {
            let program = report.files.first().map_or("", |file| &file.path);
            let here = if Path::new(program).components().count() == 1 { "./" } else { "" };
            outln!("\nPictures are PPM, PGM, BMP, or raw pixels:\n  {ACCENT}{here}{program} PICTURE.ppm{ACCENT:#}");
        }
    }
}

//! `mbvc build`: builds a program, a C library, a web package or a project for a microcontroller with weights.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mbvc::Isa;
use mbvc_compiler::Compiled;
use mbvc_compiler::target::IsaFacts;
use mbvc_engine::artifact::{
    Artifact, Built, EMBEDDED_FLASH_BYTES, EMBEDDED_TARGET, Kind, Names, embedded_isas, web_isas,
};
use mbvc_engine::rustc::Compiler;
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::options::{ForceArgs, FusionArg, IsaArg, KindArg, NumericsArg, SpecArgs, examples};
use crate::ui::{ACCENT, Bytes, DIM, GOOD, outln, plural};
use crate::{engine, files, name, standalone, ui};

/// Build a program, C library, web package or microcontroller project that contains a network and its weights
///
/// A program or library requires no other file. It contains the network for every instruction set of the target architecture, the
/// weights, labels and preprocessing; weights are packed at startup for the processor that it runs on. The program
/// reads binary PPM and PGM, BMP, and raw pixels. The header of a library documents its functions and the linker flags.
///
/// A web package is a folder that contains WebAssembly modules with SIMD and with relaxed SIMD, of which the fastest
/// that the engine supports is loaded, packed weights, an ES module without dependencies and its types, and a demo page.
///
/// A project for a microcontroller is a folder with a Cargo project for Cortex-M that runs in QEMU: the network as a crate
/// without dependencies, packed weights, and a program that calls it without a heap or an operating system.
///
/// The build requires a Rust compiler, but no access to a package registry. A project for a microcontroller is written
/// but not compiled; compiling it with Cargo downloads the crates of the board support.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc build --weights weights.safetensors -o whatsthis && ./whatsthis cat.ppm",
    "mbvc build network.yaml --weights weights.safetensors --kind static -o net --example",
    "mbvc build network.yaml --weights weights.safetensors --kind shared -o net",
    "mbvc build network.yaml --weights weights.safetensors --kind web -o net && npm install ./net",
    "mbvc build network.yaml --weights int8.safetensors --kind embedded -o firmware",
    "mbvc build --weights w.safetensors -o net \\",
    "    --target aarch64-unknown-linux-gnu --linker aarch64-linux-gnu-gcc",
))]
pub struct Args {
    /// Weights file, written by `mbvc import`
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Name of the output: the program NAME, NAME.h with libNAME.a or the platform's shared library, or the folder NAME
    #[arg(long, short, value_name = "NAME")]
    output: PathBuf,
    /// Kind of output
    #[arg(long, value_enum, default_value_t = KindArg::Program)]
    kind: KindArg,
    /// Also write NAME.c, a program that uses the library
    #[arg(long)]
    example: bool,
    /// Embed the weights of a web package in its modules instead of writing a separate file
    #[arg(long)]
    embed: bool,
    /// Target platform, one of `rustc --print target-list` [default: this machine; wasm32-unknown-unknown for --kind web,
    /// thumbv7em-none-eabihf for --kind embedded]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Linker; for another platform usually its C compiler
    #[arg(long, value_name = "PROGRAM")]
    linker: Option<PathBuf>,
    #[command(flatten)]
    overwrite: ForceArgs,
    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
    /// Fusion level [default: the spec's]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Instruction sets, comma-separated [default: the spec's, or all]
    #[arg(long, value_enum, value_delimiter = ',')]
    isa: Vec<IsaArg>,
    /// Threads that share each call [default: the spec's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Summation of products [default: the spec's]
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
    /// Instruction sets of the target architecture.
    isas: Vec<&'static str>,
    target: &'a str,
    weights_bytes: usize,
    files: Vec<File>,
    /// Command that compiles a C program with the library.
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
        return Err(CliError::new("--example requires a library").help("add --kind static or --kind shared"));
    }
    if args.embed && kind != Kind::Web {
        return Err(
            CliError::new("--embed requires --kind web").help("programs and libraries always embed the weights")
        );
    }
    let target = target(args, kind)?;
    let names = Names::new(&args.output, kind)?;
    let weights = engine::weights(args.weights.as_deref())?;
    let mut overrides = args.spec.overrides_for(&weights);
    if let Some(threads) = threads(args, kind)? {
        overrides.set("threads", &threads.to_string());
    }
    if let Some(numerics) = args.numerics {
        overrides.set("numerics", numerics.name());
    }
    let source = engine::source(args.spec.spec.as_deref(), overrides)?;
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let mut isas: Vec<Isa> = args.isa.iter().map(|isa| Isa::from(*isa)).collect();
    if kind.is_folder() {
        let used = match kind {
            Kind::Web => web_isas(if isas.is_empty() { &source.spec.isas } else { &isas }),
            _ => embedded_isas(&source.spec, &isas, target.unwrap_or_default()),
        };
        // Without any, the error names those that are requested.
        isas = if used.is_empty() { isas } else { used };
    }
    let compiled = source.compile(fusion, &isas)?;
    engine::check(&source, &compiled, &weights, "mbvc build SPEC")?;

    let force = args.overwrite.force;
    let package = kind.is_folder().then(|| names.package());
    if let Some(folder) = &package {
        files::check_folder(folder, force)?;
    }
    let compiler = Compiler::find("building a program")?;
    let compiler = match (kind, target) {
        (Kind::Embedded, Some(target)) => compiler.with_sources_for(target)?,
        _ => compiler.with(target, args.linker.as_deref())?,
    };
    let isas = isas_of(&compiled, &compiler)?;
    let (example, embed) = (args.example, args.embed);
    let spec = &standalone::spec_text(&source.file.text, fusion, &args.spec.overrides);
    let artifact = Artifact { kind, names, compiled: &compiled, spec, weights: &weights, example, embed };
    let inputs: Vec<&Path> = args.weights.iter().chain(&args.spec.spec).map(PathBuf::as_path).collect();
    if package.as_ref().is_none_or(|folder| folder.exists()) {
        for output in artifact.outputs(&compiler)? {
            files::check_output(&output, force, &inputs)?;
        }
    }
    let spec = &compiled.spec;
    let [height, width] = spec.resolution;
    let spinner = ui::spinner(format!("compiling {} {height}x{width} for {}", spec.name, isas.join(", ")));
    let built = artifact.build(&compiler)?;
    spinner.set_message("writing");
    match &package {
        Some(folder) => files::write_folder(folder, &built.files, force)?,
        None => {
            for file in &built.files {
                files::check_output(&file.path, force, &inputs)?;
            }
            files::write_all(&built.files, force)?;
        }
    }
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
        files: written.map(|file| File { path: name::of(&file.path), bytes: file.content.len() }).collect(),
        compile: built.compile.as_deref(),
        seconds: (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    };
    if args.json {
        ui::json(&report)
    } else {
        show(&report, &built)
    }
    Ok(())
}

/// Target of web packages.
const WEB: &str = "wasm32-unknown-unknown";

/// The target of the arguments; `None` is this machine.
fn target(args: &Args, kind: Kind) -> Result<Option<&str>> {
    match (kind, args.target.as_deref()) {
        (Kind::Web, None | Some(WEB)) => Ok(Some(WEB)),
        (Kind::Web, Some(other)) => {
            Err(CliError::new(format!("--kind web is built for {WEB}, not for {other}")).help("remove --target"))
        }
        (Kind::Embedded, target) => Ok(Some(target.unwrap_or(EMBEDDED_TARGET))),
        (_, Some(target)) if target.starts_with("wasm") => {
            let message = format!("--kind {} is not supported for {target}", kind.name());
            Err(CliError::new(message).help("build a package for browsers and Node: --kind web, without --target"))
        }
        (_, target) => Ok(target),
    }
}

/// Threads of a call; `None` keeps those of the spec.
fn threads(args: &Args, kind: Kind) -> Result<Option<u16>> {
    match (kind, args.threads) {
        (Kind::Web, Some(2..)) => Err(CliError::new("--kind web runs each call on one thread")
            .help("remove --threads; `pool.js` of the package runs several workers")),
        (Kind::Embedded, Some(2..)) => {
            Err(CliError::new("--kind embedded runs each call on one thread").help("remove --threads"))
        }
        (Kind::Web | Kind::Embedded, _) => Ok(Some(1)),
        (_, threads) => Ok(threads),
    }
}

/// The instruction sets that the target architecture has.
fn isas_of(compiled: &Compiled, compiler: &Compiler) -> Result<Vec<&'static str>> {
    let architecture = compiler.cfg("target_arch")?;
    let fits = |isa: &&Isa| isa.architecture().is_none_or(|one| one == architecture);
    let fitting: Vec<_> = compiled.spec.isas.iter().filter(fits).map(|isa| isa.name()).collect();
    if fitting.is_empty() {
        let named: Vec<_> = compiled.spec.isas.iter().map(|isa| isa.name()).collect();
        return Err(CliError::new(format!("{} is not available on {}", named.join(", "), compiler.target()))
            .help("select an instruction set of that target with --isa; `portable` is available everywhere"));
    }
    Ok(fitting)
}

fn show(report: &Report<'_>, built: &Built) {
    let Report { network, resolution: [height, width], classes, precision, target, isas, .. } = report;
    let first = report.files.first();
    let folder = first.and_then(|file| Path::new(&file.path).parent()).unwrap_or(Path::new(""));
    if report.kind == Kind::Embedded.name() {
        let bytes = report.files.iter().map(|file| file.bytes).sum();
        outln!("{GOOD}wrote{GOOD:#} {}: {} ({})", folder.display(), plural(report.files.len(), "file"), Bytes(bytes));
    } else {
        for file in &report.files {
            outln!("{GOOD}wrote{GOOD:#} {} ({})", file.path, Bytes(file.bytes));
        }
    }
    let weights = Bytes(report.weights_bytes);
    outln!("{network} {height}x{width}, {classes} classes, {precision}, with weights ({weights})");
    let threads = if report.threads > 1 { format!(", {}", plural(report.threads, "thread")) } else { String::new() };
    outln!("{DIM}for {target}: {}{threads}; took {:.1} s{DIM:#}", isas.join(", "), report.seconds);
    if report.kind == Kind::Web.name() {
        let here = if folder.components().count() == 1 { "./" } else { "" };
        let folder = folder.display();
        outln!("\nAdd it to an application, or open its demo page:");
        outln!("  {ACCENT}npm install {here}{folder}{ACCENT:#}");
        outln!("  {ACCENT}npx serve {folder}{ACCENT:#}, then open demo.html");
        return;
    }
    if report.kind == Kind::Embedded.name() {
        let packed = report.files.iter().find(|file| file.path.ends_with(".packed")).map_or(0, |file| file.bytes);
        if packed > EMBEDDED_FLASH_BYTES {
            warn_of_flash(packed, precision);
        } else {
            outln!("\nRun it in QEMU (README.md describes boards):");
            outln!("  {ACCENT}cd {} && cargo run --release{ACCENT:#}", folder.display());
        }
        return;
    }
    match &built.compile {
        Some(compile) => outln!("\nCompile a C program with it:\n  {ACCENT}{compile}{ACCENT:#}"),
        None => {
            let program = report.files.first().map_or("", |file| &file.path);
            let here = if Path::new(program).components().count() == 1 { "./" } else { "" };
            outln!("\nIt reads PPM, PGM, BMP, and raw pixels:\n  {ACCENT}{here}{program} PICTURE.ppm{ACCENT:#}");
        }
    }
}

/// Warns of packed weights that the emulated board cannot hold.
fn warn_of_flash(packed: usize, precision: &str) {
    let flash = Bytes(EMBEDDED_FLASH_BYTES);
    ui::warning(&format!("the packed weights ({}) exceed the {flash} of flash of the emulated board", Bytes(packed)));
    if precision == "f32" || precision == "bf16" {
        ui::help("quantize the weights to int8 (`mbvc quantize`), which need a quarter of the flash");
    }
    ui::help("for a board with more flash, set FLASH in memory.x");
}

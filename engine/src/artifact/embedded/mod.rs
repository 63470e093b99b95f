//! Cargo projects for Cortex-M microcontrollers: the network as a crate of its own with packed weights, and a program
//! that calls it. Nothing is compiled here.

use std::fmt::Write as _;
use std::path::PathBuf;

use mbvc_compiler::spec::NetworkSpec;
use mbvc_compiler::target::IsaFacts;
use mbvc_compiler::{Compiled, Embedded, Form, Naming, Program};
use mbvc_runtime::{Color, Isa, Numerics};
use quote::quote;

use super::template::fill;
use super::{Artifact, Built, Names};
use crate::error::{Error, Result};
use crate::file::NewFile;
use crate::packed::pack;
use crate::source_text;
use crate::standalone::Standalone;

/// Texts of a project, by their paths in it.
const TEXTS: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("Cargo.toml.txt")),
    (".cargo/config.toml", include_str!("config.toml")),
    ("memory.x", include_str!("memory.x")),
    ("build.rs", include_str!("build.rs")),
    ("src/main.rs", include_str!("main.rs")),
    ("README.md", include_str!("README.md")),
];

/// Name of the packed weights in the folder of the network's crate.
const WEIGHTS: &str = "model.packed";

/// Cores with emulated boards, and the memory of these boards.
/// <https://www.qemu.org/docs/master/system/arm/mps2.html>
struct Board {
    /// Start of the target's name.
    target: &'static str,
    machine: &'static str,
    flash: &'static str,
    ram: &'static str,
    /// Whether its core has the instructions of `dsp`.
    has_dsp: bool,
    /// Further flags of rustc, each with a comma before it.
    flags: &'static str,
}

const BOARDS: [Board; 3] = [
    Board {
        target: "thumbv7em-",
        machine: "mps2-an386",
        flash: "0x00000000",
        ram: "0x20000000",
        has_dsp: true,
        flags: "",
    },
    Board {
        target: "thumbv7m-",
        machine: "mps2-an385",
        flash: "0x00000000",
        ram: "0x20000000",
        has_dsp: false,
        flags: "",
    },
    Board {
        target: "thumbv8m.main-",
        machine: "mps2-an505",
        flash: "0x10000000",
        ram: "0x38000000",
        has_dsp: true,
        flags: ", \"-Ctarget-cpu=cortex-m33\"",
    },
];

/// Bytes of flash of the emulated boards.
pub const FLASH_BYTES: usize = 4 << 20;

/// Target of projects: a Cortex-M4 or Cortex-M7 with floating-point unit.
pub const TARGET: &str = "thumbv7em-none-eabihf";

/// Returns the instruction set of a project for `target`: the best that is `requested`, otherwise that of the emulated board's
/// core. A spec that names only `portable` keeps it. Without any that fits, the result is empty.
pub fn isas(spec: &NetworkSpec, requested: &[Isa], target: &str) -> Vec<Isa> {
    let has_dsp = board(target).is_ok_and(|board| board.has_dsp) && spec.precision.is_quantized();
    if requested.is_empty() && has_dsp && *spec.isas != [Isa::Portable] {
        return vec![Isa::Dsp];
    }
    let available = if requested.is_empty() { &spec.isas } else { requested };
    let fits = |isa: &Isa| isa.architecture().is_none_or(|architecture| architecture == "arm");
    available.iter().copied().filter(fits).max().into_iter().collect()
}

/// Returns the paths of the files of a project that do not depend on the network.
pub fn outputs(names: &Names) -> Vec<PathBuf> {
    TEXTS.iter().map(|(name, _)| names.package().join(name)).collect()
}

/// Returns the files of a project for `target`.
///
/// # Errors
/// If there is no project for the target, or the weights cannot be packed.
pub fn build(artifact: &Artifact<'_>, target: &str) -> Result<Built> {
    let board = board(target)?;
    let Artifact { compiled, names, weights, .. } = artifact;
    let program = compiled.programs.iter().max_by_key(|program| program.isa).ok_or_else(|| {
        Error::new(format!("the network has no kernels for {target}")).help("add `portable` to --isa")
    })?;
    let (packed, _) = pack(compiled, program, Numerics::Strict, weights)?;
    let network = Standalone {
        network: &compiled.spec.name,
        code: &code(compiled, program.isa)?,
        spec: artifact.spec,
        input: [compiled.spec.resolution[0], compiled.spec.resolution[1], compiled.spec.input.channels()],
        classes: compiled.spec.classes,
    };
    let texts = Texts { artifact, program, board, target, network_crate: network.crate_name(), weights: packed.len() };
    let folder = names.package();
    let inner = folder.join("network");
    let mut files: Vec<_> =
        TEXTS.iter().map(|(name, text)| NewFile::text(folder.join(name), texts.fill(text))).collect();
    files.push(NewFile::text(
        folder.join("src/labels.rs"),
        labels(&weights.labels().unwrap_or_default(), compiled.spec.classes),
    ));
    files.push(NewFile { path: inner.join(WEIGHTS), content: packed, executable: false });
    files.extend(network.files().into_iter().map(|file| NewFile { path: inner.join(&file.path), ..file }));
    Ok(Built { files, compile: None })
}

/// The board that emulates a target.
///
/// # Errors
/// If the target is not a Cortex-M that the project's crates support.
fn board(target: &str) -> Result<&'static Board> {
    BOARDS.iter().find(|board| target.starts_with(board.target)).ok_or_else(|| {
        Error::new(format!("unsupported target for --kind embedded: expected a Cortex-M target, found `{target}`"))
            .help(
                "use a target such as thumbv7em-none-eabihf (Cortex-M4, M7) or thumbv8m.main-none-eabihf (Cortex-M33); \
                 `mbvc emit --standalone DIR` writes a crate for any target",
            )
    })
}

/// The generated code, with the packed weights as part of the crate.
fn code(compiled: &Compiled, isa: Isa) -> Result<String> {
    let naming = Naming::public(&compiled.spec.name, quote!(::mbvc_runtime));
    let path = format!("../{WEIGHTS}");
    let embedded =
        Embedded { form: Form::Packed(isa), name: WEIGHTS.to_owned(), bytes: quote!(::core::include_bytes!(#path)) };
    source_text::format(compiled.tokens_with(&naming, &embedded))
}

/// The module with the names of the classes.
fn labels(labels: &[String], classes: usize) -> String {
    let mut text =
        format!("//! Names of the classes, in the order of the logits.\n\npub static LABELS: [&str; {classes}] = [\n");
    for class in 0..classes {
        let label = labels.get(class).map_or_else(|| class.to_string(), Clone::clone);
        // A string literal of Rust.
        let _ = writeln!(text, "    {label:?},");
    }
    text.push_str("];\n");
    text
}

/// Facts for the texts of a project.
struct Texts<'a> {
    artifact: &'a Artifact<'a>,
    program: &'a Program,
    board: &'static Board,
    target: &'a str,
    network_crate: String,
    /// Bytes of the packed weights.
    weights: usize,
}

impl Texts<'_> {
    fn fill(&self, template: &str) -> String {
        let Self { artifact: Artifact { compiled, names, .. }, program, board, .. } = self;
        let spec = &compiled.spec;
        let [height, width] = spec.resolution;
        let numbers = [
            ("height", height),
            ("width", width),
            ("bytes", height * width * spec.input.channels()),
            ("classes", spec.classes),
            ("steps", program.steps.len()),
            ("flash_megabytes", FLASH_BYTES >> 20),
            ("weights_bytes", self.weights),
            ("scratch_bytes", program.scratch_bytes),
        ]
        .map(|(word, number)| (word, number.to_string()));
        let compare = if spec.precision.is_quantized() {
            "logits[*a].cmp(&logits[*b])"
        } else {
            "logits[*a].total_cmp(&logits[*b])"
        };
        let size = "`cargo size --release` (cargo-binutils)";
        // The prediction is for processors with the extension and a floating-point unit.
        let predicted = program.code_bytes.filter(|_| board.has_dsp && self.target.ends_with("eabihf"));
        let code = match predicted {
            Some(bytes) => format!("about {bytes} (predicted); measure with {size}"),
            None => size.to_owned(),
        };
        let words = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("crate", &names.stem),
            ("network_crate", &self.network_crate),
            ("target", self.target),
            ("machine", board.machine),
            ("flags", board.flags),
            ("flash_origin", board.flash),
            ("ram_origin", board.ram),
            ("network", &spec.name),
            ("precision", spec.precision.word()),
            ("isa", program.isa.name()),
            ("colors", if spec.input == Color::Gray { "gray" } else { "red, green and blue" }),
            ("compare", compare),
            ("code", &code),
        ];
        let facts: Vec<_> =
            words.into_iter().chain(numbers.iter().map(|(word, number)| (*word, number.as_str()))).collect();
        fill(template, &facts)
    }
}

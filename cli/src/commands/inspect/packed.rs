//! Content of a packed file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use mbvc::Isa;
use mbvc::errors::PackedError;
use mbvc_compiler::spec::Overrides;
use mbvc_networks as networks;
use mbvc_runtime::{PackedHeader, PackedText};
use serde::Serialize;

use super::{Args, shortened};
use crate::error::{CliError, Result};
use crate::options::FusionArg;
use crate::ui::{BOLD, Bytes, DIM, outln, plural};
use crate::{engine, name, ui};

/// The JSON output.
#[derive(Serialize)]
struct Packed<'a> {
    file: String,
    format: &'static str,
    version: u32,
    network: &'a str,
    isa: &'static str,
    /// Hash of the network and the layout that the file was packed for.
    identity: String,
    file_bytes: usize,
    block_bytes: usize,
    preprocessing: String,
    framing: &'a str,
    head_activation: &'static str,
    labels: Vec<&'a str>,
    /// The network that accepts the file. `None` if no spec was checked, or it does not accept it.
    fits: Option<Fits>,
}

#[derive(Serialize)]
struct Fits {
    spec: String,
    precision: &'static str,
    /// All levels that accept the file.
    fusion: Vec<&'static str>,
}

/// Shows a packed file; returns `false` for any other file.
///
/// # Errors
/// If the file is damaged or has another version, or the spec has errors.
pub fn show(args: &Args) -> Result<bool> {
    // Opening a pipe would wait for its writer.
    if !args.file.is_file() {
        return Ok(false);
    }
    let Ok(file) = File::open(&args.file) else { return Ok(false) };
    let failed = |cause: std::io::Error| CliError::io("read", &args.file, &cause);
    let length = file.metadata().map_err(failed)?.len();
    let mut start = Vec::new();
    (&file).take(PackedHeader::BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    if !PackedHeader::is_in(&start) {
        return Ok(false);
    }
    let refused = |cause: PackedError| CliError::new(format!("{}: {cause}", args.file.display()));
    let header = PackedHeader::parse(&start).map_err(refused)?;
    let length = usize::try_from(length).map_err(|_| refused(PackedError::Length))?;
    header.check_length(length).map_err(refused)?;
    let mut bytes = start;
    bytes.reserve_exact(length - bytes.len());
    file.take(length as u64).read_to_end(&mut bytes).map_err(failed)?;
    header.check_sum(&bytes).map_err(refused)?;
    let PackedText { network, framing, head_activation, labels } = header.text(&bytes).map_err(refused)?;
    let packed = Packed {
        file: name::of(&args.file),
        format: "packed",
        version: PackedHeader::VERSION,
        network,
        isa: header.isa.name(),
        identity: format!("{:016x}", header.identity),
        file_bytes: length,
        block_bytes: header.lines as usize * 64,
        preprocessing: header.preprocess.to_string(),
        framing,
        head_activation: head_activation.word(),
        labels: labels.lines().collect(),
        fits: fits(args, &header, network, length)?,
    };
    match args.json {
        true => ui::json(&packed),
        false => print(&packed, args.spec.spec.as_deref()),
    }
    Ok(true)
}

/// Finds the network that accepts the file: one of the given spec, or of the built-in one if the file has its name.
fn fits(args: &Args, header: &PackedHeader, network: &str, length: usize) -> Result<Option<Fits>> {
    let spec = args.spec.spec.as_deref();
    let given = engine::source(spec, args.spec.overrides.overrides())?;
    if spec.is_none() && given.spec.name != network {
        return Ok(None);
    }
    let any = ["f32", "int8", "uint8"].map(Some);
    let precisions = if spec.is_none() && args.spec.overrides.precision.is_none() { &any[..] } else { &[None] };
    for precision in precisions {
        let mut overrides: Overrides = args.spec.overrides.overrides();
        if let Some(precision) = precision {
            overrides.set("precision", precision);
        }
        let source = engine::source(spec, overrides)?;
        let levels = [FusionArg::None, FusionArg::Relu6, FusionArg::Block, FusionArg::Deep];
        let fusion = levels.into_iter().filter(|fusion| accepts(&source, *fusion, header, length));
        let fusion: Vec<_> = fusion.map(FusionArg::name).collect();
        if !fusion.is_empty() {
            let (spec, precision) = (source.file.name.clone(), source.spec.precision.word());
            return Ok(Some(Fits { spec, precision, fusion }));
        }
    }
    Ok(None)
}

/// Whether the network accepts the file. One that does not compile with this level or instruction set does not.
fn accepts(source: &engine::Source, fusion: FusionArg, header: &PackedHeader, length: usize) -> bool {
    let isa: Isa = header.isa;
    let Ok(compiled) = source.compile(fusion, &[isa]) else { return false };
    let parameters = compiled.parameters();
    let needs = compiled.needs(&parameters);
    compiled.programs.iter().any(|program| program.with_plan(|plan| header.check(&needs, plan, length)).is_ok())
}

fn print(packed: &Packed<'_>, spec: Option<&Path>) {
    let Packed { file, version, network, isa, identity, .. } = packed;
    outln!("{BOLD}{file}{BOLD:#}: packed weights, version {version}, {}\n", Bytes(packed.file_bytes));
    let labels = match packed.labels.first() {
        Some(first) => format!("{}: {}, ...", plural(packed.labels.len(), "name"), shortened(first)),
        None => "none".to_owned(),
    };
    let network = match &packed.fits {
        Some(Fits { spec, precision, fusion }) => {
            format!("{}: {spec}, precision {precision}, fusion {}", shortened(network), fusion.join(" or "))
        }
        None => shortened(network),
    };
    for (key, value) in [
        ("network", &*network),
        ("instruction set", isa),
        ("identity", identity),
        ("weights", &Bytes(packed.block_bytes).to_string()),
        ("preprocessing", &packed.preprocessing),
        ("framing", &shortened(packed.framing)),
        ("head activation", packed.head_activation),
        ("labels", &labels),
    ] {
        outln!("  {DIM}{key:<15}{DIM:#}  {value}");
    }
    if packed.fits.is_none() {
        match spec {
            Some(spec) => ui::note(&format!(
                "{} does not accept this file: it was packed for another network, for other --threads or --batch, or by \
                 another version",
                spec.display()
            )),
            None => ui::note(&format!(
                "{} does not accept this file; check another spec with --spec FILE",
                networks::SPEC_NAME
            )),
        }
    }
}

//! `mbvc dump`: prints the graph after any pass as text, DOT or SVG.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use mbvc::Isa;
use mbvc_compiler::ir::Graph;
use mbvc_compiler::ir::dot::dot;
use mbvc_compiler::ir::verify::VerifyErrors;
use mbvc_compiler::passes::{self, LOWERED, Remark, Target};

use crate::engine::{self, Source};
use crate::error::{CliError, Result};
use crate::options::{FusionArg, IsaArg, SpecArgs, examples};
use crate::picture::graph;
use crate::ui::{ACCENT, BOLD, GOOD, outln};
use crate::{files, ui};

/// Show the graph after any pass, as text or as a picture
///
/// Each line of the text is an operation with its inputs, shape, layout, tile, offset in the scratch, and the line of the spec
/// that it comes from. Remarks name operations that could have been fused but were not, with the reason.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc dump network.yaml                          the final graph",
    "mbvc dump network.yaml --after fold_batch_norm",
    "mbvc dump network.yaml --all | less             the graph after each pass",
    "mbvc dump network.yaml --dot | dot -Tpdf > network.pdf",
    "mbvc dump network.yaml --svg network.svg        before and after fusion, as a picture",
))]
pub struct Args {
    /// Show the graph after this pass
    #[arg(long, value_name = "PASS", value_parser = pass_names(), conflicts_with_all = ["all", "svg"])]
    after: Option<String>,
    /// Show the graph after each pass
    #[arg(long, conflicts_with_all = ["dot", "svg"])]
    all: bool,
    /// Print DOT, the language of Graphviz
    #[arg(long, conflicts_with = "svg")]
    dot: bool,
    /// Write an SVG picture of the network before and after fusion
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Overwrite an existing SVG file
    #[arg(long, requires = "svg")]
    force: bool,
    /// Fusion level [default: the spec's]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Instruction set, which decides layouts and tiles [default: the widest of this processor]
    #[arg(long, value_enum)]
    isa: Option<IsaArg>,
    #[command(flatten)]
    spec: SpecArgs,
}

const REPORT: &str = "please report it with the spec";

fn pass_names() -> PossibleValuesParser {
    PossibleValuesParser::new([LOWERED].into_iter().chain(passes::PASSES))
}

/// The graph after each pass, and the remarks of the passes.
struct Snapshots {
    graphs: Vec<(String, Graph)>,
    remarks: Vec<Remark>,
}

pub fn run(args: &Args) -> Result {
    if let Some(path) = &args.svg {
        files::check_output(path, args.force, &args.spec.inputs())?;
    }
    let mut overrides = args.spec.overrides.overrides();
    // Checked with the spec: not every precision has every level and instruction set.
    if let Some(fusion) = args.fusion {
        overrides.set("fusion", fusion.name());
    }
    if let Some(isa) = args.isa {
        overrides.set("isa", &format!("[{}]", Isa::from(isa).name()));
    }
    let source = engine::source(args.spec.spec.as_deref(), overrides)?;
    let fusion = FusionArg::from(source.spec.fusion);
    let isa = source.isa(args.isa.map(Isa::from))?;
    // Not every network has kernels for these, which shows only when it is compiled.
    if fusion == FusionArg::Deep || source.spec.batch > 1 {
        source.compile(fusion, &[isa])?;
    }
    let Snapshots { graphs, remarks } = snapshots(&source, fusion, isa)?;
    if let Some(path) = &args.svg {
        return picture(&source, &graphs, path, args.force);
    }
    if args.all {
        for (pass, graph) in &graphs {
            outln!("{BOLD}after {pass}{BOLD:#}\n{graph}");
        }
        show_remarks(&remarks);
        return Ok(());
    }
    let requested = args.after.as_deref();
    let found = match requested {
        Some(requested) => graphs.iter().find(|(pass, _)| pass == requested),
        None => graphs.last(),
    };
    let Some((_, graph)) = found else {
        let requested = requested.unwrap_or_default();
        return Err(CliError::new(format!("fusion level {} does not run {requested}", fusion.name()))
            .help("--fusion block runs every pass"));
    };
    if args.dot {
        ui::print(format_args!("{}", dot(graph)));
        return Ok(());
    }
    ui::print(format_args!("{graph}"));
    show_remarks(&remarks);
    Ok(())
}

fn snapshots(source: &Source, fusion: FusionArg, isa: Isa) -> Result<Snapshots> {
    let mut graphs = Vec::new();
    let broken =
        |cause: VerifyErrors| CliError::new(format!("the graph is invalid, a bug in mbvc: {cause}")).help(REPORT);
    let mut graph = mbvc_compiler::lower::lower(&source.spec);
    let mut keep = |pass: &str, graph: &Graph| graphs.push((pass.to_owned(), graph.clone()));
    let remarks = passes::run(&mut graph, fusion.into(), None, &mut keep).map_err(broken)?;
    // Layouts, tiles and scratch of quantized networks are planned by the code generator.
    if source.spec.precision.is_quantized() {
        return Ok(Snapshots { graphs, remarks });
    }
    let target = Target { fusion: fusion.into(), ..Target::new(&source.spec, isa) };
    passes::schedule(&mut graph, target, None, &mut keep).map_err(broken)?;
    Ok(Snapshots { graphs, remarks })
}

fn show_remarks(remarks: &[Remark]) {
    for remark in remarks {
        ui::note(&remark.to_string());
    }
}

fn picture(source: &Source, graphs: &[(String, Graph)], path: &Path, force: bool) -> Result {
    let [height, width] = source.spec.resolution;
    let title = format!("{} {height}×{width}", source.spec.name);
    let subtitle = format!("{}, width {}, {} classes", source.file.name, source.spec.width, source.spec.classes);
    let picture = graphs
        .first()
        .zip(graphs.last())
        .and_then(|((_, before), (_, after))| graph::draw(&title, &subtitle, before, after))
        .ok_or_else(|| CliError::new("the graph has a cycle, a bug in mbvc").help(REPORT))?;
    files::write(path, picture.as_bytes(), force)?;
    outln!("{GOOD}wrote{GOOD:#} {ACCENT}{}{ACCENT:#}", path.display());
    Ok(())
}

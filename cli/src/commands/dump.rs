//! `mbvc dump`: the graph, after any pass, as text, as DOT, as a picture.

use std::path::PathBuf;

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
use crate::ui::{ACCENT, BOLD, GOOD};
use crate::{files, outln, ui};

/// Show the graph: after a pass, after all of them, or as a picture
///
/// Each line of the text is an operation: inputs, shape, layout, tile, place in the scratch, and the line of the spec
/// that made it. Remarks tell what could have been fused and was not.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc dump network.yaml                          what runs, after all passes",
    "mbvc dump network.yaml --after fold_batch_norm",
    "mbvc dump network.yaml --all | less             after every pass in turn",
    "mbvc dump network.yaml --dot | dot -Tpdf > network.pdf",
    "mbvc dump network.yaml --svg network.svg        before and after fusion, as a picture",
))]
pub struct Args {
    /// The pass to stop after
    #[arg(long, value_name = "PASS", value_parser = pass_names(), conflicts_with_all = ["all", "svg"])]
    after: Option<String>,
    /// The graph after every pass in turn
    #[arg(long, conflicts_with_all = ["dot", "svg"])]
    all: bool,
    /// For Graphviz instead of for reading
    #[arg(long, conflicts_with = "svg")]
    dot: bool,
    /// Draw the network before and after fusion
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How much is fused [default: as the spec says]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Instruction set, for layouts and tiles [default: the widest that this processor has]
    #[arg(long, value_enum)]
    isa: Option<IsaArg>,
    #[command(flatten)]
    spec: SpecArgs,
}

fn pass_names() -> PossibleValuesParser {
    PossibleValuesParser::new([LOWERED].into_iter().chain(passes::PASSES))
}

/// The graph as it left each pass, and what the passes remarked.
struct Snapshots {
    graphs: Vec<(String, Graph)>,
    remarks: Vec<Remark>,
}

pub fn run(args: &Args) -> Result {
    let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides.overrides())?;
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let isa = engine::isa(&source, args.isa.map(Isa::from))?;
    let Snapshots { graphs, remarks } = snapshots(&source, fusion, isa)?;
    if let Some(path) = &args.svg {
        return picture(&source, &graphs, path);
    }
    if args.all {
        for (pass, graph) in &graphs {
            outln!("{BOLD}after {pass}{BOLD:#}\n{graph}");
        }
        show_remarks(&remarks);
        return Ok(());
    }
    let wanted = args.after.as_deref();
    let found = match wanted {
        Some(wanted) => graphs.iter().find(|(pass, _)| pass == wanted),
        None => graphs.last(),
    };
    let Some((_, graph)) = found else {
        let wanted = wanted.unwrap_or_default();
        return Err(CliError::new(format!("fusion level {} does not run {wanted}", fusion.name()))
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
        |cause: VerifyErrors| CliError::new(format!("the compiler broke the graph, a mistake of mbvc: {cause}"));
    let mut graph = mbvc_compiler::lower::lower(&source.spec);
    let mut keep = |pass: &str, graph: &Graph| graphs.push((pass.to_owned(), graph.clone()));
    let remarks = passes::run(&mut graph, fusion.into(), None, &mut keep).map_err(broken)?;
    // Nothing is known yet of how an instruction set runs quantized layers.
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

fn picture(source: &Source, graphs: &[(String, Graph)], path: &std::path::Path) -> Result {
    let [height, width] = source.spec.resolution;
    let title = format!("{} {height}×{width}", source.spec.name);
    let subtitle = format!("{}, width {}, {} classes", source.file.name, source.spec.width, source.spec.classes);
    let picture = graphs
        .first()
        .zip(graphs.last())
        .and_then(|((_, before), (_, after))| graph::draw(&title, &subtitle, before, after))
        .ok_or_else(|| CliError::new("the graph has a cycle: a mistake of mbvc"))?;
    files::write(path, picture.as_bytes())?;
    outln!("{GOOD}wrote{GOOD:#} {ACCENT}{}{ACCENT:#}", path.display());
    Ok(())
}

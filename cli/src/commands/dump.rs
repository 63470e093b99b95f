//! `mbvc dump`: the graph, after any pass, as text, as DOT, as a picture.

use std::path::PathBuf;

use crate::error::{CliError, Result};
use crate::options::{FusionArg, SpecArgs, examples};
use crate::picture::graph;
use crate::ui::{ACCENT, GOOD};
use crate::{engine, files, outln};

/// Show the graph: after a pass, after all of them, or as a picture
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc dump --svg network.svg",
))]
pub struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Draw the network before and after fusion
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How much is fused [default: as the spec says]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
}

pub fn run(args: &Args) -> Result {
    let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides.overrides())?;
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let before = source.compile(FusionArg::None, &[mbvc::Isa::Portable])?.graph;
    let after = source.compile(fusion, &[])?;
    let after = after.programs.into_iter().next().map_or(after.graph, |program| program.graph);
    if let Some(path) = &args.svg {
        let [height, width] = source.spec.resolution;
        let title = format!("{} {height}×{width}", source.spec.name);
        let subtitle = format!("{}, width {}, {} classes", source.file.name, source.spec.width, source.spec.classes);
        let picture = graph::draw(&title, &subtitle, &before, &after)
            .ok_or_else(|| CliError::new("the graph has a cycle: a mistake of mbvc"))?;
        files::write(path, picture.as_bytes())?;
        outln!("{GOOD}wrote{GOOD:#} {ACCENT}{}{ACCENT:#}", path.display());
    }
    Ok(())
}

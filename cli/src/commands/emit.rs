//! `mbvc emit`: prints generated code, or writes it as a crate.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mbvc::Isa;
use mbvc_compiler::ir::Op;
use mbvc_compiler::{Compiled, Naming, Program};
use mbvc_engine::source_text;
use proc_macro2::{TokenStream, TokenTree};
use quote::quote;

use crate::error::{CliError, Result};
use crate::options::{FusionArg, IsaArg, SpecArgs, examples};
use crate::standalone::{self, Standalone};
use crate::ui::{ACCENT, GOOD, outln, plural};
use crate::{engine, ui};

/// Print the generated Rust code, or write it as a crate
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc emit --block 2                          the code of block 2 for this processor",
    "mbvc emit --layer 5 --fusion relu6 --isa avx2",
    "mbvc emit network.yaml --all > network.rs",
    "mbvc emit network.yaml --standalone network  a crate that builds without a registry",
))]
#[command(group = clap::ArgGroup::new("what").required(true).args(["layer", "block", "all", "standalone"]))]
pub struct Args {
    /// Print the kernel of layer N and the step that calls it; layers count from 1, as in the published table
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Print the step and the kernels of block N; blocks count from 1
    #[arg(long, value_name = "N")]
    block: Option<usize>,
    /// Print the whole expansion of the macro
    #[arg(long)]
    all: bool,
    /// Write a crate that builds offline
    #[arg(long, value_name = "DIR")]
    standalone: Option<PathBuf>,
    /// Overwrite files of a folder that is not empty
    #[arg(long, requires = "standalone")]
    force: bool,
    /// Fusion level [default: the spec's]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Instruction sets, comma-separated [default: with --layer or --block the widest of this processor, otherwise the
    /// spec's]
    #[arg(long, value_enum, value_delimiter = ',')]
    isa: Vec<IsaArg>,
    #[command(flatten)]
    spec: SpecArgs,
}

pub fn run(args: &Args) -> Result {
    let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides.overrides())?;
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let mut isas: Vec<Isa> = args.isa.iter().map(|isa| Isa::from(*isa)).collect();
    let part = args.layer.is_some() || args.block.is_some();
    if isas.is_empty() && part {
        isas.push(source.isa(None)?);
    }
    let compiled = source.compile(fusion, &isas)?;
    if part {
        let mut first = true;
        for program in &compiled.programs {
            let text = match (args.layer, args.block) {
                (Some(layer), _) => layer_code(&compiled, program, layer)?,
                (_, Some(block)) => block_code(program, block)?,
                _ => String::new(),
            };
            ui::print(format_args!("{}{text}", if first { "" } else { "\n" }));
            first = false;
        }
        return Ok(());
    }
    let runtime = if args.standalone.is_some() { quote!(::mbvc_runtime) } else { quote!(::mbvc::__runtime) };
    let naming = Naming::public(&compiled.spec.name, runtime);
    let code = source_text::format(compiled.tokens(&naming))?;
    let Some(folder) = &args.standalone else {
        ui::print(format_args!("{code}"));
        return Ok(());
    };
    let [height, width] = compiled.spec.resolution;
    let content = Standalone {
        network: &compiled.spec.name,
        code: &code,
        spec: &standalone::spec_text(&source.file.text, fusion, &args.spec.overrides),
        input: [height, width, compiled.spec.input.channels()],
        classes: compiled.spec.classes,
    };
    let name = standalone::write_crate(folder, &content, args.force)?;
    let (shown, lines) = (folder.display(), plural(code.lines().count(), "line"));
    outln!("{GOOD}wrote{GOOD:#} {shown}: the crate {name}, {lines} of generated code");
    outln!("\nIt builds offline:\n  {ACCENT}cd {shown} && cargo build --release --offline{ACCENT:#}");
    Ok(())
}

/// The step of a block and all its kernels.
fn block_code(program: &Program, block: usize) -> Result<String> {
    let block_name = format!("block{block}");
    let named = |name: &str| name.split('_').any(|part| part == block_name);
    let Some(step) = program.steps.iter().find(|step| named(&step.name)) else {
        let blocks = program.steps.iter().filter(|step| step.name.contains("block")).count();
        return Err(CliError::new(format!("no block {block}")).help(format!("blocks count from 1 to {blocks}")));
    };
    let mut kernels: Vec<_> = Vec::new();
    for kernel in &step.kernels {
        if !kernels.iter().any(|(name, _)| *name == &kernel.name) {
            kernels.push((&kernel.name, &kernel.item));
        }
    }
    let items = kernels.iter().map(|(_, item)| item);
    let function = &step.item;
    text(program, &step.name, quote!(#function #(#items)*))
}

/// The step that runs a layer, and the kernels of that layer only.
fn layer_code(compiled: &Compiled, program: &Program, layer: usize) -> Result<String> {
    let layers = layers(program);
    let Some((_, step, name)) = layers.iter().find(|(number, ..)| *number == layer) else {
        let last = layers.iter().map(|(number, ..)| *number).max().unwrap_or(0);
        return Err(CliError::new(format!("no layer {layer} in {}", compiled.spec.name))
            .help(format!("layers count from 1 to {last}; `mbvc dump` lists them")));
    };
    let prefix = format!("step_{step}_");
    let Some(step) = program.steps.iter().find(|one| one.name.starts_with(&prefix)) else {
        return Err(CliError::new(format!("layer {layer}, {name}, has no code")));
    };
    let stage = step.stages.iter().position(|stage| stage.name == *name || name.ends_with(&format!(".{}", stage.name)));
    let mut calls =
        Calls { known: step.kernels.iter().map(|kernel| kernel.name.as_str()).collect(), ..Calls::default() };
    calls.scan(step.item.clone());
    let of_layer: BTreeSet<String> =
        calls.by_stage.into_iter().filter(|(at, _)| Some(*at) == stage).flat_map(|(_, names)| names).collect();
    let mut items = Vec::new();
    for kernel in step.kernels.iter().filter(|kernel| of_layer.contains(&kernel.name)) {
        if !items.iter().any(|(name, _)| *name == &kernel.name) {
            items.push((&kernel.name, &kernel.item));
        }
    }
    let items = items.iter().map(|(_, item)| item);
    let function = &step.item;
    text(program, &format!("layer {layer}, {name}"), quote!(#function #(#items)*))
}

/// Number, step and name of every layer.
fn layers(program: &Program) -> Vec<(usize, usize, String)> {
    let graph = &program.graph;
    let nodes = graph.order().unwrap_or_default().into_iter().map(|id| graph.node(id));
    nodes
        .flat_map(|node| match &node.op {
            Op::Fused(fused) => fused.stages.iter().map(|stage| &stage.origin).collect(),
            _ => vec![&node.origin],
        })
        .filter_map(|origin| Some((origin.layer?, origin.step, origin.name.clone())))
        .collect()
}

/// The kernels that a step calls for each stage: those called before `observer.stage(step, stage)`.
#[derive(Default)]
struct Calls<'a> {
    known: Vec<&'a str>,
    pending: Vec<String>,
    by_stage: Vec<(usize, Vec<String>)>,
    /// Number of tokens of `observer.stage` seen last.
    seen: usize,
}

impl Calls<'_> {
    fn scan(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    self.seen = match (name.as_str(), self.seen) {
                        ("observer", _) => 1,
                        ("stage", 2) => 3,
                        _ => 0,
                    };
                    if self.known.contains(&name.as_str()) {
                        self.pending.push(name);
                    }
                }
                TokenTree::Punct(dot) => self.seen = if dot.as_char() == '.' && self.seen == 1 { 2 } else { 0 },
                TokenTree::Group(group) if self.seen == 3 => {
                    self.seen = 0;
                    let stage = group.stream().into_iter().last().and_then(|last| last.to_string().parse().ok());
                    if let Some(stage) = stage {
                        self.by_stage.push((stage, std::mem::take(&mut self.pending)));
                    }
                }
                TokenTree::Group(group) => {
                    self.seen = 0;
                    self.scan(group.stream());
                }
                TokenTree::Literal(_) => self.seen = 0,
            }
        }
    }
}

/// Formats items of a program under a title line.
fn text(program: &Program, what: &str, items: TokenStream) -> Result<String> {
    let code = source_text::format(items)?;
    Ok(format!("// {what}, for {}\n\n{}", program.isa.name(), spaced(&code)))
}

/// Inserts a blank line between items.
fn spaced(code: &str) -> String {
    let mut text = String::with_capacity(code.len() + 64);
    let mut after_item = false;
    for line in code.lines() {
        if after_item {
            text.push('\n');
        }
        text += line;
        text.push('\n');
        after_item = line == "}";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_belong_to_the_stage_that_follows_their_call() {
        let step = quote! {
            fn step(observer: &mut O) {
                for y in 0..4 { expand(x, stage); observer.stage(3, 0); }
                { depthwise(y); other(z); observer.stage(3, 1); }
                observer.step(3, view);
            }
        };
        let mut calls = Calls { known: vec!["expand", "depthwise"], ..Calls::default() };
        calls.scan(step);
        assert_eq!(calls.by_stage, [(0, vec!["expand".to_owned()]), (1, vec!["depthwise".to_owned()])]);
    }

    #[test]
    fn items_are_separated() {
        assert_eq!(
            spaced("fn a() {\n    if b {\n    }\n}\nfn c() {}\n"),
            "fn a() {\n    if b {\n    }\n}\n\nfn c() {}\n"
        );
    }
}

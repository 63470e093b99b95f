//! The compiler of mbvc: from a YAML spec to specialized Rust.
//!
//! ```text
//! spec  ->  lower  ->  passes  ->  per instruction set: layouts, tiles, scratch  ->  codegen
//! ```

#![warn(missing_docs)]

pub mod codegen;
pub mod diagnostic;
pub mod ir;
pub mod lower;
pub mod passes;
pub mod schedule;
pub mod spec;
pub mod target;

use std::path::Path;

use mbvc_runtime::{Conventions, Needs, Parameter};
use proc_macro2::TokenStream;

pub use codegen::{Embedded, Form, Naming, Program};
use diagnostic::{Diagnostic, Origin, catalog};
pub use diagnostic::{Diagnostics, SourceFile};
use ir::verify::VerifyErrors;
use ir::{Graph, Peak};
use passes::{Remark, Target};
use spec::{Fusion, NetworkSpec, Overrides};

/// A compiled network, with the results of each stage of the pipeline.
pub struct Compiled {
    /// The spec with its overrides applied.
    pub spec: NetworkSpec,
    /// Graph after the rewriting passes, independent of the instruction set.
    pub graph: Graph,
    /// Missed fusions.
    pub remarks: Vec<Remark>,
    /// Programs, one per instruction set of the spec.
    pub programs: Vec<Program>,
}

/// Compiles the text of a spec. `overrides` replace values of the spec.
///
/// # Errors
/// If the spec or an override is invalid. The diagnostics list every error.
pub fn compile(source: &SourceFile, overrides: &Overrides) -> Result<Compiled, Diagnostics> {
    let spec = spec::parse_with(source, overrides)?;
    let reject = |mistake: Diagnostic| {
        let mut mistakes = Diagnostics::new(source.clone());
        mistakes.push(mistake);
        mistakes
    };
    if let Some(mistake) = without_kernels(&spec) {
        return Err(reject(mistake));
    }
    let (graph, remarks, programs) = generate(&spec).map_err(|broken| reject(internal(&broken)))?;
    let largest = programs.iter().max_by_key(|program| program.scratch_bytes);
    let needed = largest.map_or(0, |program| program.scratch_bytes);
    match spec.check_scratch(needed, largest.and_then(|program| Peak::of(&program.graph)).as_ref()) {
        Some(mistake) => Err(reject(mistake)),
        None => Ok(Compiled { spec, graph, remarks, programs }),
    }
}

/// Returns the error of a valid spec for which no code can be generated.
fn without_kernels(spec: &NetworkSpec) -> Option<Diagnostic> {
    let deep = spec.fusion == Fusion::Deep;
    if deep && (!spec.precision.is_quantized() || spec.threads > 1) {
        let message = "`fusion: deep` is supported only for quantized networks on one thread".to_owned();
        return Some(Diagnostic::new(&catalog::KERNELS, message).help("write `fusion: block`"));
    }
    if deep && spec.isas.len() > 1 && spec.isas.contains(&spec::Isa::Dsp) {
        // It streams other blocks, so that other blocks are chained to steps.
        let message = "`fusion: deep` cannot combine dsp with other instruction sets";
        return Some(Diagnostic::new(&catalog::KERNELS, message).help("write `isa: dsp`"));
    }
    if spec.batch > 1 && !spec.head.dense.is_empty() {
        let message = "batches are not supported with dense layers before the classifier";
        return Some(Diagnostic::new(&catalog::KERNELS, message).help("write `batch: 1`, or remove `head.dense`"));
    }
    let place = spec.precision_place?;
    if spec.batch == 1 {
        return None;
    }
    let message = format!("batches are not supported for precision {}", spec.precision.word());
    let mistake = Diagnostic::new(&catalog::KERNELS, message).help("write `batch: 1`");
    Some(if place.origin == Origin::Spec { mistake.at(place) } else { mistake })
}

fn generate(spec: &NetworkSpec) -> Result<(Graph, Vec<Remark>, Vec<Program>), VerifyErrors> {
    let mut graph = lower::lower(spec);
    let remarks = passes::run(&mut graph, spec.fusion, None, &mut |_, _| {})?;
    let program = |isa: &spec::Isa| {
        let mut graph = graph.clone();
        let scratch = passes::schedule(&mut graph, Target::new(spec, *isa), None, &mut |_, _| {})?;
        Ok(Program::new(graph, spec, *isa, scratch))
    };
    let programs = spec.isas.iter().map(program).collect::<Result<_, _>>()?;
    Ok((graph, remarks, programs))
}

/// Returns the diagnostic of an internal compiler error: a pass produced an invalid graph.
fn internal(broken: &VerifyErrors) -> Diagnostic {
    Diagnostic::new(&catalog::INTERNAL, broken.to_string()).help("please report this with the spec")
}

impl Compiled {
    /// Returns the items that the macro expands to.
    pub fn tokens(&self, naming: &Naming) -> TokenStream {
        codegen::network(&self.spec, &self.programs, naming, None)
    }

    /// Returns [`tokens`](Self::tokens) with embedded weights.
    pub fn tokens_with(&self, naming: &Naming, weights: &Embedded) -> TokenStream {
        codegen::network(&self.spec, &self.programs, naming, Some(weights))
    }

    /// Lowers a valid spec without an instruction set. The result is an unfused network without programs, to check
    /// weights against.
    ///
    /// # Errors
    /// If a pass produced an invalid graph, which is a bug in the compiler.
    pub fn without_programs(spec: &NetworkSpec) -> Result<Self, VerifyErrors> {
        let spec = NetworkSpec { isas: Vec::new(), fusion: Fusion::None, ..spec.clone() };
        let (graph, remarks, programs) = generate(&spec)?;
        Ok(Self { spec, graph, remarks, programs })
    }

    /// Returns the conventions that weights of the network must match.
    pub fn conventions(&self) -> Conventions {
        codegen::facts::conventions(&self.spec)
    }

    /// Returns the requirements on the weights of the network, of which `parameters` are the tensors.
    pub fn needs<'a>(&self, parameters: &'a [Parameter<'a>]) -> Needs<'a> {
        Needs { conventions: self.conventions(), resolution: self.spec.resolution, parameters }
    }

    /// Returns the network's tensors, in order of execution.
    pub fn parameters(&self) -> Vec<Parameter<'_>> {
        codegen::facts::parameters(self.programs.first().map_or(&self.graph, |program| &program.graph))
    }
}

/// Compiles the spec at `path`. Messages call it `name`.
///
/// # Errors
/// If the file cannot be read, or the spec or an override is invalid. The diagnostics list every error.
pub fn compile_file(path: &Path, name: &str, overrides: &Overrides) -> Result<Compiled, Diagnostics> {
    compile(&spec::read(path, name)?, overrides)
}

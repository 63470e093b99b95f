//! The compiler of mbvc: from a YAML table to specialized Rust.
//!
//! ```text
//! spec  ->  lower  ->  passes  ->  per instruction set: layouts, tiles, scratch  ->  codegen
//! ```

#![warn(missing_docs)]

pub mod codegen;
pub mod diagnostic;
pub mod interp;
pub mod ir;
pub mod lower;
pub mod passes;
pub mod schedule;
pub mod spec;
pub mod target;

use std::path::Path;

use mbvc_runtime::{Conventions, Parameter};
use proc_macro2::TokenStream;

pub use codegen::{Embedded, Form, Naming, Program};
use diagnostic::{Diagnostic, Origin, catalog};
pub use diagnostic::{Diagnostics, SourceFile};
use ir::verify::VerifyErrors;
use ir::{Graph, Peak};
use passes::{Remark, Target};
use spec::{Fusion, NetworkSpec, Overrides};

/// A network on every level of the pipeline.
pub struct Compiled {
    /// As it was read, with the overrides in it.
    pub spec: NetworkSpec,
    /// After the rewriting passes, before anything is known of an instruction set.
    pub graph: Graph,
    /// What could have been fused and was not.
    pub remarks: Vec<Remark>,
    /// One for each instruction set that the spec names.
    pub programs: Vec<Program>,
}

/// Compiles a spec's text; `overrides` take the place of its own values.
///
/// # Errors
/// All mistakes of the spec and the overrides.
pub fn compile(source: &SourceFile, overrides: &Overrides) -> Result<Compiled, Diagnostics> {
    let spec = spec::parse_with(source, overrides)?;
    let refuse = |mistake: Diagnostic| {
        let mut mistakes = Diagnostics::new(source.clone());
        mistakes.push(mistake);
        mistakes
    };
    if let Some(mistake) = without_kernels(&spec) {
        return Err(refuse(mistake));
    }
    let (graph, remarks, programs) = generate(&spec).map_err(|broken| refuse(internal(&broken)))?;
    let largest = programs.iter().max_by_key(|program| program.scratch_bytes);
    let needed = largest.map_or(0, |program| program.scratch_bytes);
    match spec.check_scratch(needed, largest.and_then(|program| Peak::of(&program.graph)).as_ref()) {
        Some(mistake) => Err(refuse(mistake)),
        None => Ok(Compiled { spec, graph, remarks, programs }),
    }
}

/// The mistake of a spec that can be checked, lowered and interpreted, but for which there is no code generator yet.
fn without_kernels(spec: &NetworkSpec) -> Option<Diagnostic> {
    let deep = spec.fusion == Fusion::Deep;
    if deep && (!spec.precision.is_quantized() || spec.threads > 1) {
        let message = "kernels for `fusion: deep` are generated for quantized networks on one thread alone".to_owned();
        return Some(Diagnostic::new(&catalog::KERNELS, message).help("write `fusion: block`"));
    }
    let place = spec.precision_place?;
    if spec.batch == 1 {
        return None;
    }
    let message = format!("kernels of precision {} are not generated for batches yet", spec.precision.word());
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

/// A pass broke the graph: a mistake of the compiler, told like any other.
fn internal(broken: &VerifyErrors) -> Diagnostic {
    Diagnostic::new(&catalog::INTERNAL, broken.to_string()).help("please report this, with the spec")
}

impl Compiled {
    /// The items that the macro expands to.
    pub fn tokens(&self, naming: &Naming) -> TokenStream {
        codegen::network(&self.spec, &self.programs, naming, None)
    }

    /// [`tokens`](Self::tokens), with weights that become part of the program.
    pub fn tokens_with(&self, naming: &Naming, weights: &Embedded) -> TokenStream {
        codegen::network(&self.spec, &self.programs, naming, Some(weights))
    }

    /// Lowers a valid spec for no instruction set: a network without programs, unfused, to compare weights with.
    ///
    /// # Errors
    /// If a pass broke the graph, which is a mistake of the compiler.
    pub fn without_programs(spec: &NetworkSpec) -> Result<Self, VerifyErrors> {
        let spec = NetworkSpec { isas: Vec::new(), fusion: Fusion::None, ..spec.clone() };
        let (graph, remarks, programs) = generate(&spec)?;
        Ok(Self { spec, graph, remarks, programs })
    }

    /// What weights of the network have to share with it.
    pub fn conventions(&self) -> Conventions {
        codegen::facts::conventions(&self.spec)
    }

    /// The tensors that it is made of, in order of execution.
    pub fn parameters(&self) -> Vec<Parameter<'_>> {
        codegen::facts::parameters(self.programs.first().map_or(&self.graph, |program| &program.graph))
    }
}

/// Compiles the spec at `path`, which messages call `name`.
///
/// # Errors
/// All mistakes of the file, the spec and the overrides.
pub fn compile_file(path: &Path, name: &str, overrides: &Overrides) -> Result<Compiled, Diagnostics> {
    compile(&spec::read(path, name)?, overrides)
}

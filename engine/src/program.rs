//! Networks that weights can be bound to: compiled into this binary, or compiled on first use.

use mbvc_compiler::Compiled;
use mbvc_compiler::spec::Fusion;
use mbvc_networks as networks;
use mbvc_runtime::{Isa, ModelError, Network, Weights};

use crate::error::Result;
use crate::library::Library;
use crate::progress::Progress;
use crate::source::Source;
use crate::weights::check;

/// A network without weights.
pub struct Program {
    code: Code,
    /// Name of the network in messages.
    label: String,
}

enum Code {
    /// Compiled into this binary.
    Carried(networks::Build),
    /// Compiled when weights are bound to it. The text describes it in progress messages.
    Generated(Box<Compiled>, String),
}

impl Program {
    /// Finds the network among those of this binary, or generates it for `isa` (by default the best of this processor).
    /// A call uses `threads` threads (by default those of the spec).
    ///
    /// # Errors
    /// If it cannot be generated, or `MBVC_ISA` is not the name of an instruction set.
    pub fn find(source: &Source, fusion: Fusion, isa: Option<Isa>, threads: Option<usize>) -> Result<Self> {
        let mut spec = source.spec.clone();
        spec.threads = threads.unwrap_or(spec.threads);
        let code = match networks::find(&spec, fusion) {
            Some(build) => Code::Carried(build),
            None => {
                let isa = source.isa(isa)?;
                let compiled = source.compile_for(fusion, &[isa], spec.threads)?;
                let what = describe(&compiled);
                Code::Generated(Box::new(compiled), what)
            }
        };
        Ok(Self { code, label: source.label() })
    }

    /// Whether this binary carries the network of `source`, at the spec's fusion level.
    pub fn is_carried(source: &Source) -> bool {
        networks::find(&source.spec, source.spec.fusion).is_some()
    }

    /// Binds weights to the network, which is compiled first if the cache does not hold it.
    ///
    /// # Errors
    /// If the weights do not fit the network, this processor does not support the instruction set, or the network
    /// cannot be compiled.
    pub fn build(&self, weights: &Weights, isa: Option<Isa>, progress: &dyn Progress) -> Result<Box<dyn Network>> {
        match &self.code {
            Code::Carried(build) => Ok(build(weights, isa).map_err(|error| match error {
                ModelError::Mismatch { weights, mismatches, .. } => {
                    ModelError::Mismatch { network: self.label.clone(), weights, mismatches }
                }
                other => other,
            })?),
            Code::Generated(compiled, what) => {
                // Before the seconds that compilation takes.
                check(compiled, &self.label, weights)?;
                let library = Library::open(compiled, what, progress)?;
                Ok(Box::new(library.build(weights, isa)?))
            }
        }
    }
}

/// The network in progress messages.
pub(crate) fn describe(compiled: &Compiled) -> String {
    let [height, width] = compiled.spec.resolution;
    let threads = match compiled.spec.threads {
        1 => String::new(),
        threads => format!(", {threads} threads"),
    };
    format!("{} {height}x{width}, fusion {}{threads}", compiled.spec.name, compiled.spec.fusion.name())
}

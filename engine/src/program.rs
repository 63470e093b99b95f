//! Networks that weights can be bound to: compiled into this binary, or compiled on first use.

use mbvc_compiler::Compiled;
use mbvc_compiler::spec::Fusion;
use mbvc_networks::{self as networks, Carried};
use mbvc_runtime::sources::SOURCES;
use mbvc_runtime::{Isa, ModelError, Network, NetworkInfo, Weights, packed_in_memory};

use crate::cache::key;
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
    Carried(Carried),
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
            Some(carried) => Code::Carried(carried),
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
        self.unbound(weights, progress)?.build(weights, isa)
    }

    /// Returns the compiled network, which is compiled now if the cache does not hold it.
    ///
    /// # Errors
    /// If the network has to be compiled and `weights` do not fit it, or the compilation fails.
    pub(crate) fn unbound(&self, weights: &Weights, progress: &dyn Progress) -> Result<Unbound> {
        match &self.code {
            Code::Carried(carried) => Ok(Unbound::Carried(*carried, self.label.clone())),
            Code::Generated(compiled, what) => {
                // Before the seconds that compilation takes.
                check(compiled, &self.label, weights)?;
                Ok(Unbound::Library(Library::open(compiled, what, progress)?))
            }
        }
    }
}

/// A compiled network without weights.
pub(crate) enum Unbound {
    /// Compiled into this binary. The string is its name in messages.
    Carried(Carried, String),
    Library(Library),
}

impl Unbound {
    pub fn info(&self) -> &'static NetworkInfo {
        match self {
            Self::Carried(carried, _) => carried.info,
            Self::Library(library) => library.info(),
        }
    }

    /// Packs weights and binds them to the network.
    ///
    /// # Errors
    /// If the weights do not fit the network, or this processor does not support the instruction set.
    pub fn build(&self, weights: &Weights, isa: Option<Isa>) -> Result<Box<dyn Network>> {
        match self {
            Self::Carried(carried, label) => Ok((carried.build)(weights, isa).map_err(|error| match error {
                ModelError::Mismatch { weights, mismatches, .. } => {
                    ModelError::Mismatch { network: label.clone(), weights, mismatches }
                }
                other => other,
            })?),
            Self::Library(library) => Ok(Box::new(library.build(weights, isa)?)),
        }
    }

    /// Returns the weights packed for an instruction set, or `None` if they cannot be packed.
    pub fn pack(&self, weights: &Weights, isa: Isa) -> Option<Vec<u8>> {
        match self {
            Self::Carried(carried, _) => {
                let container = weights.container();
                let bytes = (carried.packed_bytes_for)(&container, isa)?;
                packed_in_memory(bytes, |file| (carried.pack)(&container, isa, file)).ok()
            }
            Self::Library(library) => library.pack(weights, isa),
        }
    }

    /// Binds packed weights to the network, which uses them in place; `None` if they do not fit it or are damaged.
    pub fn bind_packed(&self, packed: &'static [u8]) -> Option<Box<dyn Network>> {
        match self {
            Self::Carried(carried, _) => (carried.from_packed)(packed).ok(),
            Self::Library(library) => library.bind_packed(packed).ok().map(|model| Box::new(model) as _),
        }
    }

    /// Returns an identifier of the code: that of a library, or a hash of the version, the runtime and the facts of a network of this
    /// binary. A file that was packed for other kernels with the same identifier is rejected.
    pub fn key(&self) -> String {
        match self {
            Self::Carried(carried, _) => {
                let texts = SOURCES.iter().flat_map(|(name, text)| [*name, *text]);
                let facts = format!("{:?}", carried.info);
                key(texts.chain([env!("CARGO_PKG_VERSION"), &facts]))
            }
            Self::Library(library) => library.key(),
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

//! Specs, and the code that is generated from them.

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{self, Fusion, NetworkSpec, Overrides};
use mbvc_compiler::{Compiled, Naming, Program, codegen, compile};
use mbvc_runtime::Isa;
use quote::{format_ident, quote};

use crate::error::Result;

/// A checked spec, its text, and the overrides given with it.
#[derive(Clone)]
pub struct Source {
    /// Name and text of the file.
    pub file: SourceFile,
    /// With the overrides applied.
    pub spec: NetworkSpec,
    /// Values that replace those of the file.
    pub overrides: Overrides,
}

impl Source {
    /// Checks the text of a spec.
    ///
    /// # Errors
    /// If the spec or an override is invalid. The diagnostics list every error.
    pub fn new(file: SourceFile, overrides: Overrides) -> Result<Self> {
        let spec = spec::parse_with(&file, &overrides)?;
        Ok(Self { file, spec, overrides })
    }

    /// Generates code at a fusion level, for `isas` or, if that is empty, for those of the spec.
    ///
    /// # Errors
    /// If a limit that only compilation checks is exceeded, such as the scratch budget.
    pub fn compile(&self, fusion: Fusion, isas: &[Isa]) -> Result<Compiled> {
        self.compile_for(fusion, isas, self.spec.threads)
    }

    /// Like [`compile`](Self::compile), but with `threads` threads per call instead of the spec's.
    ///
    /// # Errors
    /// See `compile`.
    pub fn compile_for(&self, fusion: Fusion, isas: &[Isa], threads: usize) -> Result<Compiled> {
        let mut overrides = self.overrides.clone();
        if fusion != self.spec.fusion {
            overrides.set("fusion", fusion.name());
        }
        if threads != self.spec.threads {
            overrides.set("threads", &threads.to_string());
        }
        if !isas.is_empty() {
            let names: Vec<&str> = isas.iter().map(|isa| isa.name()).collect();
            overrides.set("isa", &format!("[{}]", names.join(", ")));
        }
        Ok(compile(&self.file, &overrides)?)
    }
}

/// Code of a network as a crate root that depends on `mbvc_runtime` and defines the network's type as `Generated`.
pub fn module(compiled: &Compiled) -> String {
    module_of(compiled, &compiled.programs)
}

/// Like [`module`], but only for some of the network's programs.
pub(crate) fn module_of(compiled: &Compiled, programs: &[Program]) -> String {
    let naming = Naming {
        name: format_ident!("{}", compiled.spec.name),
        runtime: quote!(::mbvc_runtime),
        attributes: quote!(),
        visibility: quote!(pub),
    };
    let (name, items) = (&naming.name, codegen::network(&compiled.spec, programs, &naming, None));
    // In a module, because the network's name may be the name of another item of the crate.
    quote!(mod network { #items } use network::#name as Generated;).to_string()
}

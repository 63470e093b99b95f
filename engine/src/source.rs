//! Specs, and the code that is generated from them.

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{self, Fusion, NetworkSpec, Overrides};
use mbvc_compiler::{Compiled, Naming, Program, codegen, compile};
use mbvc_networks as networks;
use mbvc_runtime::Isa;
use quote::quote;

use crate::error::{Error, Result};

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

    /// Returns the built-in spec, MobileNetV2 1.0 at 224x224.
    ///
    /// # Errors
    /// If an override is invalid.
    pub fn built_in(overrides: Overrides) -> Result<Self> {
        Self::new(SourceFile::new(networks::SPEC_NAME, networks::SPEC), overrides)
    }

    /// Whether this is the built-in spec.
    pub fn is_built_in(&self) -> bool {
        self.file.name == networks::SPEC_NAME
    }

    /// Name of the network in messages.
    pub fn label(&self) -> String {
        if self.is_built_in() {
            format!("{} of width {:?} (built in)", self.spec.name, self.spec.width)
        } else {
            format!("{} of {}", self.spec.name, self.file.name)
        }
    }

    /// Returns the text of the spec with the overrides applied: an override replaces the line of its key, or is appended if
    /// there is none.
    ///
    /// # Errors
    /// If the value of an overridden key takes several lines, or the key is not at the start of its line.
    pub fn text(&self) -> Result<String> {
        if self.overrides.is_empty() {
            return Ok(self.file.text.clone());
        }
        let mut lines: Vec<String> = self.file.text.lines().map(str::to_owned).collect();
        for (key, value) in self.overrides.given() {
            let value = match value.split_once(['x', 'X', '×']) {
                Some((height, width)) if key == "resolution" => format!("[{height}, {width}]"),
                _ if value.contains(',') && !value.starts_with('[') => format!("[{value}]"),
                _ => value.clone(),
            };
            let line = format!("{key}: {value}");
            let is_key = |old: &&mut String| old.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with(':'));
            match lines.iter_mut().find(is_key) {
                Some(old) => *old = line,
                None => lines.push(line),
            }
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let again = Self::new(SourceFile::new(self.file.name.as_str(), text.as_str()), Overrides::none());
        if again.is_ok_and(|again| plain(&again.spec) == plain(&self.spec)) {
            return Ok(text);
        }
        let keys = self.overrides.given().iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ");
        Err(Error::new(format!("{} cannot be written with other values of {keys}", self.file.name))
            .help("write each of these keys and its value on one line: `resolution: 224`"))
    }

    /// Returns the requested instruction set, or the best of this processor for a network of the spec's precision.
    ///
    /// # Errors
    /// If `MBVC_ISA` is not the name of one.
    pub fn isa(&self, requested: Option<Isa>) -> Result<Isa> {
        match requested {
            Some(isa) => Ok(isa),
            None => match mbvc_runtime::choose(Isa::of(self.spec.precision), None) {
                Ok(detected) => Ok(detected.isa()),
                Err(cause) => Err(Error::new(cause.to_string())),
            },
        }
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
    let naming = Naming::public(&compiled.spec.name, quote!(::mbvc_runtime));
    let (name, items) = (&naming.name, codegen::network(&compiled.spec, programs, &naming, None));
    // In a module, because the network's name may be the name of another item of the crate.
    quote!(mod network { #items } use network::#name as Generated;).to_string()
}

/// The spec without places in its text.
fn plain(spec: &NetworkSpec) -> NetworkSpec {
    let mut spec = NetworkSpec { precision_place: None, ..spec.clone() };
    spec.stem.line = 0;
    spec.head.line = 0;
    spec.blocks.iter_mut().for_each(|row| row.line = 0);
    spec.scratch_budget = None;
    spec
}

#[cfg(test)]
mod tests {
    use mbvc_compiler::spec::Words;

    use super::*;

    #[test]
    fn the_text_needs_no_overrides() {
        let mut overrides = Overrides::new(Words::Command);
        let given = [
            ("width", "0.5"),
            ("resolution", "96x128"),
            ("precision", "int8"),
            ("rounding", "tflite-reference"),
            ("isa", "avx2,neon"),
        ];
        for (key, value) in given {
            overrides.set(key, value);
        }
        let source = Source::built_in(overrides).unwrap();
        let text = source.text().unwrap();
        let again = Source::new(SourceFile::new("again.yaml", text.as_str()), Overrides::none()).unwrap();
        assert!(plain(&again.spec) == plain(&source.spec));
        assert_eq!(again.text().unwrap(), text);
    }

    #[test]
    fn a_value_of_several_lines_is_not_replaced() {
        let spec = include_str!("../../specs/tiny.yaml");
        for resolution in ["resolution:\n  - 32\n  - 32", "resolution : 32", "\"resolution\": 32"] {
            let text = spec.replace("resolution: 32", resolution);
            let mut overrides = Overrides::new(Words::Command);
            overrides.set("resolution", "64");
            let source = Source::new(SourceFile::new("tiny.yaml", text), overrides).unwrap();
            let message = source.text().unwrap_err().to_string();
            assert_eq!(message, "tiny.yaml cannot be written with other values of resolution");
        }
    }
}

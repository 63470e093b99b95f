//! Specs, and what they compile to.

use mbvc_compiler::diagnostic::{Diagnostics, SourceFile};
use mbvc_compiler::spec::{self, NetworkSpec, Overrides, Words};
use mbvc_compiler::{Naming, compile as compiled};
use quote::quote;

use crate::memory::bounded;

/// The spec, and overrides `key=value` after zero bytes.
fn taken_apart(text: &str) -> (SourceFile, Overrides) {
    let mut pieces = text.split('\0');
    let source = SourceFile::new("fuzz.yaml", pieces.next().unwrap_or_default());
    let mut overrides = Overrides::new(Words::Command);
    for (key, value) in pieces.filter_map(|piece| piece.split_once('=')).take(8) {
        overrides.set(key, value);
    }
    (source, overrides)
}

/// Every error has a remedy, and a place within the text.
fn check(mistakes: &Diagnostics) {
    assert!(!mistakes.render(true).is_empty());
    for mistake in mistakes.iter().take(50) {
        assert_ne!(mistake.rule.code, "internal", "{mistakes}");
        assert!(!mistake.help.is_empty(), "{mistakes}");
        if mistake.place.is_some() {
            assert!(mistakes.line_and_column(mistake).is_some(), "{mistakes}");
        }
    }
}

pub fn spec(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    bounded(bytes.len(), || {
        let (source, overrides) = taken_apart(&text);
        match spec::parse_with(&source, &overrides) {
            Ok(spec) => assert!(spec.resolve().blocks.iter().all(|block| block.out_channels > 0)),
            Err(mistakes) => check(&mistakes),
        }
    });
}

/// Compiles small networks only, because large ones take seconds.
pub fn compile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (source, overrides) = taken_apart(&text);
    let Ok(spec) = spec::parse_with(&source, &overrides) else { return };
    if !is_small(&spec) {
        return;
    }
    match compiled(&source, &overrides) {
        Ok(compiled) => {
            let naming = Naming::public(&compiled.spec.name, quote!(mbvc::__runtime));
            let tokens = compiled.tokens(&naming);
            assert!(syn::parse2::<syn::File>(tokens).is_ok(), "the code is not Rust");
        }
        Err(mistakes) => check(&mistakes),
    }
}

fn is_small(spec: &NetworkSpec) -> bool {
    let resolved = spec.resolve();
    let blocks = &resolved.blocks;
    blocks.len() <= 4 && spec.isas.len() <= 7 && blocks.iter().all(|block| block.expanded_channels <= 128)
}

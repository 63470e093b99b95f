//! Writes the demo's network and its weights as a model file, for tests: `cargo run --example demo_model -- demo.mbvc`

use std::error::Error;

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{Overrides, Words};
use mbvc_engine::{Bundle, Source};
use mbvc_networks::demo::weights;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("expected the path of the file to write")?;
    let mut overrides = Overrides::new(Words::Command);
    // Compiled faster than the default.
    overrides.set("fusion", "none");
    let spec = SourceFile::new("demo.yaml", include_str!("../../networks/specs/demo.yaml"));
    let bundle = Bundle::new(Source::new(spec, overrides)?, weights()?);
    Ok(std::fs::write(path, bundle.to_bytes()?)?)
}

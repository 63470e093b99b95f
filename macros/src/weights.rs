//! Embedded weights: a file is checked against the network before it is included.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mbvc_compiler::diagnostic::{Diagnostic, Diagnostics, Rule, SourceFile, absent, catalog};
use mbvc_compiler::{Compiled, Embedded, Form};
use mbvc_runtime::{Conventions, Framing, HeadActivation, Header, Needs, PackedHeader, Preprocess, Remedy};
use proc_macro2::TokenStream;
use quote::quote;

/// Prefix of the path of a file that a build script writes.
const BUILT: &str = "$OUT_DIR/";
/// File extensions of trained models.
const MODELS: [&str; 9] = ["onnx", "tflite", "keras", "h5", "hdf5", "pth", "pt", "bin", "ckpt"];
const REMEDY: &str =
    "`mbvc import MODEL` converts a trained model to a weights file, `mbvc pack WEIGHTS` packs a weights file";
const PACK: &str =
    "run `mbvc pack WEIGHTS --spec SPEC.yaml --isa ISA -o FILE` with this spec and the values given in this call";

/// A file named in the call.
struct Named<'a> {
    /// Relative to the folder in `OUT_DIR` or `CARGO_MANIFEST_DIR`.
    name: &'a str,
    path: PathBuf,
    /// The path as an expression, spelled with `env!`, so that the expansion contains no absolute path.
    tokens: TokenStream,
}

impl<'a> Named<'a> {
    fn new(given: &'a str) -> Result<Self, Box<Diagnostic>> {
        let (variable, name) = match given.strip_prefix(BUILT) {
            Some(name) => ("OUT_DIR", name),
            None => ("CARGO_MANIFEST_DIR", given),
        };
        match std::env::var_os(variable) {
            Some(folder) => Ok(Self {
                name,
                path: Path::new(&folder).join(name),
                tokens: quote!(::core::concat!(::core::env!(#variable), "/", #name)),
            }),
            None => {
                Err(Diagnostic::new(&catalog::WEIGHTS_FILE, format!("the environment variable {variable} is not set"))
                    .help("add a build script: Cargo sets OUT_DIR for crates with a `build.rs` only")
                    .into())
            }
        }
    }
}

/// Reads the header of the file `given` and checks it against the network.
///
/// # Errors
/// If the file is missing or is not a weights file; otherwise all differences from the network.
pub fn embed(given: &str, compiled: &Compiled) -> Result<Embedded, Diagnostics> {
    check(given, compiled).map_err(|mistake| {
        let mut mistakes = Diagnostics::new(SourceFile::new(given, ""));
        mistakes.push(*mistake);
        mistakes
    })
}

fn check(given: &str, compiled: &Compiled) -> Result<Embedded, Box<Diagnostic>> {
    let file = Named::new(given)?;
    let (start, bytes) = read(&file.path).map_err(|error| Box::new(unreadable(&file, &error)))?;
    let parameters = compiled.parameters();
    let needs = compiled.needs(&parameters);
    let weights = Weights { name: file.name, start: &start, bytes, compiled, needs };
    let form = if PackedHeader::is_in(&start) { weights.packed()? } else { weights.container()? };
    let path = file.tokens;
    Ok(Embedded { form, name: given.to_owned(), bytes: quote!(::core::include_bytes!(#path)) })
}

/// Reads the header of a container or packed file, bounded by the largest header, and the length of the file.
fn read(path: &Path) -> io::Result<(Vec<u8>, usize)> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(PackedHeader::BYTES as u64).read_to_end(&mut start)?;
    if !PackedHeader::is_in(&start)
        && let Ok(bytes) = Header::bytes(&start)
    {
        file.take(bytes.saturating_sub(start.len()) as u64).read_to_end(&mut start)?;
    }
    Ok((start, usize::try_from(about.len()).unwrap_or(usize::MAX)))
}

fn unreadable(file: &Named<'_>, error: &io::Error) -> Diagnostic {
    if error.kind() == io::ErrorKind::NotFound {
        let endings = [".safetensors", ".packed"];
        return absent(&catalog::WEIGHTS_FILE, &file.path, file.name, &endings, REMEDY);
    }
    Diagnostic::new(&catalog::WEIGHTS_FILE, format!("cannot read `{}`: {error}", file.name)).help(REMEDY)
}

/// The header of a weights file, and the network that it is checked against.
struct Weights<'a> {
    name: &'a str,
    start: &'a [u8],
    /// Length of the file.
    bytes: usize,
    compiled: &'a Compiled,
    needs: Needs<'a>,
}

impl Weights<'_> {
    fn mistake(&self, rule: &'static Rule, problem: &dyn Display, help: impl Into<String>) -> Box<Diagnostic> {
        Box::new(Diagnostic::new(rule, format!("`{}`: {problem}", self.name)).help(help))
    }

    fn container(&self) -> Result<Form, Box<Diagnostic>> {
        let reject = |problem: &dyn Display| {
            let model = Path::new(self.name).extension().is_some_and(|end| MODELS.iter().any(|model| end == *model));
            let imported = Path::new(self.name).with_extension("safetensors").display().to_string();
            let import = format!(
                "import the model with `mbvc import {} --output {imported}`, then write `weights = \"{imported}\"`",
                self.name
            );
            self.mistake(&catalog::WEIGHTS_FORM, problem, if model { import } else { REMEDY.to_owned() })
        };
        let header = Header::parse(self.start, self.bytes).map_err(|error| reject(&error))?;
        let conventions = Conventions::of(&header).map_err(|error| reject(&error))?;
        HeadActivation::of(&header, conventions.classes).map_err(|error| reject(&error))?;
        Preprocess::of(&header).map_err(|error| reject(&error))?;
        Framing::of(&header).map_err(|error| reject(&error))?;
        let mismatches = self.needs.mismatches(conventions, &header);
        if mismatches.is_empty() {
            return Ok(Form::Container);
        }
        let message = format!("`{}` does not match the network {}", self.name, self.compiled.spec.name);
        let mistake = Diagnostic::new(&catalog::WEIGHTS_FIT, message).help(Remedy(&mismatches).to_string());
        Err(mismatches.iter().fold(mistake, |mistake, one| mistake.detail(&*one.field, one.to_string())).into())
    }

    fn packed(&self) -> Result<Form, Box<Diagnostic>> {
        let reject = |problem: &dyn Display| self.mistake(&catalog::WEIGHTS_PACKED, problem, PACK);
        let header = PackedHeader::parse(self.start).map_err(|error| reject(&error))?;
        let programs = &self.compiled.programs;
        let Some(program) = programs.iter().find(|program| program.isa == header.isa) else {
            let isas: Vec<_> = programs.iter().map(|program| program.isa.name()).collect();
            let problem = format!("expected weights packed for {}, found {}", isas.join(" or "), header.isa);
            let help = format!("add `{}` to `isa`, or pack the weights with `--isa {}`", header.isa, isas.join(","));
            return Err(self.mistake(&catalog::WEIGHTS_PACKED, &problem, help));
        };
        let checked = program.with_plan(|plan| header.check(&self.needs, plan, self.bytes));
        checked.map(|()| Form::Packed(program.isa)).map_err(|error| reject(&error))
    }
}

//! Weights that become part of the program: whether they are the network's is seen before they are included.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mbvc_compiler::diagnostic::{Diagnostic, Diagnostics, SourceFile, absent, catalog};
use mbvc_compiler::{Compiled, Embedded, Form};
use mbvc_runtime::{Conventions, Framing, Header, Needs, PackedHeader, Preprocess, Remedy};
use proc_macro2::TokenStream;
use quote::quote;

/// Begins the path of a file that a build script has made.
const BUILT: &str = "$OUT_DIR/";
const MODELS: [&str; 9] = ["onnx", "tflite", "keras", "h5", "hdf5", "pth", "pt", "bin", "ckpt"];
const REMEDY: &str =
    "`mbvc import MODEL` makes a container of a trained model, `mbvc pack` a packed file of a container";

/// A file as the call names it.
struct Named<'a> {
    /// Relative to a folder that Cargo knows.
    name: &'a str,
    path: PathBuf,
    /// The path in the program: Cargo's own words for the folder, so that no folder of this machine ends up in it.
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
            None => Err(Diagnostic::new(&catalog::WEIGHTS_FILE, format!("there is no folder {variable}"))
                .help("only a crate with a build script (`build.rs`) has an OUT_DIR")
                .into()),
        }
    }
}

/// Reads what `given` tells about itself, and compares it with what the network needs.
///
/// # Errors
/// Everything in which they differ; or that the file is missing, or is none of weights.
pub fn embed(given: &str, compiled: &Compiled) -> Result<Embedded, Diagnostics> {
    look(given, compiled).map_err(|mistake| {
        let mut mistakes = Diagnostics::new(SourceFile::new(given, ""));
        mistakes.push(*mistake);
        mistakes
    })
}

fn look(given: &str, compiled: &Compiled) -> Result<Embedded, Box<Diagnostic>> {
    let file = Named::new(given)?;
    let (start, bytes) = read(&file.path).map_err(|error| Box::new(unreadable(&file, &error)))?;
    let parameters = compiled.parameters();
    let needs = Needs { conventions: compiled.conventions(), parameters: &parameters };
    let form = match PackedHeader::is_in(&start) {
        true => packed(file.name, &start, bytes, compiled, &needs)?,
        false => container(file.name, &start, bytes, compiled, &needs)?,
    };
    let path = file.tokens;
    Ok(Embedded { form, name: given.to_owned(), bytes: quote!(::core::include_bytes!(#path)) })
}

/// The header of a container or of a packed file, and the length of the file; never more than headers may have.
fn read(path: &Path) -> io::Result<(Vec<u8>, usize)> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
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
    Diagnostic::new(&catalog::WEIGHTS_FILE, format!("`{}` cannot be read: {error}", file.name)).help(REMEDY)
}

fn container(
    name: &str,
    start: &[u8],
    bytes: usize,
    compiled: &Compiled,
    needs: &Needs<'_>,
) -> Result<Form, Box<Diagnostic>> {
    let refuse = |problem: &dyn std::fmt::Display| {
        let model = Path::new(name).extension().is_some_and(|end| MODELS.iter().any(|model| end == *model));
        let imported = Path::new(name).with_extension("safetensors");
        let help = match model {
            true => format!(
                "this looks like a model; take its weights over: `mbvc import {name} --output {0}`, and write `weights = \"{0}\"`",
                imported.display()
            ),
            false => REMEDY.to_owned(),
        };
        Box::new(Diagnostic::new(&catalog::WEIGHTS_FORM, format!("`{name}`: {problem}")).help(help))
    };
    let header = Header::parse(start, bytes).map_err(|error| refuse(&error))?;
    let conventions = Conventions::of(&header).map_err(|error| refuse(&error))?;
    Preprocess::of(&header).map_err(|error| refuse(&error))?;
    Framing::of(&header).map_err(|error| refuse(&error))?;
    let mismatches = needs.mismatches(conventions, &header);
    if mismatches.is_empty() {
        return Ok(Form::Container);
    }
    let message = format!("`{name}` does not fit the network {}", compiled.spec.name);
    let mistake = Diagnostic::new(&catalog::WEIGHTS_FIT, message).help(Remedy(&mismatches).to_string());
    Err(mismatches.iter().fold(mistake, |mistake, one| mistake.detail(&*one.field, one.to_string())).into())
}

fn packed(
    name: &str,
    start: &[u8],
    bytes: usize,
    compiled: &Compiled,
    needs: &Needs<'_>,
) -> Result<Form, Box<Diagnostic>> {
    let refuse = |problem: String, help: String| {
        Err(Diagnostic::new(&catalog::WEIGHTS_PACKED, format!("`{name}`: {problem}")).help(help).into())
    };
    let again = "pack the weights for this spec: `mbvc pack WEIGHTS.safetensors --spec SPEC.yaml --isa ISA -o FILE`, with \
                 the same values in place of the spec's as in this call";
    let header = match PackedHeader::parse(start) {
        Ok(header) => header,
        Err(error) => return refuse(error.to_string(), again.to_owned()),
    };
    let Some(program) = compiled.programs.iter().find(|program| program.isa == header.isa) else {
        let isas: Vec<_> = compiled.programs.iter().map(|program| program.isa.name()).collect();
        let problem = format!("packed for {}, and the network is compiled for {}", header.isa, isas.join(", "));
        return refuse(problem, format!("add `{}` to `isa`, or pack the weights for another", header.isa));
    };
    match program.with_plan(|plan| header.check(needs, plan, bytes)) {
        Ok(()) => Ok(Form::Packed(program.isa)),
        Err(error) => refuse(error.to_string(), again.to_owned()),
    }
}

//! npm packages: two WebAssembly modules, packed weights, and JavaScript that loads them.

use std::path::PathBuf;

use mbvc_compiler::target::IsaFacts;
use mbvc_compiler::{Compiled, Program};
use mbvc_runtime::{Color, Isa, Numerics};

use super::source_crate::SourceCrate;
use super::template::fill;
use super::{Artifact, Built, Kind};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::file::NewFile;
use crate::packed::pack;
use crate::rustc::Compiler;
use crate::source::module_of;

/// A module of a package. The loader takes the first one whose features the engine supports.
struct Variant {
    /// End of the names of its files.
    ending: &'static str,
    /// Features of WebAssembly that it requires, as rustc spells them.
    features: &'static str,
    /// Whether it has relaxed SIMD instructions.
    relaxed: bool,
}

const SIMD: Variant = Variant { ending: "", features: "+simd128", relaxed: false };
const RELAXED: Variant = Variant { ending: ".relaxed", features: "+simd128,+relaxed-simd", relaxed: true };

/// Texts of a package, by their names in it.
const TEXTS: [(&str, &str); 8] = [
    ("index.js", include_str!("index.js")),
    ("index.d.ts", include_str!("index.d.ts")),
    ("pool.js", include_str!("pool.js")),
    ("pool.d.ts", include_str!("pool.d.ts")),
    ("worker.js", include_str!("worker.js")),
    ("demo.html", include_str!("demo.html")),
    ("demo.js", include_str!("demo.js")),
    ("README.md", include_str!("README.md")),
];
/// Not in the list, because its template is no valid JSON.
const MANIFEST: (&str, &str) = ("package.json", include_str!("package.json"));

/// Module of the crate.
const ENTRY: (&str, &str) = ("web", include_str!("../../carried/web.rs"));

/// Flags of the modules: one unit of code, without what no function reaches.
const FLAGS: [&str; 2] = ["-Clto=fat", "-Ccodegen-units=1"];

/// Paths of the files of a package.
pub fn outputs(artifact: &Artifact<'_>) -> Vec<PathBuf> {
    let (folder, stem) = (artifact.names.package(), &artifact.names.stem);
    let binaries = [SIMD, RELAXED].map(|variant| format!("{stem}{}.wasm", variant.ending));
    let weights = weights_files(artifact).into_iter().flatten();
    let texts = TEXTS.iter().chain([&MANIFEST]).map(|(name, _)| (*name).to_owned());
    binaries.into_iter().chain(weights).chain(texts).map(|name| folder.join(name)).collect()
}

/// Compiles a package.
///
/// # Errors
/// If a module cannot be compiled, or the weights cannot be packed.
pub fn build(artifact: &Artifact<'_>, compiler: &Compiler) -> Result<Built> {
    let (cache, folder, stem) = (Cache::open()?, artifact.names.package(), &artifact.names.stem);
    let mut files: Vec<NewFile> = Vec::new();
    for (variant, weights) in [SIMD, RELAXED].iter().zip(weights_files(artifact)) {
        let program = kernels(artifact.compiled, variant)?;
        // The kernels have no fast inner product.
        let (packed, _) = pack(artifact.compiled, program, Numerics::Strict, artifact.weights)?;
        let source = SourceCrate {
            code: &module_of(artifact.compiled, std::slice::from_ref(program)),
            modules: vec![(ENTRY.0, ENTRY.1.into())],
            main: "",
            weights: artifact.embed.then_some(&*packed),
            crate_type: Kind::Web.crate_type(),
            name: &artifact.names.prefix,
            quantized: artifact.compiled.spec.precision.is_quantized(),
        };
        let compiler = compiler.with_features(variant.features);
        let name = format!("{stem}{}.wasm", variant.ending);
        let flags = |_: &std::path::Path| FLAGS.iter().map(Into::into).collect();
        let binary = source.compile(&cache, &compiler, name.clone().into(), flags)?;
        files.push(NewFile { path: folder.join(name), content: binary.content()?, executable: false });
        let path = weights.map(|name| folder.join(name));
        if let Some(path) = path.filter(|path| files.iter().all(|file| file.path != *path)) {
            files.push(NewFile { path, content: packed, executable: false });
        }
    }
    let texts = Texts { artifact };
    files
        .extend(TEXTS.iter().chain([&MANIFEST]).map(|(name, text)| NewFile::text(folder.join(name), texts.fill(text))));
    Ok(Built { files, compile: None })
}

/// The kernels of a module: those of the best instruction set that its features include.
fn kernels<'a>(compiled: &'a Compiled, variant: &Variant) -> Result<&'a Program> {
    let fits = |program: &&Program| {
        let name = program.isa.name();
        let architecture = program.isa.architecture().is_none_or(|name| name == "wasm32");
        architecture && (variant.relaxed || !name.ends_with("relaxed"))
    };
    let best = compiled.programs.iter().filter(fits).max_by_key(|program| Isa::from_name(program.isa.name()));
    best.ok_or_else(|| {
        Error::new("the network is compiled for no instruction set of WebAssembly").help("add `portable` to --isa")
    })
}

/// Names of the weights files of the two modules; modules with the same kernels share one.
fn weights_files(artifact: &Artifact<'_>) -> [Option<String>; 2] {
    let stem = &artifact.names.stem;
    let [one, other] = [SIMD, RELAXED].map(|variant| kernels(artifact.compiled, &variant).ok().map(|one| one.isa));
    let ending = if one == other { SIMD.ending } else { RELAXED.ending };
    [SIMD.ending, ending].map(|ending| (!artifact.embed).then(|| format!("{stem}{ending}.weights")))
}

/// The texts of a package.
struct Texts<'a> {
    artifact: &'a Artifact<'a>,
}

impl Texts<'_> {
    fn fill(&self, template: &str) -> String {
        let Artifact { compiled, names, weights, .. } = self.artifact;
        let spec = &compiled.spec;
        let [height, width] = spec.resolution.map(|side| side.to_string());
        let embedding = compiled.programs.first().map_or(0, |program| program.embedding.len());
        let url = |name: Option<String>| match name {
            Some(name) => format!("new URL(\"./{name}\", import.meta.url)"),
            None => "null".to_owned(),
        };
        let [simd, relaxed] = weights_files(self.artifact).map(url);
        let example = match weights.labels().as_deref().and_then(|labels| labels.first().map(ToString::to_string)) {
            Some(label) => format!("{label:?}"),
            None => "undefined".to_owned(),
        };
        let facts = [
            ("file", names.stem.as_str()),
            ("network", &spec.name),
            ("height", &height),
            ("width", &width),
            ("channels", &spec.input.channels().to_string()),
            ("colors", if spec.input == Color::Gray { "gray" } else { "red, green and blue" }),
            ("classes", &spec.classes.to_string()),
            ("embedding", &embedding.to_string()),
            ("precision", spec.precision.word()),
            ("framing", &weights.framing().to_string()),
            ("weights", &simd),
            ("relaxed_weights", &relaxed),
            ("version", env!("CARGO_PKG_VERSION")),
            ("label", &example),
        ];
        fill(template, &facts)
    }
}

//! npm packages: one to three WebAssembly modules, packed weights, and JavaScript that loads them.

use std::path::{Path, PathBuf};

use mbvc_compiler::target::IsaFacts;
use mbvc_runtime::{Color, Isa, Numerics, PackedHeader};

use super::source_crate::SourceCrate;
use super::template::fill;
use super::{Artifact, Built, Kind};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::file::NewFile;
use crate::packed::pack;
use crate::rustc::Compiler;
use crate::source::module_of;

/// A module of a package. The loader takes the fastest one that the engine supports.
#[derive(PartialEq, Eq)]
struct Variant {
    /// Suffix of the names of its files, before the extension.
    ending: &'static str,
    /// Features of WebAssembly that it requires, as rustc spells them.
    features: &'static str,
    /// Instruction sets that only this module can have.
    isas: &'static [Isa],
}

const SIMD: Variant = Variant { ending: "", features: "+simd128", isas: &[Isa::Wasm128] };
const RELAXED: Variant =
    Variant { ending: ".relaxed", features: "+simd128,+relaxed-simd", isas: &[Isa::Wasm128Relaxed, Isa::Wasm128Pairs] };
const DOT: Variant = Variant { ending: ".dot", features: RELAXED.features, isas: &[Isa::Wasm128Dot] };

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
/// Separate from `TEXTS`, because the template is not valid JSON.
const MANIFEST: (&str, &str) = ("package.json", include_str!("package.json"));

/// Module of the crate.
const ENTRY: (&str, &str) = ("web", include_str!("../../carried/web.rs"));

/// Flags of the modules: a single codegen unit with link-time optimization, so that unreachable code is removed, and
/// instructions in the order of the source, in which the live vectors of a kernel fit in the registers of an engine.
const FLAGS: [&str; 3] = ["-Clto=fat", "-Ccodegen-units=1", "-Cllvm-args=-pre-RA-sched=source"];

/// Paths of the files that are known before the build.
pub fn outputs(artifact: &Artifact<'_>) -> Vec<PathBuf> {
    let (folder, stem) = (artifact.names.package(), &artifact.names.stem);
    let variants = variants(&artifact.compiled.spec.isas);
    let binaries = variants.iter().map(|variant| variant.module(stem));
    // Whether modules share a file is only known when they are packed.
    let weights = variants.iter().filter(|_| !artifact.embed).map(|variant| variant.weights(stem));
    let texts = TEXTS.iter().chain([&MANIFEST]).map(|(name, _)| (*name).to_owned());
    binaries.chain(weights).chain(texts).map(|name| folder.join(name)).collect()
}

/// Compiles a package.
///
/// # Errors
/// If a module cannot be compiled, or the weights cannot be packed.
pub fn build(artifact: &Artifact<'_>, compiler: &Compiler) -> Result<Built> {
    let (cache, stem) = (&Cache::open()?, &artifact.names.stem);
    let variants = variants(&artifact.compiled.spec.isas);
    let parts: Vec<_> = variants.iter().map(|variant| Part::new(artifact, variant)).collect::<Result<_>>()?;
    // An optimized module takes seconds, on one core.
    let modules: Vec<_> = std::thread::scope(|scope| {
        let compile = |part| scope.spawn(move || Part::compile(part, cache, compiler));
        let compilations: Vec<_> = parts.iter().map(compile).collect();
        compilations
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    // If all modules have the same layout, they share a file.
    let is_shared = parts.windows(2).all(|pair| matches!(pair, [one, other] if one.reads_the_weights_of(other)));
    let mut files = Vec::new();
    let mut named = Vec::new();
    for ((part, module), at) in parts.into_iter().zip(modules).zip(0..) {
        let names = ModuleFiles {
            variant: part.variant,
            module: part.variant.module(stem),
            weights: if is_shared { SIMD.weights(stem) } else { part.variant.weights(stem) },
        };
        files.push((names.module.clone(), module?));
        if !artifact.embed && (at == 0 || !is_shared) {
            files.push((names.weights.clone(), part.weights));
        }
        named.push(names);
    }
    let binaries = files.iter().map(|(name, _)| name.clone()).collect();
    let texts = Texts { artifact, modules: named, binaries };
    files.extend(TEXTS.iter().chain([&MANIFEST]).map(|(name, text)| ((*name).to_owned(), texts.fill(text).into())));
    let folder = artifact.names.package();
    let file = |(name, content)| NewFile { path: folder.join::<String>(name), content, executable: false };
    Ok(Built { files: files.into_iter().map(file).collect(), compile: None })
}

/// Returns the modules of a package, the fastest last: the one with SIMD alone, and those that `available` has an
/// instruction set for.
fn variants(available: &[Isa]) -> Vec<&'static Variant> {
    let more = [&RELAXED, &DOT].into_iter().filter(|variant| variant.own(available).is_some());
    [&SIMD].into_iter().chain(more).collect()
}

/// Names of the files of a module.
struct ModuleFiles {
    variant: &'static Variant,
    module: String,
    weights: String,
}

impl Variant {
    /// Name of the module.
    fn module(&self, stem: &str) -> String {
        format!("{stem}{}.wasm", self.ending)
    }

    /// Name of its weights file.
    fn weights(&self, stem: &str) -> String {
        format!("{stem}{}.weights", self.ending)
    }

    /// Returns the instruction set in `available` that only this module can have, if any.
    fn own(&self, available: &[Isa]) -> Option<Isa> {
        self.isas.iter().copied().find(|isa| available.contains(isa))
    }

    /// Returns the instruction set of its kernels: its own, or one that every target has.
    fn isa(&self, available: &[Isa]) -> Option<Isa> {
        let on_every_target = || available.iter().copied().filter(|isa| isa.architecture().is_none());
        self.own(available).or_else(|| on_every_target().max_by_key(|isa| !isa.is_emulated()))
    }
}

/// Returns the subset of `available` that the modules of a package have kernels for. A network that is compiled for
/// a package needs no others.
pub fn isas(available: &[Isa]) -> Vec<Isa> {
    variants(available).into_iter().filter_map(|variant| variant.isa(available)).collect()
}

/// A module before it is compiled.
struct Part<'a> {
    variant: &'static Variant,
    /// Name that distinguishes the symbols of packages.
    name: &'a str,
    quantized: bool,
    embed: bool,
    /// The network with the kernels of one instruction set.
    code: String,
    /// Weights, packed for these kernels.
    weights: Vec<u8>,
}

impl<'a> Part<'a> {
    fn new(artifact: &'a Artifact<'a>, variant: &'static Variant) -> Result<Self> {
        let Artifact { compiled, names, embed, .. } = artifact;
        let program = variant.isa(&compiled.spec.isas);
        let program = program.and_then(|isa| compiled.programs.iter().find(|program| program.isa == isa));
        let program = program.ok_or_else(|| {
            Error::new("the network has no kernels for WebAssembly without relaxed SIMD")
                .help("add `portable` to --isa")
        })?;
        // The kernels have no fast inner product.
        let (weights, _) = pack(compiled, program, Numerics::Strict, artifact.weights)?;
        let code = module_of(compiled, std::slice::from_ref(program));
        let quantized = compiled.spec.precision.is_quantized();
        Ok(Self { variant, name: &names.prefix, quantized, embed: *embed, code, weights })
    }

    /// Whether two modules can share one weights file: the files differ only in their instruction set and the checksum.
    fn reads_the_weights_of(&self, other: &Self) -> bool {
        let [one, two] = [&self.weights, &other.weights];
        let identity = |file: &[u8]| PackedHeader::parse(file).map(|header| header.identity);
        identity(one) == identity(two) && one.get(PackedHeader::BYTES..) == two.get(PackedHeader::BYTES..)
    }

    fn compile(&self, cache: &Cache, compiler: &Compiler) -> Result<Vec<u8>> {
        let source = SourceCrate {
            code: &self.code,
            modules: vec![(ENTRY.0, ENTRY.1.into())],
            main: "",
            weights: self.embed.then_some(&*self.weights),
            crate_type: Kind::Web.crate_type(),
            name: self.name,
            quantized: self.quantized,
        };
        let compiler = compiler.with_features(self.variant.features);
        let flags = |_: &Path| FLAGS.iter().map(Into::into).collect();
        source.compile(cache, &compiler, "module.wasm".into(), flags)?.content()
    }
}

/// The texts of a package.
struct Texts<'a> {
    artifact: &'a Artifact<'a>,
    /// Files of the modules.
    modules: Vec<ModuleFiles>,
    /// Names of the modules and of the weights files.
    binaries: Vec<String>,
}

impl Texts<'_> {
    fn fill(&self, template: &str) -> String {
        let Artifact { compiled, names, weights, .. } = self.artifact;
        let spec = &compiled.spec;
        let [height, width] = spec.resolution.map(|side| side.to_string());
        let embedding = compiled.programs.first().map_or(0, |program| program.embedding.len());
        // Bundlers find files by this expression.
        let url = |name: Option<&String>| match name {
            Some(name) => format!("new URL(\"./{name}\", import.meta.url)"),
            None => "null".to_owned(),
        };
        let files = |variant: &Variant| {
            let names = self.modules.iter().find(|names| names.variant == variant);
            let weights = names.filter(|_| !self.artifact.embed).map(|names| &names.weights);
            [url(names.map(|names| &names.module)), url(weights)]
        };
        let [[module, weights_file], [relaxed, relaxed_weights], [dot, dot_weights]] =
            [&SIMD, &RELAXED, &DOT].map(files);
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
            ("module", &module),
            ("weights", &weights_file),
            ("relaxed_module", &relaxed),
            ("relaxed_weights", &relaxed_weights),
            ("relaxed_runs", if spec.isas.contains(&Isa::Wasm128Pairs) { "isExact.pairs" } else { "() => true" }),
            ("dot_module", &dot),
            ("dot_weights", &dot_weights),
            // Not `*.wasm`: the folder may have files of an earlier build.
            ("binaries", &self.binaries.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        fill(template, &facts)
    }
}

//! C header and example of a library.

use mbvc_compiler::Compiled;
use mbvc_runtime::{Color, HeadActivation, Weights};

use super::names::{Kind, Names};
use super::template::fill;

const HEADER: &str = include_str!("../carried/header.h");
const EMBED: &str = include_str!("../carried/embed.h");
const GRAY: &str = include_str!("../carried/gray.c");
const EXAMPLE: &str = include_str!("../carried/example.c");

/// Facts in the texts.
pub struct Library<'a> {
    pub compiled: &'a Compiled,
    pub weights: &'a Weights,
    pub names: &'a Names,
    pub target: &'a str,
    /// Command that compiles a program with it, where `@main@` is replaced by the program.
    pub compile: &'a str,
}

/// Facts for the command that compiles and links a C program with a library.
pub struct Linking<'a> {
    pub kind: Kind,
    /// C compiler.
    pub compiler: &'a str,
    /// File name of the library.
    pub library: &'a str,
    /// `NAME` of the library.
    pub stem: &'a str,
    /// System libraries that it requires, as compiler arguments.
    pub system: &'a str,
    /// Rust's `target_os` and `target_env`.
    pub platform: [&'a str; 2],
}

impl Linking<'_> {
    /// The command, where `@main@` is replaced by the program.
    pub fn command(&self) -> String {
        let Self { kind, compiler, library, stem, system, platform } = self;
        let line = match (kind, platform) {
            (Kind::Shared, ["windows", "msvc"]) => format!("cl @main@.c {library}.lib"),
            (_, ["windows", "msvc"]) => format!("cl @main@.c {library} {system}"),
            (Kind::Shared, ["windows", _]) => format!("{compiler} @main@.c {library} -o @main@"),
            (Kind::Shared, ["macos" | "ios", _]) => {
                format!("{compiler} @main@.c -L. -l{stem} -Wl,-rpath,@loader_path -o @main@")
            }
            (Kind::Shared, _) => format!("{compiler} @main@.c -L. -l{stem} -Wl,-rpath,'$ORIGIN' -o @main@"),
            _ => format!("{compiler} @main@.c {library} {system} -o @main@"),
        };
        line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Library<'_> {
    pub fn header(&self) -> String {
        self.fill(HEADER, "main")
    }

    pub fn example(&self) -> String {
        self.fill(EXAMPLE, &self.names.stem)
    }

    /// Replaces each `@word@` by its fact.
    fn fill(&self, template: &str, main: &str) -> String {
        let spec = &self.compiled.spec;
        let quantized = spec.precision.is_quantized();
        let [height, width] = spec.resolution.map(|side| side.to_string());
        let (colors, before) = match spec.input {
            Color::Rgb => ("red, green and blue", ""),
            Color::Gray => ("luma", "converted to gray, "),
        };
        let programs = &self.compiled.programs;
        let embedding = programs.first().map_or(0, |program| program.embedding.len());
        let scratch = programs.iter().map(|program| program.scratch_bytes.next_multiple_of(64)).max().unwrap_or(0);
        let threads = match spec.threads {
            1 => String::new(),
            threads => format!(
                "\n *\n * Up to {threads} threads share a call. These threads wait for the next call: do not unload the library."
            ),
        };
        let rounds = if quantized { "\n * Its values are quantized; the logits are dequantized." } else { "" };
        let activation = self.weights.head_activation();
        let logits = if self.weights.classes() == spec.classes {
            ": one per class"
        } else {
            ": 1, which gives the scores of two classes (ids 0 and 1)"
        };
        let score = match activation {
            HeadActivation::Softmax => "its probability, from 0 to 1; the probabilities of all classes sum to 1",
            HeadActivation::Sigmoid => "its probability, from 0 to 1",
            HeadActivation::LogSoftmax => "the natural logarithm of its probability",
            HeadActivation::None => "its logit",
        };
        let facts = [
            // These contain further `@words@`.
            ("embed", if quantized { "" } else { EMBED }),
            ("gray", if spec.input == Color::Gray { GRAY } else { "" }),
            ("compile", self.compile),
            ("main", main),
            ("name", &self.names.prefix),
            ("NAME", &self.names.prefix.to_ascii_uppercase()),
            ("file", &self.names.stem),
            ("network", &spec.name),
            ("height", &height),
            ("width", &width),
            ("channels", &spec.input.channels().to_string()),
            ("colors", colors),
            ("before", before),
            ("classes", &spec.classes.to_string()),
            ("embedding", &embedding.to_string()),
            ("scratch", &scratch.to_string()),
            ("precision", spec.precision.word()),
            ("framing", &self.weights.framing().to_string()),
            ("threads", &threads),
            ("rounds", rounds),
            ("logits", logits),
            ("score", score),
            ("target", self.target),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        fill(template, &facts)
    }
}

//! Networks that nobody thought of: random specs through the macro, against the reference interpreter.
//!
//! All networks of a seed are built once, as a crate of their own, without optimisation: there every load and store
//! is checked against its buffer. `MBVC_RANDOM_SEED` and `MBVC_RANDOM_NETWORKS` choose others than the usual ones;
//! a failure prints the spec and stays in the folder that the message names.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use mbvc::{Activation, Conventions, Isa, Padding, Precision, Weights};
use mbvc_compiler::interp::{Mode, random_input, run};
use mbvc_compiler::ir::{Graph, Op, Shape};
use mbvc_compiler::spec::{self, Overrides};

const LEVELS: [&str; 3] = ["none", "relu6", "block"];

/// How far portable code, which rounds products, may be from the interpreter, relative to a tensor's largest value.
const TOLERANCE: f32 = 2e-5;

/// Most multiply-adds of a network: unoptimised code takes a second for some millions.
const MOST_MACS: usize = 4_000_000;

/// The part of the generated crate that is the same for all networks: runs network `argv[2]` of folder `argv[1]` and
/// writes what each step gave, as a length and as many floats (little endian), then the logits.
const RUNNER: &str = r#"
use std::path::Path;
use mbvc::{Isa, ModelError, Network, Observer, Weights};

type Build = fn(&Weights, Isa) -> Result<Box<dyn Network>, ModelError>;

#[derive(Default)]
struct Written(Vec<u8>);

impl Written {
    fn push(&mut self, values: &[f32]) {
        self.0.extend((values.len() as u32).to_le_bytes());
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

impl Observer for Written {
    fn step(&mut self, _: usize, output: &[f32]) {
        self.push(output);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (folder, index) = (Path::new(&arguments[1]), &arguments[2]);
    let weights = Weights::open(folder.join(format!("{index}.safetensors"))).unwrap();
    let input = std::fs::read(folder.join(format!("{index}.input"))).unwrap();
    let input: Vec<f32> = input.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    for (level, build) in NETWORKS[index.parse::<usize>().unwrap()] {
        for isa in Isa::FLOATS.into_iter().filter(|isa| isa.detect().is_some()) {
            eprintln!("running level {level}, {isa}");
            let network = build(&weights, isa).unwrap_or_else(|error| panic!("{error}"));
            let mut scratch = vec![f32::NAN; network.info().scratch_bytes / 4];
            let mut logits = vec![f32::NAN; network.info().classes];
            let mut written = Written::default();
            network.run_into(&mut scratch, &input, &mut logits, &mut written).unwrap();
            written.push(&logits);
            std::fs::write(folder.join(format!("{index}.{level}.{isa}")), written.0).unwrap();
        }
    }
}
"#;

/// Uniform numbers, the same for the same seed on every machine (Steele, Lea and Flood 2014: SplitMix).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number in `from..=to`.
    fn within(&mut self, from: usize, to: usize) -> usize {
        from + (self.next() % (to - from + 1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0, choices.len() - 1)]
    }

    /// Height and width: most are tiny, odd, very flat or very tall.
    fn resolution(&mut self) -> [usize; 2] {
        match self.within(0, 9) {
            0..3 => [self.within(1, 9), self.within(1, 9)],
            3..5 => [self.within(10, 40), self.within(10, 40)],
            5..7 => [self.within(1, 7), self.within(50, 300)],
            7 => [self.within(40, 80), self.within(1, 7)],
            8 => [self.within(1, 40) * 2 - 1, self.within(1, 75) * 2 - 1],
            _ => [self.within(1, 80), self.within(1, 300)],
        }
    }

    fn spec(&mut self) -> String {
        let [height, width] = self.resolution();
        let multiplier = self.within(2, 40) as f64 / 20.0;
        // Fewer would be rounded to none.
        let least = (1.0 / multiplier).ceil() as usize;
        let mut text = format!(
            "name: Net\nwidth: {multiplier}\nresolution: [{height}, {width}]\npadding: {}\nactivation: {}\nclasses: {}\n\
             stem: {{ channels: {}, stride: {} }}\nblocks:\n",
            self.one_of(&["same", "symmetric"]),
            self.one_of(&["relu6", "relu6", "relu"]),
            self.within(1, 40),
            self.within(least, 80),
            self.within(1, 2),
        );
        let mut channels = self.within(least, 100);
        for _ in 0..self.within(1, 4) {
            // Rows of the same width make residuals in their first block too.
            if self.within(0, 2) > 0 {
                channels = self.within(least, 100);
            }
            let (t, n, s) = (self.within(1, 7), self.one_of(&[1, 1, 2, 3]), self.one_of(&[1, 1, 2]));
            let residual = self.one_of(&["", "", "", ", residual: false"]);
            let _ = writeln!(text, "  - {{ t: {t}, c: {channels}, n: {n}, s: {s}{residual} }}");
        }
        let _ = writeln!(text, "head: {{ channels: {} }}", self.within(least, 80));
        text
    }
}

/// A network with what the interpreter says of it.
struct Case {
    text: String,
    resolution: [usize; 2],
    expected: Vec<Vec<f32>>,
    names: Vec<String>,
}

impl Case {
    /// Writes weights and input for the runner; `None` for a spec that is too much work.
    fn new(text: String, index: usize, folder: &Path) -> Option<Self> {
        let path = folder.join(format!("specs/{index}.yaml"));
        fs::write(&path, &text).expect("written");
        let source = spec::read(&path, "random.yaml").expect("just written");
        let mut overrides = Overrides::none();
        overrides.set("fusion", "none").set("isa", "portable");
        let compiled = mbvc_compiler::compile(&source, &overrides).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let (spec, graph) = (&compiled.spec, &compiled.graph);
        if macs(graph) > MOST_MACS {
            return None;
        }
        let params: Vec<_> = graph.used_params().into_iter().map(|id| graph.param(id)).collect();
        let conventions = Conventions {
            activation: match spec.activation {
                spec::ActivationKind::Relu => Activation::Relu,
                spec::ActivationKind::Relu6 => Activation::Relu6,
            },
            padding: match spec.padding {
                spec::PaddingConvention::Same => Padding::Same,
                spec::PaddingConvention::Symmetric => Padding::Symmetric,
            },
            precision: Precision::F32,
            classes: spec.classes,
        };
        let tensors = params.iter().map(|param| (&*param.name, mbvc::Dtype::F32, &*param.shape));
        let weights = Weights::random(tensors, conventions, index as u64).expect("names stand once");
        fs::write(folder.join(format!("{index}.safetensors")), weights.as_bytes()).expect("written");
        let [height, width] = spec.resolution;
        let input = random_input(Shape::new(height, width, 3), index as u64);
        let bytes: Vec<u8> = input.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(folder.join(format!("{index}.input")), bytes).expect("written");
        let (expected, names) = expected(graph, &weights, &input);
        Some(Self { text, resolution: spec.resolution, expected, names })
    }

    /// What differs in what the runner wrote, if anything.
    fn compare(&self, index: usize, folder: &Path) -> Result<(), String> {
        for isa in Isa::FLOATS.into_iter().filter(|isa| isa.detect().is_some()) {
            for level in LEVELS {
                let bytes =
                    fs::read(folder.join(format!("{index}.{level}.{isa}"))).map_err(|error| error.to_string())?;
                let mut steps = records(&bytes);
                let logits = steps.pop();
                if steps.last() != logits.as_ref() || steps.len() != self.expected.len() {
                    return Err(format!("{level} {isa}: {} steps, or the last makes no logits", steps.len()));
                }
                for ((found, expected), name) in steps.iter().zip(&self.expected).zip(&self.names) {
                    differs(found, expected, isa)
                        .map_or(Ok(()), |what| Err(format!("{level} {isa}, {name}: {what}")))?;
                }
            }
        }
        Ok(())
    }
}

fn macs(graph: &Graph) -> usize {
    let elements = |id| graph.param(id).shape.iter().product::<usize>();
    graph.order().expect("acyclic").into_iter().map(|id| graph.node(id)).fold(0, |sum, node| {
        let weights = match &node.op {
            Op::Conv2d(conv) => elements(conv.weight),
            Op::DepthwiseConv2d(conv) => elements(conv.weight),
            _ => 0,
        };
        sum + weights * node.tensor.shape.pixels()
    })
}

/// The last value of each step, and the name of the operation that makes it.
fn expected(graph: &Graph, weights: &Weights, input: &[f32]) -> (Vec<Vec<f32>>, Vec<String>) {
    let bindings: BTreeMap<String, Vec<f32>> = weights
        .container()
        .tensors()
        .map(|tensor| (tensor.name.to_string(), tensor.f32s().expect("float32").iter().collect()))
        .collect();
    let mut steps: BTreeMap<usize, (Vec<f32>, String)> = BTreeMap::new();
    run(graph, &bindings, input, Mode::Strict, &mut |origin, _, values| {
        if origin.name != "input" {
            steps.insert(origin.step, (values.to_vec(), origin.name.clone()));
        }
    })
    .expect("the interpreter runs what was lowered");
    steps.into_values().unzip()
}

/// What the runner wrote: lengths, each with as many floats.
fn records(mut bytes: &[u8]) -> Vec<Vec<f32>> {
    let mut records = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (values, rest) = rest.split_at(u32::from_le_bytes(*len) as usize * 4);
        records.push(values.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect());
        bytes = rest;
    }
    records
}

/// The first difference: of bits where products are not rounded, beyond the tolerance elsewhere.
fn differs(found: &[f32], expected: &[f32], isa: Isa) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} values, not {}", found.len(), expected.len()));
    }
    let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    let equal = |found: f32, expected: f32| match isa {
        Isa::Portable => (found - expected).abs() <= TOLERANCE * largest,
        _ => found.to_bits() == expected.to_bits(),
    };
    let at = (0..found.len()).find(|at| !equal(found[*at], expected[*at]))?;
    Some(format!("element {at} of {} is {:e}, not {:e}", found.len(), found[at], expected[at]))
}

/// Writes the crate of all networks and builds it; gives the path of its program.
fn build(folder: &Path, networks: usize) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A workspace of its own; the versions of dependencies are those of this one, so that nothing is downloaded.
    let manifest = format!(
        "[package]\nname = \"random-networks\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         mbvc = {{ path = {root:?} }}\n\n[profile.dev]\ndebug = false\nincremental = false\n"
    );
    let mut code = String::new();
    let mut table = String::new();
    for index in 0..networks {
        let _ = writeln!(code, "mod n{index} {{");
        let _ = write!(table, "    [");
        for level in LEVELS {
            let _ = writeln!(
                code,
                "    pub mod {level} {{ mbvc::mobilenet_v2!(pub \"specs/{index}.yaml\", fusion = \"{level}\", numerics = \"strict\"); }}"
            );
            let _ = write!(table, "(\"{level}\", |w, isa| Ok(Box::new(n{index}::{level}::Net::with_isa(w, isa)?))), ");
        }
        let _ = writeln!(code, "}}");
        let _ = writeln!(table, "],");
    }
    let _ = write!(code, "\nstatic NETWORKS: [[(&str, Build); 3]; {networks}] = [\n{table}];\n{RUNNER}");
    fs::create_dir_all(folder.join("src")).expect("a folder below the target folder");
    fs::write(folder.join("Cargo.toml"), manifest).expect("written");
    fs::write(folder.join("src/main.rs"), code).expect("written");
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).expect("copied");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("user_target");
    let output = Command::new(env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")))
        .args(["build", "--offline", "--color=never"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs this test too");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug/random-networks").with_extension(env::consts::EXE_EXTENSION)
}

fn number(variable: &str, usual: usize) -> usize {
    env::var(variable).map_or(usual, |value| value.parse().expect("a whole number"))
}

#[test]
#[ignore = "builds many networks: a minute or more"]
fn random_networks_compute_what_the_interpreter_does() {
    let seed = number("MBVC_RANDOM_SEED", 1);
    let networks = number("MBVC_RANDOM_NETWORKS", 24);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("random_networks");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("specs")).expect("a folder below the target folder");
    let mut random = Random(seed as u64);
    let mut cases = Vec::new();
    while cases.len() < networks {
        cases.extend(Case::new(random.spec(), cases.len(), &folder));
    }
    let runner = build(&folder, networks);
    let mut failures = String::new();
    for (index, case) in cases.iter().enumerate() {
        let output = Command::new(&runner).arg(&folder).arg(index.to_string()).output().expect("just built");
        let result = match output.status.success() {
            true => case.compare(index, &folder),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        };
        let [height, width] = case.resolution;
        println!(
            "{index}: {height}x{width}, {} steps, {}",
            case.names.len(),
            if result.is_ok() { "equal" } else { "FAILED" }
        );
        if let Err(what) = result {
            let _ = writeln!(failures, "{what}\nnetwork {index} of seed {seed}:\n{}", case.text);
        }
    }
    assert!(failures.is_empty(), "in {}:\n{failures}", folder.display());
}

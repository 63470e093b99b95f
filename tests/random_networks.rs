//! Random networks: random specs through the macro, compared with the reference interpreter.
//!
//! All networks of a seed are built once, in a separate crate without optimization, where every load and store is
//! checked against its buffer. `MBVC_RANDOM_SEED` and `MBVC_RANDOM_NETWORKS` select other networks. A failure prints
//! the spec and the folder of the crate.

mod random;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use mbvc::info::Precision;
use mbvc::{Isa, Weights};
use mbvc_compiler::ir::{Graph, Shape};
use mbvc_compiler::passes::choose_products;
use mbvc_compiler::spec::{self, Numerics, Overrides};
use mbvc_interpreter::{Mode, random_input, run};
use random::{MOST_MACS, Random, macs, number};

/// Variants of a network: name, fusion level and precision.
const VARIANTS: [(&str, &str, Precision); 6] = [
    ("none", "none", Precision::F32),
    ("relu6", "relu6", Precision::F32),
    ("block", "block", Precision::F32),
    ("bf16_none", "none", Precision::Bf16),
    ("bf16_relu6", "relu6", Precision::Bf16),
    ("bf16_block", "block", Precision::Bf16),
];

/// Tolerance of portable code, which rounds the products of float32 numbers, relative to a tensor's largest value. In a
/// bf16 network, a different sum may round to the adjacent bf16 number, which differs by up to 2^-7.
fn tolerance(precision: Precision) -> f32 {
    if precision == Precision::Bf16 { 0.03 } else { 2e-5 }
}

/// The part of the generated crate that is the same for all networks: runs network `argv[2]` of folder `argv[1]` and
/// writes the output of each step as a length and its floats (little endian), then the logits.
const RUNNER: &str = r#"
use std::path::Path;
use mbvc::errors::ModelError;
use mbvc::{Bf16, Isa, Network, Observer, Weights};

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

    fn bf16(&mut self, _: usize, output: &[Bf16]) {
        self.push(&output.iter().map(|value| value.to_f32()).collect::<Vec<_>>());
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (folder, index) = (Path::new(&arguments[1]), &arguments[2]);
    let weights = Weights::open(folder.join(format!("{index}.safetensors"))).unwrap();
    let input = std::fs::read(folder.join(format!("{index}.input"))).unwrap();
    let input: Vec<f32> = input.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    for (variant, isas, build) in NETWORKS[index.parse::<usize>().unwrap()] {
        for isa in isas.iter().copied().filter(|isa| isa.detect().is_some()) {
            eprintln!("running {variant}, {isa}");
            let network = build(&weights, isa).unwrap_or_else(|error| panic!("{error}"));
            let mut scratch = vec![f32::NAN; network.info().scratch_bytes / 4];
            let mut logits = vec![f32::NAN; network.info().classes];
            let mut written = Written::default();
            network.run_into(&mut scratch, &input, &mut logits, &mut written).unwrap();
            written.push(&logits);
            std::fs::write(folder.join(format!("{index}.{variant}.{isa}")), written.0).unwrap();
        }
    }
}
"#;

/// A network with the results of the interpreter.
struct Case {
    text: String,
    resolution: [usize; 2],
    /// Steps in float32.
    floats: Vec<Vec<f32>>,
    /// Steps in bf16: in pairs, then with block products.
    halves: [Vec<Vec<f32>>; 2],
    names: Vec<String>,
}

impl Case {
    /// Writes weights and input for the runner; `None` for a spec with too much work.
    fn new(text: String, index: usize, folder: &Path) -> Option<Self> {
        let path = folder.join(format!("specs/{index}.yaml"));
        fs::write(&path, &text).expect("written");
        let source = spec::read(&path, "random.yaml").expect("just written");
        let compiled = |precision: Precision| {
            let mut overrides = Overrides::none();
            overrides.set("fusion", "none").set("isa", "portable").set("precision", precision.word());
            mbvc_compiler::compile(&source, &overrides).unwrap_or_else(|error| panic!("{error}\n{text}"))
        };
        let (compiled, halves) = (compiled(Precision::F32), compiled(Precision::Bf16));
        let (spec, graph) = (&compiled.spec, &compiled.graph);
        if macs(graph) > MOST_MACS {
            return None;
        }
        let params: Vec<_> = graph.used_params().into_iter().map(|id| graph.param(id)).collect();
        let tensors = params.iter().map(|param| (&*param.name, mbvc::weights::Dtype::F32, &*param.shape));
        let weights = Weights::random(tensors, compiled.conventions(), index as u64).expect("unique names");
        fs::write(folder.join(format!("{index}.safetensors")), weights.as_bytes()).expect("written");
        let [height, width] = spec.resolution;
        let input = random_input(Shape::new(height, width, spec.input.channels()), index as u64);
        let bytes: Vec<u8> = input.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(folder.join(format!("{index}.input")), bytes).expect("written");
        let (floats, names) = expected(graph, &weights, &input);
        // Block products have a different summation order.
        let halves = [Isa::Portable, Isa::AmxBf16].map(|isa| {
            let mut graph = halves.graph.clone();
            choose_products(&mut graph, Numerics::Strict, isa);
            expected(&graph, &weights, &input).0
        });
        Some(Self { text, resolution: spec.resolution, floats, halves, names })
    }

    /// The first difference in the output of the runner, if there is one.
    fn compare(&self, index: usize, folder: &Path) -> Result<(), String> {
        for (variant, _, precision) in VARIANTS {
            for isa in Isa::of(precision).iter().copied().filter(|isa| isa.detect().is_some()) {
                let all = match precision {
                    Precision::Bf16 => &self.halves[usize::from(isa == Isa::AmxBf16)],
                    _ => &self.floats,
                };
                let file = folder.join(format!("{index}.{variant}.{isa}"));
                let bytes = fs::read(file).map_err(|error| error.to_string())?;
                let mut steps = records(&bytes);
                let logits = steps.pop();
                if steps.last() != logits.as_ref() || steps.len() != all.len() {
                    return Err(format!("{variant} {isa}: {} steps, or the last makes no logits", steps.len()));
                }
                for ((found, expected), name) in steps.iter().zip(all).zip(&self.names) {
                    differs(found, expected, isa, precision)
                        .map_or(Ok(()), |what| Err(format!("{variant} {isa}, {name}: {what}")))?;
                }
            }
        }
        Ok(())
    }
}

/// The last value of each step, and the name of the operation that produces it.
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

/// The output of the runner: lengths, each followed by its floats.
fn records(mut bytes: &[u8]) -> Vec<Vec<f32>> {
    let mut records = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (values, rest) = rest.split_at(u32::from_le_bytes(*len) as usize * 4);
        records.push(values.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect());
        bytes = rest;
    }
    records
}

/// The first difference: of bits if multiply-adds are fused, beyond the tolerance otherwise.
fn differs(found: &[f32], expected: &[f32], isa: Isa, precision: Precision) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} values, not {}", found.len(), expected.len()));
    }
    let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    let equal = |found: f32, expected: f32| match isa {
        Isa::Portable => (found - expected).abs() <= tolerance(precision) * largest,
        _ => found.to_bits() == expected.to_bits(),
    };
    let at = (0..found.len()).find(|at| !equal(found[*at], expected[*at]))?;
    Some(format!("element {at} of {} is {:e}, not {:e}", found.len(), found[at], expected[at]))
}

/// The code of all networks, and the table in which the runner finds them.
fn code(networks: usize) -> String {
    let mut code = String::new();
    let mut table = String::new();
    for index in 0..networks {
        let _ = writeln!(code, "mod n{index} {{");
        let _ = write!(table, "    [");
        for (variant, fusion, precision) in VARIANTS {
            let _ = writeln!(
                code,
                "    pub mod {variant} {{ mbvc::mobilenet_v2!(pub \"specs/{index}.yaml\", fusion = \"{fusion}\", \
                 numerics = \"strict\", precision = \"{precision}\"); }}"
            );
            let network = format!("n{index}::{variant}::Net");
            let _ = write!(
                table,
                "(\"{variant}\", {network}::INFO.isas, |w, isa| Ok(Box::new({network}::with_isa(w, isa)?))), "
            );
        }
        let _ = writeln!(code, "}}");
        let _ = writeln!(table, "],");
    }
    let _ = write!(
        code,
        "\nstatic NETWORKS: [[(&str, &[Isa], Build); {}]; {networks}] = [\n{table}];\n{RUNNER}",
        VARIANTS.len()
    );
    code
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
    let runner = random::build(&folder, "random-networks", &code(networks));
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

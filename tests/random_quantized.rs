//! Random quantized networks: random specs through the macro, bit-exact with the exact interpreter.
//!
//! They are built like the random float networks, with the same environment variables.

mod random;

#[path = "common/quantized.rs"]
mod interpreted;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use interpreted::expected;
use mbvc::info::Precision;
use mbvc::weights::Dtype;
use mbvc::{Isa, Weights};
use mbvc_compiler::ir::ElementType;
use mbvc_compiler::lower::lower;
use mbvc_compiler::spec::{self, Overrides};
use random::{MOST_MACS, Random, macs, number};

/// The part of the generated crate that is the same for all networks: runs network `argv[2]` of folder `argv[1]` and
/// writes the output of each step as a length and its bytes.
const RUNNER: &str = r#"
use std::path::Path;
use mbvc_runtime::Number;
use mbvc::{Isa, Observer, Weights};

#[derive(Default)]
struct Written(Vec<u8>);

impl Observer for &mut Written {
    fn bytes(&mut self, _: usize, output: &[u8]) {
        self.0.extend((output.len() as u32).to_le_bytes());
        self.0.extend(output);
    }
}

/// The instruction sets of a network, and its call.
type Run = (&'static [Isa], fn(&Weights, Isa, &[u8], &mut Written));

macro_rules! run {
    ($module:ident, $number:ty) => {
        ($module::Net::INFO.isas, |weights, isa, image, written| {
            let model = $module::Net::with_isa(weights, isa).unwrap_or_else(|error| panic!("{error}"));
            let image: Vec<$number> = image.iter().map(|byte| <$number>::from_element(*byte)).collect();
            model.run_with(&mut $module::Net::scratch(), image.as_slice().try_into().unwrap(), written);
        })
    };
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (folder, index) = (Path::new(&arguments[1]), &arguments[2]);
    let weights = Weights::open(folder.join(format!("{index}.safetensors"))).unwrap();
    let image = std::fs::read(folder.join(format!("{index}.input"))).unwrap();
    let (isas, run) = NETWORKS[index.parse::<usize>().unwrap()];
    for isa in isas.iter().copied().filter(|isa| isa.detect().is_some()) {
        eprintln!("running {isa}");
        let mut written = Written::default();
        run(&weights, isa, &image, &mut written);
        std::fs::write(folder.join(format!("{index}.{isa}")), written.0).unwrap();
    }
}
"#;

/// A network with the results of the interpreter.
struct Case {
    text: String,
    signed: bool,
    /// Instruction sets that this processor has.
    isas: Vec<Isa>,
    /// Names of the steps.
    steps: Vec<String>,
    /// By part of the network.
    expected: BTreeMap<String, Vec<u8>>,
}

/// A random table, with the options of quantized networks.
fn spec_of(random: &mut Random) -> String {
    let (precision, rounding) =
        (random.one_of(&["int8", "int8", "uint8"]), random.one_of(&["xnnpack", "xnnpack", "tflite-reference"]));
    let (fusion, threads) =
        random.one_of(&[("block", 1), ("block", 2), ("deep", 1), ("relu6", 1), ("relu6", 2), ("none", 1)]);
    // `all` has no dsp. Deep fusion with dsp is for no other instruction set.
    let with_dsp = "[avx512vnni, avxvnni, avx512, avx2, neondot, neon, dsp, portable]";
    let isas = match (fusion, threads) {
        ("deep", _) => random.one_of(&["all", "dsp"]),
        (_, 1) => with_dsp,
        _ => "all",
    };
    let table = random.spec();
    format!("{table}precision: {precision}\nrounding: {rounding}\nfusion: {fusion}\nthreads: {threads}\nisa: {isas}\n")
}

impl Case {
    /// Writes weights and input for the runner; `None` for a spec with too much work.
    fn new(text: String, index: usize, folder: &Path) -> Option<Self> {
        let path = folder.join(format!("specs/{index}.yaml"));
        fs::write(&path, &text).expect("written");
        let source = spec::read(&path, "random.yaml").expect("just written");
        let compiled = mbvc_compiler::compile(&source, &Overrides::none());
        let compiled = compiled.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
        let (spec, graph) = (&compiled.spec, lower(&compiled.spec));
        let rounding = spec.rounding.expect("quantized");
        if macs(&graph) > MOST_MACS {
            return None;
        }
        let signed = spec.precision == Precision::Int8;
        let dtype = |element| match element {
            ElementType::F32 => Dtype::F32,
            ElementType::Bf16 => unreachable!("no weights file has bf16"),
            ElementType::I8 => Dtype::I8,
            ElementType::U8 => Dtype::U8,
            ElementType::I32 => Dtype::I32,
        };
        let params: Vec<_> = graph.used_params().into_iter().map(|id| graph.param(id)).collect();
        let tensors = params.iter().map(|param| (&*param.name, dtype(param.element), &*param.shape));
        let weights = Weights::random(tensors, compiled.conventions(), index as u64).expect("unique names");
        fs::write(folder.join(format!("{index}.safetensors")), weights.as_bytes()).expect("written");
        let [height, width] = spec.resolution;
        let mut noise = Random(index as u64);
        let image: Vec<u8> = (0..height * width * spec.input.channels()).map(|_| noise.within(0, 255) as u8).collect();
        fs::write(folder.join(format!("{index}.input")), &image).expect("written");
        let expected = expected(&graph, &weights, rounding, &image, if signed { -128 } else { 0 });
        let steps = compiled.programs[0].steps.iter().map(|step| step.name.clone()).collect();
        let isas = spec.isas.iter().copied().filter(|isa| isa.detect().is_some()).collect();
        Some(Self { text, signed, isas, steps, expected })
    }

    /// The first difference in the output of the runner, if there is one.
    fn compare(&self, index: usize, folder: &Path) -> Result<(), String> {
        for isa in &self.isas {
            let bytes = fs::read(folder.join(format!("{index}.{isa}"))).map_err(|error| error.to_string())?;
            let found = records(&bytes);
            if found.len() != self.steps.len() {
                return Err(format!("{isa}: {} steps, not {}", found.len(), self.steps.len()));
            }
            for (found, step) in found.iter().zip(&self.steps) {
                let part = step.rsplit('_').next().unwrap_or_default();
                let expected = &self.expected[part];
                let differing = found.iter().zip(expected).filter(|(a, b)| a != b).count();
                if *found != expected {
                    return Err(format!("{isa}, {step}: {differing} of {} differ", expected.len()));
                }
            }
        }
        Ok(())
    }
}

/// The output of the runner: lengths, each followed by its bytes.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (values, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        records.push(values);
        bytes = rest;
    }
    records
}

/// The code of all networks, and the table in which the runner finds them.
fn code(cases: &[Case]) -> String {
    let (mut code, mut table) = (String::new(), String::new());
    for (index, case) in cases.iter().enumerate() {
        let number = if case.signed { "i8" } else { "u8" };
        let _ = writeln!(code, "mod n{index} {{ mbvc::mobilenet_v2!(pub \"specs/{index}.yaml\"); }}");
        let _ = writeln!(table, "    run!(n{index}, {number}),");
    }
    let count = cases.len();
    // The macro is defined before its use.
    format!("{code}{RUNNER}\nstatic NETWORKS: [Run; {count}] = [\n{table}];\n")
}

#[test]
#[ignore = "builds many networks: a minute or more"]
fn random_quantized_networks_compute_what_the_interpreter_does() {
    let seed = number("MBVC_RANDOM_SEED", 1);
    let networks = number("MBVC_RANDOM_NETWORKS", 24);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("random_quantized");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("specs")).expect("a folder below the target folder");
    let mut random = Random(seed as u64);
    let mut cases = Vec::new();
    while cases.len() < networks {
        cases.extend(Case::new(spec_of(&mut random), cases.len(), &folder));
    }
    let runner = random::build(&folder, "random-quantized", &code(&cases));
    let mut failures = String::new();
    for (index, case) in cases.iter().enumerate() {
        let output = Command::new(&runner).arg(&folder).arg(index.to_string()).output().expect("just built");
        let result = match output.status.success() {
            true => case.compare(index, &folder),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        };
        println!("{index}: {} steps, {}", case.steps.len(), if result.is_ok() { "equal" } else { "FAILED" });
        if let Err(what) = result {
            let _ = writeln!(failures, "{what}\nnetwork {index} of seed {seed}:\n{}", case.text);
        }
    }
    assert!(failures.is_empty(), "in {}:\n{failures}", folder.display());
}

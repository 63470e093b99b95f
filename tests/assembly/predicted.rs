//! How much of the peak of multiply-adds llvm-mca predicts for the K loops of the networks in `specs/`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use mbvc_compiler::spec::Overrides;

use super::k_loops::{Form, KLoop};
use super::loops::{Architecture, inner_loops};
use super::mca::Tool;
use super::network::Compiler;
use super::table;

/// A processor that llvm-mca has a model of.
#[derive(Debug)]
pub struct Model {
    /// Name in LLVM.
    pub name: &'static str,
    /// Share of the peak that whole tiles must reach. `None` where measurements contradict the model: those of Zen 4 and
    /// Zen 5 charge a broadcast from memory twice.
    pub least: Option<f64>,
}

/// The kernels of an instruction set, and the models that have it.
#[derive(Debug)]
pub struct Target {
    pub isa: &'static str,
    pub architecture: Architecture,
    /// Architectural vector registers.
    pub registers: usize,
    pub models: &'static [Model],
}

const fn model(name: &'static str, least: f64) -> Model {
    Model { name, least: Some(least) }
}

const fn shown(name: &'static str) -> Model {
    Model { name, least: None }
}

static TARGETS: [Target; 3] = [
    Target {
        isa: "avx512",
        architecture: Architecture::X86,
        registers: 32,
        models: &[model("skylake-avx512", 0.9), model("sapphirerapids", 0.9), shown("znver4"), shown("znver5")],
    },
    Target {
        isa: "avx2",
        architecture: Architecture::X86,
        registers: 16,
        models: &[model("haswell", 0.9), model("alderlake", 0.9), model("znver3", 0.9)],
    },
    Target {
        isa: "neon",
        architecture: Architecture::Arm,
        registers: 32,
        models: &[model("cortex-a76", 0.85), model("neoverse-n1", 0.85), model("apple-m1", 0.85)],
    },
];

/// A published network of each width, with strict numerics. One is also compiled with fast numerics, whose plain kernels
/// run on most processors.
const NETWORKS: [(&str, &str); 6] = [
    ("v2_0.35_96", "strict"),
    ("v2_0.5_128", "strict"),
    ("v2_0.75_160", "strict"),
    ("v2", "strict"),
    ("v2", "fast"),
    ("v2_1.4_224", "strict"),
];

impl Target {
    /// Whether a tile is held to the limits: it fills seven eighths of the registers, has at least as many pixels as
    /// vectors, and has either several vectors or multiply-adds that broadcast.
    ///
    /// Other tiles are short because of the shape of a layer: it has few pixels, a vector is left over, or the vectors of a
    /// channel group have no better divisor.
    fn is_whole(&self, one: &KLoop) -> bool {
        let Form { pixels, count, .. } = one.form;
        8 * one.registers() >= 7 * self.registers && pixels >= count && (count > 1 || one.broadcasts)
    }
}

/// Predictions for the loops of an instruction set.
#[derive(Debug)]
pub struct Predictions {
    pub target: &'static Target,
    loops: Vec<KLoop>,
    /// The share of the peak of each loop, for each model.
    shares: Vec<Vec<f64>>,
}

/// Predictions for loops of one form: their number, and the lowest and highest share of the peak on each model.
#[derive(Debug)]
pub struct Row {
    pub loops: usize,
    pub shares: Vec<[f64; 2]>,
}

impl Predictions {
    fn new(tool: &Tool, target: &'static Target, compiler: &Compiler) -> Self {
        let loops = k_loops(target, compiler);
        let shares = target.models.iter().map(|model| shares(tool, target, model, &loops)).collect();
        Self { target, loops, shares }
    }

    /// Returns a row for each form of whole tiles, those with most sums first, and one for all others.
    pub fn rows(&self) -> (Vec<(Form, Row)>, Row) {
        let all = 0..self.loops.len();
        let (whole, others): (Vec<_>, Vec<_>) = all.partition(|at| self.target.is_whole(&self.loops[*at]));
        let mut forms: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for at in whole {
            let form = self.loops[at].form;
            forms.entry((Reverse(form.pixels * form.count), form)).or_default().push(at);
        }
        let rows = forms.into_iter().map(|((_, form), loops)| (form, self.row(&loops)));
        (rows.collect(), self.row(&others))
    }

    fn row(&self, loops: &[usize]) -> Row {
        let shares = self.shares.iter().map(|shares| {
            let of_loops = || loops.iter().map(|at| shares[*at]);
            [of_loops().fold(f64::MAX, f64::min), of_loops().fold(0.0, f64::max)]
        });
        Row { loops: loops.len(), shares: shares.collect() }
    }

    /// Returns the whole tiles below the limits.
    fn slow(&self) -> Vec<String> {
        let models = self.target.models.iter().zip(&self.shares);
        let slow = models.flat_map(|(model, shares)| {
            let below = move |share: f64| model.least.is_some_and(|least| share < least);
            let loops =
                self.loops.iter().zip(shares).filter(move |(one, share)| self.target.is_whole(one) && below(**share));
            loops.map(|(KLoop { kernel, form, .. }, share)| {
                format!("{}: {share:.3} of the peak in {form} of {kernel}", model.name)
            })
        });
        slow.collect()
    }
}

/// All K loops of the networks, without equal ones.
fn k_loops(target: &Target, compiler: &Compiler) -> Vec<KLoop> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (spec, numerics) in NETWORKS {
        let mut overrides = Overrides::none();
        overrides.set("isa", target.isa).set("numerics", numerics);
        let case = format!("{}_{numerics}_{}", target.isa, spec.replace('.', "_"));
        let assembly = compiler.assembly_of(&case, &format!("{spec}.yaml"), &overrides);
        let loops = inner_loops(&assembly, target.architecture).into_iter();
        let loops: Vec<KLoop> = loops.filter_map(|inner| KLoop::new(inner, target.isa)).collect();
        // A guard against reading nothing.
        assert!(loops.len() > 20, "{spec}, {numerics}: {} K loops for {}", loops.len(), target.isa);
        found.extend(loops.into_iter().filter(|one| seen.insert(one.lines().join("\n"))));
    }
    found
}

/// The share of the peak that each loop reaches on a model.
fn shares(tool: &Tool, target: &Target, model: &Model, loops: &[KLoop]) -> Vec<f64> {
    let widths: BTreeSet<_> = loops.iter().map(|one| one.form.vectors).collect();
    let independent: Vec<_> = widths.iter().map(|vectors| (*vectors, vectors.independent())).collect();
    let regions = loops.iter().map(KLoop::lines);
    let peaks = independent.iter().map(|(_, lines)| lines.iter().map(String::as_str).collect());
    let cycles = tool.cycles(target.architecture, model.name, &regions.chain(peaks).collect::<Vec<_>>());
    let (loop_cycles, peak_cycles) = cycles.split_at(loops.len());
    let rates: Vec<f64> = loops.iter().zip(loop_cycles).map(|(one, cycles)| one.products as f64 / cycles).collect();
    // Products per cycle: the best of all loops, those of independent products included. In some models instructions of
    // another kind beside the products lead to a better distribution over the ports.
    let mut peak: BTreeMap<_, f64> = BTreeMap::new();
    let best = loops.iter().map(|one| one.form.vectors).zip(rates.iter().copied());
    let independent =
        independent.iter().zip(peak_cycles).map(|((vectors, lines), at)| (*vectors, lines.len() as f64 / at));
    for (vectors, rate) in best.chain(independent) {
        let peak = peak.entry(vectors).or_default();
        *peak = peak.max(rate);
    }
    loops.iter().zip(rates).map(|(one, rate)| rate / peak[&one.form.vectors]).collect()
}

#[test]
#[ignore = "compiles optimized networks, and needs llvm-mca"]
fn k_loops_of_whole_tiles_are_predicted_near_the_peak() {
    let Some(tool) = Tool::find() else { return };
    let (mut sections, mut slow) = (Vec::new(), Vec::new());
    for target in &TARGETS {
        let compiler = match target.architecture {
            Architecture::X86 => Some(Compiler::native()),
            Architecture::Arm => Compiler::arm(),
        };
        let Some(compiler) = compiler else {
            let reason = "no standard library for aarch64-unknown-linux-gnu; scripts/install-cross.sh installs one";
            assert!(!Tool::is_required(), "{reason}");
            eprintln!("{}: skipped: {reason}", target.isa);
            continue;
        };
        let predictions = Predictions::new(&tool, target, &compiler);
        slow.extend(predictions.slow());
        sections.push(predictions);
    }
    let text = table::markdown(&tool.version, &sections);
    println!("{text}");
    if sections.len() == TARGETS.len() {
        table::write(&text);
    }
    assert!(slow.is_empty(), "K loops of whole tiles below the limits:\n{}", slow.join("\n"));
}

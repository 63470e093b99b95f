//! `mbvc profile`: time of every step and stage of a network.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mbvc::info::Numerics;
use mbvc::{Isa, Network};
use mbvc_compiler::target::IsaFacts;
use mbvc_engine::Caller;
use mbvc_runtime::peak;

use crate::error::{CliError, Result};
use crate::measure::{Stopwatch, Summary, WARM_UP};
use crate::options::{FusionArg, IsaArg, SpecOption, examples};
use crate::picture::roofline::{self, Bar, Part, Roofline};
use crate::ui::{ACCENT, BOLD, Bytes, Count, DIM, outln};
use crate::{engine, files, ui};

mod aggregate;

use aggregate::{Limits, Profile, StepRow, Times};

/// Measure the time of every step and stage
///
/// Shares follow from the minimum over all calls, which interruptions affect least; a median far above it shows a busy
/// machine. The peak is measured in the same run, with the multiply-add or dot-product instruction that the network
/// uses. Stages are timed in separate calls, because reading the clock for each stage takes time. Their times are
/// scaled to add up to the time of their step.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc profile                                  the built-in network with random weights",
    "mbvc profile --fusion none --isa avx2",
    "mbvc profile --threads 2                      two threads share a call",
    "mbvc profile --spec network.yaml --svg profile.svg",
))]
pub struct Args {
    /// Weights file, written by `mbvc import` [default: random weights]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Fusion level [default: the spec's]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Instruction set [default: the widest of this processor]
    #[arg(long, value_enum)]
    isa: Option<IsaArg>,
    /// Threads that share each call [default: the spec's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Number of measured calls
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Print JSON lines: one for each step, then one for the whole call
    #[arg(long)]
    json: bool,
    /// Write the profile as an SVG picture with the roofline
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Overwrite an existing SVG file
    #[arg(long, requires = "svg")]
    force: bool,
    #[command(flatten)]
    spec: SpecOption,
}

pub fn run(args: &Args) -> Result {
    ui::warn_unoptimized();
    if let Some(path) = &args.svg {
        let inputs: Vec<&Path> = args.weights.iter().chain(&args.spec.spec).map(PathBuf::as_path).collect();
        files::check_output(path, args.force, &inputs)?;
    }
    let trained = args.weights.as_deref().map(|path| engine::weights(Some(path))).transpose()?;
    let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides_for(trained.as_ref()))?;
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let isa = args.isa.map(Isa::from);
    let weights = match trained {
        Some(weights) => weights,
        None => engine::random_weights(&source)?,
    };
    let threads = args.threads.map(usize::from);
    let network = engine::program_for(&source, fusion, isa, threads)?.build(&weights, isa)?;
    let numerics = packed_numerics(&*network)?;
    let profile = measure(&source.spec.name, &*network, numerics, args.runs);
    // The picture first: the reader of standard output may close it early.
    if let Some(path) = &args.svg {
        files::write(path, roofline::draw(&picture(&profile, &*network, args.runs)).as_bytes(), args.force)?;
    }
    if args.json {
        profile.rows.iter().for_each(ui::json);
        ui::json(&profile.total);
    } else {
        show(&profile, &*network);
        if let Some(path) = &args.svg {
            outln!("\nthe picture is in {ACCENT}{}{ACCENT:#}", path.display());
        }
    }
    if let Some(percent) = profile.disagreement() {
        ui::warning(&format!(
            "the minima of the steps and of the whole call disagree by {percent:.0} %: the machine is busy; \
             measure again, or with more --runs"
        ));
    }
    Ok(())
}

/// Returns the numerics that the weights of a network are packed for: `fast` only on instruction sets and processors
/// that gain from it.
fn packed_numerics(network: &dyn Network) -> Result<Numerics> {
    let numerics = network.info().numerics.choose().map_err(|cause| CliError::new(cause.to_string()))?;
    Ok(if network.isa().has_fast_product() { numerics } else { Numerics::Strict })
}

fn measure(name: &str, network: &dyn Network, numerics: Numerics, runs: u32) -> Profile {
    let info = network.info();
    let mut caller = Caller::new(info);
    caller.noise();
    let (mut steps, mut stages) = (Stopwatch::new(info, false), Stopwatch::new(info, true));
    let mut limits = Limits { peak: 0.0, bandwidth: 0.0 };
    let bar = ui::progress(runs as usize, "measuring");
    let mut whole = Vec::new();
    let runs = runs as usize;
    for run in 0..runs + WARM_UP {
        if run == WARM_UP {
            (steps, stages) = (Stopwatch::new(info, false), Stopwatch::new(info, true));
            whole.clear();
        }
        // The clock frequency changes: the peak is sampled all along the run.
        if run.is_multiple_of(10) || run == WARM_UP {
            limits.peak = limits.peak.max(peak::gflops(network.isa(), info.conventions.precision, info.threads));
            limits.bandwidth = limits.bandwidth.max(peak::bandwidth(network.packed_bytes(), info.threads));
        }
        steps.start(Instant::now());
        whole.push(caller.call(network, &mut steps).as_secs_f64());
        steps.stop();
        stages.start(Instant::now());
        caller.call(network, &mut stages);
        stages.stop();
        bar.inc(u64::from(run >= WARM_UP));
    }
    bar.finish_and_clear();
    let times = Times {
        whole: Summary::of(&whole),
        steps: steps.steps.iter().map(|times| Summary::of(times)).collect(),
        stages: stages
            .stage_times
            .iter()
            .map(|stages| stages.iter().map(|times| Summary::of(times)).collect())
            .collect(),
    };
    Profile::new(name, info, (network.isa(), numerics), &times, limits)
}

fn picture(profile: &Profile, network: &dyn Network, runs: u32) -> Roofline {
    let (total, [height, width, _]) = (&profile.total, network.info().input);
    Roofline {
        title: format!("{} {height}×{width}", total.network),
        subtitle: format!(
            "{}: {:.2} ms, {:.1} {}, {:.0} % of the peak (minima of {runs} calls)",
            total.how(),
            total.min_us / 1e3,
            total.gflops,
            profile.unit,
            total.peak_share * 100.0,
        ),
        unit: profile.unit,
        peak: total.peak_gflops,
        bandwidth: total.read_gb_per_s,
        bars: profile.rows.iter().map(bar).collect(),
    }
}

fn bar(row: &StepRow) -> Bar {
    Bar {
        name: row.step.replace('+', " + "),
        parts: row.stages.iter().map(|part| Part { name: part.stage.to_owned(), micros: part.min_us }).collect(),
        micros: row.min_us,
        gflops: row.gflops,
        roof: row.roof,
    }
}

/// Numbers of a line of the table.
struct Line {
    name: String,
    min_us: f64,
    us: f64,
    gflops: f64,
    peak_share: f64,
    macs: usize,
    bytes: usize,
}

impl Line {
    fn cells(self, total_us: f64) -> Vec<String> {
        let of_work = |text: String| if self.macs > 0 { text } else { "-".to_owned() };
        vec![
            self.name,
            micros(self.min_us),
            micros(self.us),
            format!("{:.1} %", if total_us > 0.0 { self.min_us / total_us * 100.0 } else { 0.0 }),
            of_work(format!("{:.1}", self.gflops)),
            of_work(format!("{:.0} %", self.peak_share * 100.0)),
            of_work(Count(self.macs as f64).to_string()),
            Bytes(self.bytes).to_string(),
        ]
    }
}

/// At most six characters up to a second.
fn micros(us: f64) -> String {
    if us < 9999.95 { format!("{us:.1}") } else { format!("{us:.0}") }
}

fn show(profile: &Profile, network: &dyn Network) {
    let Profile { rows, total, unit } = profile;
    let [height, width, _] = network.info().input;
    outln!("{BOLD}{}{BOLD:#} {height}x{width}, {}\n", total.network, total.how());
    let mut lines = Vec::new();
    for row in rows {
        let StepRow { step, us, min_us, gflops, peak_share, macs, bytes, .. } = *row;
        let line = Line { name: step.to_owned(), min_us, us, gflops, peak_share, macs, bytes };
        lines.push(line.cells(total.min_us));
        if row.stages.len() > 1 {
            for part in &row.stages {
                // The line of the step already names the block.
                let name = part.stage.strip_prefix(&format!("{step}.")).unwrap_or(part.stage);
                let aggregate::StageRow { us, min_us, gflops, peak_share, macs, bytes, .. } = *part;
                let line = Line { name: format!("  {name}"), min_us, us, gflops, peak_share, macs, bytes };
                lines.push(line.cells(total.min_us));
            }
        }
    }
    let aggregate::Total { us, min_us, gflops, peak_share, macs, bytes, .. } = *total;
    let whole = Line { name: "whole".to_owned(), min_us, us, gflops, peak_share, macs, bytes };
    lines.push(whole.cells(total.min_us));
    let header = ["step", "min µs", "median", "of all", unit, "of peak", "MACs", "bytes"];
    outln!("{}", ui::table(&header, "<>>>>>>>", lines));
    outln!(
        "\n{DIM}peak of multiply-adds {:.1} {unit}, reading {} at {:.1} GB/s, both measured in this run{DIM:#}",
        total.peak_gflops,
        Bytes(network.packed_bytes()),
        total.read_gb_per_s
    );
    if profile.exceeds_peak() {
        outln!(
            "{DIM}{}{DIM:#}",
            ui::wrap(
                "above 100 %: the fast inner product (Winograd 1968) computes two products with one multiplication; \
                 the share counts the network's nominal multiply-adds against the peak of FMA instructions",
                ui::width()
            )
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fit_their_column() {
        assert_eq!(
            [0.04, 999.96, 9999.94, 9999.96, 123_456.7].map(micros),
            ["0.0", "1000.0", "9999.9", "10000", "123457"]
        );
    }
}

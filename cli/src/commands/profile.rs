//! `mbvc profile`: where the time goes.

use std::path::PathBuf;

use mbvc::info::NetworkInfo;
use mbvc::{Isa, Network};
use serde::Serialize;

use crate::error::Result;
use crate::measure::{Caller, Stopwatch, median};
use crate::options::{FusionArg, IsaArg, SpecOption, examples};
use crate::picture::roofline::{self, Bar, Part, Roofline};
use crate::ui::{ACCENT, BOLD, Bytes, Count, DIM};
use crate::{engine, files, outln, peak, ui};

/// Measure every step, and the stages of those that have some
///
/// The peak is that of multiply-adds from registers, measured in the same run between the calls. Stages are timed in
/// calls of their own, because reading the clock for each of their parts takes time too; steps are timed without it.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc profile                                  the built-in network, random weights",
    "mbvc profile --fusion none --isa avx2",
    "mbvc profile --threads 2                      two that share a call, against the peak of both",
    "mbvc profile --spec network.yaml --svg profile.svg",
))]
pub struct Args {
    /// Weights, as `mbvc import` writes them [default: random ones]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// How much is fused [default: as the spec says]
    #[arg(long, value_enum, value_name = "LEVEL")]
    fusion: Option<FusionArg>,
    /// Instruction set [default: the widest that this processor has]
    #[arg(long, value_enum)]
    isa: Option<IsaArg>,
    /// Threads that share each call [default: as the spec says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Calls to measure
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// JSON instead of a table: one line for each step, then one for the whole
    #[arg(long)]
    json: bool,
    /// Draw the profile: bars against the roofline
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    spec: SpecOption,
}

#[derive(Serialize)]
struct StepRow {
    step: &'static str,
    us: f64,
    gflops: f64,
    peak_share: f64,
    macs: usize,
    bytes: usize,
    #[serde(skip)]
    roof: f64,
    stages: Vec<StageRow>,
}

#[derive(Serialize)]
struct StageRow {
    stage: &'static str,
    us: f64,
    gflops: f64,
    peak_share: f64,
    macs: usize,
    bytes: usize,
}

#[derive(Serialize)]
struct Total {
    network: String,
    fusion: &'static str,
    isa: &'static str,
    numerics: String,
    threads: usize,
    us: f64,
    gflops: f64,
    peak_share: f64,
    macs: usize,
    bytes: usize,
    peak_gflops: f64,
    read_gb_per_s: f64,
}

impl Total {
    /// What was measured.
    fn how(&self) -> String {
        let Self { fusion, isa, numerics, threads, .. } = self;
        let threads = match threads {
            1 => "one thread".to_owned(),
            _ => format!("{threads} threads that share a call"),
        };
        format!("fusion {fusion}, {isa}, {numerics}, {threads}")
    }
}

pub fn run(args: &Args) -> Result {
    ui::unoptimized();
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
    let (rows, total) = measure(&source.spec.name, &*network, args.runs);
    // The picture first: a reader of the table may go away.
    if let Some(path) = &args.svg {
        let [height, width, _] = network.info().input;
        let picture = Roofline {
            title: format!("{} {height}×{width}", source.spec.name),
            subtitle: format!(
                "{}: {:.2} ms, {:.1} GFLOP/s, {:.0} % of the peak (medians of {} calls)",
                total.how(),
                total.us / 1e3,
                total.gflops,
                total.peak_share * 100.0,
                args.runs
            ),
            peak: total.peak_gflops,
            bandwidth: total.read_gb_per_s,
            bars: rows.iter().map(bar).collect(),
        };
        files::write(path, roofline::draw(&picture).as_bytes())?;
    }
    if args.json {
        rows.iter().for_each(ui::json);
        ui::json(&total);
    } else {
        show(&source.spec.name, &*network, &rows, &total);
        if let Some(path) = &args.svg {
            outln!("\nthe picture is in {ACCENT}{}{ACCENT:#}", path.display());
        }
    }
    Ok(())
}

fn measure(name: &str, network: &dyn Network, runs: u32) -> (Vec<StepRow>, Total) {
    let info = network.info();
    let mut caller = Caller::new(info);
    caller.noise();
    let (mut steps, mut stages) = (Stopwatch::new(info, false), Stopwatch::new(info, true));
    let (mut peak, mut bandwidth) = (0.0_f64, 0.0_f64);
    let bar = ui::progress(runs as usize, "measuring");
    let mut whole = Vec::new();
    const WARM_UP: u32 = 3;
    for run in 0..runs + WARM_UP {
        if run == WARM_UP {
            (steps, stages) = (Stopwatch::new(info, false), Stopwatch::new(info, true));
            whole.clear();
        }
        // The clock of the processor wanders: the peak is taken all along the run.
        if run % 10 == 0 || run == WARM_UP {
            peak = peak.max(peak::gflops(network.isa(), info.conventions.precision, info.threads));
            bandwidth = bandwidth.max(peak::bandwidth(network.packed_bytes(), info.threads));
        }
        steps.start();
        whole.push(caller.call(network, &mut steps).as_secs_f64());
        steps.stop();
        stages.start();
        caller.call(network, &mut stages);
        stages.stop();
        bar.inc(u64::from(run >= WARM_UP));
    }
    bar.finish_and_clear();
    let rows: Vec<StepRow> =
        (0..info.steps.len()).filter_map(|at| row(info, at, &steps, &stages, peak, bandwidth)).collect();
    let seconds = median(&whole);
    let macs: usize = rows.iter().map(|row| row.macs).sum();
    let gflops = gflops(macs, seconds);
    let total = Total {
        network: name.to_owned(),
        fusion: info.fusion,
        isa: network.isa().name(),
        numerics: info.numerics.to_string(),
        threads: info.threads,
        us: round(seconds * 1e6, 2),
        gflops,
        peak_share: share(gflops, peak),
        macs,
        bytes: rows.iter().map(|row| row.bytes).sum(),
        peak_gflops: round(peak, 1),
        read_gb_per_s: round(bandwidth, 1),
    };
    (rows, total)
}

fn row(
    info: &NetworkInfo,
    at: usize,
    steps: &Stopwatch,
    stages: &Stopwatch,
    peak: f64,
    bandwidth: f64,
) -> Option<StepRow> {
    let step = info.steps.get(at)?;
    let seconds = median(steps.steps.get(at)?);
    let timed = stages.stage_times.get(at)?;
    let parts: Vec<StageRow> = step
        .stages
        .iter()
        .zip(timed)
        .map(|(stage, times)| {
            let seconds = median(times);
            let gflops = gflops(stage.macs, seconds);
            StageRow {
                stage: stage.name,
                us: round(seconds * 1e6, 2),
                gflops,
                peak_share: share(gflops, peak),
                macs: stage.macs,
                bytes: stage.bytes,
            }
        })
        .collect();
    let macs: usize = step.stages.iter().map(|stage| stage.macs).sum();
    let bytes = bytes(info, at);
    let gflops = gflops(macs, seconds);
    // Twice the multiply-adds for each byte, times the bytes in a second.
    let roof = if bytes > 0 { peak.min(2.0 * macs as f64 / bytes as f64 * bandwidth) } else { peak };
    Some(StepRow {
        step: step.name,
        us: round(seconds * 1e6, 2),
        gflops,
        peak_share: share(gflops, peak),
        macs,
        bytes,
        roof,
        stages: parts,
    })
}

/// What a step has to touch at least: its input, its output and its weights.
fn bytes(info: &NetworkInfo, at: usize) -> usize {
    let input = at.checked_sub(1).and_then(|before| info.steps.get(before)).map_or(info.input, |step| step.output);
    let output = info.steps.get(at).map_or([0; 3], |step| step.output);
    let layers: Vec<&str> = info.layers.iter().filter(|layer| layer.step == at).map(|layer| layer.name).collect();
    let of_step = |name: &str| name.rsplit_once('.').is_some_and(|(layer, _)| layers.contains(&layer));
    let weights: usize =
        info.parameters.iter().filter(|p| of_step(p.name)).map(|p| p.shape.iter().product::<usize>()).sum();
    4 * (input.iter().product::<usize>() + output.iter().product::<usize>() + weights)
}

fn gflops(macs: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { round(2e-9 * macs as f64 / seconds, 2) } else { 0.0 }
}

fn share(gflops: f64, peak: f64) -> f64 {
    if peak > 0.0 { round(gflops / peak, 4) } else { 0.0 }
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn bar(row: &StepRow) -> Bar {
    Bar {
        name: row.step.replace('+', " + "),
        parts: row.stages.iter().map(|part| Part { name: part.stage.to_owned(), micros: part.us }).collect(),
        micros: row.us,
        gflops: row.gflops,
        roof: row.roof,
    }
}

fn show(name: &str, network: &dyn Network, rows: &[StepRow], total: &Total) {
    let [height, width, _] = network.info().input;
    outln!("{BOLD}{name}{BOLD:#} {height}x{width}, {}\n", total.how());
    let line = |step: String, us: f64, of: f64, gflops: f64, share: f64, macs: usize, bytes: usize| {
        vec![
            step,
            format!("{us:.1}"),
            format!("{:.1} %", if total.us > 0.0 { of / total.us * 100.0 } else { 0.0 }),
            if macs > 0 { format!("{gflops:.1}") } else { "-".to_owned() },
            if macs > 0 { format!("{:.0} %", share * 100.0) } else { "-".to_owned() },
            if macs > 0 { Count(macs as f64).to_string() } else { "-".to_owned() },
            Bytes(bytes).to_string(),
        ]
    };
    let mut lines = Vec::new();
    for row in rows {
        lines.push(line(row.step.to_owned(), row.us, row.us, row.gflops, row.peak_share, row.macs, row.bytes));
        if row.stages.len() > 1 {
            for part in &row.stages {
                // The step's line says which block it is.
                let name = part.stage.strip_prefix(&format!("{}.", row.step)).unwrap_or(part.stage);
                let name = format!("  {name}");
                lines.push(line(name, part.us, part.us, part.gflops, part.peak_share, part.macs, part.bytes));
            }
        }
    }
    lines.push(line("whole".into(), total.us, total.us, total.gflops, total.peak_share, total.macs, total.bytes));
    let header = ["step", "µs", "of all", "GFLOP/s", "of peak", "MACs", "bytes"];
    outln!("{}", ui::table(&header, "<>>>>>>", lines));
    outln!(
        "\n{DIM}peak of multiply-adds {:.1} GFLOP/s, reading {} at {:.1} GB/s, both measured in this run{DIM:#}",
        total.peak_gflops,
        Bytes(network.packed_bytes()),
        total.read_gb_per_s
    );
}

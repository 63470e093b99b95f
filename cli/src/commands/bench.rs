//! `mbvc bench`: variants against each other, call by call.

use std::path::PathBuf;

use mbvc::{Isa, Network};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::measure::{Measured, Variant, interleaved, quantile_ms};
use crate::options::{FusionArg, IsaArg, SpecOption, examples};
use crate::ui::{BOLD, DIM};
use crate::{engine, outln, ui};

/// Measure fusion levels and instruction sets against each other
///
/// All variants run in one process, call by call in turn, so that a slow moment of the machine falls on each of them.
/// With several threads, these share each call. With several callers, these share one model; the times are those of
/// single calls.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc bench                                    all fusion levels, random weights",
    "mbvc bench --fusion block --isa avx2,avx512   instruction sets",
    "mbvc bench --fusion block --threads 1,2       threads that share a call",
    "mbvc bench --fusion block --callers 1,2       callers at once",
    "mbvc bench --weights weights.safetensors --runs 200 --json",
))]
pub struct Args {
    /// Weights, as `mbvc import` writes them [default: random ones]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Fusion levels, separated by commas [default: those that differ in speed]
    #[arg(long, value_enum, value_name = "LEVEL", value_delimiter = ',')]
    fusion: Vec<FusionArg>,
    /// Instruction sets, separated by commas [default: the widest that this processor has]
    #[arg(long, value_enum, value_delimiter = ',')]
    isa: Vec<IsaArg>,
    /// Threads that share a call; the network is compiled for each number, once [default: the spec's]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Vec<u16>,
    /// Callers at once that share a model; several numbers are compared
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    callers: Vec<u16>,
    /// Calls of each variant and caller
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// One line of JSON for each variant
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    spec: SpecOption,
}

#[derive(Serialize)]
struct Row {
    network: String,
    resolution: [usize; 2],
    fusion: &'static str,
    isa: &'static str,
    threads: usize,
    callers: usize,
    runs: u32,
    min_ms: f64,
    median_ms: f64,
    p90_ms: f64,
    images_per_s: f64,
    gflops: f64,
    weights: String,
}

pub fn run(args: &Args) -> Result {
    ui::unoptimized();
    let trained = args.weights.as_deref().map(|path| engine::weights(Some(path))).transpose()?;
    let source = engine::source(args.spec.spec.as_deref(), args.spec.overrides_for(trained.as_ref()))?;
    let mut isas: Vec<Option<Isa>> = args.isa.iter().map(|isa| Some(Isa::from(*isa))).collect();
    if isas.is_empty() {
        isas.push(None);
    }
    let mut fusions = args.fusion.clone();
    fusions.dedup();
    if fusions.is_empty() {
        fusions = engine::fusion_levels(&source).to_vec();
    }
    let weights = match trained {
        Some(weights) => weights,
        None => engine::random_weights(&source)?,
    };
    let label = args.weights.as_ref().map_or_else(|| "random".to_owned(), |path| path.display().to_string());
    let mut networks: Vec<Box<dyn Network>> = Vec::new();
    let mut threads: Vec<Option<usize>> = args.threads.iter().map(|threads| Some(usize::from(*threads))).collect();
    if threads.is_empty() {
        threads.push(None);
    }
    for fusion in fusions {
        for isa in &isas {
            for threads in &threads {
                networks.push(engine::program_for(&source, fusion, *isa, *threads)?.build(&weights, *isa)?);
            }
        }
    }
    let variants: Vec<Variant<'_>> = networks
        .iter()
        .flat_map(|network| {
            args.callers.iter().map(|callers| Variant { network: &**network, callers: usize::from(*callers) })
        })
        .collect();
    if !args.json && args.weights.is_none() {
        ui::note("random weights; the time does not depend on the values (--weights FILE for trained ones)");
    }
    let bar = ui::progress(args.runs as usize, "measuring");
    let measured = interleaved(&variants, args.runs as usize, || bar.inc(1));
    bar.finish_and_clear();
    let rows: Vec<Row> = variants
        .iter()
        .zip(&measured)
        .map(|(variant, measured)| row(&source.spec.name, variant, measured, args.runs, &label))
        .collect();
    if args.json {
        rows.iter().for_each(ui::json);
        return Ok(());
    }
    show(&rows)
}

fn row(name: &str, variant: &Variant<'_>, measured: &Measured, runs: u32, weights: &str) -> Row {
    let info = variant.network.info();
    let [height, width, _] = info.input;
    let at = |share| (quantile_ms(&measured.latencies, share) * 1e4).round() / 1e4;
    let median_ms = at(0.5);
    let macs: usize = info.layers.iter().map(|layer| layer.macs).sum();
    let busy = measured.busy.as_secs_f64();
    Row {
        network: name.to_owned(),
        resolution: [height, width],
        fusion: info.fusion,
        isa: variant.network.isa().name(),
        threads: info.threads,
        callers: variant.callers,
        runs,
        min_ms: at(0.0),
        median_ms,
        p90_ms: at(0.9),
        images_per_s: per(measured.latencies.len() as f64, busy),
        gflops: per(2e-6 * macs as f64, median_ms),
        weights: weights.to_owned(),
    }
}

/// A quotient to one decimal, 0 where nothing was measured.
fn per(amount: f64, time: f64) -> f64 {
    if time > 0.0 { (amount / time * 10.0).round() / 10.0 } else { 0.0 }
}

fn show(rows: &[Row]) -> Result {
    let Some(first) = rows.first() else { return Err(CliError::new("there is nothing to measure")) };
    // Calls in a second, by the median.
    let rate = |row: &Row| if row.median_ms > 0.0 { row.callers as f64 / row.median_ms } else { 0.0 };
    let slowest = rows.iter().map(rate).fold(f64::INFINITY, f64::min);
    let [height, width] = first.resolution;
    let (runs, weights) = (first.runs, &first.weights);
    outln!("{BOLD}{}{BOLD:#} {height}x{width}, {runs} calls each, {weights} weights\n", first.network);
    let header =
        ["fusion", "isa", "threads", "callers", "min ms", "median ms", "p90 ms", "images/s", "GFLOP/s", "speed"];
    let table = ui::table(
        &header,
        "<<>>>>>>>>",
        rows.iter().map(|row| {
            vec![
                row.fusion.to_owned(),
                row.isa.to_owned(),
                row.threads.to_string(),
                row.callers.to_string(),
                format!("{:.3}", row.min_ms),
                format!("{:.3}", row.median_ms),
                format!("{:.3}", row.p90_ms),
                format!("{:.1}", row.images_per_s),
                format!("{:.1}", row.gflops),
                format!("{:.2}x", if slowest > 0.0 { rate(row) / slowest } else { 0.0 }),
            ]
        }),
    );
    outln!("{table}");
    if rows.len() > 1 {
        outln!(
            "\n{DIM}speed: callers / median ms, against the slowest variant; GFLOP/s of one call at its median{DIM:#}"
        );
    }
    Ok(())
}

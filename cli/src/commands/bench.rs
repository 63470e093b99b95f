//! `mbvc bench`: compares fusion levels, instruction sets, threads and callers.

use std::path::PathBuf;

use mbvc::{Isa, Network};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::measure::{Measured, Variant, interleaved, quantile_ms};
use crate::options::{FusionArg, IsaArg, SpecOption, examples};
use crate::ui::{BOLD, DIM, outln};
use crate::{engine, name, ui};

/// Compare the speed of fusion levels, instruction sets, threads and callers
///
/// All variants run in one process, and their calls are interleaved, so that changes of the clock rate affect all of
/// them. They are ranked by the minimum; a median far above it shows a busy machine. Threads share one call. Callers
/// run at the same time and share one model; the times are those of single calls.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc bench                                    all fusion levels, with random weights",
    "mbvc bench --fusion block --isa avx2,avx512   two instruction sets",
    "mbvc bench --fusion block --threads 1,2       one and two threads that share a call",
    "mbvc bench --fusion block --callers 1,2       one and two concurrent callers",
    "mbvc bench --weights weights.safetensors --runs 200 --json",
))]
pub struct Args {
    /// Weights file, written by `mbvc import` [default: random weights]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Fusion levels, comma-separated [default: all that differ in speed]
    #[arg(long, value_enum, value_name = "LEVEL", value_delimiter = ',')]
    fusion: Vec<FusionArg>,
    /// Instruction sets, comma-separated [default: the widest of this processor]
    #[arg(long, value_enum, value_delimiter = ',')]
    isa: Vec<IsaArg>,
    /// Threads that share a call, comma-separated; the network is compiled for each number [default: the spec's]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Vec<u16>,
    /// Concurrent callers that share a model, comma-separated
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    callers: Vec<u16>,
    /// Number of measured calls of each variant and caller
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Print one line of JSON for each variant
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
    ui::warn_unoptimized();
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
    let label = args.weights.as_ref().map_or_else(|| "random".to_owned(), |path| name::of(path));
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
        ui::note("random weights: the time does not depend on their values; --weights FILE uses trained ones");
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
    let min_ms = at(0.0);
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
        min_ms,
        median_ms: at(0.5),
        p90_ms: at(0.9),
        images_per_s: per(measured.latencies.len() as f64, busy),
        gflops: per(2e-6 * macs as f64, min_ms),
        weights: weights.to_owned(),
    }
}

/// A quotient with one decimal; 0 if nothing was measured.
fn per(amount: f64, time: f64) -> f64 {
    if time > 0.0 { (amount / time * 10.0).round() / 10.0 } else { 0.0 }
}

/// Calls per millisecond at the minimum.
fn rate(row: &Row) -> f64 {
    if row.min_ms > 0.0 { row.callers as f64 / row.min_ms } else { 0.0 }
}

fn show(rows: &[Row]) -> Result {
    let Some(first) = rows.first() else { return Err(CliError::new("nothing to measure")) };
    let [height, width] = first.resolution;
    let (runs, weights) = (first.runs, &first.weights);
    outln!("{BOLD}{}{BOLD:#} {height}x{width}, {runs} calls each, {weights} weights\n", first.network);
    outln!("{}", table(rows));
    if rows.len() > 1 {
        let note = "fastest first; speed: callers / min ms, relative to the slowest variant; GFLOP/s at the minimum";
        outln!("\n{DIM}{}{DIM:#}", ui::wrap(note, ui::width()));
    }
    Ok(())
}

/// The variants, fastest first, with the columns of threads and callers if any variant has several.
fn table(rows: &[Row]) -> String {
    let slowest = rows.iter().map(rate).fold(f64::INFINITY, f64::min);
    let mut ranked: Vec<&Row> = rows.iter().collect();
    ranked.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    let threads = rows.iter().any(|row| row.threads > 1);
    let callers = rows.iter().any(|row| row.callers > 1);
    let optional = |shown: bool, cell: &str| shown.then(|| cell.to_owned());
    let line = |fixed: [&str; 2], counts: [&str; 2], numbers: [String; 6]| -> Vec<String> {
        let counts = [optional(threads, counts[0]), optional(callers, counts[1])];
        fixed.map(str::to_owned).into_iter().chain(counts.into_iter().flatten()).chain(numbers).collect()
    };
    let names = ["min ms", "median ms", "p90 ms", "images/s", "GFLOP/s", "speed"].map(str::to_owned);
    let header = line(["fusion", "isa"], ["threads", "callers"], names);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let columns = format!("<<{}", ">".repeat(header.len() - 2));
    let lines = ranked.iter().map(|row| {
        let counts = [row.threads, row.callers].map(|count| count.to_string());
        let speed = if slowest > 0.0 { rate(row) / slowest } else { 0.0 };
        let numbers = [
            format!("{:.3}", row.min_ms),
            format!("{:.3}", row.median_ms),
            format!("{:.3}", row.p90_ms),
            format!("{:.1}", row.images_per_s),
            format!("{:.1}", row.gflops),
            format!("{speed:.2}x"),
        ];
        line([row.fusion, row.isa], counts.each_ref().map(String::as_str), numbers)
    });
    ui::table(&header, &columns, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fusion: &'static str, callers: usize, min_ms: f64) -> Row {
        Row {
            network: "Net".to_owned(),
            resolution: [32, 32],
            fusion,
            isa: "avx2",
            threads: 1,
            callers,
            runs: 5,
            min_ms,
            // Ranks do not depend on it.
            median_ms: 10.0 - min_ms,
            p90_ms: 12.0,
            images_per_s: 0.0,
            gflops: 0.0,
            weights: "random".to_owned(),
        }
    }

    #[test]
    fn variants_are_ranked_by_the_minimum() {
        let table = anstream::adapter::strip_str(&table(&[row("none", 1, 2.0), row("block", 1, 1.0)])).to_string();
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][..4], ["fusion", "isa", "min", "ms"], "no columns of threads and callers");
        assert_eq!((lines[1][0], lines[1].last()), ("block", Some(&"2.00x")));
        assert_eq!((lines[2][0], lines[2].last()), ("none", Some(&"1.00x")));
    }

    #[test]
    fn callers_have_a_column_where_there_are_several() {
        let table = anstream::adapter::strip_str(&table(&[row("none", 1, 1.0), row("none", 2, 1.6)])).to_string();
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!((lines[0][2], lines[1][2], lines[1].last()), ("callers", "2", Some(&"1.25x")));
    }
}

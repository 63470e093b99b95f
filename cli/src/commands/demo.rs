//! `mbvc` without a command: classifies the samples or the given pictures with the built-in demo network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mbvc::errors::WeightsError;
use mbvc::weights::HeadActivation;
use mbvc::{Network, Unobserved, Weights};
use mbvc_engine::Caller;
use mbvc_networks::demo::{self, Variant};
use mbvc_pictures::{Photo, load_icon};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::measure::Summary;
use crate::ui::{ACCENT, BOLD, DIM, ERROR, GOOD, outln};
use crate::{files, name, predict, thumbnail, ui};

/// Calls of each network for each picture.
const RUNS: usize = 20;

#[derive(clap::Args)]
pub struct Args {
    /// Pictures and folders of pictures to classify with the built-in demo network [default, without a command: the
    /// built-in samples]
    #[arg(value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    /// Print one line of JSON for each picture
    #[arg(long, requires = "pictures")]
    json: bool,
}

/// A picture at the networks' input size.
struct Picture {
    name: String,
    /// The expected label, known for samples.
    truth: Option<String>,
    /// `[height, width, 3]`
    pixels: Vec<u8>,
}

/// Results of a picture; times are medians and minima of all calls for it, in microseconds.
#[derive(Serialize)]
struct Row {
    picture: String,
    label: String,
    score: f32,
    second: String,
    second_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<String>,
    fused_us: f64,
    unfused_us: f64,
    int8_us: f64,
    fused_min_us: f64,
    unfused_min_us: f64,
    int8_min_us: f64,
    int8_label: String,
}

/// The three networks: fused blocks, layer by layer, int8.
type Three<T> = [T; 3];

pub fn run(args: &Args) -> Result {
    ui::warn_unoptimized();
    let open =
        |opened: std::result::Result<Weights, WeightsError>| opened.map_err(|cause| CliError::new(cause.to_string()));
    let (weights, quantized) = (open(demo::weights())?, open(demo::quantized_weights())?);
    let build = |variant, weights| demo::build(&variant, weights).map_err(|cause| CliError::new(cause.to_string()));
    let fused = build(Variant::Fused, &weights)?;
    let unfused = build(Variant::Unfused, &weights)?;
    let int8 = build(Variant::Quantized, &quantized)?;
    let [height, width, _] = fused.info().input;
    let (pictures, skipped) = pictures(args, &weights, fused.info().input)?;
    let networks = [&*fused, &*unfused, &*int8];
    let (rows, times) = measure(&pictures, networks, [&weights, &weights, &quantized]);
    if args.json {
        rows.iter().for_each(ui::json);
    } else if !rows.is_empty() {
        let report = Report { networks, times, size: [height, width], is_demo: args.pictures.is_empty() };
        report.show(&pictures, &rows);
    }
    if skipped == 0 { Ok(()) } else { Err(CliError::Reported) }
}

/// The pictures, and the number of unreadable ones, each of which is reported.
fn pictures(args: &Args, weights: &Weights, input: [usize; 3]) -> Result<(Vec<Picture>, usize)> {
    let framing = weights.framing();
    if args.pictures.is_empty() {
        let samples = demo::SAMPLES.iter().map(|(name, bytes)| {
            let pixels = Photo::from_bytes(bytes, Path::new(name))?.frame(framing, input);
            let truth = name.split('.').next().map(|stem| stem.replace('-', " "));
            Ok(Picture { name: (*name).to_owned(), truth, pixels })
        });
        return Ok((samples.collect::<Result<_>>()?, 0));
    }
    let mut found = Vec::new();
    let mut skipped = 0;
    for path in files::images(&args.pictures, false)? {
        match load_icon(&path, framing, input).map_err(CliError::from) {
            Ok(pixels) => found.push(Picture { name: name::of(&path), truth: None, pixels }),
            Err(cause) => {
                cause.print();
                skipped += 1;
            }
        }
    }
    Ok((found, skipped))
}

/// Classifies every picture with every network, in interleaved calls; returns the rows, and the times of each network
/// over all pictures in microseconds.
fn measure(
    pictures: &[Picture],
    networks: Three<&dyn Network>,
    weights: Three<&Weights>,
) -> (Vec<Row>, Three<Summary>) {
    let mut callers = networks.map(|network| Caller::new(network.info()));
    let [labels, _, int8_labels] = weights.map(|weights| weights.labels().unwrap_or_default());
    let [activation, _, int8_activation] = weights.map(Weights::head_activation);
    let mut all = [const { Vec::new() }; 3];
    let rows = pictures.iter().map(|picture| {
        for (caller, weights) in callers.iter_mut().zip(weights) {
            caller.show(&picture.pixels, &weights.preprocessing());
        }
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..RUNS {
            for ((caller, network), times) in callers.iter_mut().zip(networks).zip(&mut times) {
                times.push(micros(caller.call(network, &mut Unobserved)));
            }
        }
        for (all, times) in all.iter_mut().zip(&times) {
            all.extend_from_slice(times);
        }
        let [fused, unfused, int8] = times.map(|times| Summary::of(&times));
        let [(label, score), (second, second_score)] = first_two(activation, &callers[0].logits, &labels);
        let [(int8_label, _), _] = first_two(int8_activation, &callers[2].logits, &int8_labels);
        Row {
            picture: picture.name.clone(),
            label,
            score,
            second,
            second_score,
            truth: picture.truth.clone(),
            fused_us: fused.median,
            unfused_us: unfused.median,
            int8_us: int8.median,
            fused_min_us: fused.min,
            unfused_min_us: unfused.min,
            int8_min_us: int8.min,
            int8_label,
        }
    });
    (rows.collect(), all.map(|times| Summary::of(&times)))
}

/// Microseconds with one decimal.
fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

/// Names and probabilities of the first two classes.
fn first_two(activation: HeadActivation, logits: &[f32], labels: &[String]) -> [(String, f32); 2] {
    let scores = activation.scores(logits);
    let mut found = predict::best(&scores, labels, 2).into_iter().map(|one| (one.name(), one.score));
    std::array::from_fn(|_| found.next().unwrap_or_default())
}

/// Speedup of one network over another: the ratio of their minima, and of their medians.
struct Speedup {
    min: f64,
    median: f64,
}

impl Speedup {
    fn of(fast: Summary, slow: Summary) -> Self {
        Self { min: slow.min / fast.min, median: slow.median / fast.median }
    }
}

/// Output for people.
struct Report<'a> {
    networks: Three<&'a dyn Network>,
    times: Three<Summary>,
    size: [usize; 2],
    is_demo: bool,
}

impl Report<'_> {
    fn show(&self, pictures: &[Picture], rows: &[Row]) {
        let [fused, ..] = self.networks;
        let [height, width] = self.size;
        if self.is_demo {
            let version = env!("CARGO_PKG_VERSION");
            prose(&format!(
                "{BOLD}mbvc {version}{BOLD:#} compiles MobileNetV2 networks, written as a YAML table, into specialized \
                 SIMD Rust ahead of time.\n"
            ));
            prose(&format!(
                "This demo network is built in. It recognizes {} everyday things at {height}x{width}. It was trained on \
                 icons; the samples below are from a set that it was not trained on (Microsoft's Fluent emoji).\n",
                fused.info().classes
            ));
        }
        if thumbnail::are_shown() {
            gallery(pictures, rows, self.size);
        }
        outln!("{}\n", results(rows));
        let same = rows.iter().filter(|row| row.label == row.int8_label).count();
        if self.is_demo {
            let right = rows.iter().filter(|row| row.truth.as_ref() == Some(&row.label)).count();
            outln!("top-1: {right} of {}; int8 predicts the same class for {same}", rows.len());
        } else {
            outln!("int8 predicts the same class for {same} of {}", rows.len());
        }
        self.speed(rows.len());
        next(self.is_demo);
    }

    fn speed(&self, pictures: usize) {
        let [fused, unfused, int8] = self.times;
        let names = ["float32, fused blocks", "float32, layer by layer", "int8, fused blocks"];
        let lines = names.iter().zip(self.networks).zip(self.times).map(|((name, network), time)| {
            vec![
                (*name).to_owned(),
                network.isa().to_string(),
                format!("{:.1}", time.min),
                format!("{:.1}", time.median),
                ui::Bytes(network.info().scratch_bytes).to_string(),
            ]
        });
        outln!("\n{}\n", ui::table(&["network", "isa", "min µs", "median µs", "scratch"], "<<>>>", lines));
        let (fusion, quantization) = (Speedup::of(fused, unfused), Speedup::of(int8, fused));
        prose(&format!(
            "Fused blocks are {BOLD}{:.2}{BOLD:#} times as fast as layer by layer, and int8 is {BOLD}{:.2}{BOLD:#} times as \
             fast as float32: ratios of the minima of {} interleaved calls on one thread (of the medians: {:.2} and {:.2}). \
             A call allocates nothing.",
            fusion.min,
            quantization.min,
            pictures * RUNS,
            fusion.median,
            quantization.median
        ));
    }
}

/// Prints text that wraps at the width of the terminal.
fn prose(text: &str) {
    outln!("{}", ui::wrap(text, ui::width()));
}

/// The predictions, with the minimal time of each network; fits 80 columns.
fn results(rows: &[Row]) -> String {
    let header = ["picture", "class", "score", "fused µs", "unfused µs", "int8 µs"];
    let lines = rows.iter().map(|row| {
        vec![
            shortened(&row.picture),
            verdict(row),
            format!("{:.1} %", row.score * 100.0),
            format!("{:.1}", row.fused_min_us),
            format!("{:.1}", row.unfused_min_us),
            format!("{:.1}", row.int8_min_us),
        ]
    });
    ui::table(&header, "<<>>>>", lines)
}

/// The label, marked as right or wrong if the expected one is known.
fn verdict(row: &Row) -> String {
    match &row.truth {
        Some(truth) if *truth == row.label => format!("{GOOD}{}{GOOD:#}", row.label),
        Some(_) => format!("{ERROR}{} ✗{ERROR:#}", row.label),
        None => format!("{BOLD}{}{BOLD:#}", row.label),
    }
}

/// The end of a path that is too long for its column.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 20;
    let count = name.chars().count();
    if count <= LONGEST {
        name.to_owned()
    } else {
        std::iter::once('…').chain(name.chars().skip(count + 1 - LONGEST)).collect()
    }
}

/// Thumbnails side by side, with their labels below.
fn gallery(pictures: &[Picture], rows: &[Row], size: [usize; 2]) {
    const GAP: usize = 2;
    let across = ((ui::width() + GAP) / (thumbnail::COLUMNS + GAP)).max(1);
    for (pictures, rows) in pictures.chunks(across).zip(rows.chunks(across)) {
        let columns: Vec<Vec<String>> =
            pictures.iter().map(|picture| thumbnail::lines(&picture.pixels, size)).collect();
        for line in 0..columns.first().map_or(0, Vec::len) {
            let parts: Vec<&str> = columns.iter().filter_map(|column| Some(column.get(line)?.as_str())).collect();
            outln!("{}", parts.join(&" ".repeat(GAP)));
        }
        let labels = rows.iter().map(|row| {
            let text: String = row.label.chars().take(thumbnail::COLUMNS).collect();
            format!("{text:^width$}", width = thumbnail::COLUMNS)
        });
        outln!("{ACCENT}{}{ACCENT:#}\n", labels.collect::<Vec<_>>().join(&" ".repeat(GAP)));
    }
}

/// Commands to try next.
fn next(is_demo: bool) {
    outln!();
    let classify = ("Classify another icon", "mbvc PICTURE");
    let rest = [
        ("Read generated code", "mbvc emit --block 2"),
        ("Draw the graph", "mbvc dump --svg network.svg"),
        ("Import your own model", "mbvc import model.h5"),
        ("Classify photographs", "mbvc classify photos/ --weights model.safetensors \\\n    --spec model.yaml"),
        ("Write and check a spec", "mbvc init network.yaml && mbvc check network.yaml"),
        ("Build a program", "mbvc build model.yaml --weights model.safetensors \\\n    --output whatsthis"),
        ("Measure MobileNetV2 1.0", "mbvc bench"),
    ];
    const INDENT: usize = 2 + 25;
    for (what, command) in is_demo.then_some(classify).into_iter().chain(rest) {
        let command = command.replace('\n', &format!("\n{:INDENT$}", ""));
        outln!("  {what:<25}{ACCENT}{command}{ACCENT:#}");
    }
    outln!("\n{DIM}mbvc --help lists all commands; mbvc COMMAND --help explains one{DIM:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest label, a path too long for its column, and times of slow machines.
    #[test]
    fn results_fit_eighty_columns() {
        let row = Row {
            picture: "pictures/of/things/that/are/far/away.png".to_owned(),
            label: "magnifying glass".to_owned(),
            score: 1.0,
            second: String::new(),
            second_score: 0.0,
            truth: Some("cat".to_owned()),
            fused_us: 1.0,
            unfused_us: 1.0,
            int8_us: 1.0,
            fused_min_us: 99999.9,
            unfused_min_us: 99999.9,
            int8_min_us: 99999.9,
            int8_label: String::new(),
        };
        let table = anstream::adapter::strip_str(&results(&[row])).to_string();
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        assert!(table.contains("…at/are/far/away.png"), "{table}");
    }

    #[test]
    fn speed_is_the_ratio_of_minima() {
        let (fast, slow) = (Summary { min: 10.0, median: 20.0 }, Summary { min: 15.0, median: 50.0 });
        let Speedup { min, median } = Speedup::of(fast, slow);
        assert_eq!((min, median), (1.5, 2.5));
    }
}

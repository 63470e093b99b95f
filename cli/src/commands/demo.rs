//! `mbvc` alone, or with pictures: the network that the command carries, on them or on its own samples.

use std::path::PathBuf;

use mbvc::errors::WeightsError;
use mbvc::{Network, Unobserved, Weights, softmax, top_k};
use mbvc_networks::demo::{self, Variant};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::measure::{Caller, quantile_ms};
use crate::ui::{ACCENT, BOLD, DIM, GOOD};
use crate::{files, image, outln, thumbnail, ui};

/// Calls of each network for each picture.
const RUNS: usize = 20;

#[derive(clap::Args)]
pub struct Args {
    /// Pictures, and folders of pictures, to classify with the network that the command carries; without any and
    /// without a command, its samples
    #[arg(value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    /// One line of JSON for each picture
    #[arg(long, requires = "pictures")]
    json: bool,
}

/// A picture as the networks see it.
struct Picture {
    name: String,
    /// What it shows, where that is known.
    truth: Option<String>,
    /// `[height, width, 3]`
    pixels: Vec<u8>,
}

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
    int8_label: String,
}

pub fn run(args: &Args) -> Result {
    let open =
        |opened: std::result::Result<Weights, WeightsError>| opened.map_err(|cause| CliError::new(cause.to_string()));
    let (weights, quantized) = (open(demo::weights())?, open(demo::quantized_weights())?);
    let build = |variant, weights| demo::build(&variant, weights).map_err(|cause| CliError::new(cause.to_string()));
    let fused = build(Variant::Fused, &weights)?;
    let unfused = build(Variant::Unfused, &weights)?;
    let int8 = build(Variant::Quantized, &quantized)?;
    let [height, width, _] = fused.info().input;
    let (pictures, skipped) = pictures(args, &weights, [height, width])?;
    let networks = [&*fused, &*unfused, &*int8];
    let rows = measure(&pictures, networks, [&weights, &weights, &quantized]);
    if args.json {
        rows.iter().for_each(ui::json);
    } else if !rows.is_empty() {
        show(&pictures, &rows, networks, args.pictures.is_empty());
    }
    if skipped == 0 { Ok(()) } else { Err(CliError::Reported) }
}

/// What is to be classified, and how many pictures could not be read, which is told.
fn pictures(args: &Args, weights: &Weights, size: [usize; 2]) -> Result<(Vec<Picture>, usize)> {
    let framing = weights.framing();
    if args.pictures.is_empty() {
        let samples = demo::SAMPLES.iter().map(|(name, bytes)| {
            let pixels = image::load_bytes(bytes, name, framing, size)?;
            let truth = name.split('.').next().map(|stem| stem.replace('-', " "));
            Ok(Picture { name: (*name).to_owned(), truth, pixels })
        });
        return Ok((samples.collect::<Result<_>>()?, 0));
    }
    let mut found = Vec::new();
    let mut skipped = 0;
    for path in files::images(&args.pictures, false)? {
        match image::load_icon(&path, framing, size) {
            Ok(pixels) => found.push(Picture { name: path.display().to_string(), truth: None, pixels }),
            Err(cause) => {
                cause.print();
                skipped += 1;
            }
        }
    }
    Ok((found, skipped))
}

/// Classifies each picture with each network, in turns.
fn measure(pictures: &[Picture], networks: [&dyn Network; 3], weights: [&Weights; 3]) -> Vec<Row> {
    let mut callers = networks.map(|network| Caller::new(network.info()));
    let [labels, _, int8_labels] = weights.map(|weights| weights.labels().unwrap_or_default());
    let rows = pictures.iter().map(|picture| {
        for (caller, weights) in callers.iter_mut().zip(weights) {
            caller.show(&picture.pixels, &weights.preprocessing());
        }
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..RUNS {
            for ((caller, network), times) in callers.iter_mut().zip(networks).zip(&mut times) {
                times.push(caller.call(network, &mut Unobserved));
            }
        }
        let [fused_us, unfused_us, int8_us] = times.map(|times| (quantile_ms(&times, 0.5) * 1e4).round() / 10.0);
        let [(label, score), (second, second_score)] = best(&mut callers[0].logits, &labels);
        let [(int8_label, _), _] = best(&mut callers[2].logits, &int8_labels);
        let (picture, truth) = (picture.name.clone(), picture.truth.clone());
        Row { picture, label, score, second, second_score, truth, fused_us, unfused_us, int8_us, int8_label }
    });
    rows.collect()
}

/// The two likeliest classes.
fn best(logits: &mut [f32], labels: &[String]) -> [(String, f32); 2] {
    softmax(logits);
    let mut found = [(0, 0.0); 2];
    top_k(logits, &mut found);
    found.map(|(class, score)| (labels.get(class).cloned().unwrap_or_else(|| format!("class {class}")), score))
}

fn show(pictures: &[Picture], rows: &[Row], networks: [&dyn Network; 3], is_demo: bool) {
    let [fused, unfused, int8] = networks;
    let info = fused.info();
    let [height, width, _] = info.input;
    if is_demo {
        outln!(
            "{BOLD}mbvc {}{BOLD:#}  an ahead-of-time compiler from a MobileNetV2 table to specialized SIMD Rust\n",
            env!("CARGO_PKG_VERSION")
        );
        outln!(
            "A network of {} everyday things at {height}x{width} is part of this command. It was trained on icons, and these \
             are of a family\nthat it has never seen (Microsoft's Fluent emoji):\n",
            info.classes
        );
    }
    if thumbnail::are_shown() {
        gallery(pictures, rows, [height, width]);
    }
    let header = ["picture", "", "score", "second guess", "", "fused us", "unfused us", "int8 us"];
    let table = ui::table(
        &header,
        "<<><>>>>",
        rows.iter().map(|row| {
            vec![
                short(&row.picture),
                verdict(row),
                format!("{:.1} %", row.score * 100.0),
                row.second.clone(),
                format!("{:.1} %", row.second_score * 100.0),
                format!("{:.1}", row.fused_us),
                format!("{:.1}", row.unfused_us),
                format!("{:.1}", row.int8_us),
            ]
        }),
    );
    outln!("{table}");
    outln!();
    let same = rows.iter().filter(|row| row.label == row.int8_label).count();
    if is_demo {
        let right = rows.iter().filter(|row| row.truth.as_ref() == Some(&row.label)).count();
        outln!("{right} of {} right; int8 says the same of {same}", rows.len());
    } else {
        outln!("int8 says the same of {same} of {}", rows.len());
    }
    let median = |time: fn(&Row) -> f64| crate::measure::median(&rows.iter().map(time).collect::<Vec<_>>());
    let [fused_us, unfused_us, int8_us] =
        [median(|row| row.fused_us), median(|row| row.unfused_us), median(|row| row.int8_us)];
    outln!(
        "one thread, {}: fused blocks {BOLD}{fused_us:.1}{BOLD:#} us, {:.2} times as fast as layer by layer ({unfused_us:.1})",
        fused.isa(),
        unfused_us / fused_us
    );
    outln!(
        "one thread, {}: int8 {BOLD}{int8_us:.1}{BOLD:#} us, {:.2} times as fast as float32",
        int8.isa(),
        fused_us / int8_us
    );
    outln!(
        "scratch {}, layer by layer {}, int8 {}; nothing is allocated in a call",
        ui::Bytes(info.scratch_bytes),
        ui::Bytes(unfused.info().scratch_bytes),
        ui::Bytes(int8.info().scratch_bytes)
    );
    next(is_demo);
}

/// The label, and whether it is right where that is known.
fn verdict(row: &Row) -> String {
    match &row.truth {
        Some(truth) if *truth == row.label => format!("{GOOD}{}{GOOD:#}", row.label),
        Some(truth) => format!("{} (a {truth})", row.label),
        None => format!("{BOLD}{}{BOLD:#}", row.label),
    }
}

/// A path's end, where it is long.
fn short(name: &str) -> String {
    const LONGEST: usize = 28;
    let count = name.chars().count();
    if count <= LONGEST {
        name.to_owned()
    } else {
        std::iter::once('…').chain(name.chars().skip(count + 1 - LONGEST)).collect()
    }
}

/// The pictures beside each other, each with its label.
fn gallery(pictures: &[Picture], rows: &[Row], size: [usize; 2]) {
    const GAP: usize = 2;
    let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
    let across = ((width + GAP) / (thumbnail::COLUMNS + GAP)).max(1);
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

/// What to try next.
fn next(is_demo: bool) {
    outln!();
    let own = ("Classify a picture of an icon", "mbvc PICTURE");
    let rest = [
        ("Read the code of a block", "mbvc emit --block 2"),
        ("Look at the compiler's work", "mbvc dump --svg network.svg"),
        ("Take over a model of your own", "mbvc import model.h5"),
        ("Classify photographs with it", "mbvc classify photos/ --weights model.safetensors --spec model.yaml"),
        ("Write a spec, and check it", "mbvc init network.yaml && mbvc check network.yaml"),
        ("Make a program of it", "mbvc build model.yaml --weights model.safetensors --output whatsthis"),
        ("Measure MobileNetV2 1.0", "mbvc bench"),
    ];
    for (what, command) in is_demo.then_some(own).into_iter().chain(rest) {
        outln!("  {what:<31}{ACCENT}{command}{ACCENT:#}");
    }
    outln!("\n{DIM}mbvc --help lists all commands, mbvc COMMAND --help explains one{DIM:#}");
}

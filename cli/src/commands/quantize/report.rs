//! The report of `mbvc quantize`.

use mbvc_import::calibrate::{Comparison, Fidelity, Options, Statistics};
use mbvc_import::{Container, Data};
use serde::Serialize;

use super::{Args, Task};
use crate::error::Result;
use crate::picture::fidelity;
use crate::stream::Seen;
use crate::ui::{ACCENT, BOLD, Bytes, GOOD, grouped, outln, plural};
use crate::{files, name, ui};

/// Rows of the table.
const SHOWN: usize = 8;

/// Quality of the quantization.
///
/// Judged by the cosine of the logits, which is meaningful for few images already; the agreement of the top-1 class is
/// not. On the ImageNet network a cosine of 0.997 kept the top-1 class of 98 % of 48 images, 0.979 that of 95 %, and
/// 0.955 that of 88 to 92 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Good,
    Fair,
    Bad,
}

/// Minimal cosine of the logits.
const GOOD_COSINE: f64 = 0.98;
const FAIR_COSINE: f64 = 0.95;
/// Minimal share of images with the same top-1 class, for at least `ENOUGH_IMAGES`.
const GOOD_AGREEMENT: f64 = 0.9;
const FAIR_AGREEMENT: f64 = 0.8;
const ENOUGH_IMAGES: usize = 20;

impl Verdict {
    pub fn of(cosine: f64, same: usize, images: usize) -> Self {
        let agreement = if images < ENOUGH_IMAGES { 1.0 } else { same as f64 / images as f64 };
        match () {
            () if cosine >= GOOD_COSINE && agreement >= GOOD_AGREEMENT => Self::Good,
            () if cosine >= FAIR_COSINE && agreement >= FAIR_AGREEMENT => Self::Fair,
            () => Self::Bad,
        }
    }
}

#[derive(Serialize)]
pub struct Report {
    output: String,
    bytes: usize,
    method: String,
    calibration: Images,
    comparison: Agreement,
    values: Vec<Row>,
    verdict: Verdict,
}

#[derive(Serialize)]
struct Images {
    images: usize,
    skipped: usize,
    /// Images and their crops.
    pictures: usize,
}

#[derive(Serialize)]
struct Agreement {
    images: usize,
    skipped: usize,
    /// Images with the same top-1 class in both networks.
    same_first: usize,
    /// Images whose float32 top-1 class is among the first five of int8.
    among_first_five: usize,
    /// Whether the images are not those of the calibration.
    held_out: bool,
}

/// An activation tensor.
#[derive(Serialize)]
struct Row {
    name: String,
    /// Minimum and maximum in float32.
    observed: [f64; 2],
    /// Range of int8 at this scale and zero point.
    range: [f64; 2],
    scale: f32,
    zero_point: i32,
    cosine: f64,
    signal_to_noise_db: Option<f64>,
}

impl Report {
    pub fn new(
        args: &Args,
        task: &Task,
        quantized: &Container,
        statistics: &Statistics,
        comparison: &Comparison,
        [calibrated, compared]: [Seen; 2],
        options: Options,
    ) -> Self {
        let values = task.network.values().iter().zip(comparison.values()).enumerate();
        let values: Vec<Row> = values
            .map(|(at, (value, fidelity))| {
                let observed = statistics.histogram(at).ends().unwrap_or_default();
                Row::new(&value.name, observed.into(), quantized, fidelity)
            })
            .collect();
        let images = comparison.pictures();
        let logits = values.last().map_or(0.0, |row| row.cosine);
        Self {
            output: name::of(&args.output),
            bytes: std::fs::metadata(&args.output).map_or(0, |meta| meta.len() as usize),
            method: options.method.to_string(),
            calibration: Images {
                images: calibrated.images,
                skipped: calibrated.skipped,
                pictures: statistics.pictures(),
            },
            comparison: Agreement {
                images,
                skipped: compared.skipped,
                same_first: comparison.same_first(),
                among_first_five: comparison.among_first_five(),
                held_out: !args.evaluate.is_empty(),
            },
            verdict: Verdict::of(logits, comparison.same_first(), images),
            values,
        }
    }

    /// Prints the report and, with `--report`, draws it.
    pub fn show(&self, args: &Args) -> Result {
        if let Some(path) = &args.report {
            files::write(path, fidelity::draw(&self.picture()).as_bytes(), args.overwrite.force)?;
        }
        if args.json {
            ui::json(self);
            return Ok(());
        }
        let Agreement { images, same_first, among_first_five, held_out, .. } = self.comparison;
        outln!("{GOOD}wrote{GOOD:#} {}: int8, {}", self.output, Bytes(self.bytes));
        outln!("  calibrated on {} by {}", self.calibration.words(), self.method);
        let on = if held_out { plural(images, "other image") } else { format!("{images} of them") };
        outln!("\n{BOLD}int8 compared with float32{BOLD:#}, on {on}");
        let share = |count: usize| count as f64 / images.max(1) as f64 * 100.0;
        outln!("  same top-1 class             {same_first} of {images}  {:.1} %", share(same_first));
        outln!("  float32 top-1 in int8 top-5  {among_first_five} of {images}  {:.1} %", share(among_first_five));
        if let Some(row) = self.values.last() {
            outln!("  cosine of the logits         {:.4}", row.cosine);
        }
        let mut worst: Vec<&Row> = self.values.iter().collect();
        worst.sort_by(|a, b| a.cosine.total_cmp(&b.cosine));
        let rows = worst.iter().take(SHOWN).map(|row| {
            let decibels = row.signal_to_noise_db.map_or_else(String::new, |db| format!("{db:.1}"));
            let range = |[low, high]: [f64; 2]| format!("{low:.3} to {high:.3}");
            vec![row.name.clone(), format!("{:.5}", row.cosine), decibels, range(row.observed), range(row.range)]
        });
        let header = ["largest errors", "cosine", "dB", "float32 range", "int8 range"];
        outln!("\n{}\n", ui::table(&header, "<>>>>", rows));
        self.judge(args);
        Ok(())
    }

    fn judge(&self, args: &Args) {
        for (what, skipped) in [("calibration", self.calibration.skipped), ("comparison", self.comparison.skipped)] {
            if skipped > 0 {
                ui::warning(&format!("{} left out of the {what}", plural(skipped, "unreadable image")));
            }
        }
        match self.verdict {
            Verdict::Good => {
                outln!("{GOOD}good{GOOD:#}  the cosine of the logits is at least {GOOD_COSINE}");
            }
            Verdict::Fair => ui::warning("fair: int8 is close to float32, but some predictions will differ"),
            Verdict::Bad => ui::warning("bad: int8 differs too much from float32 to be used as is"),
        }
        if self.verdict != Verdict::Good {
            let few = self.calibration.images < 100;
            if few {
                ui::help("calibrate with 100 or more images like those of the application, or with --crops 8");
            }
            ui::help("try the other methods: --method minmax, --percentile 99.99, --weight-scales max");
            ui::help("or train with quantization, and import that model with `mbvc import`");
        }
        if !self.comparison.held_out {
            ui::note("compared on calibration images; --evaluate FOLDER uses others");
        }
        if let Some(path) = &args.report {
            outln!("{GOOD}wrote{GOOD:#} {}", path.display());
        }
        let spec = args
            .spec
            .spec
            .as_ref()
            .map_or_else(String::new, |path| format!(" --spec {} --precision int8", path.display()));
        outln!("\nClassify an image:");
        outln!("  {ACCENT}mbvc classify IMAGE --weights {}{spec}{ACCENT:#}", self.output);
        outln!("In a program, write `precision: int8` in the spec, or `precision = \"int8\"` in the macro.");
    }

    fn picture(&self) -> fidelity::Picture {
        let Agreement { images, same_first, .. } = self.comparison;
        fidelity::Picture {
            title: "int8 compared with float32".to_owned(),
            subtitle: format!(
                "calibrated on {} by {}; same top-1 class for {same_first} of {}",
                self.calibration.words(),
                self.method,
                plural(images, "image")
            ),
            bars: self
                .values
                .iter()
                .map(|row| fidelity::Bar {
                    name: row.name.clone(),
                    cosine: row.cosine,
                    decibels: row.signal_to_noise_db,
                })
                .collect(),
        }
    }
}

impl Images {
    fn words(&self) -> String {
        let images = plural(self.images, "image");
        if self.pictures == self.images { images } else { format!("{images}, with crops {}", grouped(self.pictures)) }
    }
}

impl Row {
    fn new(name: &str, observed: [f64; 2], quantized: &Container, fidelity: Fidelity) -> Self {
        let data = |kind: &str| quantized.tensor(&format!("{name}.{kind}")).map(|tensor| &tensor.data);
        let scale = match data("scale") {
            Some(Data::F32(scale)) => scale.first().copied().unwrap_or(f32::NAN),
            _ => f32::NAN,
        };
        let zero_point = match data("zero_point") {
            Some(Data::I32(zero_point)) => zero_point.first().copied().unwrap_or(0),
            _ => 0,
        };
        let range = [-128, 127].map(|number| f64::from(scale) * f64::from(number - zero_point));
        let Fidelity { cosine, signal_to_noise_db } = fidelity;
        let signal_to_noise_db = Some(signal_to_noise_db).filter(|db| db.is_finite());
        Self { name: name.to_owned(), observed, range, scale, zero_point, cosine, signal_to_noise_db }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_the_cosine_and_with_enough_images_the_agreement() {
        assert_eq!(Verdict::of(0.995, 6, 6), Verdict::Good);
        assert_eq!(Verdict::of(0.995, 4, 6), Verdict::Good, "six images are too few");
        assert_eq!(Verdict::of(0.995, 85, 100), Verdict::Fair);
        assert_eq!(Verdict::of(0.995, 50, 100), Verdict::Bad);
        assert_eq!(Verdict::of(0.96, 6, 6), Verdict::Fair);
        assert_eq!(Verdict::of(0.9, 6, 6), Verdict::Bad);
        assert_eq!(Verdict::of(f64::NAN, 6, 6), Verdict::Bad);
    }
}

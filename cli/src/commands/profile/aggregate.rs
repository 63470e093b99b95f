//! From times in seconds to the rows of a profile.

use mbvc::Isa;
use mbvc::info::{NetworkInfo, Numerics, Precision};
use serde::Serialize;

use crate::measure::Summary;

/// Largest difference between the steps and the whole call that is not reported, as a share of the whole.
const DISAGREEMENT: f64 = 0.1;

/// Seconds of the whole call, of each step and of each stage.
pub struct Times {
    pub whole: Summary,
    pub steps: Vec<Summary>,
    /// `[step][stage]`, measured in other calls than `steps`.
    pub stages: Vec<Vec<Summary>>,
}

/// Limits of the processor, measured in the same run.
#[derive(Clone, Copy)]
pub struct Limits {
    /// GFLOP/s, or GOP/s of quantized networks.
    pub peak: f64,
    /// GB/s.
    pub bandwidth: f64,
}

/// Rows of the steps, and the whole call.
///
/// `gflops` and `peak_share` of all rows follow from the minima; `us` is the median.
pub struct Profile {
    pub rows: Vec<StepRow>,
    pub total: Total,
    /// `GFLOP/s` or `GOP/s`.
    pub unit: &'static str,
}

#[derive(Serialize)]
pub struct StepRow {
    pub step: &'static str,
    pub us: f64,
    pub min_us: f64,
    pub gflops: f64,
    pub peak_share: f64,
    pub macs: usize,
    pub bytes: usize,
    /// Attainable speed of the step: the peak, or less if it is bound by memory.
    #[serde(skip)]
    pub roof: f64,
    pub stages: Vec<StageRow>,
}

#[derive(Serialize)]
pub struct StageRow {
    pub stage: &'static str,
    pub us: f64,
    pub min_us: f64,
    pub gflops: f64,
    pub peak_share: f64,
    pub macs: usize,
    pub bytes: usize,
}

#[derive(Serialize)]
pub struct Total {
    pub network: String,
    pub fusion: &'static str,
    pub isa: &'static str,
    pub numerics: &'static str,
    pub threads: usize,
    pub us: f64,
    pub min_us: f64,
    pub gflops: f64,
    pub peak_share: f64,
    pub macs: usize,
    pub bytes: usize,
    pub peak_gflops: f64,
    pub read_gb_per_s: f64,
}

impl Total {
    /// The configuration: fusion level, instruction set, numerics, threads.
    pub fn how(&self) -> String {
        let Self { fusion, isa, numerics, threads, .. } = self;
        let threads = match threads {
            1 => "one thread".to_owned(),
            _ => format!("{threads} threads that share a call"),
        };
        format!("fusion {fusion}, {isa}, {numerics}, {threads}")
    }
}

impl Profile {
    /// `numerics`: those that the weights are packed for.
    pub fn new(
        name: &str,
        info: &NetworkInfo,
        (isa, numerics): (Isa, Numerics),
        times: &Times,
        limits: Limits,
    ) -> Self {
        let rows: Vec<StepRow> = (0..info.steps.len()).filter_map(|at| step(info, at, times, limits)).collect();
        let macs: usize = rows.iter().map(|row| row.macs).sum();
        let speed = gflops(macs, times.whole.min);
        let total = Total {
            network: name.to_owned(),
            fusion: info.fusion,
            isa: isa.name(),
            numerics: numerics.name(),
            threads: info.threads,
            us: micros(times.whole.median),
            min_us: micros(times.whole.min),
            gflops: speed,
            peak_share: share(speed, limits.peak),
            macs,
            bytes: rows.iter().map(|row| row.bytes).sum(),
            peak_gflops: round(limits.peak, 1),
            read_gb_per_s: round(limits.bandwidth, 1),
        };
        let unit = if info.conventions.precision.is_quantized() { "GOP/s" } else { "GFLOP/s" };
        Self { rows, total, unit }
    }

    /// Difference between the sum of the steps' minima and the minimum of the whole call in per cent, where it is large
    /// enough to report.
    pub fn disagreement(&self) -> Option<f64> {
        let (steps, whole) = (self.rows.iter().map(|row| row.min_us).sum::<f64>(), self.total.min_us);
        let difference = (steps - whole).abs() / whole;
        (difference > DISAGREEMENT).then_some(difference * 100.0)
    }

    /// Whether a row shows more than 100 % of the peak because of the fast inner product.
    pub fn exceeds_peak(&self) -> bool {
        if self.total.numerics == Numerics::Strict.name() {
            return false;
        }
        let stages = self.rows.iter().flat_map(|row| &row.stages).map(|stage| stage.peak_share);
        let steps = self.rows.iter().map(|row| row.peak_share);
        // Rounded as shown.
        stages.chain(steps).chain([self.total.peak_share]).any(|share| share >= 1.005)
    }
}

fn step(info: &NetworkInfo, at: usize, times: &Times, limits: Limits) -> Option<StepRow> {
    let (step, time, timed) = (info.steps.get(at)?, *times.steps.get(at)?, times.stages.get(at)?);
    let stages = step.stages.iter().zip(scaled_to(time, timed)).map(|(stage, time)| {
        let gflops = gflops(stage.macs, time.min);
        StageRow {
            stage: stage.name,
            us: micros(time.median),
            min_us: micros(time.min),
            gflops,
            peak_share: share(gflops, limits.peak),
            macs: stage.macs,
            bytes: stage.bytes,
        }
    });
    let macs: usize = step.stages.iter().map(|stage| stage.macs).sum();
    let bytes = bytes(info, at);
    let gflops = gflops(macs, time.min);
    // Operations for each byte, times the bytes in a second.
    let of_memory = 2.0 * macs as f64 / bytes as f64 * limits.bandwidth;
    Some(StepRow {
        step: step.name,
        us: micros(time.median),
        min_us: micros(time.min),
        gflops,
        peak_share: share(gflops, limits.peak),
        macs,
        bytes,
        roof: if bytes > 0 { limits.peak.min(of_memory) } else { limits.peak },
        stages: stages.collect(),
    })
}

/// Times of the stages of a step, scaled so that they add up to the step: they were measured with more readings of the
/// clock.
fn scaled_to(step: Summary, stages: &[Summary]) -> Vec<Summary> {
    let sum = |of: fn(&Summary) -> f64| stages.iter().map(of).sum::<f64>();
    let factor = |step: f64, sum: f64| if sum > 0.0 { step / sum } else { 0.0 };
    let min = factor(step.min, sum(|time| time.min));
    let median = factor(step.median, sum(|time| time.median));
    stages.iter().map(|time| Summary { min: time.min * min, median: time.median * median }).collect()
}

/// Least bytes that a step moves: its input, its output and its weights.
fn bytes(info: &NetworkInfo, at: usize) -> usize {
    let element = if info.conventions.precision == Precision::F32 { 4 } else { 1 };
    let input = at.checked_sub(1).and_then(|before| info.steps.get(before)).map_or(info.input, |step| step.output);
    let output = info.steps.get(at).map_or([0; 3], |step| step.output);
    let layers: Vec<&str> = info.layers.iter().filter(|layer| layer.step == at).map(|layer| layer.name).collect();
    let of_step = |name: &str| name.rsplit_once('.').is_some_and(|(layer, _)| layers.contains(&layer));
    let parameters = info.parameters.iter().filter(|parameter| of_step(parameter.name));
    let weights: usize =
        parameters.map(|parameter| parameter.dtype.bytes() * parameter.shape.iter().product::<usize>()).sum();
    element * (input.iter().product::<usize>() + output.iter().product::<usize>()) + weights
}

fn gflops(macs: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { round(2e-9 * macs as f64 / seconds, 2) } else { 0.0 }
}

fn share(gflops: f64, peak: f64) -> f64 {
    if peak > 0.0 { round(gflops / peak, 4) } else { 0.0 }
}

fn micros(seconds: f64) -> f64 {
    round(seconds * 1e6, 2)
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use mbvc::info::{Layer, Numerics, Parameter, Stage, Step};
    use mbvc::weights::{Activation, Conventions, Dtype, Padding};

    use super::*;

    const fn stage(name: &'static str, macs: usize) -> Stage {
        Stage { name, macs, bytes: 100 }
    }

    /// A block of three stages and a classifier.
    fn info(precision: Precision) -> NetworkInfo {
        const BLOCK: [Stage; 3] =
            [stage("block1.expand", 3000), stage("block1.depthwise", 0), stage("block1.project", 1000)];
        const CLASSIFIER: [Stage; 1] = [stage("classifier", 80)];
        const STEPS: [Step; 2] = [
            Step { name: "block1", output: [2, 2, 8], stages: &BLOCK },
            Step { name: "classifier", output: [1, 1, 10], stages: &CLASSIFIER },
        ];
        NetworkInfo {
            name: "Net",
            input: [2, 2, 3],
            classes: 10,
            embedding: 8,
            fusion: "block",
            scratch_bytes: 0,
            threads: 1,
            conventions: Conventions {
                activation: Activation::Relu6,
                dense_activation: None,
                padding: Padding::Same,
                precision,
                classes: 10,
            },
            numerics: Numerics::Strict,
            isas: &[Isa::Portable],
            parameters: &[Parameter { name: "classifier.weight", dtype: Dtype::I8, shape: &[8, 10] }],
            layers: &[Layer { number: 1, name: "classifier", step: 1, line: 1, output: [1, 1, 10], macs: 80 }],
            steps: &STEPS,
        }
    }

    fn both(min: f64, median: f64) -> Summary {
        Summary { min: min * 1e-6, median: median * 1e-6 }
    }

    fn profile(whole: Summary) -> Profile {
        profile_of(whole, Numerics::Strict)
    }

    fn profile_of(whole: Summary, numerics: Numerics) -> Profile {
        let times = Times {
            whole,
            steps: vec![both(10.0, 12.0), both(2.0, 2.0)],
            // With the clock of the stages on the block takes 15 µs.
            stages: vec![vec![both(9.0, 9.0), both(3.0, 4.0), both(3.0, 5.0)], vec![both(4.0, 4.0)]],
        };
        let limits = Limits { peak: 0.5, bandwidth: 1.0 };
        Profile::new("Net", &info(Precision::Int8), (Isa::Portable, numerics), &times, limits)
    }

    #[test]
    fn stages_add_up_to_their_step() {
        let Profile { rows, .. } = profile(both(12.0, 14.0));
        assert_eq!((rows[0].min_us, rows[0].us, rows[1].min_us), (10.0, 12.0, 2.0));
        assert_eq!(rows[0].stages.iter().map(|stage| stage.min_us).collect::<Vec<_>>(), [6.0, 2.0, 2.0]);
        for row in &rows {
            let sum = |of: fn(&StageRow) -> f64| row.stages.iter().map(of).sum::<f64>();
            assert!((sum(|stage| stage.min_us) - row.min_us).abs() < 0.02, "{}", row.step);
            assert!((sum(|stage| stage.us) - row.us).abs() < 0.02, "{}", row.step);
        }
        // 4000 multiply-adds in 10 µs, 3000 of them in 6.
        assert_eq!((rows[0].gflops, rows[0].stages[0].gflops), (0.8, 1.0));
    }

    #[test]
    fn bytes_are_those_of_the_element_types() {
        let Profile { rows, unit, .. } = profile(both(12.0, 14.0));
        assert_eq!((rows[0].bytes, rows[1].bytes, unit), (12 + 32, 32 + 10 + 80, "GOP/s"));
        let info = info(Precision::F32);
        assert_eq!(bytes(&info, 0), 4 * (12 + 32));
    }

    #[test]
    fn a_whole_call_that_is_slower_than_its_steps_is_reported() {
        assert_eq!(profile(both(12.0, 30.0)).disagreement(), None, "medians are not compared");
        assert_eq!(profile(both(13.0, 13.0)).disagreement(), None);
        assert!(profile(both(16.0, 16.0)).disagreement().is_some_and(|percent| (percent - 25.0).abs() < 1e-9));
        assert!(profile(both(10.0, 10.0)).disagreement().is_some());
    }

    #[test]
    fn shares_above_the_peak_are_found() {
        for numerics in Numerics::ALL {
            let profile = profile_of(both(12.0, 14.0), numerics);
            assert!((profile.rows[0].peak_share - 1.6).abs() < 1e-9);
            assert_eq!(profile.exceeds_peak(), numerics == Numerics::Fast);
        }
    }

    #[test]
    fn nothing_measured_is_zero() {
        let info = info(Precision::F32);
        let none = Times { whole: Summary::default(), steps: Vec::new(), stages: Vec::new() };
        let profile =
            Profile::new("Net", &info, (Isa::Portable, Numerics::Fast), &none, Limits { peak: 0.0, bandwidth: 0.0 });
        assert!(profile.rows.is_empty() && profile.disagreement().is_none() && !profile.exceeds_peak());
    }
}

//! Measuring calls: interleaved, so that a slow moment of the machine falls on all variants alike.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use mbvc::info::{NetworkInfo, Precision};
use mbvc::weights::Preprocess;
use mbvc::{Network, Observer, Unobserved};

/// Bytes of a cache line.
const LINE: usize = 64;

/// What a thread needs to call a network.
pub struct Caller {
    /// With room to start at a cache line.
    scratch: Vec<f32>,
    floats: usize,
    /// The image of a float network.
    input: Vec<f32>,
    /// That of a quantized one.
    pixels: Vec<u8>,
    quantized: bool,
    pub logits: Vec<f32>,
}

impl Caller {
    pub fn new(info: &NetworkInfo) -> Self {
        Self {
            scratch: vec![0.0; info.scratch_bytes / size_of::<f32>() + LINE / size_of::<f32>()],
            floats: info.scratch_bytes / size_of::<f32>(),
            input: vec![0.0; info.input.iter().product()],
            pixels: vec![0; info.input.iter().product()],
            quantized: info.conventions.precision != Precision::F32,
            logits: vec![0.0; info.classes],
        }
    }

    /// Takes the pixels of an image, which float networks are preprocessed for.
    pub fn show(&mut self, pixels: &[u8], preprocess: &Preprocess) {
        if self.quantized {
            self.pixels.copy_from_slice(pixels);
        } else {
            preprocess.apply(pixels, &mut self.input);
        }
    }

    /// Takes noise for an image, the same on every run.
    pub fn noise(&mut self) {
        noise(&mut self.input);
        for (pixel, value) in self.pixels.iter_mut().zip(&self.input) {
            *pixel = (value * 127.5 + 127.5) as u8;
        }
    }

    /// One call and how long it took. A quantized network gets its image as bytes, as it would in a program.
    pub fn call(&mut self, network: &dyn Network, observer: &mut dyn Observer) -> Duration {
        // An unaligned scratch would only be slow.
        let at = self.scratch.as_ptr().align_offset(LINE).min(self.scratch.len() - self.floats);
        let scratch = &mut self.scratch[at..][..self.floats];
        let start = Instant::now();
        let ran = match self.quantized {
            false => network.run_into(scratch, &self.input, &mut self.logits, observer),
            true => network.run_pixels_into(scratch, &self.pixels, &mut self.logits, observer),
        };
        let took = start.elapsed();
        // The lengths are those of the network's own facts.
        debug_assert!(ran.is_ok(), "{ran:?}");
        took
    }
}

/// Uniform in -1..1, the same on every run.
fn noise(values: &mut [f32]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for value in values {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *value = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
    }
}

/// What is measured.
pub struct Variant<'a> {
    pub network: &'a dyn Network,
    /// Callers at once.
    pub callers: usize,
}

/// The calls of one variant.
#[derive(Default, Clone)]
pub struct Measured {
    /// Of every call.
    pub latencies: Vec<Duration>,
    /// From the first caller's start to the last one's end, summed over the runs.
    pub busy: Duration,
}

/// Calls every variant `runs` times, one after the other and over again; `tick` is told of every finished round.
pub fn interleaved(variants: &[Variant<'_>], runs: usize, mut tick: impl FnMut()) -> Vec<Measured> {
    let most = variants.iter().map(|variant| variant.callers).max().unwrap_or(1).max(1);
    let barrier = Barrier::new(most);
    let rounds = runs + WARM_UP;
    // Each thread's calls, by variant and run: start and end.
    let spans: Vec<Vec<Vec<(Instant, Instant)>>> = std::thread::scope(|scope| {
        let barrier = &barrier;
        let others: Vec<_> =
            (1..most).map(|thread| scope.spawn(move || calls(variants, thread, rounds, barrier, || {}))).collect();
        let mut all = vec![calls(variants, 0, rounds, barrier, &mut tick)];
        all.extend(others.into_iter().filter_map(|thread| thread.join().ok()));
        all
    });
    let mut measured = vec![Measured::default(); variants.len()];
    for (at, measured) in measured.iter_mut().enumerate() {
        for run in WARM_UP..rounds {
            let of_run: Vec<_> = spans.iter().filter_map(|thread| thread.get(at)?.get(run)).collect();
            measured.latencies.extend(of_run.iter().map(|(start, end)| *end - *start));
            let first = of_run.iter().map(|(start, _)| *start).min();
            let last = of_run.iter().map(|(_, end)| *end).max();
            if let (Some(first), Some(last)) = (first, last) {
                measured.busy += last - first;
            }
        }
    }
    measured
}

/// Calls before the first that counts: pages, caches and clock have to settle.
const WARM_UP: usize = 3;

fn calls(
    variants: &[Variant<'_>],
    thread: usize,
    rounds: usize,
    barrier: &Barrier,
    mut tick: impl FnMut(),
) -> Vec<Vec<(Instant, Instant)>> {
    let mut callers: Vec<Caller> = variants.iter().map(|variant| Caller::new(variant.network.info())).collect();
    callers.iter_mut().for_each(Caller::noise);
    let mut spans = vec![Vec::with_capacity(rounds); variants.len()];
    for _ in 0..rounds {
        for ((variant, caller), spans) in variants.iter().zip(&mut callers).zip(&mut spans) {
            barrier.wait();
            if thread < variant.callers {
                let start = Instant::now();
                caller.call(variant.network, &mut Unobserved);
                spans.push((start, Instant::now()));
            }
        }
        tick();
    }
    spans
}

/// Milliseconds at a share of the sorted calls: 0.0 the fastest, 0.5 the median.
pub fn quantile_ms(latencies: &[Duration], share: f64) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

/// Times of steps and stages over several calls.
///
/// The clock is read after every part, so that each part's time is from the event before.
pub struct Stopwatch {
    last: Instant,
    stages: bool,
    /// By step, then by stage: seconds of the current call.
    current: Vec<Vec<f64>>,
    /// Of whole steps.
    step: Vec<f64>,
    started: Instant,
    pub steps: Vec<Vec<f64>>,
    pub stage_times: Vec<Vec<Vec<f64>>>,
}

impl Stopwatch {
    /// `stages`: whether parts of steps are told apart; that costs a reading of the clock for each of them.
    pub fn new(info: &NetworkInfo, stages: bool) -> Self {
        let now = Instant::now();
        Self {
            last: now,
            started: now,
            stages,
            current: info.steps.iter().map(|step| vec![0.0; step.stages.len()]).collect(),
            step: vec![0.0; info.steps.len()],
            steps: vec![Vec::new(); info.steps.len()],
            stage_times: info.steps.iter().map(|step| vec![Vec::new(); step.stages.len()]).collect(),
        }
    }

    /// Call this right before a call of the network.
    pub fn start(&mut self) {
        self.current.iter_mut().for_each(|stages| stages.fill(0.0));
        self.started = Instant::now();
        self.last = self.started;
    }

    /// Call this right after it.
    pub fn stop(&mut self) {
        for (all, time) in self.steps.iter_mut().zip(&self.step) {
            all.push(*time);
        }
        if self.stages {
            for (all, times) in self.stage_times.iter_mut().flatten().zip(self.current.iter().flatten()) {
                all.push(*times);
            }
        }
    }
}

impl Observer for Stopwatch {
    fn stage(&mut self, step: usize, stage: usize) {
        if self.stages {
            let now = Instant::now();
            if let Some(time) = self.current.get_mut(step).and_then(|stages| stages.get_mut(stage)) {
                *time += (now - self.last).as_secs_f64();
            }
            self.last = now;
        }
    }

    fn step(&mut self, step: usize, _: &[f32]) {
        let now = Instant::now();
        if let Some(time) = self.step.get_mut(step) {
            *time = (now - self.started).as_secs_f64();
        }
        self.started = now;
        self.last = now;
    }
}

/// The value in the middle, 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let calls: Vec<Duration> = (1..=11).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile_ms(&calls, 0.0), 1.0);
        assert_eq!(quantile_ms(&calls, 0.5), 6.0);
        assert_eq!(quantile_ms(&calls, 0.9), 10.0);
        assert_eq!(quantile_ms(&[], 0.5), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn noise_is_noise() {
        let mut values = [0.0; 1000];
        noise(&mut values);
        assert!(values.iter().all(|value| (-1.0..1.0).contains(value)));
        let mean = values.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.1, "{mean}");
        assert!(values.iter().any(|value| *value < -0.9) && values.iter().any(|value| *value > 0.9));
    }
}

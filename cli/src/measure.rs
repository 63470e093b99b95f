//! Timing of calls. Variants are interleaved, so that a slow phase of the machine affects all of them.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use mbvc::info::NetworkInfo;
use mbvc::{Bf16, Network, Observer, Unobserved};
use mbvc_engine::Caller;

/// A network and the number of its concurrent callers.
pub struct Variant<'a> {
    pub network: &'a dyn Network,
    pub callers: usize,
}

/// Times of one variant.
#[derive(Default, Clone)]
pub struct Measured {
    /// Latency of every call of every caller.
    pub latencies: Vec<Duration>,
    /// Time from the first caller's start to the last one's end, summed over the runs.
    pub busy: Duration,
}

/// Runs `runs` rounds; each calls every variant once. `tick` is called after every round.
pub fn interleaved(variants: &[Variant<'_>], runs: usize, mut tick: impl FnMut()) -> Vec<Measured> {
    let most = variants.iter().map(|variant| variant.callers).max().unwrap_or(1).max(1);
    let barrier = Barrier::new(most);
    let rounds = runs + WARM_UP;
    // `[thread][variant][run]`: start and end of the call.
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

/// Calls that are not counted: pages, caches and clock frequency settle first.
pub const WARM_UP: usize = 3;

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

/// Latency in milliseconds at a quantile: 0.0 is the minimum, 0.5 the median.
pub fn quantile_ms(latencies: &[Duration], share: f64) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

/// Minimum and median of repeated measurements; both are 0 without measurements.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Summary {
    pub min: f64,
    pub median: f64,
}

impl Summary {
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
        Self { min: at(0), median: at(sorted.len() / 2) }
    }
}

/// Times of steps and of their stages, in seconds, over several calls.
///
/// A stage reports every part of its work when it is done. The time of a part is the time since the previous event.
pub struct Stopwatch {
    /// Whether stages are timed. Each of their events reads the clock.
    stages: bool,
    step_start: Instant,
    last_event: Instant,
    /// `[step]`, of the current call.
    step: Vec<f64>,
    /// `[step][stage]`, of the current call.
    stage: Vec<Vec<f64>>,
    /// `[step][call]`
    pub steps: Vec<Vec<f64>>,
    /// `[step][stage][call]`
    pub stage_times: Vec<Vec<Vec<f64>>>,
}

impl Stopwatch {
    /// `stages` also times the stages, which reads the clock more often and so makes steps slower.
    pub fn new(info: &NetworkInfo, stages: bool) -> Self {
        let counts: Vec<usize> = info.steps.iter().map(|step| step.stages.len()).collect();
        Self::with_counts(&counts, stages)
    }

    /// Returns a stopwatch for steps with these numbers of stages.
    fn with_counts(counts: &[usize], stages: bool) -> Self {
        let now = Instant::now();
        Self {
            stages,
            step_start: now,
            last_event: now,
            step: vec![0.0; counts.len()],
            stage: counts.iter().map(|count| vec![0.0; *count]).collect(),
            steps: vec![Vec::new(); counts.len()],
            stage_times: counts.iter().map(|count| vec![Vec::new(); *count]).collect(),
        }
    }

    /// Starts a call of the network at `now`.
    pub fn start(&mut self, now: Instant) {
        self.step.fill(0.0);
        self.stage.iter_mut().for_each(|stages| stages.fill(0.0));
        self.step_start = now;
        self.last_event = now;
    }

    /// Records the times of the call.
    pub fn stop(&mut self) {
        for (all, time) in self.steps.iter_mut().zip(&self.step) {
            all.push(*time);
        }
        if self.stages {
            for (all, time) in self.stage_times.iter_mut().flatten().zip(self.stage.iter().flatten()) {
                all.push(*time);
            }
        }
    }

    fn end_part(&mut self, step: usize, stage: usize, now: Instant) {
        if let Some(time) = self.stage.get_mut(step).and_then(|stages| stages.get_mut(stage)) {
            *time += (now - self.last_event).as_secs_f64();
        }
        self.last_event = now;
    }

    fn end_step(&mut self, step: usize, now: Instant) {
        if let Some(time) = self.step.get_mut(step) {
            *time = (now - self.step_start).as_secs_f64();
        }
        self.step_start = now;
        self.last_event = now;
    }
}

impl Observer for Stopwatch {
    fn stage(&mut self, step: usize, stage: usize) {
        if self.stages {
            self.end_part(step, stage, Instant::now());
        }
    }

    fn step(&mut self, step: usize, _: &[f32]) {
        self.end_step(step, Instant::now());
    }

    fn bf16(&mut self, step: usize, _: &[Bf16]) {
        self.end_step(step, Instant::now());
    }

    fn bytes(&mut self, step: usize, _: &[u8]) {
        self.end_step(step, Instant::now());
    }
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
        assert_eq!(Summary::of(&[3.0, 1.0, 2.0]), Summary { min: 1.0, median: 2.0 });
        assert_eq!(Summary::of(&[]), Summary::default());
    }

    /// Steps of float and of quantized networks end by different events.
    #[test]
    fn stages_add_up_to_their_step() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut watch = Stopwatch::with_counts(&[2, 1], true);
        for call in 0..2 {
            let begin = 100 * call;
            watch.start(at(begin));
            // Two rows through both stages.
            watch.end_part(0, 0, at(begin + 3));
            watch.end_part(0, 1, at(begin + 4));
            watch.end_part(0, 0, at(begin + 6));
            watch.end_part(0, 1, at(begin + 10 + call));
            watch.end_step(0, at(begin + 10 + call));
            watch.end_part(1, 0, at(begin + 17));
            watch.end_step(1, at(begin + 17));
            watch.stop();
        }
        assert_eq!(watch.steps, [[10.0, 11.0], [7.0, 6.0]]);
        assert_eq!(watch.stage_times, [vec![vec![5.0, 5.0], vec![5.0, 6.0]], vec![vec![7.0, 6.0]]]);
    }

    #[test]
    fn steps_of_quantized_networks_are_timed() {
        let mut watch = Stopwatch::with_counts(&[1], false);
        watch.start(Instant::now());
        std::thread::sleep(Duration::from_millis(1));
        watch.bytes(0, &[]);
        watch.stop();
        assert!(watch.steps[0][0] >= 1e-3, "{:?}", watch.steps);
    }
}

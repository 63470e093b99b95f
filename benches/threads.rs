//! Measures the gain of several threads: two that share each call, and two callers with separate calls.
//!
//! `cargo bench --bench threads`; `MBVC_WEIGHTS=W.safetensors` selects trained instead of random weights. Calls with one and
//! two threads alternate, because the clock rate drifts over a benchmark by more than their difference.

mod common;

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use mbvc::{Network, Observer, Unobserved};

mbvc::mobilenet_v2!("specs/v2.yaml", name = One, threads = 1);
mbvc::mobilenet_v2!("specs/v2.yaml", name = Two, threads = 2);

const PIXELS: usize = 224 * 224 * 3;
const CALLS: usize = 300;
/// Duration of a throughput measurement.
const SERVED: Duration = Duration::from_secs(2);
const ROUNDS: usize = 4;

/// A network and the scratch and logits of one caller.
struct Caller<'n> {
    network: &'n dyn Network,
    memory: Vec<f32>,
    aligned: usize,
    logits: Vec<f32>,
}

impl<'n> Caller<'n> {
    fn new(network: &'n dyn Network) -> Self {
        let info = network.info();
        let memory = vec![0.0; info.scratch_bytes / 4 + 16];
        Self { aligned: memory.as_ptr().align_offset(64), memory, logits: vec![0.0; info.classes], network }
    }

    fn call(&mut self, input: &[f32], observer: &mut dyn Observer) {
        let scratch = &mut self.memory[self.aligned..][..self.network.info().scratch_bytes / 4];
        self.network.run_into(scratch, input, &mut self.logits, observer).expect("the lengths are the network's");
        black_box(&self.logits);
    }

    fn time(&mut self, input: &[f32]) -> Duration {
        let start = Instant::now();
        self.call(input, &mut Unobserved);
        start.elapsed()
    }
}

/// The shortest time of each step.
struct Steps {
    last: Instant,
    least: Vec<Duration>,
}

impl Observer for Steps {
    fn step(&mut self, step: usize, _: &[f32]) {
        let now = Instant::now();
        self.least[step] = self.least[step].min(now - self.last);
        self.last = now;
    }
}

/// Calls per second of `callers` threads, each with a separate model and scratch.
fn served(networks: &[&dyn Network], callers: usize, input: &[f32]) -> f64 {
    let start = Barrier::new(callers);
    std::thread::scope(|scope| {
        let threads: Vec<_> = networks[..callers]
            .iter()
            .map(|network| {
                let start = &start;
                scope.spawn(move || {
                    let mut caller = Caller::new(*network);
                    caller.call(input, &mut Unobserved);
                    start.wait();
                    let (begun, mut calls) = (Instant::now(), 0);
                    while begun.elapsed() < SERVED {
                        caller.call(input, &mut Unobserved);
                        calls += 1;
                    }
                    f64::from(calls) / begun.elapsed().as_secs_f64()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("callers do not panic")).sum()
    })
}

fn milliseconds(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort();
    [times[0], times[times.len() / 2]].map(|time| time.as_secs_f64() * 1e3)
}

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let weights = common::weights(One::INFO);
    let one = One::new(&weights).unwrap_or_else(|error| panic!("{error}"));
    let two = Two::new(&weights).unwrap_or_else(|error| panic!("{error}"));
    let input: Vec<f32> = (0..PIXELS).map(|at| (at * 7919 % 511) as f32 / 255.0 - 1.0).collect();

    let mut callers = [Caller::new(&one), Caller::new(&two)];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..CALLS {
        for (caller, times) in callers.iter_mut().zip(&mut times) {
            caller.call(&input, &mut Unobserved); // Refills the caches that the other network evicted.
            times.push(caller.time(&input));
        }
    }
    println!("| {}, ms of a call | min | median |\n|---|---:|---:|", one.isa());
    let [one_ms, two_ms] = times.map(milliseconds);
    println!("| 1 thread | {:.2} | {:.2} |\n| 2 threads | {:.2} | {:.2} |", one_ms[0], one_ms[1], two_ms[0], two_ms[1]);
    println!("| gain | {:.2} | {:.2} |\n", one_ms[0] / two_ms[0], one_ms[1] / two_ms[1]);

    let mut steps =
        callers.each_ref().map(|_| Steps { last: Instant::now(), least: vec![Duration::MAX; One::STEPS.len()] });
    for _ in 0..CALLS {
        for (caller, steps) in callers.iter_mut().zip(&mut steps) {
            caller.call(&input, &mut Unobserved);
            steps.last = Instant::now();
            caller.call(&input, steps);
        }
    }
    println!("| step, shortest µs | 1 thread | 2 threads | gain |\n|---|---:|---:|---:|");
    for (at, step) in One::STEPS.iter().enumerate() {
        let [one, two] = [&steps[0], &steps[1]].map(|steps| steps.least[at].as_secs_f64() * 1e6);
        println!("| {} | {one:.0} | {two:.0} | {:.2} |", step.name, one / two);
    }

    println!("\n| calls in a second | 1 caller | 2 callers | gain |\n|---|---:|---:|---:|");
    let clones = [one.clone(), one.clone()];
    let alone: Vec<&dyn Network> = clones.iter().map(|model| model as &dyn Network).collect();
    let clones = [two.clone(), two.clone()];
    let teams: Vec<&dyn Network> = clones.iter().map(|model| model as &dyn Network).collect();
    let mut rates = [[0.0f64; 2]; 2];
    for _ in 0..ROUNDS {
        for (networks, rates) in [&alone, &teams].into_iter().zip(&mut rates) {
            for (at, rate) in rates.iter_mut().enumerate() {
                *rate = rate.max(served(networks, at + 1, &input));
            }
        }
    }
    for (name, [one, two]) in ["threads = 1", "threads = 2"].into_iter().zip(rates) {
        println!("| {name} | {one:.1} | {two:.1} | {:.2} |", two / one);
    }
    println!("| threads = 2 with 2 callers, against threads = 1 | | | {:.2} |", rates[1][1] / rates[0][1]);
}

//! Measures the gain of fusion: every step and the whole network at three fusion levels.
//!
//! `cargo bench --bench fusion`; `MBVC_WEIGHTS=W.safetensors` selects trained instead of random weights. The output ends with
//! a table of times and ratios. The levels alternate within every measurement, because the clock rate drifts over a
//! benchmark by more than their difference.

mod common;

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mbvc::{Network, Observer, Unobserved};

mbvc::mobilenet_v2!("specs/v2.yaml", name = Unfused, fusion = "none");
mbvc::mobilenet_v2!("specs/v2.yaml", name = Epilogues, fusion = "relu6");
mbvc::mobilenet_v2!("specs/v2.yaml", name = Blocks, fusion = "block");

const PIXELS: usize = 224 * 224 * 3;

/// A network with its memory and the shortest times of its runs.
struct Level {
    network: Box<dyn Network>,
    memory: Vec<f32>,
    aligned: usize,
    logits: Vec<f32>,
    /// Shortest time of a whole run, and of each step.
    whole: Duration,
    steps: Vec<Duration>,
}

/// Records the duration of each step.
struct Clock<'a> {
    last: Instant,
    took: &'a mut [Duration],
}

impl Observer for Clock<'_> {
    fn step(&mut self, step: usize, _: &[f32]) {
        let now = Instant::now();
        self.took[step] = now - self.last;
        self.last = now;
    }
}

impl Level {
    fn new(network: Box<dyn Network>) -> Self {
        let info = network.info();
        let memory = vec![0.0; info.scratch_bytes / 4 + 16];
        Self {
            aligned: memory.as_ptr().align_offset(64),
            memory,
            logits: vec![0.0; info.classes],
            whole: Duration::MAX,
            steps: vec![Duration::MAX; info.steps.len()],
            network,
        }
    }

    fn call(&mut self, input: &[f32], observer: &mut dyn Observer) {
        let scratch = &mut self.memory[self.aligned..][..self.network.info().scratch_bytes / 4];
        self.network.run_into(scratch, input, &mut self.logits, observer).expect("the lengths are the network's");
        black_box(&self.logits);
    }

    fn whole(&mut self, input: &[f32]) -> Duration {
        let start = Instant::now();
        self.call(input, &mut Unobserved);
        let took = start.elapsed();
        self.whole = self.whole.min(took);
        took
    }

    fn steps(&mut self, input: &[f32]) -> Vec<Duration> {
        let mut took = vec![Duration::ZERO; self.steps.len()];
        self.call(input, &mut Clock { last: Instant::now(), took: &mut took });
        for (least, took) in self.steps.iter_mut().zip(&took) {
            *least = (*least).min(*took);
        }
        took
    }
}

fn levels() -> [Level; 3] {
    let weights = common::weights(Blocks::INFO);
    let [unfused, epilogues, blocks]: [Result<Box<dyn Network>, _>; 3] = [
        Unfused::new(&weights).map(|network| Box::new(network) as _),
        Epilogues::new(&weights).map(|network| Box::new(network) as _),
        Blocks::new(&weights).map(|network| Box::new(network) as _),
    ];
    [unfused, epilogues, blocks].map(|network| Level::new(network.unwrap_or_else(|error| panic!("{error}"))))
}

fn fusion(criterion: &mut Criterion) {
    let levels = RefCell::new(levels());
    let input: Vec<f32> = (0..PIXELS).map(|at| (at * 7919 % 511) as f32 / 255.0 - 1.0).collect();

    /// Total time of `part` over `runs` runs of the level `measured`, which alternate with runs of the others.
    fn measure(
        levels: &RefCell<[Level; 3]>,
        measured: usize,
        runs: u64,
        part: impl Fn(&mut Level) -> Duration,
    ) -> Duration {
        let mut levels = levels.borrow_mut();
        let mut sum = Duration::ZERO;
        for _ in 0..runs {
            for (at, level) in levels.iter_mut().enumerate() {
                let took = part(level);
                if at == measured {
                    sum += took;
                }
            }
        }
        sum
    }

    let names: Vec<&str> = levels.borrow().iter().map(|level| level.network.info().fusion).collect();
    let mut group = criterion.benchmark_group("whole");
    group.sample_size(20);
    for (at, name) in names.iter().enumerate() {
        group.bench_function(*name, |bencher| {
            bencher.iter_custom(|runs| measure(&levels, at, runs, |level| level.whole(&input)));
        });
    }
    group.finish();

    let steps = Blocks::STEPS;
    for (index, step) in steps.iter().enumerate() {
        let mut group = criterion.benchmark_group(format!("{:02} {}", index, step.name));
        group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
        for (at, name) in names.iter().enumerate() {
            group.bench_function(*name, |bencher| {
                bencher.iter_custom(|runs| measure(&levels, at, runs, |level| level.steps(&input)[index]));
            });
        }
        group.finish();
    }

    report(&levels.borrow());
}

/// Prints the shortest times, and the speedup of each fused level.
fn report(levels: &[Level; 3]) {
    let isa = levels[0].network.isa();
    if levels[0].whole == Duration::MAX {
        return; // Criterion only lists or filters.
    }
    println!("\n| {isa}, shortest time in µs | none | relu6 | block | none / relu6 | none / block |");
    println!("|---|---:|---:|---:|---:|---:|");
    let row = |name: &str, times: [Duration; 3]| {
        let [none, relu6, block] = times.map(|time| time.as_secs_f64() * 1e6);
        println!("| {name} | {none:.0} | {relu6:.0} | {block:.0} | {:.2} | {:.2} |", none / relu6, none / block);
    };
    let least = |part: &dyn Fn(&Level) -> Duration| [part(&levels[0]), part(&levels[1]), part(&levels[2])];
    for (index, step) in Blocks::STEPS.iter().enumerate() {
        row(step.name, least(&|level| level.steps[index]));
    }
    row("whole", least(&|level| level.whole));
}

criterion_group!(benches, fusion);
criterion_main!(benches);

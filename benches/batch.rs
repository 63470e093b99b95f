//! Measures the gain of a batch, which reads the classifier's weights once for all of its images.
//!
//! `cargo bench --bench batch`; `MBVC_WEIGHTS=W.safetensors` selects trained instead of random weights. Single calls and
//! batches alternate, because the clock rate drifts over a benchmark by more than their difference.

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

mbvc::mobilenet_v2!("specs/v2.yaml", name = One, batch = 1);
mbvc::mobilenet_v2!("specs/v2.yaml", name = Eight, batch = 8);

const PIXELS: usize = 224 * 224 * 3;
const IMAGES: usize = 8;
const ROUNDS: usize = 60;

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let weights = common::weights(One::INFO);
    let (one, eight) = (One::new(&weights).expect("weights that fit"), Eight::new(&weights).expect("weights that fit"));
    let (mut one_scratch, mut eight_scratch) = (One::scratch(), Eight::scratch());
    let images: Vec<Box<[f32; PIXELS]>> = (0..IMAGES)
        .map(|image| {
            let values: Vec<f32> = (0..PIXELS).map(|at| ((at * 37 + image * 11) % 255) as f32 / 127.5 - 1.0).collect();
            values.into_boxed_slice().try_into().expect("PIXELS values")
        })
        .collect();
    let images: Vec<&[f32; PIXELS]> = images.iter().map(|image| &**image).collect();
    let mut logits = vec![[0.0; One::CLASSES]; IMAGES];
    let (mut single, mut batch) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        single.push(timed(|| one.run_batch(&mut one_scratch, &images, &mut logits).expect("equal lengths")));
        black_box(&logits);
        batch.push(timed(|| eight.run_batch(&mut eight_scratch, &images, &mut logits).expect("equal lengths")));
        black_box(&logits);
    }
    println!("| {}, ms of an image | min | median |\n|---|---:|---:|", one.isa());
    for (name, times) in [("8 one by one", &mut single), ("8 in a batch", &mut batch)] {
        times.sort_unstable();
        let [least, median] = [times[0], times[times.len() / 2]].map(|time| time.as_secs_f64() * 1e3 / IMAGES as f64);
        println!("| {name} | {least:.2} | {median:.2} |");
    }
}

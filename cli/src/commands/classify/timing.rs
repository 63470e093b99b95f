//! The report of `mbvc classify --timing`.

use std::time::Duration;

use serde::Serialize;

use crate::ui;
use crate::ui::{DIM, outln, plural};

/// Time of each stage of an image, or of several added up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stages {
    pub decode: Duration,
    /// Resize and crop.
    pub resize: Duration,
    /// Preprocessing and network.
    pub network: Duration,
}

impl Stages {
    pub fn add(&mut self, other: Self) {
        self.decode += other.decode;
        self.resize += other.resize;
        self.network += other.network;
    }
}

/// Means over the images, and the throughput.
#[derive(Serialize)]
pub struct Timing {
    images: usize,
    threads: usize,
    decode_ms: f64,
    resize_ms: f64,
    network_ms: f64,
    images_per_second: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    timing: &'a Timing,
}

impl Timing {
    /// `total`: the stages of `images` images, which `threads` threads processed in `elapsed`.
    pub fn new(images: usize, threads: usize, total: Stages, elapsed: Duration) -> Self {
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        let mean = |stage: Duration| rounded(stage.as_secs_f64() * 1e3 / images.max(1) as f64);
        Self {
            images,
            threads,
            decode_ms: mean(total.decode),
            resize_ms: mean(total.resize),
            network_ms: mean(total.network),
            images_per_second: rounded(images as f64 / elapsed.as_secs_f64().max(1e-9)),
        }
    }

    pub fn show(&self, json: bool) {
        if json {
            ui::json(&Line { timing: self });
            return;
        }
        outln!(
            "{DIM}{:.1} images per second on {}; per image: decode {:.2} ms, resize {:.2} ms, network {:.2} ms{DIM:#}",
            self.images_per_second,
            plural(self.threads, "thread"),
            self.decode_ms,
            self.resize_ms,
            self.network_ms
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_means_and_the_throughput_is_over_the_elapsed_time() {
        let mut total = Stages::default();
        for (decode, resize, network) in [(8, 1, 2), (10, 2, 3)] {
            let [decode, resize, network] = [decode, resize, network].map(Duration::from_millis);
            total.add(Stages { decode, resize, network });
        }
        let timing = Timing::new(2, 2, total, Duration::from_millis(16));
        assert_eq!((timing.decode_ms, timing.resize_ms, timing.network_ms), (9.0, 1.5, 2.5));
        assert_eq!(timing.images_per_second, 125.0);
        let none = Timing::new(0, 1, Stages::default(), Duration::ZERO);
        assert_eq!((none.decode_ms, none.images_per_second), (0.0, 0.0));
    }
}

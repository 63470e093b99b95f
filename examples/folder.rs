//! Classifies every picture of a folder on all cores: `cargo run --release --features image --example folder -- demo/samples`
//!
//! All threads share one model, and each has its own scratch. This gives the most pictures per second. The key `threads` of a
//! spec reduces the latency of a single picture instead.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

mbvc::mobilenet_v2!("specs/demo.yaml", weights = "demo/model.safetensors");

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("expected a folder as argument")?;
    let mut files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|file| image::ImageFormat::from_path(file).is_ok());
    let (model, next) = (Demo::embedded()?, AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| classify_some(&model, &files, &next));
        }
    });
    Ok(())
}

/// Classifies files until none is left; `next` is the index of the next file.
fn classify_some(model: &Demo, files: &[PathBuf], next: &AtomicUsize) {
    let mut scratch = Demo::scratch();
    let mut label_of = |file: &PathBuf| -> Result<&str, Box<dyn Error>> {
        let pixels = model.frame(&image::open(file)?)?;
        let mut best = [(0, 0.0)];
        mbvc::top_k(&model.run_pixels(&mut scratch, &pixels), &mut best);
        Ok(model.labels().get(best[0].0).ok_or("the weights have no labels")?)
    };
    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        match label_of(file) {
            Ok(label) => println!("{}: {label}", file.display()),
            // An unreadable picture does not stop the others.
            Err(problem) => eprintln!("{}: {problem}", file.display()),
        }
    }
}

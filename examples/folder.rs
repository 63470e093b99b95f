//! Classifies every picture of a folder on all cores: `cargo run --release --features image --example folder -- demo/samples`
//!
//! Threads share one model, each with calls and a scratch of its own: for many pictures that is the fastest way. `threads` in
//! the spec is for one picture that is waited for.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

mbvc::mobilenet_v2!("specs/demo.yaml", weights = "demo/model.safetensors");

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
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

/// Takes the next file that nobody has taken, until there is none.
fn classify_some(model: &Demo, files: &[PathBuf], next: &AtomicUsize) {
    let mut scratch = Demo::scratch();
    let mut label_of = |file: &PathBuf| -> Result<&str, Box<dyn Error>> {
        let pixels = model.frame(&image::open(file)?)?;
        let mut best = [(0, 0.0)];
        mbvc::top_k(&model.run_pixels(&mut scratch, &pixels), &mut best);
        Ok(model.labels().get(best[0].0).ok_or("the weights came without labels")?)
    };
    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        match label_of(file) {
            Ok(label) => println!("{}: {label}", file.display()),
            // A picture that cannot be read does not stop the others.
            Err(problem) => eprintln!("{}: {problem}", file.display()),
        }
    }
}

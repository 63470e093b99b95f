//! Classifies every picture of a folder on all cores: `cargo run --release --features image --example folder -- demo/samples`
//!
//! All threads share one model, and each has its own scratch. Each decodes, resizes and classifies a picture of its own at the
//! same time, which gives the most pictures per second. The key `threads` of a spec reduces the latency of a single picture
//! instead. With `--timing` the last line shows the pictures per second and where the time went.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

mbvc::mobilenet_v2!("specs/demo.yaml", weights = "demo/model.safetensors");

/// A label, and the milliseconds that decoding, resizing and the network took.
type Classified<'a> = Result<(&'a str, [f64; 3]), Box<dyn Error + Send + Sync>>;

fn main() -> Result<(), Box<dyn Error>> {
    let (options, arguments): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word == "--timing");
    let folder = arguments.first().ok_or("expected a folder as argument")?;
    let mut files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|file| image::ImageFormat::from_path(file).is_ok());
    files.sort();
    let (model, next) = (Demo::embedded()?, AtomicUsize::new(0));
    let (mut early, mut shown, mut total, mut count) = (BTreeMap::new(), 0, [0.0; 3], 0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let (send, results) = channel();
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let send = send.clone();
            scope.spawn(|| classify_some(&model, &files, &next, send));
        }
        drop(send);
        for (number, result) in results {
            early.insert(number, result);
            // In the order of the files: a result that is early waits.
            while let Some(result) = early.remove(&shown) {
                match result {
                    Ok((label, stages)) => {
                        println!("{}: {label}", files[shown].display());
                        total = std::array::from_fn(|stage| total[stage] + stages[stage]);
                        count += 1;
                    }
                    // An unreadable picture does not stop the others.
                    Err(problem) => eprintln!("{}: {problem}", files[shown].display()),
                }
                shown += 1;
            }
        }
    });
    if !options.is_empty() && count > 0 {
        let [decode, resize, network] = total.map(|stage| stage / f64::from(count));
        let speed = f64::from(count) / start.elapsed().as_secs_f64();
        println!(
            "{speed:.1} pictures per second; decode {decode:.2} ms, resize {resize:.2} ms, network {network:.2} ms"
        );
    }
    Ok(())
}

/// Classifies files until none is left; `next` is the number of the next file.
fn classify_some<'a>(model: &'a Demo, files: &[PathBuf], next: &AtomicUsize, send: Sender<(usize, Classified<'a>)>) {
    let mut scratch = Demo::scratch();
    let mut classify = |file: &PathBuf| -> Classified<'a> {
        let mut start = Instant::now();
        let mut lap = || std::mem::replace(&mut start, Instant::now()).elapsed().as_secs_f64() * 1e3;
        let picture = image::open(file)?;
        let decode = lap();
        let pixels = model.frame(&picture)?;
        let resize = lap();
        let mut best = [(0, 0.0)];
        mbvc::top_k(&model.run_pixels(&mut scratch, &pixels), &mut best);
        let label = model.labels().get(best[0].0).ok_or("the weights have no labels")?;
        Ok((label, [decode, resize, lap()]))
    };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(file) = files.get(number) else { return };
        if send.send((number, classify(file))).is_err() {
            return;
        }
    }
}

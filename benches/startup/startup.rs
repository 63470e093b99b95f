//! Times the parts of a process from its start to its first result. `run.py` starts it many times.

use std::time::Instant;

use mbvc::{Weights, top_k};

mbvc::mobilenet_v2!("specs/v2.yaml");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let path = std::env::args().nth(1).ok_or("expected a weights file as argument")?;
    let weights = Weights::open(path)?;
    let opened = started.elapsed();
    let model = MobileNetV2::new(&weights)?;
    let packed = started.elapsed();
    let mut scratch = MobileNetV2::scratch();
    let pixels = vec![127_u8; 224 * 224 * 3];
    let pixels = pixels.as_slice().try_into()?;
    let logits = model.run_pixels(&mut scratch, pixels);
    let first = started.elapsed();
    let again = model.run_pixels(&mut scratch, pixels);
    let second = started.elapsed();
    if logits != again {
        return Err("two calls differ".into());
    }
    let mut best = [(0, 0.0)];
    top_k(&logits, &mut best);
    let [open, new, run, rerun] =
        [opened, packed - opened, first - packed, second - first].map(|part| part.as_secs_f64() * 1e3);
    println!("{{\"open\": {open:.3}, \"new\": {new:.3}, \"first_run\": {run:.3}, \"second_run\": {rerun:.3}}}");
    Ok(())
}

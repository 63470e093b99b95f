//! Classifies a photograph with the published network: `cargo run --release --example photo -- WEIGHTS.safetensors PICTURE`.

use mbvc::{Weights, top_k};

mbvc::mobilenet_v2!("specs/v2.yaml");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let weights = Weights::open(arguments.next().ok_or("expected a weights file and a picture as arguments")?)?;
    let picture = image::open(arguments.next().ok_or("expected a picture as second argument")?)?;
    let pixels = picture.resize_exact(224, 224, image::imageops::FilterType::Triangle).into_rgb8();

    let model = MobileNetV2::new(&weights)?;
    let logits =
        model.run_pixels(&mut MobileNetV2::scratch(), pixels.as_raw().as_array().ok_or("expected 224x224 RGB pixels")?);
    let mut best = [(0, 0.0)];
    top_k(&logits, &mut best);
    println!("{}", weights.labels().and_then(|labels| labels.get(best[0].0).cloned()).unwrap_or(best[0].0.to_string()));
    Ok(())
}

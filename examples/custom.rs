//! Compiles a custom spec, and classifies two pictures side by side in one call:
//! `cargo run --release --features image --example custom -- demo/samples/cactus.png demo/samples/rocket.png`

use image::imageops::{FilterType, replace};

mbvc::mobilenet_v2!("examples/custom.yaml", weights = "demo/model.safetensors");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [height, width, _] = Panorama::INPUT;
    let mut wide = image::RgbImage::new(width as u32, height as u32);
    for (at, path) in std::env::args().skip(1).take(2).enumerate() {
        let half = image::open(path)?.resize_exact(width as u32 / 2, height as u32, FilterType::Triangle);
        replace(&mut wide, &half.into_rgb8(), (at * width / 2) as i64, 0);
    }
    let model = Panorama::embedded()?;
    println!(
        "{width}x{height}, {} layers, {} bytes of scratch, {}",
        Panorama::LAYERS.len(),
        Panorama::SCRATCH_BYTES,
        model.isa()
    );
    for guess in model.classify(&wide)?.iter().take(5) {
        println!("{guess}");
    }
    Ok(())
}

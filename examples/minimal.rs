//! Classifies an icon: `cargo run --release --features image --example minimal -- demo/samples/cat.png`

mbvc::mobilenet_v2!("specs/demo.yaml", weights = "demo/model.safetensors");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let picture = image::open(std::env::args().nth(1).ok_or("expected a picture as argument")?)?;
    for guess in Demo::embedded()?.classify(&picture)?.iter().take(3) {
        println!("{guess}");
    }
    Ok(())
}

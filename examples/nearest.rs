//! Finds the pictures of a folder that are most similar to one picture:
//! `cargo run --release --features image --example nearest -- demo/samples/cat.png demo/samples`
//!
//! Compares the vectors before the classifier. They describe things too for which the network has no class.

use std::error::Error;
use std::path::{Path, PathBuf};

mbvc::mobilenet_v2!("specs/demo.yaml", weights = "demo/model.safetensors");

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(picture), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("expected a picture and a folder as arguments".into());
    };
    let (model, mut scratch) = (Demo::embedded()?, Demo::scratch());
    // Normalized, so that the dot product of two vectors is their cosine similarity.
    let mut embed = |file: &Path| -> Result<_, Box<dyn Error>> {
        let vector = model.embed_pixels(&mut scratch, &*model.frame(&image::open(file)?)?);
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        Ok(vector.map(|x| x / length))
    };
    let query = embed(&picture)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        if image::ImageFormat::from_path(&file).is_ok() {
            let cosine: f32 = embed(&file)?.iter().zip(&query).map(|(a, b)| a * b).sum();
            found.push((cosine, file));
        }
    }
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    for (cosine, file) in found.iter().take(5) {
        println!("{cosine:.3}  {}", file.display());
    }
    Ok(())
}

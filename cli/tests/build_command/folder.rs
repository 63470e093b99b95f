//! A folder with weights and images, and the network that is built.

use std::path::Path;
use std::process::Command;

use image::ImageFormat;
use serde_json::Value;

use crate::common::{good, json_lines, picture};

mbvc::mobilenet_v2!(pub "../specs/tiny.yaml");

pub const SPEC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/tiny.yaml");
pub const SIDE: usize = TinyNet::INPUT[0];

/// Labels that need escapes in C and in JSON; one is empty.
pub const LABELS: &str = "background\nsay \"cat\"\n\\\nchat é\n5 %d %s\n\nseven\neight\nnine\nten";

/// Weights for the tiny network.
pub fn weights() -> Vec<u8> {
    let info = TinyNet::INFO;
    let tensors = info.parameters.iter().map(|tensor| (tensor.name, tensor.dtype, tensor.shape));
    let weights = mbvc::Weights::random(tensors, info.conventions, 11).unwrap();
    let mut container = mbvc_import::Container::from_bytes(weights.as_bytes(), "random").unwrap();
    container.metadata.insert("mbvc.framing".to_owned(), "crop 40/32 bicubic".to_owned());
    container.metadata.insert("mbvc.labels".to_owned(), LABELS.to_owned());
    container.to_bytes()
}

/// A folder with weights, and with images in each format: `a.*` of another size than the input, `b.*` of its size.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("w.safetensors"), weights()).unwrap();
    picture(&at("a.png"), 1);
    let a = image::open(at("a.png")).unwrap().into_rgb8();
    let b = image::imageops::crop_imm(&a, 3, 5, SIDE as u32, SIDE as u32).to_image();
    for (name, image) in [("a", a), ("b", b)] {
        image.save_with_format(at(&format!("{name}.png")), ImageFormat::Png).unwrap();
        image.save_with_format(at(&format!("{name}.bmp")), ImageFormat::Bmp).unwrap();
        std::fs::write(at(&format!("{name}.rgb")), image.as_raw()).unwrap();
        let header = format!("P6\n{} {}\n255\n", image.width(), image.height());
        std::fs::write(at(&format!("{name}.ppm")), [header.as_bytes(), image.as_raw()].concat()).unwrap();
    }
    folder
}

/// Runs `mbvc build` on the tiny network; returns its report.
pub fn build(folder: &Path, arguments: &[&str]) -> Value {
    let given = [&["build", SPEC, "--weights", "w.safetensors", "--json"], arguments].concat();
    json_lines(&good(folder, &given)).remove(0)
}

/// The predictions of `mbvc classify` for an image.
pub fn classified(folder: &Path, picture: &str, further: &[&str]) -> Value {
    let arguments = ["classify", picture, "--weights", "w.safetensors", "--spec", SPEC, "--json"];
    json_lines(&good(folder, &[&arguments, further].concat())).remove(0)["predictions"].take()
}

/// Runs a shell command, which must succeed without a message; returns its standard output.
pub fn shell(folder: &Path, command: &str) -> String {
    let output = Command::new("sh").current_dir(folder).args(["-c", command]).env_remove("MBVC_ISA").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{command}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

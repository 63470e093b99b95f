//! The small networks of PyTorch's scripts, and the logits of imported models for the scripts' image.

#![allow(dead_code, reason = "every test file uses a part of it")]

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{self, Fusion, NetworkSpec, Preprocessing};
use mbvc_import::Imported;
use mbvc_interpreter::{self as interp, Mode};
use mbvc_runtime::HeadActivation;

/// The network of `heads_torch_files.py`.
pub const HEADS: &str = "
resolution: 16
classes: 3
padding: symmetric
stem: { channels: 8, stride: 2 }
blocks:
  - { t: 1, c: 8, n: 1, s: 1 }
head: { channels: 8 }
";

pub fn spec(text: &str) -> NetworkSpec {
    spec::parse(&SourceFile::new("s.yaml", text)).unwrap_or_else(|error| panic!("{error}"))
}

/// `pattern` of the scripts, NHWC.
pub fn pattern([height, width]: [usize; 2], channels: usize) -> Vec<f32> {
    let pixels =
        (0..height * width * channels).map(|at| (at / (channels * width), at / channels % width, at % channels));
    pixels.map(|(y, x, c)| ((y * 7 + x * 3 + c * 5) % 17) as f32 / 8.0 - 1.0).collect()
}

/// Output of the network for `pattern` of the scripts, at a size that its file may not record.
pub fn logits(imported: &Imported, size: [usize; 2]) -> Vec<f32> {
    logits_of(imported, size, &pattern(size, imported.spec().input.channels()))
}

/// Output of the network for the image of 0 to 255 of `keras_files.py`, which is `pattern` in another range.
pub fn logits_of_pixels(imported: &Imported, size: [usize; 2]) -> Vec<f32> {
    let Preprocessing { scale, offset } = imported.recovered.preprocessing;
    let pixels = pattern(size, 3).into_iter().map(|value| (value + 1.0) * 120.0).enumerate();
    let image: Vec<f32> = pixels.map(|(at, pixel)| pixel * scale[at % 3] + offset[at % 3]).collect();
    logits_of(imported, size, &image)
}

/// Output of the network for an image of this size.
pub fn logits_of(imported: &Imported, size: [usize; 2], image: &[f32]) -> Vec<f32> {
    let mut spec = imported.spec().clone();
    spec.resolution = size;
    let mut graph = lower(&spec);
    passes::run(&mut graph, Fusion::None, None, &mut |_, _| {}).unwrap();
    interp::run(&graph, &imported.container, image, Mode::F64, &mut |_, _, _| {}).unwrap()
}

/// The last `count` scores, where a framework has one for two classes. `activation` is that of the framework; a file without
/// one gets the default, and its own scores are the logits.
pub fn scores(imported: &Imported, logits: &[f32], activation: &str, count: usize) -> Result<Vec<f32>, String> {
    let applied = if activation == "none" { HeadActivation::None } else { imported.recovered.head_activation };
    if applied.word() != activation {
        return Err(format!("{} for {activation}", applied.word()));
    }
    let computed = applied.scores(logits);
    let first = computed.len().checked_sub(count).ok_or_else(|| format!("{} scores for {count}", computed.len()))?;
    Ok(computed[first..].to_vec())
}

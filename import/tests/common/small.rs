//! The small networks of PyTorch's scripts, and the logits of imported models for the scripts' image.

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{self, Fusion, NetworkSpec};
use mbvc_import::Imported;
use mbvc_interpreter::{self as interp, Mode};

pub fn spec(text: &str) -> NetworkSpec {
    spec::parse(&SourceFile::new("s.yaml", text)).unwrap_or_else(|error| panic!("{error}"))
}

/// `pattern` of the scripts, NHWC.
pub fn pattern([height, width]: [usize; 2]) -> Vec<f32> {
    let pixels = (0..height * width * 3).map(|at| (at / (3 * width), at / 3 % width, at % 3));
    pixels.map(|(y, x, c)| ((y * 7 + x * 3 + c * 5) % 17) as f32 / 8.0 - 1.0).collect()
}

/// Output of the network at a size that its file may not record.
pub fn logits(imported: &Imported, size: [usize; 2]) -> Vec<f32> {
    logits_of(imported, size, &pattern(size))
}

/// Output of the network for an image of this size.
pub fn logits_of(imported: &Imported, size: [usize; 2], image: &[f32]) -> Vec<f32> {
    let mut spec = imported.spec().clone();
    spec.resolution = size;
    let mut graph = lower(&spec);
    passes::run(&mut graph, Fusion::None, None, &mut |_, _| {}).unwrap();
    interp::run(&graph, &imported.container, image, Mode::F64, &mut |_, _, _| {}).unwrap()
}

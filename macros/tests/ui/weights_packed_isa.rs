mbvc::mobilenet_v2!("specs/tiny.yaml", isa = avx2, weights = "weights/other.packed");

fn main() {}

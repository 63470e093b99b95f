mbvc::mobilenet_v2!("specs/tiny.yaml", weights = "weights/other.packed");

fn main() {}

mbvc::mobilenet_v2!("specs/tiny.yaml", weights = "weights/old.packed");

fn main() {}

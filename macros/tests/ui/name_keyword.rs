mbvc::mobilenet_v2!("specs/tiny.yaml", name = "Self");

fn main() {}

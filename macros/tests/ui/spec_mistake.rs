mbvc::mobilenet_v2!("specs/stride.yaml");

fn main() {}

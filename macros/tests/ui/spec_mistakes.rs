mbvc::mobilenet_v2!("specs/mistakes.yaml");

fn main() {}

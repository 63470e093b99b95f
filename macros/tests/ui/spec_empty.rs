mbvc::mobilenet_v2!("specs/empty.yaml");

fn main() {}

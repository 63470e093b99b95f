mbvc::mobilenet_v2!("specs/tiny.yaml", weights = "specs/tiny.yaml");

fn main() {}

mbvc::mobilenet_v2!("specs/tiny.yaml", weights = "a", weights = "b");

fn main() {}

mbvc::mobilenet_v2!("specs/tiny.yaml", fusion = none, fusion = "block");

fn main() {}

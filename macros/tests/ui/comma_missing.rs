mbvc::mobilenet_v2!("specs/tiny.yaml" fusion = "none");

fn main() {}

mbvc::mobilenet_v2!("specs/tiny.yaml", fussion = "none");

fn main() {}

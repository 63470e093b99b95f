mbvc::mobilenet_v2!("specs/tiny.yaml", name = "tiny net");

fn main() {}

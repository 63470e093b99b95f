mbvc::mobilenet_v2!();

fn main() {}

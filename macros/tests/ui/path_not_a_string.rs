mbvc::mobilenet_v2!(specs/tiny.yaml);

fn main() {}

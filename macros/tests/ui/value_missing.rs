mbvc::mobilenet_v2!("specs/tiny.yaml", fusion =);

fn main() {}

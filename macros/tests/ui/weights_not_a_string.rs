mbvc::mobilenet_v2!("specs/tiny.yaml", weights = model);

fn main() {}

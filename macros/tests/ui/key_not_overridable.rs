mbvc::mobilenet_v2!("specs/tiny.yaml", blocks = []);

fn main() {}

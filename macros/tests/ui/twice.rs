mbvc::mobilenet_v2!("specs/tiny.yaml", isa = portable);
mbvc::mobilenet_v2!("specs/tiny.yaml", isa = portable);

fn main() {}

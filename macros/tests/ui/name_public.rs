mbvc::mobilenet_v2!("specs/tiny.yaml", name = pub Net, isa = portable);

fn main() {}

mbvc::mobilenet_v2!("specs/tiny.yaml", pub(crate) name = Net);

fn main() {}

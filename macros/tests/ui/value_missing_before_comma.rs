mbvc::mobilenet_v2!("specs/tiny.yaml", fusion = , name = Net);

fn main() {}

mbvc::mobilenet_v2!("specs/no_yaml.yaml");

fn main() {}

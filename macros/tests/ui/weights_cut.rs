mbvc::mobilenet_v2!("specs/tiny.yaml", weights = "weights/cut.safetensors");

fn main() {}

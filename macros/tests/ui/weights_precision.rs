mbvc::mobilenet_v2!("specs/tiny.yaml", weights = "weights/int8.safetensors");

fn main() {}

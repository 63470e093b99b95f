mbvc::mobilenet_v2!("specs/tiny.yaml", weights = "weights/other.safetensors");

fn main() {}

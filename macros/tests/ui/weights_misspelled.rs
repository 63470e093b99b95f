mbvc::mobilenet_v2!("specs/tiny.yaml", weigths = "weights/other.safetensors");

fn main() {}

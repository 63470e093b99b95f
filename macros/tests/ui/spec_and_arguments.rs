mbvc::mobilenet_v2!("specs/mistakes.yaml", precision = "fp16", threads = 0);

fn main() {}

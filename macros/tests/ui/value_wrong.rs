mbvc::mobilenet_v2!("specs/tiny.yaml", fusion = "blocks", isa = sse2, width = -1, resolution = [0, 32]);

fn main() {}

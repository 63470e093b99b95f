mod inner {
    mbvc::mobilenet_v2!("specs/tiny.yaml");
}

fn _use(_: inner::TinyNet) {}

fn main() {}

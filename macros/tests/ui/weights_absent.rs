mbvc::mobilenet_v2!("specs/tiny.yaml", isa = portable);

fn main() {
    let _ = TinyNet::embedded();
}

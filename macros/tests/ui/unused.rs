#![deny(dead_code)]

mbvc::mobilenet_v2!(
    /// A network.
    "specs/tiny.yaml", isa = portable
);

fn main() {}

mbvc::mobilenet_v2!(
    "specs/tiny.yaml",
    /// A network.
    name = Net
);

fn main() {}

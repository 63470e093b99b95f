mbvc::mobilenet_v2!("specs/tiny.yaml", weights = "$OUT_DIR/model.packed");

fn main() {}

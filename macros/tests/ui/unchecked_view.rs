#![forbid(unsafe_code)]

use mbvc::__runtime::{Area, Dst, Src};

fn main() {
    let mut numbers = [1.0_f32; 16];
    Src::new(&numbers).get(1 << 44);
    Dst::new(&mut numbers).at(1 << 44);
    Area::new(&mut numbers).clear(0..1 << 44);
}

//! Two networks for a microcontroller: a classifier of 77 drawn objects in 64x64 color images, and a network with
//! random weights for gray images of 96x96 pixels.
#![no_std]
#![forbid(unsafe_code)]

mbvc::mobilenet_v2!(
    pub "../../specs/demo.yaml",
    name = Color,
    precision = "int8",
    isa = [dsp, portable],
    weights = "$OUT_DIR/color.packed"
);
// Deep fusion with `dsp` is for no other instruction set; processors without it emulate it.
mbvc::mobilenet_v2!(pub "gray.yaml", isa = dsp, weights = "$OUT_DIR/gray.packed");

/// Returns the class with the largest logit.
pub fn best(logits: &[i8]) -> usize {
    (0..logits.len()).max_by_key(|class| logits[*class]).unwrap_or(0)
}

/// Writes an image that gets brighter from byte to byte.
pub const fn ramp<const BYTES: usize>() -> [u8; BYTES] {
    let mut pixels = [0; BYTES];
    let mut at = 0;
    while at < BYTES {
        pixels[at] = (at * 255 / BYTES) as u8;
        at += 1;
    }
    pixels
}

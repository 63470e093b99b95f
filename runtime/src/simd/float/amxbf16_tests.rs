//! Tests of [`multiply`] against a scalar loop.

extern crate std;

use std::vec::Vec;

use super::amxbf16::{LANES, ReleaseTiles, Sums, multiply};
use crate::bf16::Bf16;
use crate::isa::Isa;
use crate::simd::Src;

/// Deterministic pseudorandom bf16 values between -2 and 2, some of them zero.
fn numbers(seed: u64) -> impl Iterator<Item = Bf16> {
    let mut state = seed;
    core::iter::repeat_with(move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let bits = (state >> 48) as u32;
        let exponent = 118 + bits % 11;
        Bf16::from_bits(if bits.is_multiple_of(17) { 0 } else { (bits & 0x807f | exponent << 7) as u16 })
    })
}

/// Computes one sum in the order of [`multiply`]. `mul_add` rounds once, as the instruction does.
fn sum(bias: f32, x: &[Bf16], w: &[[Bf16; 2]], depth: usize) -> f32 {
    let steps = x.chunks(depth).zip(w.chunks(depth / 2));
    steps.fold(bias, |sum, (x, w)| {
        let mut parts = [0.0_f32; 2];
        for (x, w) in x.as_chunks::<2>().0.iter().zip(w) {
            for ((part, x), w) in parts.iter_mut().zip(x).zip(w) {
                *part = x.to_f32().mul_add(w.to_f32(), *part);
            }
        }
        sum + (parts[0] + parts[1])
    })
}

/// Compares all sums of `BLOCKS` blocks with scalar sums. Adjacent pixels are `stride` values apart.
fn check<const PIXELS: usize, const BYTES: usize, const BLOCKS: usize, const VECTORS: usize>(
    steps: usize,
    stride: usize,
) {
    let k = steps * BYTES / 2;
    let channels = VECTORS * LANES;
    // The second block starts at the last value of the first one.
    let second = (PIXELS - 1) * stride + k - 1;
    let x: Vec<Bf16> = numbers(7).take(second + (PIXELS - 1) * stride + k).collect();
    let w: Vec<[Bf16; 2]> = (0..k / 2 * channels).zip(numbers(9).zip(numbers(11))).map(|(_, (a, b))| [a, b]).collect();
    let bias: Vec<f32> = numbers(13).take(channels).map(Bf16::to_f32).collect();
    let pairs = w.iter().map(|[a, b]| f32::from_bits(u32::from(a.to_bits()) | u32::from(b.to_bits()) << 16));
    let packed: Vec<f32> = bias.iter().copied().chain(pairs).collect();
    let mut sums = Sums::UNINIT;
    // SAFETY: the views contain every value that `multiply` reads, and nothing else uses tile registers. The caller checked
    // that the processor has AMX.
    let found = unsafe {
        let tiles = Src::new(&packed).tiles::<PIXELS, BYTES>();
        let blocks = core::array::from_fn::<_, BLOCKS, _>(|block| Src::new(&x).at(block * second));
        multiply::<PIXELS, BYTES, BLOCKS, VECTORS>(&tiles, blocks, stride, Src::new(&packed), steps, &mut sums)
    };
    assert_eq!(found.len(), BLOCKS * PIXELS * channels);
    for block in 0..BLOCKS {
        for pixel in 0..PIXELS {
            let x = &x[block * second + pixel * stride..][..k];
            for channel in 0..channels {
                let w: Vec<_> = w.iter().skip(channel).step_by(channels).copied().collect();
                let found = found[(block * PIXELS + pixel) * channels + channel];
                let expected = sum(bias[channel], x, &w, BYTES / 2);
                assert_eq!(
                    found.to_bits(),
                    expected.to_bits(),
                    "block {block}, pixel {pixel}, channel {channel}: expected {expected}, found {found}"
                );
            }
        }
    }
}

#[test]
fn products_are_summed_in_steps() {
    if Isa::AmxBf16.detect().is_none() {
        return;
    }
    check::<16, 64, 2, 2>(3, 96);
    check::<16, 64, 2, 1>(1, 33);
    check::<14, 48, 1, 2>(6, 200);
    check::<7, 16, 1, 1>(5, 40);
    check::<1, 4, 2, 2>(9, 1);
    check::<13, 20, 2, 2>(2, 20);
}

#[test]
fn registers_are_configured_when_their_shapes_differ() {
    if Isa::AmxBf16.detect().is_none() {
        return;
    }
    for release in [false, true] {
        check::<3, 8, 1, 1>(2, 10);
        check::<16, 64, 2, 2>(2, 64);
        if release {
            drop(ReleaseTiles);
        }
        check::<16, 64, 2, 2>(2, 64);
    }
    drop(ReleaseTiles);
}

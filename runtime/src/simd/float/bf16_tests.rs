//! The bf16 vocabulary of every instruction set, compared with `Bf16`.

extern crate std;

use std::vec::Vec;

use crate::bf16::Bf16;
use crate::isa::Isa;
use crate::simd::{Dst, Src};

/// Numbers of many magnitudes, ties of rounding and both zeros; the same on every run.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let random = core::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Exponents from 2^-40 to 2^23.
        let exponent = 87 + (state >> 20) as u32 % 64;
        f32::from_bits((state >> 32) as u32 & 0x807f_ffff | exponent << 23)
    });
    let special = [0.0, -0.0, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 6.0, 1e-39, -1e-40, f32::MIN_POSITIVE, 3.4e38];
    special.into_iter().chain(random).take(count).collect()
}

/// A pair of bf16 numbers, in the space of one float.
fn pair([even, odd]: [f32; 2]) -> f32 {
    let bits = [even, odd].map(|number| u32::from(Bf16::from_f32(number).to_bits()));
    f32::from_bits(bits[0] | bits[1] << 16)
}

/// `sum` and both products of two pairs, in the order of the vocabulary. Products are exact, so that a rounded sum in
/// double precision is the one of a fused multiply-add, unless the sum is a tie of double precision too.
fn dot(x: [f32; 2], w: [f32; 2], sum: f32) -> f32 {
    let exact = |number: f32| f64::from(Bf16::from_f32(number).to_f32());
    let add = |sum: f32, at: usize| (f64::from(sum) + exact(x[at]) * exact(w[at])) as f32;
    add(add(sum, 1), 0)
}

macro_rules! vocabularies {
    ($($(#[$attribute:meta])* $test:ident: $isa:ident, $($module:ident)::+;)+) => {$(
        $(#[$attribute])*
        #[allow(unused_unsafe, reason = "portable functions have no target features")]
        #[test]
        fn $test() {
            use crate::simd::float::$($module)::+::{
                LANES, Vector, dot, even, load, load_bf16, load_bf16_first, load_pairs, odd, splat_pair, splat_single,
                store, store_bf16, store_bf16_first,
            };

            if Isa::$isa.detect().is_none() {
                return;
            }
            let floats = |vector: Vector| -> [f32; LANES] {
                let mut to = [0.0; LANES];
                // SAFETY: the processor has the instructions, as checked above, and the array has `LANES` floats.
                unsafe { store(&mut Dst::new(&mut to), 0, vector) };
                to
            };
            let all = numbers(64 * LANES);
            let halves: Vec<Bf16> = all.iter().map(|number| Bf16::from_f32(*number)).collect();
            let widened: Vec<f32> = halves.iter().map(|number| number.to_f32()).collect();
            for at in (0..all.len()).step_by(LANES) {
                let mut stored = [Bf16::from_bits(0x1234); LANES];
                // SAFETY: the processor has the instructions; all accesses are in bounds of slices of `LANES` numbers.
                unsafe { store_bf16(&mut Dst::new(&mut stored), 0, load(Src::new(&all), at)) };
                assert_eq!(stored, halves[at..][..LANES]);
                let mut first = [Bf16::from_bits(0x1234); LANES];
                // SAFETY: as above.
                unsafe { store_bf16_first::<3>(&mut Dst::new(&mut first), 0, load(Src::new(&all), at)) };
                assert_eq!(first[..3], halves[at..][..3]);
                assert!(first[3..].iter().all(|number| number.to_bits() == 0x1234), "the other lanes are kept");
                // SAFETY: as above.
                let (whole, part) = unsafe { (load_bf16(Src::new(&halves), at), load_bf16_first::<3>(Src::new(&halves), at)) };
                assert_eq!(floats(whole), widened[at..][..LANES]);
                assert_eq!(floats(part)[..3], widened[at..][..3]);
                assert_eq!(floats(part)[3..], [0.0; LANES][3..]);
            }
            // Without extreme magnitudes: subnormal sums are zero on some instruction sets.
            let all: Vec<f32> = all.into_iter().filter(|x| *x == 0.0 || (1e-8..1e8).contains(&x.abs())).collect();
            let [x, w]: [Vec<[f32; 2]>; 2] = [0, 1].map(|from| all[from..].as_chunks().0.to_vec());
            let packed: Vec<f32> = w.iter().map(|both| pair(*both)).collect();
            let halves: Vec<Bf16> = x.as_flattened().iter().map(|number| Bf16::from_f32(*number)).collect();
            for at in 0..packed.len() - LANES {
                // SAFETY: as above; pair `at` is two numbers from `2 * at`.
                let (weights, values, single, sums) = unsafe {
                    (
                        load_pairs(Src::new(&packed), at),
                        splat_pair(Src::new(&halves), 2 * at),
                        splat_single(Src::new(&halves), 2 * at),
                        load(Src::new(&all), at),
                    )
                };
                // SAFETY: the processor has the instructions.
                let results = unsafe { [dot(values, weights, sums), dot(single, weights, sums), even(values), odd(values)] };
                let [both, one, first, second] = results.map(floats);
                for lane in 0..LANES {
                    let (w, sum) = (w[at + lane], all[at + lane]);
                    assert_eq!(both[lane], super::dot(x[at], w, sum), "{:?} {w:?} {sum}", x[at]);
                    assert_eq!(one[lane], super::dot([x[at][0], 0.0], w, sum), "{:?} {w:?} {sum}", x[at]);
                    assert_eq!([first[lane], second[lane]], x[at].map(|number| Bf16::from_f32(number).to_f32()));
                }
            }
        }
    )+};
}

mod vocabularies {
    use super::*;

    vocabularies! {
        portable: Portable, portable;
        #[cfg(target_arch = "aarch64")]
        neon: Neon, neon;
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        wasm128: Wasm128, wasm128;
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        wasm128relaxed: Wasm128Relaxed, wasm128relaxed;
        #[cfg(target_arch = "x86_64")]
        avx2: Avx2, avx2;
        #[cfg(target_arch = "x86_64")]
        avx512: Avx512, avx512;
        #[cfg(target_arch = "x86_64")]
        avx512bf16: Avx512Bf16, avx512bf16;
        #[cfg(target_arch = "x86_64")]
        avx512bf16_half: Avx512Bf16, avx512bf16::half;
    }
}

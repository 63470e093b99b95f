//! Peak throughput of the processor: multiply-adds from registers (with AMX, from the L1 cache), and bytes read from memory.
//!
//! In this crate, because builds that optimize only what computes optimize it.

use std::hint::black_box;
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::{Duration, Instant};
use std::vec;
use std::vec::Vec;

use crate::{Isa, Precision, Src};

/// A tile of sums, one for each pair of a left and a right factor. Twelve independent sums hide four cycles of latency
/// on two units, and leave four of sixteen registers to the factors.
const ROWS: usize = 6;
const COLUMNS: usize = 2;
/// Rows where a value takes two registers of sixteen: portable vectors.
const NARROW_ROWS: usize = 3;
const STEPS: usize = 100_000;
/// Measurements, at least; they go on for at least [`WARM_UP`].
const REPEATS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(50);
/// Values of the buffer that sums and factors are loaded from, for vectors of up to 16 floats.
const FLOATS: usize = ROWS * COLUMNS * 16;

/// GFLOP/s of `threads` concurrent loops of multiply-adds by the kernels' own instruction: `fma` of float networks,
/// `dot` of quantized ones (GOP/s). 0 if the processor lacks the instruction set.
pub fn gflops(isa: Isa, precision: Precision, threads: usize) -> f64 {
    if isa.detect().is_none() { 0.0 } else { at_once(threads, || gflops_of_one(isa, precision)) }
}

/// Sum of the results of `threads` concurrent measurements; the calling thread runs one of them.
fn at_once(threads: usize, measure: impl Fn() -> f64 + Sync) -> f64 {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&measure)).collect();
        let mine = measure();
        // A thread that panicked counts as 0.
        mine + others.into_iter().map(|other| other.join().unwrap_or(0.0)).sum::<f64>()
    })
}

fn gflops_of_one(isa: Isa, precision: Precision) -> f64 {
    // Different values, unknown to the optimizer: equal chains could be computed once.
    let values: Vec<f32> = (0..FLOATS).map(|at| 1.0 + at as f32).collect();
    let values = black_box(values);
    let bytes: Vec<u8> = (0..FLOATS * 4).map(|at| at as u8).collect();
    let bytes = black_box(bytes);
    let mut best = 0.0_f64;
    // The maximum of at least five: interruptions only slow a loop down. Some processors take milliseconds until their
    // widest units run at full speed.
    let (mut repeats, first) = (0, Instant::now());
    while repeats < REPEATS || first.elapsed() < WARM_UP {
        repeats += 1;
        let start = Instant::now();
        let products = match precision {
            // SAFETY: the loops read `2 * ROWS` vectors of at most 16 floats, which is `FLOATS`.
            Precision::F32 => multiply(isa, unsafe { Src::new(&values) }),
            // SAFETY: as above.
            Precision::Bf16 => multiply_pairs(isa, unsafe { Src::new(&values) }),
            // SAFETY: the same, with four bytes for each float.
            Precision::Int8 | Precision::Uint8 => multiply_bytes(isa, unsafe { Src::new(&bytes) }),
        };
        let seconds = start.elapsed().as_secs_f64();
        best = best.max((2 * products * STEPS) as f64 / seconds / 1e9);
    }
    best
}

// In all loops the left factors are read through an opaque pointer, again in each step because of the fence, which is no
// instruction. Otherwise the optimizer moves every product that does not depend on the sum out of the loop, which leaves
// mere additions where `dot` multiplies and adds.

macro_rules! loops {
    ($($(#[$attribute:meta])* $name:ident: $isa:ident, $load:ident, $multiply:ident, $products:expr, $rows:expr;)+) => {$(
        $(#[$attribute])*
        fn $name(values: Src<'_>) -> usize {
            use crate::simd::float::$isa::{self as vectors, LANES, load};
            let right = [vectors::$load(values, 0), vectors::$load(values, LANES)];
            let mut left = [vectors::$load(values, 0); $rows];
            let mut sums = [[load(values, 0); COLUMNS]; $rows];
            let mut row = 0;
            // `map` and closures would lose the target feature.
            while row < $rows {
                left[row] = vectors::$load(values, row * LANES);
                sums[row] = [load(values, row * LANES), load(values, ($rows + row) * LANES)];
                row += 1;
            }
            let left = black_box(&left);
            for _ in 0..STEPS {
                compiler_fence(Ordering::SeqCst);
                let mut row = 0;
                while row < $rows {
                    let [first, second] = sums[row];
                    sums[row] = [
                        vectors::$multiply(left[row], right[0], first),
                        vectors::$multiply(left[row], right[1], second),
                    ];
                    row += 1;
                }
            }
            black_box(sums);
            $products * $rows * COLUMNS * LANES
        }
    )+};
}

// Multiply-adds of floats, then of pairs of bf16 numbers.
loops! {
    portable: portable, load, fma, 1, NARROW_ROWS;
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon")]
    neon: neon, load, fma, 1, ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    avx2: avx2, load, fma, 1, ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    avx512: avx512, load, fma, 1, ROWS;
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[target_feature(enable = "simd128")]
    wasm128: wasm128, load, fma, 1, NARROW_ROWS;
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    #[target_feature(enable = "simd128,relaxed-simd")]
    wasm128relaxed: wasm128relaxed, load, fma, 1, NARROW_ROWS;
    pairs_portable: portable, load_pairs, dot, 2, NARROW_ROWS;
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon")]
    pairs_neon: neon, load_pairs, dot, 2, ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    pairs_avx2: avx2, load_pairs, dot, 2, NARROW_ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pairs_avx512: avx512, load_pairs, dot, 2, ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pairs_avx512bf16: avx512bf16, load_pairs, dot, 2, ROWS;
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[target_feature(enable = "simd128")]
    pairs_wasm128: wasm128, load_pairs, dot, 2, NARROW_ROWS;
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    #[target_feature(enable = "simd128,relaxed-simd")]
    pairs_wasm128relaxed: wasm128relaxed, load_pairs, dot, 2, NARROW_ROWS;
}

/// Multiplies blocks of bf16 values in the L1 cache; returns the number of products per step.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
fn blocks_amxbf16() -> usize {
    use crate::simd::float::amxbf16::{LANES, ReleaseTiles, Sums, multiply};

    /// Pixels per block.
    const PIXELS: usize = 16;
    /// bf16 values per pixel and instruction.
    const DEPTH: usize = 32;
    /// Instructions per sum.
    const INSTRUCTIONS: usize = 16;
    /// Products per call.
    const PRODUCTS: usize = 2 * PIXELS * COLUMNS * LANES * DEPTH * INSTRUCTIONS;
    /// Steps of the other loops per call.
    const STEPS_PER_CALL: usize = 100;
    // Pixels overlap: each starts `DEPTH` values after the previous one.
    let activations = black_box([crate::Bf16::ZERO; DEPTH * (PIXELS - 1 + INSTRUCTIONS)]);
    let weights = black_box([0.0; (1 + DEPTH / 2 * INSTRUCTIONS) * COLUMNS * LANES]);
    let mut sums = Sums::UNINIT;
    let _release = ReleaseTiles;
    for _ in 0..STEPS / STEPS_PER_CALL {
        // SAFETY: the arrays contain every value that `multiply` reads, and nothing else uses tile registers.
        let (a, w) = unsafe { (Src::new(&activations), Src::new(&weights)) };
        let tiles = w.tiles::<PIXELS, { DEPTH * 2 }>();
        black_box(multiply::<PIXELS, { DEPTH * 2 }, 2, COLUMNS>(&tiles, [a, a], DEPTH, w, INSTRUCTIONS, &mut sums));
    }
    PRODUCTS / STEPS_PER_CALL
}

/// Runs the loop of dot products of pairs of bf16 numbers; returns the products of a step.
fn multiply_pairs(isa: Isa, values: Src<'_>) -> usize {
    match isa {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `gflops` checked that the processor has it.
        Isa::Neon => unsafe { pairs_neon(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { pairs_avx2(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { pairs_avx512(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512Bf16 => unsafe { pairs_avx512bf16(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `gflops` checked that the processor has it.
        Isa::AmxBf16 => unsafe { blocks_amxbf16() },
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Isa::Wasm128 => pairs_wasm128(values),
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        Isa::Wasm128Relaxed => pairs_wasm128relaxed(values),
        _ => pairs_portable(values),
    }
}

macro_rules! dot_loops {
    ($($(#[$attribute:meta])* $name:ident: $isa:ident $(:: $dots:ident)?, $rows:expr;)+) => {$(
        $(#[$attribute])*
        fn $name(values: Src<'_, u8>) -> usize {
            use crate::simd::quantized::$isa::{LANES, load_sums};
            use crate::simd::quantized::$isa$(::$dots)?::{WEIGHTS, broadcast, dot, weights};
            let right = [weights(values, 0), weights(values, WEIGHTS)];
            let mut left = [broadcast(values, 0); $rows];
            let mut sums = [[load_sums(values, 0); COLUMNS]; $rows];
            let mut row = 0;
            while row < $rows {
                left[row] = broadcast(values, row * 4);
                sums[row] = [load_sums(values, row * LANES * 4), load_sums(values, ($rows + row) * LANES * 4)];
                row += 1;
            }
            let left = black_box(&left);
            for _ in 0..STEPS {
                compiler_fence(Ordering::SeqCst);
                let mut row = 0;
                while row < $rows {
                    let [first, second] = sums[row];
                    sums[row] = [dot(left[row], right[0], first), dot(left[row], right[1], second)];
                    row += 1;
                }
            }
            black_box(sums);
            4 * $rows * COLUMNS * LANES
        }
    )+};
}

// The dot products of AVX2, AVX-512 without VNNI and `wasm128pairs` are those of projections.
dot_loops! {
    dots_portable: portable, NARROW_ROWS;
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon")]
    dots_neon: neon, ROWS;
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon,dotprod")]
    dots_neondot: neondot, ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    dots_avx2: avx2::pairs, ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avxvnni")]
    dots_avxvnni: avxvnni, ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    dots_avx512: avx512::pairs, ROWS;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    dots_avx512vnni: avx512vnni, ROWS;
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[target_feature(enable = "simd128")]
    dots_wasm128: wasm128, NARROW_ROWS;
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    #[target_feature(enable = "simd128,relaxed-simd")]
    dots_wasm128pairs: wasm128pairs::pairs, NARROW_ROWS;
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    #[target_feature(enable = "simd128,relaxed-simd")]
    dots_wasm128dot: wasm128dot, NARROW_ROWS;
}

/// Runs the loop of dot products of four bytes; returns the products of a step.
fn multiply_bytes(isa: Isa, values: Src<'_, u8>) -> usize {
    match isa {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `gflops` checked that the processor has it.
        Isa::Neon => unsafe { dots_neon(values) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::NeonDot => unsafe { dots_neondot(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { dots_avx2(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::AvxVnni => unsafe { dots_avxvnni(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { dots_avx512(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512Vnni => unsafe { dots_avx512vnni(values) },
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Isa::Wasm128 => dots_wasm128(values),
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        Isa::Wasm128Pairs => dots_wasm128pairs(values),
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        Isa::Wasm128Dot => dots_wasm128dot(values),
        _ => dots_portable(values),
    }
}

/// Runs the loop of multiply-adds; returns the products of a step.
fn multiply(isa: Isa, values: Src<'_>) -> usize {
    match isa {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `gflops` checked that the processor has it.
        Isa::Neon => unsafe { neon(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512(values) },
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Isa::Wasm128 => wasm128(values),
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        Isa::Wasm128Relaxed => wasm128relaxed(values),
        _ => portable(values),
    }
}

/// GB/s at which `threads` together read a block of `bytes` again and again, as a network reads its weights.
pub fn bandwidth(bytes: usize, threads: usize) -> f64 {
    at_once(threads, || bandwidth_of_one(bytes / threads.max(1)))
}

fn bandwidth_of_one(bytes: usize) -> f64 {
    let words = vec![1_u64; (bytes / 8).max(1024)];
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let start = Instant::now();
        // Eight sums: a single one would be bound by the latency of its addition.
        let mut sums = [0_u64; 8];
        for block in black_box(&words).chunks_exact(8) {
            for (sum, word) in sums.iter_mut().zip(block) {
                *sum = sum.wrapping_add(*word);
            }
        }
        black_box(sums);
        best = best.max((words.len() * 8) as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn present_sets_have_a_peak_and_absent_ones_none() {
        for (isa, precision) in Isa::FLOAT
            .map(|isa| (isa, Precision::F32))
            .into_iter()
            .chain(Isa::BF16.map(|isa| (isa, Precision::Bf16)))
            .chain(Isa::QUANTIZED.map(|isa| (isa, Precision::Int8)))
        {
            let peak = gflops(isa, precision, 1);
            assert_eq!(peak > 0.0, isa.detect().is_some(), "{isa}: {peak}");
        }
        assert!(bandwidth(1 << 20, 2) > 0.0);
    }
}

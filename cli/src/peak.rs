//! What the processor can do at most: multiply-adds from registers, and bytes from memory.

use std::hint::black_box;
use std::time::Instant;

use mbvc::{Isa, Precision};
use mbvc_runtime::Src;

/// Chains that do not wait for each other: enough for four cycles of latency on two units, few enough for sixteen
/// registers.
const CHAINS: usize = 12;
const STEPS: usize = 100_000;
/// Vectors of the widest set: where the chains start, and the two factors.
const FLOATS: usize = (CHAINS + 2) * 16;

/// GFLOP/s of multiply-add chains that never leave the registers, of `threads` at once; of quantized networks GOP/s of
/// dot products. 0 where the processor lacks the instruction set.
pub fn gflops(isa: Isa, precision: Precision, threads: usize) -> f64 {
    if isa.detect().is_none() { 0.0 } else { at_once(threads, || gflops_of_one(isa, precision)) }
}

/// The sum of what `threads` measure at the same time, this one among them.
fn at_once(threads: usize, measure: impl Fn() -> f64 + Sync) -> f64 {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&measure)).collect();
        let mine = measure();
        // One that failed measured nothing.
        mine + others.into_iter().map(|other| other.join().unwrap_or(0.0)).sum::<f64>()
    })
}

fn gflops_of_one(isa: Isa, precision: Precision) -> f64 {
    // Different for each chain, and unknown to the optimizer, which could compute equal chains once.
    let values: Vec<f32> = (0..FLOATS).map(|at| 1.0 + at as f32).collect();
    let values = black_box(values);
    let bytes: Vec<u8> = (0..FLOATS * 4).map(|at| at as u8).collect();
    let bytes = black_box(bytes);
    let mut best = 0.0_f64;
    // The best of some: an interruption only ever makes it slower.
    for _ in 0..5 {
        let start = Instant::now();
        let products = match precision {
            Precision::F32 => chains(isa, Src::new(&values)),
            Precision::Int8 | Precision::Uint8 => 4 * dot_chains(isa, Src::new(&bytes)),
        };
        let seconds = start.elapsed().as_secs_f64();
        best = best.max((2 * products * CHAINS * STEPS) as f64 / seconds / 1e9);
    }
    best
}

macro_rules! loops {
    ($($(#[$attribute:meta])* $isa:ident;)+) => {$(
        $(#[$attribute])*
        fn $isa(values: Src<'_>) -> usize {
            use mbvc_runtime::simd::float::$isa::{LANES, fma, load};
            let (x, w) = (load(values, 0), load(values, LANES));
            let mut sums: [_; CHAINS] = [load(values, 0); CHAINS];
            let mut at = 0;
            // `map` and closures would lose the target feature.
            while at < CHAINS {
                sums[at] = load(values, (at + 2) * LANES);
                at += 1;
            }
            for _ in 0..STEPS {
                let mut at = 0;
                while at < CHAINS {
                    sums[at] = fma(x, w, sums[at]);
                    at += 1;
                }
            }
            black_box(sums);
            LANES
        }
    )+};
}

loops! {
    portable;
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon")]
    neon;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    avx2;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    avx512;
}

macro_rules! dot_loops {
    ($($(#[$attribute:meta])* $name:ident: $isa:ident;)+) => {$(
        $(#[$attribute])*
        fn $name(values: Src<'_, u8>) -> usize {
            use mbvc_runtime::simd::quantized::$isa::{LANES, column, dot, load_sums, weights};
            let (x, w) = (column(values, 0), weights(values, 64));
            let mut sums: [_; CHAINS] = [load_sums(values, 0); CHAINS];
            let mut at = 0;
            while at < CHAINS {
                sums[at] = load_sums(values, at * LANES * 4);
                at += 1;
            }
            for _ in 0..STEPS {
                let mut at = 0;
                while at < CHAINS {
                    sums[at] = dot(x, w, sums[at]);
                    at += 1;
                }
            }
            black_box(sums);
            LANES
        }
    )+};
}

dot_loops! {
    dots_portable: portable;
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon")]
    dots_neon: neon;
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon,dotprod")]
    dots_neondot: neondot;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    dots_avx2: avx2;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avxvnni")]
    dots_avxvnni: avxvnni;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    dots_avx512: avx512;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    dots_avx512vnni: avx512vnni;
}

/// As [`chains`], of dot products of four bytes.
fn dot_chains(isa: Isa, values: Src<'_, u8>) -> usize {
    match isa {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `gflops` has seen that the processor has it.
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
        _ => dots_portable(values),
    }
}

/// Runs the chains; returns the lanes of a vector.
fn chains(isa: Isa, values: Src<'_>) -> usize {
    match isa {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `gflops` has seen that the processor has it.
        Isa::Neon => unsafe { neon(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512(values) },
        _ => portable(values),
    }
}

/// GB/s at which `threads` together read a block of so many bytes over and over, as a network reads its weights.
pub fn bandwidth(bytes: usize, threads: usize) -> f64 {
    at_once(threads, || bandwidth_of_one(bytes / threads.max(1)))
}

fn bandwidth_of_one(bytes: usize) -> f64 {
    let words = vec![1_u64; (bytes / 8).max(1024)];
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let start = Instant::now();
        // Eight sums: one would wait for itself.
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
        for (isa, precision) in
            Isa::FLOATS.map(|isa| (isa, Precision::F32)).into_iter().chain(Isa::BYTES.map(|isa| (isa, Precision::Int8)))
        {
            let peak = gflops(isa, precision, 1);
            assert_eq!(peak > 0.0, isa.detect().is_some(), "{isa}: {peak}");
        }
        assert!(bandwidth(1 << 20, 2) > 0.0);
    }
}

//! Sums of products of a register tile: up to four pixels by two channels.
//!
//! The loop over the products is one block of assembly: it uses all thirteen registers that are not reserved, eight of
//! them for the sums of four pixels. Compilers that schedule the instructions one by one spill sums inside the loop.

use super::Sums;
use crate::simd::Src;

/// Sums of each pixel.
pub type Tile<const PIXELS: usize> = [[Sums; 1]; PIXELS];

/// Bytes of the weights of one step: two for each channel.
const WEIGHTS: usize = 4;
/// Bytes of a pixel's pair of activations.
const PAIR: usize = 4;

/// Adds `STEPS` pairs of products to the sums of each pixel. The pairs of a step begin at byte `at` of `a`, one pixel
/// after the other; those of the next step are `PLANE` bytes further. The weights begin at byte `first` of `w`, four
/// bytes for each step.
#[inline(always)]
pub fn products<const PIXELS: usize, const PLANE: usize, const STEPS: usize>(
    a: Src<'_, u8>,
    at: usize,
    w: Src<'_, u8>,
    first: usize,
    sums: Tile<PIXELS>,
) -> Tile<PIXELS> {
    // Registers and immediate operands of the assembly.
    const { assert!(1 <= PIXELS && PIXELS <= 4 && 1 <= STEPS && PLANE < 1 << 20 && STEPS < 1 << 20) };
    let a = a.address(at, (STEPS - 1) * PLANE + PIXELS * PAIR);
    let w = w.address(first, STEPS * WEIGHTS);
    // SAFETY: debug builds have checked that the activations and weights of all steps are in bounds; the constructors of
    // the views require it.
    unsafe { steps::<PIXELS, PLANE, STEPS>(a, w, sums) }
}

/// # Safety
/// For each of `STEPS` steps, `PIXELS` words must be readable from `a` plus `PLANE` bytes per step, and one from `w` plus
/// four bytes per step. Words need no alignment, unless the processor traps unaligned loads (`CCR.UNALIGN_TRP`).
#[cfg(not(mbvc_dsp))]
#[inline(always)]
unsafe fn steps<const PIXELS: usize, const PLANE: usize, const STEPS: usize>(
    a: *const u8,
    w: *const u8,
    mut sums: Tile<PIXELS>,
) -> Tile<PIXELS> {
    use super::instructions::{smlad, sxtb16, sxtb16_odd};
    let word = |from: *const u8, at: usize| {
        // SAFETY: the caller guarantees that the word is readable.
        u32::from_le_bytes(unsafe { from.wrapping_add(at).cast::<[u8; 4]>().read_unaligned() })
    };
    for step in 0..STEPS {
        let weights = word(w, step * WEIGHTS);
        let weights = [sxtb16(weights), sxtb16_odd(weights)];
        for (pixel, sums) in sums.iter_mut().enumerate() {
            let x = word(a, step * PLANE + pixel * PAIR);
            let [Sums([s, t])] = *sums;
            *sums = [Sums([smlad(x, weights[0], s), smlad(x, weights[1], t)])];
        }
    }
    sums
}

/// One step: loads the weights of two channels into `v0` and `v1`, then each pixel's pair into `x`. Pixel 0 is loaded
/// last, because this load advances the address to the next plane.
#[cfg(mbvc_dsp)]
macro_rules! step {
    ($($pixel:literal)*, $last:literal) => {
        concat!(
            "ldr {v1}, [{w}], #4\n",
            "sxtb16 {v0}, {v1}\n",
            "sxtb16 {v1}, {v1}, ror #8\n",
            $(
                "ldr {x}, [{a}, #4 * ", $pixel, "]\n",
                "smlad {s", $pixel, "}, {x}, {v0}, {s", $pixel, "}\n",
                "smlad {t", $pixel, "}, {x}, {v1}, {t", $pixel, "}\n",
            )*
            ".if {plane} < 256\n",
            "ldr {x}, [{a}], #{plane}\n",
            ".else\n",
            "ldr {x}, [{a}]\n",
            ".if {plane} > 4095\n",
            "add {a}, {a}, #{plane} & 0xff000\n",
            ".endif\n",
            "add {a}, {a}, #{plane} & 0xfff\n",
            ".endif\n",
            "smlad {s", $last, "}, {x}, {v0}, {s", $last, "}\n",
            "smlad {t", $last, "}, {x}, {v1}, {t", $last, "}\n",
        )
    };
}

/// Functions with the contract of `steps`: all steps, in a loop of four per iteration. The address where the loop's weights end is on the stack.
#[cfg(mbvc_dsp)]
macro_rules! steps {
    ($name:ident, $pixels:literal: $($index:tt $pixel:literal $s:ident $t:ident),*; $($step:tt)*) => {
        #[inline(always)]
        unsafe fn $name<const PLANE: usize, const STEPS: usize>(
            a: *const u8,
            w: *const u8,
            mut sums: Tile<$pixels>,
        ) -> Tile<$pixels> {
            $(let [Sums([mut $s, mut $t])] = sums[$index];)*
            // SAFETY: the caller guarantees that the loads are in bounds. The word that the block pushes is popped.
            unsafe {
                core::arch::asm!(
                    ".if {quads} > 1",
                    "movw {x}, #({quads} * 16) & 0xffff",
                    ".if {quads} * 16 > 65535",
                    "movt {x}, #({quads} * 16) >> 16",
                    ".endif",
                    "add {x}, {x}, {w}",
                    "push {{{x}}}",
                    ".endif",
                    ".if {quads} > 0",
                    "2:",
                    step!($($step)*), step!($($step)*), step!($($step)*), step!($($step)*),
                    ".endif",
                    ".if {quads} > 1",
                    "ldr {x}, [sp]",
                    "cmp {w}, {x}",
                    "bne 2b",
                    "add sp, sp, #4",
                    ".endif",
                    ".if {rest} > 0", step!($($step)*), ".endif",
                    ".if {rest} > 1", step!($($step)*), ".endif",
                    ".if {rest} > 2", step!($($step)*), ".endif",
                    $($s = inout(reg) $s, $t = inout(reg) $t,)*
                    a = inout(reg) a => _, w = inout(reg) w => _,
                    v0 = out(reg) _, v1 = out(reg) _, x = out(reg) _,
                    plane = const PLANE, quads = const STEPS / 4, rest = const STEPS % 4,
                );
            }
            $(sums[$index] = [Sums([$s, $t])];)*
            sums
        }
    };
}
#[cfg(mbvc_dsp)]
steps!(one, 1: 0 "0" s0 t0; , "0");
#[cfg(mbvc_dsp)]
steps!(two, 2: 0 "0" s0 t0, 1 "1" s1 t1; "1", "0");
#[cfg(mbvc_dsp)]
steps!(three, 3: 0 "0" s0 t0, 1 "1" s1 t1, 2 "2" s2 t2; "1" "2", "0");
#[cfg(mbvc_dsp)]
steps!(four, 4: 0 "0" s0 t0, 1 "1" s1 t1, 2 "2" s2 t2, 3 "3" s3 t3; "1" "2" "3", "0");

/// # Safety
/// For each of `STEPS` steps, `PIXELS` words must be readable from `a` plus `PLANE` bytes per step, and one from `w` plus
/// four bytes per step. Words need no alignment, unless the processor traps unaligned loads (`CCR.UNALIGN_TRP`).
#[cfg(mbvc_dsp)]
#[inline(always)]
unsafe fn steps<const PIXELS: usize, const PLANE: usize, const STEPS: usize>(
    a: *const u8,
    w: *const u8,
    mut sums: Tile<PIXELS>,
) -> Tile<PIXELS> {
    // SAFETY: the caller's contract is that of each function.
    unsafe {
        match &mut sums[..] {
            [p0] => [*p0] = one::<PLANE, STEPS>(a, w, [*p0]),
            [p0, p1] => [*p0, *p1] = two::<PLANE, STEPS>(a, w, [*p0, *p1]),
            [p0, p1, p2] => [*p0, *p1, *p2] = three::<PLANE, STEPS>(a, w, [*p0, *p1, *p2]),
            [p0, p1, p2, p3] => [*p0, *p1, *p2, *p3] = four::<PLANE, STEPS>(a, w, [*p0, *p1, *p2, *p3]),
            // `products` asserts the number of pixels.
            _ => unreachable!(),
        }
    }
    sums
}

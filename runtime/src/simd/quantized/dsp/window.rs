//! Sums of the windows of a depthwise convolution, for one channel in row quads.
//!
//! A column of four rows is two pairs: rows 0 and 2, and rows 1 and 3. One instruction multiplies by the upper and the
//! lower weight of a column, and another one by the middle weight, whose row is one half of the other pair. For windows
//! that span two quads, the first two rows of the lower quad replace those of the upper one: the halves of each pair
//! are then swapped.

use super::LANES;
use crate::simd::Src;

/// Bytes from one column of a channel to the next.
const COLUMN: usize = 4 * LANES;

/// Weights of a channel: upper and lower weight of each column, then the middle weights of columns 0 and 1, and of
/// column 2.
#[derive(Clone, Copy)]
pub struct Taps([u32; 5]);

/// Returns the weights at byte `at`.
#[inline(always)]
pub fn taps(from: Src<'_, u8>, at: usize) -> Taps {
    let word = |index: usize| from.word(at + index * 4).cast_unsigned();
    Taps([word(0), word(1), word(2), word(3), word(4)])
}

/// Returns the sums, which start at `bias`, of `COLS` windows with stride `STRIDE` in each of `ROWS` consecutive rows.
/// The first row begins at `at` of `quad`. Sums of missing rows and columns are unspecified.
#[inline(always)]
pub fn within<const ROWS: usize, const COLS: usize, const STRIDE: usize>(
    quad: Src<'_, u8>,
    at: usize,
    taps: Taps,
    bias: i32,
) -> [[i32; 2]; 2] {
    const { assert!(has_windows(ROWS, COLS, STRIDE)) };
    let quad = quad.address(at, bytes::<COLS, STRIDE>());
    // SAFETY: debug builds have checked that the columns are in bounds, which the constructor of the view requires.
    unsafe { windows::<ROWS, COLS, STRIDE, false>([quad, quad], taps, bias) }
}

/// As [`within`], for windows that begin in the third or fourth row of the quad `above`.
#[inline(always)]
pub fn between<const ROWS: usize, const COLS: usize, const STRIDE: usize>(
    above: Src<'_, u8>,
    quad: Src<'_, u8>,
    at: usize,
    taps: Taps,
    bias: i32,
) -> [[i32; 2]; 2] {
    const { assert!(has_windows(ROWS, COLS, STRIDE)) };
    let quads = [above, quad].map(|quad| quad.address(at, bytes::<COLS, STRIDE>()));
    // SAFETY: as above.
    unsafe { windows::<ROWS, COLS, STRIDE, true>(quads, taps, bias) }
}

/// Whether there are windows of `rows` rows and `cols` columns.
const fn has_windows(rows: usize, cols: usize, stride: usize) -> bool {
    matches!((rows, cols, stride), (1 | 2, 1, _) | (1 | 2, 2, 1) | (1, 2, 2))
}

/// Bytes of a channel from the first row of its first column to the last row of its last one.
const fn bytes<const COLS: usize, const STRIDE: usize>() -> usize {
    ((COLS - 1) * STRIDE + 2) * COLUMN + 4
}

/// # Safety
/// `bytes::<COLS, STRIDE>()` bytes must be readable from both addresses. Words need no alignment, unless the processor traps
/// unaligned loads (`CCR.UNALIGN_TRP`).
#[cfg(not(mbvc_dsp))]
#[inline(always)]
unsafe fn windows<const ROWS: usize, const COLS: usize, const STRIDE: usize, const BETWEEN: bool>(
    quads: [*const u8; 2],
    Taps(taps): Taps,
    bias: i32,
) -> [[i32; 2]; 2] {
    use super::instructions::{high, low, smlad, uxtb16, uxtb16_odd};
    let [above, quad] = quads.map(|quad| {
        move |column: usize| {
            // SAFETY: the caller guarantees that the word is readable.
            u32::from_le_bytes(unsafe { quad.wrapping_add(column * COLUMN).cast::<[u8; 4]>().read_unaligned() })
        }
    });
    let middle = [low(taps[3]), high(taps[3]), low(taps[4])];
    let mut sums = [[bias; 2]; 2];
    for (col, tap) in (0..COLS).flat_map(|col| (0..3).map(move |tap| (col, tap))) {
        let column = col * STRIDE + tap;
        let word = if BETWEEN { quad(column) & 0xffff | above(column) & 0xffff_0000 } else { quad(column) };
        let (even, odd) = (uxtb16(word), uxtb16_odd(word));
        let outer = if BETWEEN { taps[tap].rotate_left(16) } else { taps[tap] };
        let inner = if BETWEEN { [high(odd), low(even)] } else { [low(odd), high(even)] };
        for (row, pair) in [even, odd].into_iter().enumerate().take(ROWS) {
            sums[row][col] = smlad(pair, outer, sums[row][col].wrapping_add(inner[row] * middle[tap]));
        }
    }
    sums
}

/// Loads the column at `$at` as two pairs.
#[cfg(mbvc_dsp)]
macro_rules! load {
    (within $at:literal) => {
        concat!("ldr {odd}, [{quad}, #8 * ", $at, "]\n", "uxtb16 {even}, {odd}\n", "uxtb16 {odd}, {odd}, ror #8\n",)
    };
    (between $at:literal) => {
        concat!(
            "ldr {even}, [{above}, #8 * ",
            $at,
            "]\n",
            "ldr {odd}, [{quad}, #8 * ",
            $at,
            "]\n",
            "pkhbt {even}, {odd}, {even}\n",
            "uxtb16 {odd}, {even}, ror #8\n",
            "uxtb16 {even}, {even}\n",
        )
    };
}

/// Adds the products of one column of a window to the sums of one row or of two. `$outer` is the pair of the upper and
/// the lower weight, and `$half` of `$inner` the middle weight.
#[cfg(mbvc_dsp)]
macro_rules! column {
    (within one $col:literal $outer:literal $inner:literal $half:literal) => {
        concat!(
            "smlad {s", $col, "}, {even}, {", $outer, "}, {s", $col, "}\n",
            "smlab", $half, " {s", $col, "}, {odd}, {", $inner, "}, {s", $col, "}\n",
        )
    };
    (within two $col:literal $outer:literal $inner:literal $half:literal) => {
        concat!(
            column!(within one $col $outer $inner $half),
            "smlad {t", $col, "}, {odd}, {", $outer, "}, {t", $col, "}\n",
            "smlat", $half, " {t", $col, "}, {even}, {", $inner, "}, {t", $col, "}\n",
        )
    };
    (between one $col:literal $outer:literal $inner:literal $half:literal) => {
        concat!(
            "smladx {s", $col, "}, {even}, {", $outer, "}, {s", $col, "}\n",
            "smlat", $half, " {s", $col, "}, {odd}, {", $inner, "}, {s", $col, "}\n",
        )
    };
    (between two $col:literal $outer:literal $inner:literal $half:literal) => {
        concat!(
            column!(between one $col $outer $inner $half),
            "smladx {t", $col, "}, {odd}, {", $outer, "}, {t", $col, "}\n",
            "smlab", $half, " {t", $col, "}, {even}, {", $inner, "}, {t", $col, "}\n",
        )
    };
}

/// Multiplies a loaded column by the weights of column `$tap` of window `$col`.
#[cfg(mbvc_dsp)]
macro_rules! tap {
    ($place:tt $rows:tt $col:literal 0) => { column!($place $rows $col "w0" "m" "b") };
    ($place:tt $rows:tt $col:literal 1) => { column!($place $rows $col "w1" "m" "t") };
    ($place:tt $rows:tt $col:literal 2) => { column!($place $rows $col "w2" "n" "b") };
}

/// Defines the windows of one row or of two, of one column or of two. For each column of activations: its number, and
/// the windows and columns of weights that it meets.
#[cfg(mbvc_dsp)]
macro_rules! windows {
    ($($name:ident: $place:tt $rows:tt $([$at:literal $($col:literal $tap:tt),*])*;)*) => {$(
        #[inline(always)]
        unsafe fn $name([above, quad]: [*const u8; 2], Taps([w0, w1, w2, m, n]): Taps, bias: i32) -> [[i32; 2]; 2] {
            let [mut s0, mut s1, mut t0, mut t1] = [bias; 4];
            // SAFETY: the caller guarantees that the loads are in bounds.
            unsafe {
                core::arch::asm!(
                    $(load!($place $at), $(tap!($place $rows $col $tap),)*)*
                    "/* {s0} {s1} {t0} {t1} {above} {quad} {w0} {w1} {w2} {m} {n} */",
                    s0 = inout(reg) s0, s1 = inout(reg) s1, t0 = inout(reg) t0, t1 = inout(reg) t1,
                    above = in(reg) above, quad = in(reg) quad,
                    w0 = in(reg) w0, w1 = in(reg) w1, w2 = in(reg) w2, m = in(reg) m, n = in(reg) n,
                    even = out(reg) _, odd = out(reg) _, options(readonly, nostack),
                );
            }
            [[s0, s1], [t0, t1]]
        }
    )*};
}
#[cfg(mbvc_dsp)]
windows! {
    within_1: within one ["0" "0" 0] ["1" "0" 1] ["2" "0" 2];
    within_2: within two ["0" "0" 0] ["1" "0" 1] ["2" "0" 2];
    within_1x2: within one ["0" "0" 0] ["1" "0" 1, "1" 0] ["2" "0" 2, "1" 1] ["3" "1" 2];
    within_2x2: within two ["0" "0" 0] ["1" "0" 1, "1" 0] ["2" "0" 2, "1" 1] ["3" "1" 2];
    within_1x2_apart: within one ["0" "0" 0] ["1" "0" 1] ["2" "0" 2, "1" 0] ["3" "1" 1] ["4" "1" 2];
    between_1: between one ["0" "0" 0] ["1" "0" 1] ["2" "0" 2];
    between_2: between two ["0" "0" 0] ["1" "0" 1] ["2" "0" 2];
    between_1x2: between one ["0" "0" 0] ["1" "0" 1, "1" 0] ["2" "0" 2, "1" 1] ["3" "1" 2];
    between_2x2: between two ["0" "0" 0] ["1" "0" 1, "1" 0] ["2" "0" 2, "1" 1] ["3" "1" 2];
    between_1x2_apart: between one ["0" "0" 0] ["1" "0" 1] ["2" "0" 2, "1" 0] ["3" "1" 1] ["4" "1" 2];
}

/// # Safety
/// `bytes::<COLS, STRIDE>()` bytes must be readable from both addresses. Words need no alignment, unless the processor traps
/// unaligned loads (`CCR.UNALIGN_TRP`).
#[cfg(mbvc_dsp)]
#[inline(always)]
unsafe fn windows<const ROWS: usize, const COLS: usize, const STRIDE: usize, const BETWEEN: bool>(
    quads: [*const u8; 2],
    taps: Taps,
    bias: i32,
) -> [[i32; 2]; 2] {
    // SAFETY: the caller's contract is that of each function.
    unsafe {
        match (BETWEEN, ROWS, COLS, STRIDE) {
            (false, 1, 1, _) => within_1(quads, taps, bias),
            (false, 2, 1, _) => within_2(quads, taps, bias),
            (false, 1, 2, 1) => within_1x2(quads, taps, bias),
            (false, 2, 2, 1) => within_2x2(quads, taps, bias),
            (false, 1, 2, 2) => within_1x2_apart(quads, taps, bias),
            (true, 1, 1, _) => between_1(quads, taps, bias),
            (true, 2, 1, _) => between_2(quads, taps, bias),
            (true, 1, 2, 1) => between_1x2(quads, taps, bias),
            (true, 2, 2, 1) => between_2x2(quads, taps, bias),
            (true, 1, 2, 2) => between_1x2_apart(quads, taps, bias),
            // `within` and `between` assert the shape.
            _ => unreachable!(),
        }
    }
}

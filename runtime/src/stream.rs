//! Reads of image rows into ring buffers, and the zero border around them.

use crate::preprocess::Preprocess;
use crate::simd::{Area, Dst, Src, prefetch};

/// An image `[height, width, channels]` that is read row by row.
pub trait Image: Sync {
    /// Writes `FLOATS` floats: pixels `y * FLOATS ..` of the image.
    fn row<const FLOATS: usize>(&self, y: usize, to: &mut [f32]);
}

/// Distance in rows at which the image is prefetched. Hardware prefetchers do not cover the first read of an image.
const ROWS_AHEAD: usize = 4;

/// Preprocessed floats.
impl Image for &[f32] {
    #[inline]
    fn row<const FLOATS: usize>(&self, y: usize, to: &mut [f32]) {
        // In short pieces, because `memcpy` starts slowly on rows that are not aligned to cache lines.
        const PIECE: usize = 16;
        let ahead = self.as_ptr().wrapping_add((y + ROWS_AHEAD) * FLOATS);
        let (to, to_rest) = to[..FLOATS].as_chunks_mut::<PIECE>();
        let (from, from_rest) = self[y * FLOATS..][..FLOATS].as_chunks::<PIECE>();
        for (piece, (to, from)) in to.iter_mut().zip(from).enumerate() {
            prefetch(ahead.wrapping_add(piece * PIECE));
            *to = *from;
        }
        to_rest.copy_from_slice(from_rest);
    }
}

/// Bytes, `[height, width, 3]` red, green, blue or `[height, width, 1]` gray, which are preprocessed row by row.
pub struct Pixels<'a> {
    /// The image, row by row.
    pub bytes: &'a [u8],
    /// Scale and offset from bytes to floats.
    pub preprocess: Preprocess,
}

impl Image for Pixels<'_> {
    #[inline]
    fn row<const FLOATS: usize>(&self, y: usize, to: &mut [f32]) {
        self.preprocess.apply(&self.bytes[y * FLOATS..][..FLOATS], &mut to[..FLOATS]);
    }
}

/// `ROWS` rows from row `first` of an image of `HEIGHT` rows below `TOP` zero rows. The image is in a ring buffer of
/// `SLOTS` rows of `STRIDE` numbers; rows outside it are `zero`.
#[inline(always)]
pub fn ring_rows<
    'a,
    const ROWS: usize,
    const TOP: usize,
    const HEIGHT: usize,
    const SLOTS: usize,
    const STRIDE: usize,
    T: Copy,
>(
    ring: Src<'a, T>,
    zero: Src<'a, T>,
    first: usize,
) -> [Src<'a, T>; ROWS] {
    core::array::from_fn(|row| match (first + row).checked_sub(TOP) {
        Some(y) if y < HEIGHT => ring.at(y % SLOTS * STRIDE),
        _ => zero,
    })
}

/// Writes row `y` of an image to the first `FLOATS` floats of `to`.
#[inline]
pub fn image_row<const FLOATS: usize>(image: &impl Image, y: usize, to: Area<'_>) {
    to.write(0..FLOATS, |to| image.row::<FLOATS>(y, to));
}

/// Zeroes the first `LEFT` and the last `RIGHT` floats of `ROWS` rows of `STRIDE` floats.
pub fn clear_sides<const ROWS: usize, const STRIDE: usize, const LEFT: usize, const RIGHT: usize>(to: Area<'_>) {
    for row in 0..ROWS {
        let row = to.at(row * STRIDE);
        row.clear(0..LEFT);
        row.clear(STRIDE - RIGHT..STRIDE);
    }
}

/// Zeros for the rows above and below an image.
#[repr(align(64))]
pub struct Zeros<const FLOATS: usize>(pub [f32; FLOATS]);

impl<const FLOATS: usize> Zeros<FLOATS> {
    /// Zeros, for a `static`.
    pub const NEW: Self = Self([0.0; FLOATS]);
}

/// Copies `channels` floats of each of `PIXELS` pixels, with a stride of `FROM` floats in the source and `TO` in the
/// target.
#[inline]
pub fn copy_pixels<const PIXELS: usize, const FROM: usize, const TO: usize>(
    from: Area<'_>,
    to: Area<'_>,
    channels: usize,
) {
    for pixel in 0..PIXELS {
        to.at(pixel * TO).copy(from.at(pixel * FROM), channels);
    }
}

/// Returns a view of `from` that starts at `offset`.
#[inline(always)]
pub fn src<T: Copy + Default>(from: Area<'_, T>, offset: usize) -> Src<'_, T> {
    from.src(offset)
}

/// Returns a view of `to` that starts at `offset`.
#[inline(always)]
pub fn dst<T: Copy + Default>(to: Area<'_, T>, offset: usize) -> Dst<'_, T> {
    to.dst(offset)
}

/// Whether the panels at `at` are packed for the fast inner product: if so, they begin with nonzero scales.
#[inline]
pub fn is_fast(w: Src<'_>, at: usize) -> bool {
    w.get(at) != 0.0
}

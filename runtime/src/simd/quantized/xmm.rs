//! Operations on vectors of 128 bits that all vocabularies of x86-64 share.

use core::arch::x86_64::*;

use crate::simd::{Dst, Src};

/// Pixels of [`store_ends`].
const PIXELS: usize = 4;
/// The last byte of a vector.
const LAST: usize = 15;

/// Writes, for each of four pixels, the byte at `at` of the three rows and a zero. Pixels have a stride of `PIXEL`
/// bytes.
///
/// Does not read beyond the last pixel's byte.
#[inline]
#[target_feature(enable = "avx2")]
pub fn store_ends<const PIXEL: usize>(rows: [Src<'_, u8>; 3], at: usize, to: &mut Dst<'_, u8>, to_at: usize) {
    let vector = |row: Src<'_, u8>, at: usize| {
        // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
        unsafe { _mm_loadu_si128(row.address(at, 16).cast()) }
    };
    // The vector that ends with the last pixel's byte. The first pixels may precede it.
    let end = at + (PIXELS - 1) * PIXEL;
    let mut quads = _mm_setzero_si128();
    for (index, row) in rows.into_iter().enumerate() {
        let ends = const { orders::<PIXEL>(true) }[index];
        quads = _mm_or_si128(quads, _mm_shuffle_epi8(vector(row, end - LAST), bytes(ends)));
        if (PIXELS - 1) * PIXEL > LAST {
            let begins = const { orders::<PIXEL>(false) }[index];
            quads = _mm_or_si128(quads, _mm_shuffle_epi8(vector(row, at), bytes(begins)));
        }
    }
    // SAFETY: as above.
    unsafe { _mm_storeu_si128(to.address(to_at, 16).cast(), quads) }
}

/// Writes `QUADS` quads of activations as 16-bit numbers, `[quad][x0, x2, x1, x3]`, and after them, as an i32, the sum
/// of the products `x0 * x1` and `x2 * x3`.
#[inline]
#[target_feature(enable = "avx2")]
pub fn widen<const QUADS: usize>(from: Src<'_, u8>, at: usize, to: &mut Dst<'_, u8>, to_at: usize) {
    let halves = |bytes| (_mm_and_si128(bytes, _mm_set1_epi16(0xff)), _mm_srli_epi16::<8>(bytes));
    let mut products = _mm_setzero_si128();
    // The compiler would unroll long loops, add the products of several pixels together, and spill them.
    let fours = if QUADS < 8 { QUADS / 4 } else { crate::unseen(QUADS / 4) };
    let mut quad = 0;
    for _ in 0..fours {
        // SAFETY: the view's constructor requires that the range is in bounds; debug builds check it in `address`.
        let (even, odd) = halves(unsafe { _mm_loadu_si128(from.address(at + quad * 4, 16).cast()) });
        let wide = to.address(to_at + quad * 8, 32);
        // SAFETY: as above.
        unsafe {
            _mm_storeu_si128(wide.cast(), _mm_unpacklo_epi32(even, odd));
            _mm_storeu_si128(wide.add(16).cast(), _mm_unpackhi_epi32(even, odd));
        }
        products = _mm_add_epi32(products, _mm_madd_epi16(even, odd));
        quad += 4;
    }
    while quad < QUADS {
        let (even, odd) = halves(_mm_cvtsi32_si128(from.word(at + quad * 4)));
        // SAFETY: as above.
        unsafe { _mm_storel_epi64(to.address(to_at + quad * 8, 8).cast(), _mm_unpacklo_epi32(even, odd)) };
        products = _mm_add_epi32(products, _mm_madd_epi16(even, odd));
        quad += 1;
    }
    let products = _mm_add_epi32(products, _mm_unpackhi_epi64(products, products));
    let products = _mm_add_epi32(products, _mm_shuffle_epi32::<1>(products));
    to.write(to_at + QUADS * 8, _mm_cvtsi128_si32(products).to_le_bytes());
}

#[inline]
#[target_feature(enable = "avx2")]
fn bytes(order: [i8; 16]) -> __m128i {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = order;
    _mm_setr_epi8(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
}

/// For each of the three rows, the indices of its bytes in the vector at its end, or in the one at its start. The index
/// of the row is their position in each quad. A negative index selects 0.
const fn orders<const PIXEL: usize>(at_end: bool) -> [[i8; 16]; 3] {
    let span = (PIXELS - 1) * PIXEL;
    assert!(span <= 2 * LAST, "two vectors reach all pixels");
    let mut orders = [[-1; 16]; 3];
    let mut pixel = 0;
    while pixel < PIXELS {
        let is_at_end = span - pixel * PIXEL <= LAST;
        if is_at_end == at_end {
            let from = if at_end { LAST - (span - pixel * PIXEL) } else { pixel * PIXEL };
            let mut row = 0;
            while row < orders.len() {
                orders[row][pixel * 4 + row] = from as i8;
                row += 1;
            }
        }
        pixel += 1;
    }
    orders
}

//! Matrix products with instructions that multiply a block of pixels by one vector of output channels, several products
//! per output at a time.
//!
//! A tile register is an AMX hardware register; a register tile is the part of the output computed at once. A register
//! tile has one or two blocks of pixels and one or two vectors of channels. All blocks of a call have the same number of
//! pixels, because reconfiguring the tile registers takes longer than a multiply instruction.

use super::cover::{Tiles, near_equal};

/// Maximum number of pixels per block: the rows of a tile register.
const PIXELS: usize = 16;
/// Maximum number of bf16 values per pixel in a block: a 64-byte row.
const DEPTH: usize = 32;
/// Minimum depth. Below it, vector instructions are at least as fast.
const SHALLOWEST: usize = 8;
/// Maximum number of channel vectors in a register tile.
pub const VECTORS: usize = 2;

/// Returns how many of the `k` products per output one instruction sums. This is the largest even divisor of `k` from 8 to
/// 32. A divisor ensures that no block reads values of the next pixel. Returns `None` if there is no such divisor.
///
/// The result depends only on `k`, because it determines the summation order.
pub fn depth(k: usize) -> Option<usize> {
    (SHALLOWEST..=DEPTH).rev().find(|depth| depth.is_multiple_of(2) && k.is_multiple_of(*depth))
}

/// Returns the number of pixels per block for rows of `cols` pixels. Blocks are as small as possible for the minimum number
/// of blocks per row. A block has at most `shortest` pixels, the length of the shortest row.
pub fn pixels(cols: usize, shortest: usize) -> usize {
    let most = PIXELS.min(shortest).max(1);
    let blocks = cols.div_ceil(most);
    cols.div_ceil(blocks.max(1)).min(most)
}

/// Covers `rows` x `cols` pixels with register tiles of one or two blocks of `pixels` pixels. A block never spans two
/// rows. The second block is to the right of the first one or directly below it.
///
/// If `pixels` does not divide the row, the last block of each row overlaps the previous one. Its tile contains only the
/// pixels that the previous block does not cover.
pub fn cover(rows: usize, cols: usize, pixels: usize, flat: bool) -> Vec<Tiles> {
    if flat && rows > 1 {
        return cover(1, rows * cols, pixels, true);
    }
    assert!(1 <= pixels && pixels <= cols, "a row of {cols} pixels contains no block of {pixels}");
    let (whole, rest) = (cols / pixels, cols % pixels);
    let pairs = whole / 2;
    let mut tiles = Vec::new();
    if pairs > 0 {
        tiles.push(Tiles { first_row: 0, first_col: 0, rows: 1, cols: 2 * pixels, down: rows, across: pairs });
    }
    let columns = [(pairs * 2 * pixels, pixels, whole % 2), (whole * pixels, rest, usize::from(rest > 0))];
    for (first_col, cols, _) in columns.into_iter().filter(|(.., count)| *count > 0) {
        let mut first_row = 0;
        for (height, down) in near_equal(rows - rows % 2, 2).into_iter().chain(near_equal(rows % 2, 1)) {
            tiles.push(Tiles { first_row, first_col, rows: height, cols, down, across: 1 });
            first_row += height * down;
        }
    }
    tiles
}

/// Returns the cost, in quarter cycles, of a product with `rows_of_weights` pairs of values per output in tiles of `nv`
/// vectors. A multiply instruction takes 16 cycles and each operand load 8; the slower of the two limits the loop. Then each
/// vector of sums is stored, reloaded and passed to the epilogue.
pub fn cost([rows, cols]: [usize; 2], flat: bool, rows_of_weights: usize, nv: usize, pixels: usize) -> usize {
    const MULTIPLY: usize = 64;
    const LOAD: usize = 32;
    let of_tile = |tiles: &Tiles| {
        let blocks = if tiles.cols > pixels { 2 } else { tiles.rows };
        let step = (MULTIPLY * blocks * nv).max(LOAD * (blocks + nv));
        tiles.count() * (rows_of_weights.div_ceil(DEPTH / 2) * step + 12 * tiles.pixels() * nv + 2 * MULTIPLY)
    };
    cover(rows, cols, pixels, flat).iter().map(of_tile).sum()
}

#[cfg(test)]
mod tests {
    use super::super::cover::times_covered;
    use super::*;

    #[test]
    fn depths_are_the_largest_even_divisors() {
        let depths = [16, 24, 32, 96, 144, 160, 320, 960, 56, 136].map(depth);
        assert_eq!(depths, [16, 24, 32, 32, 24, 32, 32, 32, 28, 8].map(Some));
        for k in [1, 4, 6, 17, 27, 74] {
            assert_eq!(depth(k), None, "{k}");
        }
    }

    #[test]
    fn rows_are_covered_by_the_fewest_blocks() {
        let of = |cols| pixels(cols, cols);
        assert_eq!([112, 56, 28, 14, 7, 49, 1].map(of), [16, 14, 14, 14, 7, 13, 1]);
        assert_eq!(pixels(112, 14), 14);
    }

    #[test]
    fn every_pixel_is_covered_once() {
        for (rows, cols, pixels, flat) in [
            (7, 7, 7, false),
            (7, 7, 13, true),
            (1, 112, 16, false),
            (3, 33, 11, false),
            (5, 35, 16, false),
            (2, 1, 1, false),
        ] {
            let tiles = cover(rows, cols, pixels, flat);
            for tiles in &tiles {
                assert!(tiles.cols <= pixels || (tiles.cols == 2 * pixels && tiles.rows == 1));
                assert!(
                    tiles.cols >= pixels || tiles.first_col + tiles.cols >= pixels,
                    "a block starts before its row"
                );
            }
            let seen = times_covered(rows, cols, &tiles);
            assert!(
                seen.iter().all(|times| *times == 1),
                "{rows}x{cols} pixels in blocks of {pixels}: covered {seen:?} times"
            );
        }
    }
}

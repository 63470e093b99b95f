//! Covers an image of output pixels with register tiles.

/// Splits `total` into parts of nearly equal size: `(size, count)`, the larger first.
///
/// 49 pixels in tiles of at most 14 are one of 13 and three of 12, so that no tile is nearly empty.
pub fn near_equal(total: usize, at_most: usize) -> Vec<(usize, usize)> {
    if total == 0 {
        return Vec::new();
    }
    let parts = total.div_ceil(at_most.max(1));
    let (size, larger) = (total / parts, total % parts);
    [(size + 1, larger), (size, parts - larger)].into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Tiles of one form: `rows` x `cols` pixels, repeated `across` times in each of `down` bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Row of the first tile's first pixel.
    pub first_row: usize,
    /// Column of the first tile's first pixel.
    pub first_col: usize,
    /// Rows of a tile.
    pub rows: usize,
    /// Columns of a tile.
    pub cols: usize,
    /// Number of bands of tiles, one below the other.
    pub down: usize,
    /// Tiles per band, side by side.
    pub across: usize,
}

impl Tiles {
    /// Pixels of a tile.
    pub fn pixels(&self) -> usize {
        self.rows * self.cols
    }

    /// Number of tiles.
    pub fn count(&self) -> usize {
        self.down * self.across
    }
}

/// Independent sums that hide the latency of a multiply-add: two per cycle, latency four cycles.
const SUMS: usize = 8;

/// Covers `rows` x `cols` pixels with tiles of at most `mr` pixels, each of `nv` sums.
///
/// A `flat` image, whose rows are contiguous on both sides, is one long row. Otherwise columns are split into parts of
/// nearly equal width, and a tile takes the maximum number of rows. The split with the lowest cost is chosen.
pub fn cover(rows: usize, cols: usize, mr: usize, nv: usize, flat: bool) -> Vec<Tiles> {
    if flat && rows > 1 {
        return cover(1, rows * cols, mr, nv, true);
    }
    let cost =
        |tiles: &Vec<Tiles>| -> usize { tiles.iter().map(|t| t.count() * ((t.pixels() * nv).max(SUMS) + 1)).sum() };
    (1..=mr.min(cols)).rev().map(|width| grid(rows, cols, width, mr)).min_by_key(cost).unwrap_or_default()
}

/// Returns tiles of at most `width` columns.
fn grid(rows: usize, cols: usize, width: usize, mr: usize) -> Vec<Tiles> {
    let mut first_col = 0;
    let mut grid = Vec::new();
    for (width, across) in near_equal(cols, width) {
        let mut first_row = 0;
        for (height, down) in near_equal(rows, mr / width) {
            grid.push(Tiles { first_row, first_col, rows: height, cols: width, down, across });
            first_row += height * down;
        }
        first_col += width * across;
    }
    grid
}

/// Returns how many tiles contain each of `rows` x `cols` pixels.
#[cfg(test)]
pub fn times_covered(rows: usize, cols: usize, tiles: &[Tiles]) -> Vec<usize> {
    let mut times = vec![0; rows * cols];
    for tiles in tiles {
        for (band, tile) in (0..tiles.down).flat_map(|band| (0..tiles.across).map(move |tile| (band, tile))) {
            for (row, col) in (0..tiles.rows).flat_map(|row| (0..tiles.cols).map(move |col| (row, col))) {
                let row = tiles.first_row + band * tiles.rows + row;
                times[row * cols + tiles.first_col + tile * tiles.cols + col] += 1;
            }
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_differ_by_at_most_one_and_cover_everything() {
        assert_eq!(near_equal(49, 14), [(13, 1), (12, 3)]);
        assert_eq!(near_equal(112, 14), [(14, 8)]);
        assert_eq!(near_equal(5, 7), [(5, 1)]);
        for total in 1..200 {
            for at_most in 1..30 {
                let parts = near_equal(total, at_most);
                assert_eq!(parts.iter().map(|(size, count)| size * count).sum::<usize>(), total);
                assert!(parts.iter().all(|(size, _)| *size <= at_most), "{total} in {at_most}: {parts:?}");
            }
        }
    }

    #[test]
    fn rows_share_tiles_where_columns_leave_room() {
        let sizes = |rows, cols, mr, nv| -> Vec<_> {
            cover(rows, cols, mr, nv, false).iter().map(|t| (t.rows, t.cols, t.count())).collect()
        };
        assert_eq!(sizes(1, 112, 14, 2), [(1, 14, 8)]);
        assert_eq!(sizes(7, 7, 14, 2), [(2, 7, 3), (1, 7, 1)]);
        // A row of 7 is too long for a tile, and half of it alone has too few sums.
        assert_eq!(sizes(7, 7, 6, 2), [(2, 3, 3), (1, 3, 1), (3, 2, 2), (2, 2, 4)]);
    }

    #[test]
    fn every_pixel_is_covered_once() {
        for (rows, cols, mr, flat) in [
            (7, 7, 14, false),
            (7, 7, 14, true),
            (7, 7, 6, false),
            (3, 112, 14, false),
            (5, 1, 14, false),
            (4, 15, 6, false),
        ] {
            let tiles = cover(rows, cols, mr, 2, flat);
            assert!(tiles.iter().all(|tiles| tiles.pixels() <= mr));
            let seen = times_covered(rows, cols, &tiles);
            assert!(seen.iter().all(|times| *times == 1), "{rows}x{cols} by {mr}: {seen:?}");
        }
    }
}

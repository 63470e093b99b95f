//! A model of the inner loops, enough to choose between register tiles by rule.

use super::cover::cover;
use crate::target::{Broadcast, Isa, IsaFacts};

/// A matrix product to be tiled: `rows` x `cols` pixels by `vectors` of output channels, `k` products each.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Rows of pixels.
    pub rows: usize,
    /// Pixels of a row.
    pub cols: usize,
    /// The pixels' rows follow each other without a gap.
    pub flat: bool,
    /// Vectors of output channels.
    pub vectors: usize,
    /// Products that are summed for one output.
    pub k: usize,
}

/// Registers that a tile of `mr` pixels by `nv` vectors needs; one more is left to the register allocator, which
/// else keeps a sum on the stack (4x3 on sixteen registers ran at half the speed of 6x2).
fn registers(isa: Isa, mr: usize, nv: usize) -> usize {
    let broadcast = match isa.broadcast() {
        Broadcast::Memory => 1,
        Broadcast::Lane => mr,
    };
    mr * nv + nv + broadcast + 1
}

/// Most pixels of a tile of the fast inner product: sums, and as many pairs on their way; three weights.
pub const WIDEST_FAST: usize = 14;

/// Whether the fast inner product is worth its dots in a convolution of `k` products to `channels` channels: it saves a
/// sixth of a cycle for each product of a vector, and costs a multiply-add for each sixteen pairs and a share of a
/// transposition. Vectors are counted by halves, since the last few channels are computed in half a vector.
///
/// A function of the layer's shape alone. The two inner products round differently, so that the choice must not depend
/// on groups, tiles, threads, the batch or the fusion level.
pub fn fast_pays(isa: Isa, k: usize, channels: usize) -> bool {
    let halves = channels.div_ceil(isa.lanes() / 2);
    halves * k / 12 > k / 48 + 4
}

/// The most pixels that a tile of `nv` vectors can hold; 0 if none fits.
pub fn widest(isa: Isa, nv: usize) -> usize {
    (1..=isa.registers()).take_while(|mr| registers(isa, *mr, nv) <= isa.registers()).last().unwrap_or(0)
}

/// Quarter cycles of one tile: two multiply-adds a cycle, four cycles until a sum can be added to again.
fn tile(isa: Isa, mr: usize, nv: usize, k: usize) -> usize {
    let arithmetic = 2 * mr * nv;
    let activations = match isa.broadcast() {
        Broadcast::Memory => 2 * mr,
        Broadcast::Lane => 2 * mr / 4,
    };
    let loads = 4 * nv / isa.loads_per_cycle() + activations;
    let latency = 16;
    let epilogue = 8 * mr * nv + 40;
    k * arithmetic.max(loads).max(latency) + epilogue
}

/// Quarter cycles of the whole product in tiles of at most `mr` pixels by `nv` vectors.
pub fn product(isa: Isa, p: Product, mr: usize, nv: usize) -> usize {
    let panel = |nv| -> usize {
        cover(p.rows, p.cols, mr, nv, p.flat).iter().map(|t| t.count() * tile(isa, t.pixels(), nv, p.k)).sum()
    };
    let tail = p.vectors % nv;
    p.vectors / nv * panel(nv) + if tail > 0 { panel(tail) } else { 0 }
}

/// The cheapest `(mr, nv)`, among `nv` that `allowed` admits; the narrowest of equals.
pub fn best_tile(isa: Isa, p: Product, allowed: impl Fn(usize) -> bool) -> (usize, usize) {
    (1..=p.vectors.min(isa.registers() / 2 - 2))
        .filter(|nv| allowed(*nv))
        .filter_map(|nv| {
            let mr = widest(isa, nv).min(p.rows * p.cols);
            (mr > 0).then(|| (product(isa, p, mr, nv), nv, mr))
        })
        .min()
        .map_or((1, 1), |(_, nv, mr)| (mr, nv))
}

/// What is left of a channel group after its whole vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    None,
    /// So few channels that they fit half a vector.
    Half(Isa, usize),
    /// A vector of which some lanes are not used.
    Masked(usize),
}

/// Whole vectors of a group of `channels`, and what is left.
pub fn split(isa: Isa, channels: usize) -> (usize, Tail) {
    let (vectors, rest) = (channels / isa.lanes(), channels % isa.lanes());
    let tail = match isa.half() {
        _ if rest == 0 => Tail::None,
        Some(half) if rest <= half.lanes() => Tail::Half(half, rest),
        _ => Tail::Masked(rest),
    };
    (vectors, tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Precision;

    fn best(isa: Isa, rows: usize, cols: usize, vectors: usize, k: usize) -> (usize, usize) {
        best_tile(isa, Product { rows, cols, flat: true, vectors, k }, |_| true)
    }

    #[test]
    fn tiles_fill_the_register_file() {
        assert_eq!(best(Isa::Avx512, 28, 28, 2, 192), (14, 2));
        assert!(best(Isa::Avx512, 1, 1, 63, 1280).1 >= 8, "one pixel needs enough sums to hide the latency");
        let (mr, nv) = best(Isa::Avx2, 28, 28, 4, 192);
        assert!(mr * nv >= 12, "{mr}x{nv}");
        for isa in Isa::of(Precision::F32).iter().copied() {
            for vectors in 1..20 {
                let (mr, nv) = best(isa, 14, 14, vectors, 64);
                assert!(registers(isa, mr, nv) <= isa.registers());
            }
        }
    }
}

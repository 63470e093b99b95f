//! Cost model of the float inner loops. It ranks register tiles.

use super::blocks;
use super::cover::cover;
use crate::target::{Broadcast, Isa, IsaFacts};

/// A matrix product to tile: `rows` x `cols` pixels by `vectors` of output channels, `k` rows of weights per output.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Rows of pixels.
    pub rows: usize,
    /// Pixels of a row.
    pub cols: usize,
    /// Whether consecutive rows of pixels are contiguous.
    pub flat: bool,
    /// Vectors of output channels.
    pub vectors: usize,
    /// Packed weight rows per output: one per product, or one per pair of products in bf16.
    pub k: usize,
    /// Pixels per block of a block product; `None` for the others.
    pub block_pixels: Option<usize>,
}

/// Returns the registers that a tile of `mr` pixels by `nv` vectors needs. One more is reserved for the register
/// allocator, which otherwise spills a sum (4x3 on sixteen registers ran at half the speed of 6x2).
fn registers(isa: Isa, mr: usize, nv: usize) -> usize {
    let broadcast = match isa.broadcast() {
        Broadcast::Memory => 1,
        Broadcast::Lane => mr,
    };
    mr * nv + nv + broadcast + 1
}

/// Maximum pixels of a tile of the fast inner product. The registers hold the sums, an equal number of pairs in
/// flight, and three weights.
pub const WIDEST_FAST: usize = 14;

/// Whether the fast inner product pays for its dots in a convolution of `k` products to `channels` channels. It saves
/// a sixth of a cycle per vector product. It costs a multiply-add per sixteen pairs and a share of a transposition.
/// Vectors are counted in halves, since the last few channels are computed in half a vector.
///
/// The result depends on the layer's shape and the instruction set alone. The two inner products round differently, so
/// the choice must not depend on groups, tiles, threads, the batch or the fusion level.
pub fn fast_pays(isa: Isa, k: usize, channels: usize) -> bool {
    let halves = channels.div_ceil(isa.lanes() / 2);
    halves * k / 12 > k / 48 + 4
}

/// Returns the maximum pixels of a tile of `nv` vectors, or 0 if none fits.
pub fn widest(isa: Isa, nv: usize) -> usize {
    widest_in(isa.product_registers(), isa, nv)
}

fn widest_in(all: usize, isa: Isa, nv: usize) -> usize {
    (1..=all).take_while(|mr| registers(isa, *mr, nv) <= all).last().unwrap_or(0)
}

/// Returns the quarter cycles of one tile: two multiply-adds per cycle, with a latency of four cycles.
fn tile(isa: Isa, mr: usize, nv: usize, k: usize) -> usize {
    let arithmetic = 2 * mr * nv;
    let activations = match isa.broadcast() {
        Broadcast::Memory => 2 * mr,
        Broadcast::Lane => 2 * mr / 4,
    };
    let loads = 4 * nv / isa.loads_per_cycle() + activations;
    // An address costs a quarter of a load. Measured in V8: 43 GFLOP/s for 7x1, 53 for 4x2 and 3x3.
    let loads = if isa.computes_addresses() { loads * 5 / 4 } else { loads };
    let latency = 16;
    let epilogue = 8 * mr * nv + 40;
    k * arithmetic.max(loads).max(latency) + epilogue
}

/// Returns the quarter cycles of the whole product in tiles of at most `mr` pixels by `nv` vectors.
pub fn product(isa: Isa, p: Product, mr: usize, nv: usize) -> usize {
    let panel = |nv| -> usize {
        if let Some(pixels) = p.block_pixels {
            return blocks::cost([p.rows, p.cols], p.flat, p.k, nv, pixels);
        }
        cover(p.rows, p.cols, mr, nv, p.flat).iter().map(|t| t.count() * tile(isa, t.pixels(), nv, p.k)).sum()
    };
    let tail = p.vectors % nv;
    p.vectors / nv * panel(nv) + if tail > 0 { panel(tail) } else { 0 }
}

/// Returns the cheapest `(mr, nv)` among the `nv` that `allowed` admits. Ties go to the narrowest.
///
/// The layout of the weights depends on `nv`, and all instruction sets with the same `registers` can share packed weights,
/// so only `mr` depends on `product_registers`.
pub fn best_tile(isa: Isa, p: Product, allowed: impl Fn(usize) -> bool) -> (usize, usize) {
    let (all, pixels) = (isa.registers(), p.rows * p.cols);
    let most = if p.block_pixels.is_some() { blocks::VECTORS } else { all / 2 - 2 };
    let pixels_of = |registers, nv| p.block_pixels.unwrap_or_else(|| widest_in(registers, isa, nv).min(pixels));
    (1..=p.vectors.min(most))
        .filter(|nv| allowed(*nv))
        .filter_map(|nv| {
            let mr = pixels_of(all, nv);
            (mr > 0).then(|| (product(isa, p, mr, nv), nv))
        })
        .min()
        .map_or((1, 1), |(_, nv)| (pixels_of(isa.product_registers(), nv), nv))
}

/// Remainder of a channel group after its whole vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// No remainder.
    None,
    /// Few enough channels for half a vector.
    Half(usize),
    /// A vector with unused lanes.
    Masked(usize),
}

/// Returns the whole vectors of a group of `channels`, and the remainder.
pub fn split(isa: Isa, channels: usize) -> (usize, Tail) {
    let (vectors, rest) = (channels / isa.lanes(), channels % isa.lanes());
    let tail = match rest {
        0 => Tail::None,
        rest if isa.has_half_vectors() && rest <= isa.lanes() / 2 => Tail::Half(rest),
        rest => Tail::Masked(rest),
    };
    (vectors, tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Precision;

    fn best(isa: Isa, rows: usize, cols: usize, vectors: usize, k: usize) -> (usize, usize) {
        best_tile(isa, Product { rows, cols, flat: true, vectors, k, block_pixels: None }, |_| true)
    }

    #[test]
    fn modules_with_and_without_relaxed_simd_share_weights() {
        for (side, vectors, k) in
            [(1, 251, 1280), (7, 40, 960), (7, 320, 320), (14, 144, 96), (56, 3, 144), (112, 24, 16)]
        {
            let [plain, relaxed] = [Isa::Wasm128, Isa::Wasm128Relaxed].map(|isa| best(isa, side, side, vectors, k).1);
            assert_eq!(plain, relaxed, "{side} {vectors} {k}");
        }
    }

    #[test]
    fn tiles_fill_the_register_file() {
        assert_eq!(best(Isa::Avx512, 28, 28, 2, 192), (14, 2));
        assert!(best(Isa::Avx512, 1, 1, 63, 1280).1 >= 8, "one pixel needs enough sums to hide the latency");
        assert_eq!(best(Isa::Wasm128, 28, 28, 8, 192), (4, 2), "V8 spills sums of larger tiles");
        assert_eq!(
            best(Isa::Wasm128Relaxed, 28, 28, 8, 192),
            (6, 2),
            "a multiply-add needs no register for its product"
        );
        let rows = Product { rows: 7, cols: 7, flat: false, vectors: 240, k: 160, block_pixels: None };
        assert_eq!(best_tile(Isa::Wasm128, rows, |_| true), (4, 2), "tiles of one vector have a load per product");
        let (mr, nv) = best(Isa::Avx2, 28, 28, 4, 192);
        assert!(mr * nv >= 12, "{mr}x{nv}");
        for isa in Isa::of(Precision::F32).iter().copied() {
            for vectors in 1..20 {
                let (mr, nv) = best(isa, 14, 14, vectors, 64);
                assert!(registers(isa, mr, nv) <= isa.product_registers());
            }
        }
    }
}

//! Cost model of the loops over dot products. It ranks register tiles.

use crate::ir::{Order, Product};
use crate::schedule::balance::is_balanced;
use crate::schedule::cover::near_equal;
use crate::target::{DotForm, Isa, IsaFacts};

/// Rows that a producer of row quads computes at once.
pub const QUAD: usize = 4;

/// Returns the form of the dot products of a dense sum over values in `order`.
pub fn dense_form(isa: Isa, product: Product, order: Order) -> DotForm {
    match (order, product) {
        (Order::ChannelQuads | Order::ChannelPairs | Order::PixelQuads { .. }, _) => isa.quad_form(),
        (_, Product::Fast | Product::Pairs) => isa.pixel_form(),
        (_, Product::Plain | Product::Blocks { .. }) => isa.dot_form(),
    }
}

/// Returns the registers that a tile of `sums` and `nv` vectors of weights needs. The activations take `held`
/// registers if they are multiplied by lane, otherwise one. One more is reserved for the register allocator.
fn registers((isa, form): (Isa, DotForm), sums: usize, nv: usize, held: usize) -> usize {
    let (weights, others) = match form {
        DotForm::Bytes => (1, 1),
        // A tile is one block of assembly, so the activations take the register that is reserved for the allocator.
        DotForm::Pairs | DotForm::Windows => (1, 0),
        // The constant 1, which adds pairs, and pairs that are not yet added. In WebAssembly their sum is not in place.
        DotForm::PairedBytes => (1, if isa.architecture() == Some("wasm32") { 4 } else { 3 }),
        DotForm::Words | DotForm::CrossedWords => (2, 2),
        // The constant 128, which converts activations to signed. For pairs also the pairs of a quad, and products that
        // are not yet added to the sums.
        DotForm::SignedBytes => (1, held + 1),
        DotForm::SignedPairs => (1, held + 5),
    };
    sums + nv * weights + others + 1
}

/// Returns the vectors of activations that a tile of `pixels` pixels multiplies by lane. A vector holds four quads of
/// one pixel, or one quad of four pixels.
fn held(pixels: usize, unit: usize) -> usize {
    if unit == QUAD { pixels / QUAD } else { pixels }
}

/// Returns the cost of a tile of `broadcasts` activations by `nv` vectors, `k` quads deep, in eighths of a cycle. The
/// model assumes one dot product and one load per cycle, a latency of four cycles, and six instructions to finish each
/// sum. Loads add a small cost when they are not the bottleneck, since some are late.
fn tile(broadcasts: usize, nv: usize, k: usize) -> usize {
    const LATENCY: usize = 4;
    let (sums, loads) = (broadcasts * nv, broadcasts + nv);
    k * (8 * sums.max(LATENCY).max(loads) + loads) + 48 * sums + 32
}

/// Returns the maximum pixels of a tile of `nv` vectors.
fn widest(isa: Isa, form: DotForm, nv: usize) -> usize {
    (1..=isa.dot_registers())
        .take_while(|mr| registers((isa, form), mr * nv, nv, *mr) <= isa.dot_registers())
        .last()
        .unwrap_or(1)
}

/// Returns the pixels of a register tile in panels of `nv` vectors, if whole panels have tiles of `mr`: a panel with fewer
/// vectors can have more. Pixels come in multiples of `unit`, and a product has `pixels` of them.
pub fn panel_pixels((isa, form): (Isa, DotForm), mr: usize, nv: usize, [pixels, unit]: [usize; 2]) -> usize {
    mr.max(widest(isa, form, nv) / unit * unit).min(pixels)
}

/// Returns the cheapest `(mr, nv)` for `pixels` pixels of a row by `vectors` vectors of channels. `rows` rows are
/// computed at once, and pixels come in multiples of `unit`.
fn best(
    (isa, form): (Isa, DotForm),
    [rows, unit]: [usize; 2],
    pixels: usize,
    vectors: usize,
    k: usize,
    allowed: impl Fn(usize) -> bool,
) -> (usize, usize) {
    // Rows are packed together, which takes one more register.
    let spare = usize::from(rows > 1 && form != DotForm::Pairs);
    let allowed = |nv: usize| allowed(nv) && (nv == 1 || form != DotForm::Pairs);
    let fits = |mr: usize, nv| {
        registers((isa, form), rows * mr * nv, nv, held(rows * mr, unit)) + spare <= isa.dot_registers()
    };
    let cheapest = |allowed: &dyn Fn(usize) -> bool| {
        let candidates = (1..=vectors.min(isa.dot_registers() / 2)).filter(|nv| allowed(*nv));
        let cost = |nv| {
            let mr = (1..=pixels / unit).map(|units| units * unit).take_while(|mr| fits(*mr, nv)).last()?;
            let panel = |nv| -> usize {
                let tiles = near_equal(pixels / unit, mr / unit);
                tiles.iter().map(|(units, count)| count * tile(rows * units * unit, nv, k)).sum()
            };
            let rest = vectors % nv;
            let cost = vectors / nv * panel(nv) + if rest > 0 { panel(rest) } else { 0 };
            Some((cost, nv, mr))
        };
        candidates.filter_map(cost).min()
    };
    // Single vectors if no allowed `nv` fits.
    cheapest(&allowed).or_else(|| cheapest(&|nv| nv == 1)).map_or((unit, 1), |(_, nv, mr)| (mr, nv))
}

/// Returns the tile of a product over consecutive pixels: `mr` pixels, a multiple of `unit`, by `nv` vectors, `k`
/// quads deep. Only `nv` that `allowed` admits are considered.
pub fn product_tile(
    isa: (Isa, DotForm),
    [pixels, unit]: [usize; 2],
    vectors: usize,
    k: usize,
    allowed: impl Fn(usize) -> bool,
) -> (usize, usize) {
    best(isa, [1, unit], pixels, vectors, k, allowed)
}

/// Returns the tile of a product that produces row quads, `width` pixels wide: `mr` pixels of four rows by `nv`
/// vectors. The `nv` vectors are a channel group. Only `nv` that `allowed` admits are considered.
pub fn quad_tile(
    isa: (Isa, DotForm),
    width: usize,
    vectors: usize,
    k: usize,
    allowed: impl Fn(usize) -> bool,
) -> (usize, usize) {
    best(isa, [QUAD, 1], width, vectors, k, |nv| vectors.is_multiple_of(nv) && allowed(nv))
}

/// Returns the vectors of `channels` channels, including a partial last one, and whether a half vector follows for the
/// remainder.
pub fn split(isa: Isa, channels: usize) -> (usize, bool) {
    let (whole, rest) = (channels / isa.lanes(), channels % isa.lanes());
    let half = isa.has_half_bytes() && (1..=isa.lanes() / 2).contains(&rest);
    (whole + usize::from(rest > 0 && !half), half)
}

/// Panels of one form: products with the same number of vectors of output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanelForm {
    /// First channel.
    pub first: usize,
    /// Whether vectors have half the width.
    pub half: bool,
    /// Vectors per panel.
    pub vectors: usize,
    /// Number of panels, side by side.
    pub count: usize,
    /// Channels per vector.
    pub lanes: usize,
    /// Channels in the last vector of the last panel.
    pub last: usize,
}

impl PanelForm {
    /// Returns the channels of a whole panel.
    pub fn width(&self) -> usize {
        self.vectors * self.lanes
    }

    /// Returns the number of panels with only whole vectors. The last panel may have fewer channels.
    pub fn whole(&self) -> usize {
        self.count - usize::from(self.last < self.lanes)
    }
}

/// Returns the panels of a layer of `channels` output channels in register tiles of `nv` vectors.
pub fn panel_forms(isa: Isa, channels: usize, nv: usize, order: Order) -> Vec<PanelForm> {
    // Row quads consist of whole vectors.
    let (vectors, half) = match order {
        Order::RowQuads { .. } => (channels.div_ceil(isa.lanes()), false),
        _ => split(isa, channels),
    };
    let (whole, rest) = (vectors / nv, vectors % nv);
    let forms = [
        (0, false, nv, whole),
        (whole * nv * isa.lanes(), false, rest, 1),
        (vectors * isa.lanes(), true, usize::from(half), 1),
    ];
    let forms = forms.into_iter().filter(|(_, _, vectors, count)| vectors * count > 0);
    forms
        .map(|(first, half, vectors, count)| {
            let lanes = if half { isa.lanes() / 2 } else { isa.lanes() };
            let end = channels.min(first + vectors * count * lanes);
            PanelForm { first, half, vectors, count, lanes, last: (end - 1) % lanes + 1 }
        })
        .collect()
}

/// How a team shares a product over a whole value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// By panels of output channels.
    Panels,
    /// By rows, in units of this many rows.
    Rows(usize),
}

/// Returns how a team shares a product over values in `order` with `width` pixels per row.
///
/// A projection may have a single panel, so its rows are shared, in pairs if a pair of rows is whole quads of pixels.
pub fn sharing(order: Order, width: usize) -> Sharing {
    match order {
        Order::Pixels => Sharing::Panels,
        Order::PixelQuads { .. } if !width.is_multiple_of(QUAD) => Sharing::Rows(2),
        _ => Sharing::Rows(1),
    }
}

/// Whether a team of `threads` shares an operation over row quads by channel groups (`groups`) instead of by row
/// quads.
///
/// `in_order`: the same thread must store the rows of a group in sequence.
pub fn shares_groups(groups: usize, in_order: bool, threads: usize) -> bool {
    threads > 1 && (in_order || is_balanced(groups, threads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Precision;

    #[test]
    fn tiles_fill_the_register_file() {
        let vnni = (Isa::Avx512Vnni, DotForm::Bytes);
        assert_eq!(quad_tile(vnni, 28, 12, 8, |_| true), (2, 3));
        assert_eq!(product_tile(vnni, [56, 1], 2, 36, |_| true), (14, 2));
        assert_eq!(product_tile(vnni, [112, 4], 2, 48, |_| true), (12, 2));
        assert!(
            product_tile(vnni, [1, 1], 63, 320, |_| true).1 >= 4,
            "one pixel needs enough sums to hide the latency"
        );
        let wasm = |form| (Isa::Wasm128, form);
        assert_eq!(product_tile(wasm(DotForm::Words), [196, 1], 24, 144, |_| true), (4, 2));
        assert_eq!(quad_tile(wasm(DotForm::CrossedWords), 14, 144, 24, |_| true), (1, 2));
        let pairs = |isa| product_tile((isa, DotForm::PairedBytes), [196, 1], 24, 144, |_| true);
        assert_eq!((pairs(Isa::Wasm128Pairs), pairs(Isa::Avx2)), ((4, 2), (3, 3)));
        for isa in Isa::of(Precision::Int8).iter().copied() {
            let forms = [isa.dot_form(), isa.quad_form(), isa.pixel_form()];
            for (form, vectors) in forms.into_iter().flat_map(|form| (1..20).map(move |vectors| (form, vectors))) {
                let (mr, nv) = product_tile((isa, form), [49, 1], vectors, 64, |_| true);
                assert!(registers((isa, form), mr * nv, nv, mr) <= isa.dot_registers());
                let (mr, nv) = quad_tile((isa, form), 14, vectors, 16, |_| true);
                assert!(
                    vectors.is_multiple_of(nv)
                        && registers((isa, form), QUAD * mr * nv, nv, QUAD * mr) <= isa.dot_registers().max(7)
                );
            }
        }
    }
}

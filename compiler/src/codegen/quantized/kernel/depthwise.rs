//! Depthwise 3x3 convolution from row quads to channel quads.
//!
//! One dot product covers three rows of a column and a zero. If a window begins in the first or second row of a quad,
//! all of its rows are in that quad. Otherwise it ends in the quad below, a blend replaces a load, and the weights are
//! in another order. One call computes the one or two output rows that begin in a quad's first half, or in its second
//! half.

use std::array;
use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::Finish;
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::tokens::{affine, lit, repeat};
use crate::schedule::quantized::QUAD;
use crate::target::{DotForm, Isa, IsaFacts};

/// Columns of a window.
const COLUMNS: usize = 3;
/// Pixels that are packed together, as (row of the call, column).
type Pack = [Option<(usize, usize)>; QUAD];

/// Bytes before the outlier weights. They hold the number of outlier rows.
const OUTLIER_COUNT: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depthwise {
    pub isa: Isa,
    /// Columns from one window to the next.
    pub stride: usize,
    /// Whether windows begin in the second half of the quad above.
    pub between: bool,
    /// Output rows per call, and columns per row.
    pub rows: usize,
    pub cols: usize,
    /// Vectors of channels.
    pub vectors: usize,
    /// Bytes from one vector to the next, of input and output.
    pub a_vector: usize,
    pub c_vector: usize,
    /// Bytes from four channels of the output to the next four. `None` for pixel quads, which hold all channels of a
    /// vector. Then a row, or a contiguous pair of rows, is whole quads.
    pub c_plane: Option<usize>,
    pub finish: Finish,
    /// Maximum rows of outlier weights of a quad.
    pub outliers: usize,
}

impl Depthwise {
    /// Returns the bytes of the packed parameters of a vector: the requantization factors, the weights, the number of
    /// outlier rows, and the outlier weights.
    pub fn packed(isa: Isa, finish: Finish, outliers: usize) -> usize {
        let all = isa.depthwise_form().depthwise_bytes(isa.lanes());
        isa.lanes() * finish.bytes() + all + if outliers > 0 { OUTLIER_COUNT + outliers * all } else { 0 }
    }

    /// Returns the bytes from one output pixel to the next. For pixel quads, that is a quarter of a quad.
    fn c_pixel(&self) -> usize {
        if self.c_plane.is_some() { QUAD } else { self.isa.lanes() }
    }

    /// Returns the offset of the weights of row `row` and column `column` of a window within a vector's weights.
    fn weight_at(&self, row: usize, column: usize) -> usize {
        let place = if self.between { 2 + row } else { row };
        (place * COLUMNS + column) * self.isa.dot_form().bytes(self.isa.lanes())
    }

    fn name(&self) -> String {
        let Self { stride, rows, cols, vectors, a_vector, c_vector, .. } = *self;
        let order = if self.c_plane.is_some() { "" } else { "q" };
        let (channels, finish, isa) = (vectors * self.isa.lanes(), self.finish.name(), self.isa.name());
        let place = if self.between { "_between" } else { "" };
        format!(
            "u8_dw3x3s{stride}{finish}{place}_{rows}x{QUAD}_ch{channels}_px{cols}_a{a_vector}_c{c_vector}{order}__{isa}"
        )
    }

    pub fn kernel(&self) -> Kernel {
        let name = self.name();
        let doc = format!(
            " Depthwise 3x3, stride {}: {} rows of {} pixels, {} vectors of channels.",
            self.stride, self.rows, self.cols, self.vectors
        );
        let (ident, feature) = (format_ident!("{name}"), self.isa.target_feature());
        let lanes = self.isa.lanes();
        let packed = |first: usize| {
            affine(first, &[("vector", Self::packed(self.isa, self.finish, self.outliers), self.vectors)])
        };
        let (bias, factors) = (packed(0), self.finish.load(|row| packed(row * lanes * 4)));
        let before_weights = lanes * self.finish.bytes();
        let weights = (0..self.rows * COLUMNS).map(|index| {
            let (row, column) = (index / COLUMNS, index % COLUMNS);
            let at = packed(before_weights + self.weight_at(row, column));
            let weight = weight(row, column);
            quote!(let #weight = weights(w, #at);)
        });
        let nests = self.tiles().into_iter().filter(|(_, count)| *count > 0);
        let nests: Vec<_> = nests.map(|(packs, count)| self.nest(&packs, count)).collect();
        let range = self.finish.range();
        let body = repeat(
            "vector",
            self.vectors,
            quote! {
                let b = load_sums(w, #bias);
                #factors
                #(#weights)*
                #(#nests)*
            },
        );
        let above = self.between.then(|| quote!(above: Src<'_>,));
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(#above here: Src<'_>, w: Src<'_>, h: Src<'_>, mut c: Dst<'_>) {
                #range
                #body
            }
        };
        Kernel { name, item }
    }

    /// Whether registers cannot hold the inputs of a tile beside its sums and the weights of two rows: 16-bit inputs and
    /// weights take two registers each.
    fn is_crowded(&self) -> bool {
        self.isa.dot_form() == DotForm::Words && self.isa.registers() <= 16
    }

    /// Returns the register tiles as (packs of the first tile, number of consecutive tiles). Two rows share the inputs
    /// of a tile if registers can hold the weights of both.
    fn tiles(&self) -> Vec<(Vec<Pack>, usize)> {
        let (whole, rest) = (self.cols / QUAD, self.cols % QUAD);
        let of_row = |row: usize, first: usize| array::from_fn(|pixel| Some((row, first + pixel)));
        let together = !self.is_crowded();
        let rows = |count: usize, pack: &dyn Fn(usize) -> Pack| -> Vec<(Vec<Pack>, usize)> {
            match together {
                true => vec![((0..self.rows).map(pack).collect(), count)],
                false => (0..self.rows).map(|row| (vec![pack(row)], count)).collect(),
            }
        };
        if rest > 0 && self.c_plane.is_none() {
            // Two rows are contiguous, so the middle quad has the last pixels of the first row and the first pixels of
            // the second.
            let turn = [(0, self.cols - 2), (0, self.cols - 1), (1, 0), (1, 1)].map(Some);
            let mut tiles = rows(whole, &|row| of_row(row, row * (QUAD - rest)));
            tiles.push((vec![turn], 1));
            return tiles;
        }
        // The remaining pixels come first: their store overlaps the row below, which is stored later.
        let left = |row: usize| array::from_fn(|pixel| (pixel < rest).then_some((row, whole * QUAD + pixel)));
        let mut tiles = rows(usize::from(rest > 0), &left);
        tiles.extend(rows(whole, &|row| of_row(row, 0)));
        tiles
    }

    /// Returns `count` tiles. The first one has these packs.
    fn nest(&self, packs: &[Pack], count: usize) -> TokenStream {
        let column = self.isa.lanes() * QUAD;
        let offset =
            |vector: usize, pixel: usize| affine(0, &[("vector", vector, self.vectors), ("tile", QUAD * pixel, count)]);
        let from = offset(self.a_vector, self.stride * column);
        let to = offset(self.c_vector, self.c_pixel());
        let above = self.between.then(|| quote!(let above = above.at(#from);));
        let tile = self.tile(packs);
        let body = quote! {
            #above
            let here = here.at(#from);
            let mut c = c.at(#to);
            #tile
        };
        let nest = repeat("tile", count, body);
        quote!({ #nest })
    }

    /// Returns one register tile.
    fn tile(&self, packs: &[Pack]) -> TokenStream {
        let mut pixels: Vec<_> = packs.iter().flatten().flatten().copied().collect();
        pixels.sort_unstable();
        let sums = self.sums(&pixels);
        let outlier_dots = (self.outliers > 0).then(|| self.outliers(&pixels));
        let stores = packs.iter().map(|pack| {
            let steps = pack.map(|pixel| match pixel {
                None => quote!(none()),
                Some((row, pixel)) => {
                    let sum = sum(row, pixel);
                    self.finish.steps(quote!(#sum), quote!(s))
                }
            });
            let first = pack[0].map_or(0, |(row, pixel)| row * self.cols + pixel);
            let (at, packed) = (lit(first * self.c_pixel()), self.finish.pack(&steps));
            match self.c_plane.map(lit) {
                Some(plane) => quote!(store_planes(&mut c, #at, #plane, #packed);),
                None => quote!(store_packed(&mut c, #at, #packed);),
            }
        });
        quote!(#sums #outlier_dots #(#stores)*)
    }

    /// Returns the sums of a tile's pixels, without outlier weights.
    ///
    /// Few registers hold the sums and one column of inputs, so each column is multiplied by all weights that it meets
    /// before the next one is loaded. Otherwise all inputs are loaded first, to be reused by the outlier weights.
    fn sums(&self, pixels: &[(usize, usize)]) -> TokenStream {
        let inputs = pixels.iter().flat_map(|(_, pixel)| pixel * self.stride..pixel * self.stride + COLUMNS);
        let inputs = BTreeSet::from_iter(inputs);
        let load = |at: usize| {
            let (input, at) = (input(at), lit(at * self.isa.lanes() * QUAD));
            match self.between {
                true => quote!(let #input = between(above, here, #at);),
                false => quote!(let #input = column(here, #at);),
            }
        };
        if self.outliers == 0 && self.is_crowded() {
            let columns = inputs.into_iter().map(|at| {
                let (load, x) = (load(at), input(at));
                let dots = pixels.iter().filter_map(|(row, pixel)| {
                    let column = at.checked_sub(pixel * self.stride).filter(|column| *column < COLUMNS)?;
                    let (name, w) = (sum(*row, *pixel), weight(*row, column));
                    let sums = if column == 0 { quote!(b) } else { quote!(#name) };
                    Some(quote!(let #name = dot(#x, #w, #sums);))
                });
                quote!(#load #(#dots)*)
            });
            return quote!(#(#columns)*);
        }
        let loads = inputs.into_iter().map(load);
        let mutable = (self.outliers > 0).then(|| quote!(mut));
        let sums = pixels.iter().map(|(row, pixel)| {
            let (name, value) = (sum(*row, *pixel), self.window(*row, *pixel, quote!(b)));
            quote!(let #mutable #name = #value;)
        });
        quote!(#(#loads)* #(#sums)*)
    }

    /// Returns `sums` plus the products of a window.
    fn window(&self, row: usize, pixel: usize, sums: TokenStream) -> TokenStream {
        (0..COLUMNS).fold(sums, |sums, column| {
            let (x, w) = (input(pixel * self.stride + column), weight(row, column));
            quote!(dot(#x, #w, #sums))
        })
    }

    /// Adds the products of the outlier weights.
    fn outliers(&self, pixels: &[(usize, usize)]) -> TokenStream {
        let all = self.isa.depthwise_form().depthwise_bytes(self.isa.lanes());
        let packed = |first: usize| {
            affine(first, &[("vector", Self::packed(self.isa, self.finish, self.outliers), self.vectors)])
        };
        let before_outliers = self.isa.lanes() * self.finish.bytes() + all;
        let (count, all_lit) = (packed(before_outliers), lit(all));
        let first = before_outliers + OUTLIER_COUNT;
        let weights = (0..self.rows * COLUMNS).map(|index| {
            let (row, column) = (index / COLUMNS, index % COLUMNS);
            let (name, at) = (weight(row, column), packed(first + self.weight_at(row, column)));
            quote!(let #name = weights(w, #at + row * #all_lit);)
        });
        let sums = pixels.iter().map(|(row, pixel)| {
            let name = sum(*row, *pixel);
            let value = self.window(*row, *pixel, quote!(#name));
            quote!(#name = #value;)
        });
        quote!(for row in 0..rt::quantized::outliers::rows(w, #count) { #(#weights)* #(#sums)* })
    }
}

fn sum(row: usize, pixel: usize) -> proc_macro2::Ident {
    format_ident!("c{row}_{pixel}")
}

fn weight(row: usize, column: usize) -> proc_macro2::Ident {
    format_ident!("w{row}_{column}")
}

fn input(column: usize) -> proc_macro2::Ident {
    format_ident!("x{column}")
}

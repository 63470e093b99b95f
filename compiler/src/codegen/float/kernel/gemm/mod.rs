//! Dense products: pointwise convolutions, the stem's windows, the classifier.
//!
//! One call computes one panel of output channels for `rows` x `cols` pixels. The window of a pixel is `runs` rows of
//! `run` contiguous floats. A pointwise convolution has one run of K floats.
//!
//! Weights: `[1 + runs * run][nv * lanes]`, the bias row first. In the plain inner product, each output is one chain
//! of fused multiply-adds from the bias, in the order of the rows, so all tiles give bit-identical results. In the
//! fast inner product, a panel is one vector wide and has a row of scales before the bias. A row of bf16 weights has
//! two weights for each float. A product that pools its result writes one pixel. A block product computes its sums with
//! tile-register instructions; see `blocks`.

mod blocks;
mod fast;
mod pairs;
mod plain;
mod pool;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{Vectors, activate, dst, epilogue_name, prefix, src};
use crate::codegen::isa::IsaTokens;
use crate::codegen::kernel::Kernel;
use crate::codegen::prefetch::Spread;
use crate::codegen::tokens::{affine, idents, lit, repeat};
use crate::ir::{ElementType, Epilogue, Factors, Product};
use crate::schedule::cover::Tiles;
use crate::target::{Isa, IsaFacts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gemm {
    pub isa: Isa,
    /// Lanes of a vector: those of `isa`, or half of them for the last few channels.
    pub lanes: usize,
    pub product: Product,
    pub factors: Factors,
    /// Types of the output and of the residual.
    pub output: ElementType,
    pub residual: ElementType,
    pub runs: usize,
    pub run: usize,
    /// Output pixels per call.
    pub rows: usize,
    pub cols: usize,
    /// Elements from an output pixel's window to the next pixel's, and to the next row's.
    pub a_pixel: usize,
    pub a_row: usize,
    /// Elements from an output pixel to the next, and to the next row's.
    pub c_pixel: usize,
    pub c_row: usize,
    /// Maximum number of pixels in a register tile; for a block product, the number of pixels per block.
    pub mr: usize,
    /// Vectors of output channels.
    pub nv: usize,
    /// Channels in the last vector.
    pub last: usize,
    pub epilogue: Epilogue,
    /// Whether one call of the network reads the panel only once.
    pub streams: bool,
    /// Floats that a call prefetches of the weights of the next layer.
    pub next: usize,
}

impl Gemm {
    /// Returns the floats of a row of the packed panel.
    pub fn panel(&self) -> usize {
        self.nv * self.lanes
    }

    /// Returns the rows of the packed panel.
    fn panel_rows(&self) -> usize {
        usize::from(self.is_fast()) + 1 + self.factors.rows(self.runs * self.run)
    }

    /// Returns the type of the values that the windows view.
    fn input(&self) -> ElementType {
        if self.factors == Factors::Bf16 { ElementType::Bf16 } else { ElementType::F32 }
    }

    fn written(&self) -> Vectors {
        Vectors { lanes: self.lanes, element: self.output }
    }

    fn added(&self) -> Vectors {
        Vectors { lanes: self.lanes, element: self.residual }
    }

    fn flat(&self) -> bool {
        self.runs == 1 && self.a_row == self.cols * self.a_pixel && self.c_row == self.cols * self.c_pixel
    }

    /// Returns the channels of a vector of the panel.
    fn channels_of(&self, vector: usize) -> usize {
        if vector + 1 == self.nv { self.last } else { self.lanes }
    }

    fn channels(&self) -> usize {
        (self.nv - 1) * self.lanes + self.last
    }

    fn name(&self, widest: usize) -> String {
        let Self { runs, run, rows, cols, a_pixel, a_row, c_pixel, c_row, .. } = *self;
        let family = if runs == 1 { "pw".to_owned() } else { format!("conv{runs}x{runs}") };
        let product = match self.product {
            Product::Fast => "_fast".to_owned(),
            // The name omits the depth, which follows from K.
            Product::Blocks { .. } => format!("_blocks{}", self.mr),
            Product::Plain | Product::Pairs => String::new(),
        };
        let (prefix, weights) = (
            prefix([self.input(), self.output]),
            match self.factors {
                Factors::Bf16Weights => "_wbf16",
                Factors::Exact | Factors::Bf16 => "",
            },
        );
        let mut epilogue = epilogue_name(self.epilogue).to_owned();
        if self.epilogue.residual && self.residual != self.output {
            epilogue.push_str(self.residual.name());
        }
        let strides = if self.flat() || rows == 1 {
            format!("a{a_pixel}_c{c_pixel}")
        } else {
            format!("a{a_pixel}r{a_row}_c{c_pixel}r{c_row}")
        };
        let (channels, k, isa) = (self.channels(), runs * run, self.isa.name());
        let next = if self.next > 0 { format!("_next{}", self.next) } else { String::new() };
        format!(
            "{prefix}_{family}{weights}{product}{epilogue}_{widest}x{channels}_k{k}_px{rows}x{cols}_{strides}{next}__{isa}"
        )
    }

    pub fn kernel(&self) -> Kernel {
        let tiles = self.tiles();
        let count = tiles.iter().map(Tiles::count).sum();
        let widest = tiles.iter().map(Tiles::pixels).max().unwrap_or(1);
        let name = self.name(widest);
        let (pixels, k) = (self.rows * self.cols, self.runs * self.run);
        let how = match self.product {
            Product::Fast => " by the fast inner product".to_owned(),
            Product::Blocks { depth } => format!(" by block products of {} pixels x {depth} channels", self.mr),
            Product::Plain | Product::Pairs => String::new(),
        };
        let pixels = if self.pools() { format!("The average of {pixels}") } else { pixels.to_string() };
        let doc = format!(
            " {pixels} pixels to {} channels of K = {k}{how}, in register tiles of {widest} pixels x {} vectors.",
            self.channels(),
            self.nv,
        );
        let feature = self.isa.target_feature();
        let ident = format_ident!("{name}");
        let runs = lit(self.runs);
        let vectors = (self.lanes != self.isa.lanes()).then(|| {
            let module = self.isa.module();
            quote!(use rt::simd::float::#module::half::*;)
        });
        let dots = self.is_fast().then(|| quote!(d: Src<'_>,));
        let next = (self.next > 0).then(|| quote!(next: Src<'_>,));
        let (input, output, residual) = (src(self.input()), dst(self.output), src(self.residual));
        let residual = self.epilogue.residual.then(|| quote!(, r: #residual));
        let (begin, end) = (self.begin_pool(), self.end_pool());
        let registers = self.registers();
        let mut first = 0;
        let nests = tiles.iter().map(|tiles| {
            let nest = self.nest(tiles, &self.ahead(count, first, tiles));
            first += tiles.count();
            nest
        });
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [#input; #runs], #dots w: Src<'_>, #next mut c: #output #residual) {
                #vectors
                #registers
                #begin
                #(#nests)*
                #end
            }
        };
        Kernel { name, item }
    }

    /// Returns the weight prefetches at the start of an iteration of the K loop, for tiles from `first` of `count`.
    ///
    /// If a call of the network reads a panel only once, its tiles prefetch the lines that follow it in the packed
    /// block. They also prefetch a share of the next layer's weights if that layer is bound by memory. A single tile
    /// prefetches its own rows, some iterations ahead. The prefetches are at the start of an iteration, because at its
    /// end they would cost registers. Block products prefetch nothing, because prefetches slow them down on a
    /// Xeon.
    fn ahead(&self, count: usize, first: usize, tiles: &Tiles) -> Option<TokenStream> {
        const STEPS_AHEAD: usize = 8;
        const LINE: usize = 16;
        if self.product.depth().is_some() {
            return None;
        }
        let steps = self.steps();
        if !self.isa.has_prefetch() || self.runs > 1 || !self.streams || steps == 0 {
            return None;
        }
        let loops = [("band", tiles.across * steps, tiles.down), ("tile", steps, tiles.across), ("k", 1, steps)];
        let spread = |from: usize, size: usize| Spread { from, size, line: LINE, iterations: count * steps };
        let size = self.panel_rows() * self.panel();
        let row = size / steps;
        let own = if count == 1 { spread(STEPS_AHEAD * row, steps * row) } else { spread(size, size) };
        let own = own.share(&quote!(w), first * steps, &loops);
        let next = spread(0, self.next).share(&quote!(next), first * steps, &loops);
        Some(quote!(#own #next))
    }

    /// Returns the iterations of the K loop.
    fn steps(&self) -> usize {
        match (self.is_fast(), self.factors.round_weights()) {
            (true, _) => self.triples(),
            (false, true) => self.run / 2,
            (false, false) => self.runs * self.run,
        }
    }

    /// Returns all tiles of one form.
    fn nest(&self, tiles: &Tiles, ahead: &Option<TokenStream>) -> TokenStream {
        let Tiles { first_row, first_col, rows, cols, down, across } = *tiles;
        let offset_from = |first_col: usize, row: usize, pixel: usize| {
            let terms = [("band", rows * row, down), ("tile", cols * pixel, across)];
            affine(first_row * row + first_col * pixel, &terms)
        };
        let offset = |row: usize, pixel: usize| offset_from(first_col, row, pixel);
        let from = offset_from(first_col - self.pixels_before(tiles), self.a_row, self.a_pixel);
        let to = offset(self.c_row, self.c_pixel);
        // A pool has one output for all tiles.
        let out = (!self.pools()).then(|| quote!(let mut c = c.at(#to);));
        let residual = self.epilogue.residual.then(|| quote!(let r = r.at(#to);));
        let windows = idents("a", self.runs);
        let index = (0..self.runs).map(lit);
        let dots = self.is_fast().then(|| {
            let at = offset(self.cols, 1);
            quote!(let d = d.at(#at);)
        });
        let tile = match self.product {
            Product::Fast => self.fast_tile(tiles, ahead),
            Product::Blocks { depth } => self.block_tile(tiles, depth),
            Product::Plain | Product::Pairs => self.tile(tiles, ahead),
        };
        let body = quote! {
            #(let #windows = a[#index].at(#from);)*
            #dots
            #residual
            #out
            #tile
        };
        let nest = repeat("band", down, repeat("tile", across, body));
        quote!({ #nest })
    }

    /// Returns the activation, residual and store of one vector, or its contribution to the pool.
    fn finish(&self, at: TokenStream, vector: usize, sum: TokenStream) -> TokenStream {
        let channels = self.channels_of(vector);
        let value = activate(self.epilogue.activation, sum);
        let value = if self.epilogue.residual {
            let residual = self.added().load(quote!(r), at.clone(), channels);
            quote!(add(#value, #residual))
        } else {
            value
        };
        self.put(at, vector, value)
    }

    fn put(&self, at: TokenStream, vector: usize, value: TokenStream) -> TokenStream {
        if self.pools() {
            let index = lit(vector);
            return quote!(pooled[#index] = add(pooled[#index], #value););
        }
        self.written().store(quote!(&mut c), at, value, self.channels_of(vector))
    }
}

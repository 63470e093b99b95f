//! Dense products: pointwise convolutions, the stem's windows, the classifier.
//!
//! One call makes one panel of output channels for `rows` x `cols` pixels. The window of a pixel is `runs`
//! rows of `run` contiguous floats (one run of K floats where the convolution is pointwise).
//!
//! Weights: `[1 + runs * run][nv * lanes]`, the bias row first. Each output is one chain of fused
//! multiply-adds from the bias, in the order of the rows: the same bits for every tile.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{Kernel, activate, affine, epilogue_name, idents, lit, load, repeat, store};
use crate::codegen::cover::{Tiles, cover};
use crate::codegen::isa::{Broadcast, Isa};
use crate::ir::Epilogue;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gemm {
    pub isa: Isa,
    pub runs: usize,
    pub run: usize,
    /// Output pixels of a call.
    pub rows: usize,
    pub cols: usize,
    /// Floats from an output pixel's window to the next pixel's, and to the next row's.
    pub a_pixel: usize,
    pub a_row: usize,
    /// Floats from an output pixel to the next, and to the next row's.
    pub c_pixel: usize,
    pub c_row: usize,
    /// The most pixels of a register tile.
    pub mr: usize,
    /// Vectors of output channels.
    pub nv: usize,
    /// Channels in the last of them.
    pub last: usize,
    pub epilogue: Epilogue,
}

impl Gemm {
    /// Floats of a row of the packed panel.
    pub fn panel(&self) -> usize {
        self.nv * self.isa.lanes()
    }

    fn flat(&self) -> bool {
        self.runs == 1 && self.a_row == self.cols * self.a_pixel && self.c_row == self.cols * self.c_pixel
    }

    fn channels(&self) -> usize {
        (self.nv - 1) * self.isa.lanes() + self.last
    }

    fn name(&self, widest: usize) -> String {
        let Self { runs, run, rows, cols, a_pixel, a_row, c_pixel, c_row, .. } = *self;
        let family = if runs == 1 { "pw".to_owned() } else { format!("conv{runs}x{runs}") };
        let epilogue = epilogue_name(self.epilogue);
        let strides = if self.flat() || rows == 1 {
            format!("a{a_pixel}_c{c_pixel}")
        } else {
            format!("a{a_pixel}r{a_row}_c{c_pixel}r{c_row}")
        };
        let (channels, k, isa) = (self.channels(), runs * run, self.isa.name());
        format!("f32_{family}{epilogue}_{widest}x{channels}_k{k}_px{rows}x{cols}_{strides}__{isa}")
    }

    pub fn kernel(&self) -> Kernel {
        let tiles = cover(self.rows, self.cols, self.mr, self.flat());
        let count = tiles.iter().map(Tiles::count).sum();
        let widest = tiles.iter().map(Tiles::pixels).max().unwrap_or(1);
        let name = self.name(widest);
        let doc = format!(
            " {} pixels to {} channels of K = {}, in register tiles of {widest} pixels x {} vectors.",
            self.rows * self.cols,
            self.channels(),
            self.runs * self.run,
            self.nv,
        );
        let feature = self.isa.target_feature();
        let ident = format_ident!("{name}");
        let runs = lit(self.runs);
        let residual = self.epilogue.residual.then(|| quote!(, r: Src<'_>));
        let mut first = 0;
        let nests = tiles.iter().map(|tiles| {
            let nest = self.nest(tiles, self.ahead(count, first, tiles));
            first += tiles.count();
            nest
        });
        let item = quote! {
            #[doc = #doc]
            #feature
            #[inline(never)]
            fn #ident(a: [Src<'_>; #runs], w: Src<'_>, mut c: Dst<'_> #residual) {
                #(#nests)*
            }
        };
        Kernel { name, item }
    }

    /// Prefetches of weights at the head of a step of the K loop, for tiles from the `first` of `count`.
    ///
    /// Where few tiles share a panel, its weights come and go faster than the processor finds out by itself: each
    /// step asks for a line of what follows the panel in the packed block. A single tile asks for its own rows, some
    /// steps ahead.
    fn ahead(&self, count: usize, first: usize, tiles: &Tiles) -> Option<TokenStream> {
        const STEPS_AHEAD: usize = 8;
        const LINE: usize = 16;
        let k = self.runs * self.run;
        if !self.isa.has_prefetch() || self.runs > 1 || count > 2 * self.nv {
            return None;
        }
        let panel = lit(self.panel());
        if count == 1 {
            let at = (0..self.panel()).step_by(LINE).map(|at| lit((1 + STEPS_AHEAD) * self.panel() + at));
            return Some(quote!(#(prefetch(w, k * #panel + #at);)*));
        }
        let (base, line) = ((1 + k) * self.panel() + first * k * LINE, lit(LINE));
        let at = affine(base, &[("band", tiles.across * k * LINE, tiles.down), ("tile", k * LINE, tiles.across)]);
        Some(quote!(prefetch(w, k * #line + #at);))
    }

    /// All tiles of one form.
    fn nest(&self, tiles: &Tiles, ahead: Option<TokenStream>) -> TokenStream {
        let Tiles { first_row, first_col, rows, cols, down, across } = *tiles;
        let offset = |row: usize, pixel: usize| {
            let terms = [("band", rows * row, down), ("tile", cols * pixel, across)];
            affine(first_row * row + first_col * pixel, &terms)
        };
        let (from, to) = (offset(self.a_row, self.a_pixel), offset(self.c_row, self.c_pixel));
        let residual = self.epilogue.residual.then(|| quote!(let r = r.at(#to);));
        let windows = idents("a", self.runs);
        let index = (0..self.runs).map(lit);
        let tile = self.tile(tiles, ahead);
        let body = quote! {
            #(let #windows = a[#index].at(#from);)*
            #residual
            let mut c = c.at(#to);
            #tile
        };
        let nest = repeat("band", down, repeat("tile", across, body));
        quote!({ #nest })
    }

    /// One register tile, unrolled over pixels and vectors.
    fn tile(&self, tiles: &Tiles, ahead: Option<TokenStream>) -> TokenStream {
        let pixels: Vec<(usize, usize)> =
            (0..tiles.rows).flat_map(|row| (0..tiles.cols).map(move |col| (row, col))).collect();
        let lanes = self.isa.lanes();
        let sums: Vec<Vec<_>> = (0..pixels.len()).map(|i| idents(&format!("c{i}_"), self.nv)).collect();
        let bias = idents("b", self.nv);
        let at: Vec<_> = (0..self.nv).map(|j| lit(j * lanes)).collect();
        let starts = sums.iter().map(|sums| quote!(#(let mut #sums = #bias;)*));
        let windows: Vec<_> = pixels.iter().map(|(row, col)| row * self.a_row + col * self.a_pixel).collect();
        let products = (0..self.runs).map(|run| self.products(run, &windows, &sums, &ahead));
        let stores = pixels.iter().zip(&sums).map(|((row, col), sums)| {
            let pixel = row * self.c_row + col * self.c_pixel;
            let stores = sums.iter().enumerate().map(|(j, sum)| self.finish(pixel + j * lanes, j, quote!(#sum)));
            quote!(#(#stores)*)
        });
        quote! {
            #(let #bias = load(w, #at);)*
            #(#starts)*
            #(#products)*
            #(#stores)*
        }
    }

    /// The multiply-adds of one run of the window.
    fn products(
        &self,
        run: usize,
        windows: &[usize],
        sums: &[Vec<proc_macro2::Ident>],
        ahead: &Option<TokenStream>,
    ) -> TokenStream {
        let (lanes, panel) = (self.isa.lanes(), self.panel());
        let a = format_ident!("a{run}");
        let first = (1 + run * self.run) * panel;
        let weights = idents("w", self.nv);
        let step = |k: TokenStream, skipped: usize| {
            let panel_lit = lit(panel);
            let at = (0..self.nv).map(|j| lit(first + skipped * panel + j * lanes));
            quote!(#(let #weights = load(w, #k * #panel_lit + #at);)*)
        };
        match self.isa.broadcast() {
            Broadcast::Memory => {
                let loads = step(quote!(k), 0);
                let pixels = windows.iter().zip(sums).map(|(window, sums)| {
                    let at = (*window > 0).then(|| lit(*window)).map(|window| quote!(#window +));
                    quote! {
                        let x = splat(#a, #at k);
                        #(#sums = fma(x, #weights, #sums);)*
                    }
                });
                let run = lit(self.run);
                quote!(for k in 0..#run { #ahead #loads #(#pixels)* })
            }
            Broadcast::Lane => {
                let x = idents("x", windows.len());
                let quads = self.run / lanes;
                let lane_steps = (0..lanes).map(|lane| {
                    let lane_lit = lit(lane);
                    let panel_lit = lit(panel * lanes);
                    let at = (0..self.nv).map(|j| lit(first + lane * panel + j * lanes));
                    let pixels = x
                        .iter()
                        .zip(sums)
                        .map(|(x, sums)| quote!(#(#sums = fma_lane::<#lane_lit>(#x, #weights, #sums);)*));
                    quote! {
                        #(let #weights = load(w, quad * #panel_lit + #at);)*
                        #(#pixels)*
                    }
                });
                let at = windows.iter().map(|window| lit(*window));
                let (lanes_lit, quads_lit) = (lit(lanes), lit(quads));
                let main = (quads > 0).then(|| {
                    quote! {
                        for quad in 0..#quads_lit {
                            #(let #x = load(#a, #at + quad * #lanes_lit);)*
                            #(#lane_steps)*
                        }
                    }
                });
                let rest = (quads * lanes..self.run).map(|k| {
                    let at = (0..self.nv).map(|j| lit(first + k * panel + j * lanes));
                    let pixels = windows.iter().zip(sums).map(|(window, sums)| {
                        let at = lit(window + k);
                        quote! {
                            let x = splat(#a, #at);
                            #(#sums = fma(x, #weights, #sums);)*
                        }
                    });
                    quote!({ #(let #weights = load(w, #at);)* #(#pixels)* })
                });
                quote!(#main #(#rest)*)
            }
        }
    }

    /// Activation, residual and store of one vector.
    fn finish(&self, at: usize, vector: usize, sum: TokenStream) -> TokenStream {
        let channels = if vector + 1 == self.nv { self.last } else { self.isa.lanes() };
        let at = lit(at);
        let value = activate(self.epilogue.activation, sum);
        let value = if self.epilogue.residual {
            let residual = load(self.isa, quote!(r), quote!(#at), channels);
            quote!(add(#value, #residual))
        } else {
            value
        };
        store(self.isa, quote!(&mut c), quote!(#at), value, channels)
    }
}

//! Loop nests over bytes, one per file.

mod ahead;
mod depthwise;
mod gather;
mod interleave;
mod lanes;
mod produce;
mod product;
mod widen;
mod windows;

pub use ahead::Ahead;
pub use depthwise::Depthwise;
pub use gather::Gather;
pub use interleave::Interleave;
pub use produce::Produce;
pub use product::{Activations, Product, Writeback};
pub use widen::Widen;
pub use windows::Windows;

use mbvc_runtime::quantized::finish_bytes;
use mbvc_runtime::quantized::outliers::list_bytes;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::codegen::isa::IsaTokens;
use crate::codegen::tokens::{lit, repeat};
use crate::spec::Rounding;
use crate::target::{DotForm, Isa, IsaFacts};

/// How sums are requantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The sums have a bias that makes them bit patterns of floats. Results have zero point 0 and no clamp beyond
    /// saturation to 8 bits.
    Biased,
    /// Any zero point and clamp.
    General,
    /// TensorFlow Lite's reference arithmetic, for factors below one half, and results with zero point 0 and no clamp
    /// beyond saturation to 8 bits.
    ReferenceSmall,
    /// TensorFlow Lite's reference arithmetic, for any factor, zero point and clamp.
    Reference,
}

impl Finish {
    /// Returns the requantization that any layer can use.
    pub fn general(rounding: Rounding) -> Self {
        match rounding {
            Rounding::TfliteReference => Self::Reference,
            Rounding::Xnnpack => Self::General,
        }
    }

    /// Returns the fast requantization of layers with an activation. A layer can use it only if its values allow.
    pub fn fast(rounding: Rounding) -> Self {
        match rounding {
            Rounding::TfliteReference => Self::ReferenceSmall,
            Rounding::Xnnpack => Self::Biased,
        }
    }

    /// Returns the suffix of a kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Biased => "_biased",
            Self::General => "",
            Self::ReferenceSmall => "_reference_small",
            Self::Reference => "_reference",
        }
    }

    /// Returns the bytes per channel before the weights.
    pub fn bytes(self) -> usize {
        finish_bytes(match self {
            Self::Biased | Self::General => Rounding::Xnnpack,
            Self::ReferenceSmall | Self::Reference => Rounding::TfliteReference,
        })
    }

    /// Loads the factors of a vector. `at` returns the offset of the vector's part of row 1 or 2 of the data before
    /// the weights.
    fn load(self, at: impl Fn(usize) -> TokenStream) -> TokenStream {
        let (scales, exponents) = (at(1), at(2));
        match self {
            Self::Biased | Self::General => quote!(let s = load_scales(w, #scales);),
            Self::ReferenceSmall => quote!(let s = load_small_multipliers(w, #scales, #exponents);),
            Self::Reference => quote!(let s = load_multipliers(w, #scales, #exponents);),
        }
    }

    /// Loads the output range from the layer's header, if it is needed.
    fn range(self) -> TokenStream {
        match self {
            Self::Biased => quote!(),
            Self::ReferenceSmall => quote!(),
            Self::General | Self::Reference => quote!(let range = range(h);),
        }
    }

    /// Loads the parameters of a residual add.
    fn addends(self) -> TokenStream {
        match self {
            Self::Biased | Self::General => quote!(let addends = addends(h);),
            Self::ReferenceSmall | Self::Reference => quote!(let addends = fixed_addends(h);),
        }
    }

    /// Returns `steps` plus the residual of `channels` channels at `at`.
    fn add(self, channels: Literal, steps: TokenStream, at: Literal) -> TokenStream {
        match self {
            Self::Biased | Self::General => quote!(add::<#channels>(#steps, r, #at, addends)),
            Self::ReferenceSmall | Self::Reference => quote!(add_by_multiplier::<#channels>(#steps, r, #at, addends)),
        }
    }

    /// Returns `sums` in steps of the output scale.
    fn steps(self, sums: TokenStream, scales: TokenStream) -> TokenStream {
        match self {
            Self::Biased => quote!(steps_of_biased(#sums, #scales)),
            Self::General => quote!(steps(#sums, #scales)),
            Self::ReferenceSmall => quote!(steps_by_small_multiplier(#sums, #scales)),
            Self::Reference => quote!(steps_by_multiplier(#sums, #scales)),
        }
    }

    /// Packs four vectors of steps as bytes.
    fn pack(self, steps: &[TokenStream]) -> TokenStream {
        match self {
            Self::Biased | Self::ReferenceSmall => quote!(pack_unlimited([#(#steps),*])),
            Self::General | Self::Reference => quote!(pack([#(#steps),*], range)),
        }
    }
}

/// Returns the sums of a tile of `pixels` pixels before its products: the biases at `bias`, one for each vector. At
/// opt-level "s" the compiler keeps a repeated array in memory, but separate elements in registers.
fn first_sums(form: DotForm, pixels: usize, bias: impl Iterator<Item = Literal>) -> TokenStream {
    let (bias, count): (Vec<_>, _) = (bias.collect(), lit(pixels));
    if form != DotForm::Pairs {
        return quote!(let mut sums = [[#(load_sums(w, #bias)),*]; #count];);
    }
    let all = (0..pixels).map(|_| quote!(b));
    quote!(let b = [#(load_sums(w, #bias)),*]; let mut sums = [#(#all),*];)
}

/// Adds the products of all `steps` pairs of a tile whose activations are consecutive in planes of `plane` bytes. The
/// weights are at offset `first`.
fn products_of_tile(a: &TokenStream, pixels: usize, plane: usize, steps: usize, first: usize) -> TokenStream {
    let [pixels, plane, steps, first] = [pixels, plane, steps, first].map(lit);
    quote!(sums = products::<#pixels, #plane, #steps>(#a, 0, w, #first, sums);)
}

/// Panels that one kernel call computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallPanels {
    pub count: usize,
    /// Bytes between the weights of consecutive panels.
    pub stride: usize,
}

impl CallPanels {
    /// One panel.
    pub const ONE: Self = Self { count: 1, stride: 0 };

    /// Returns the kernel-name suffix for the panel count; empty for one panel.
    fn name(self) -> String {
        if self.count > 1 { format!("x{}", self.count) } else { String::new() }
    }
}

/// Repeats the work of a panel, whose weights are `w` and whose results go to `c`, `step` bytes from one panel to the
/// next. The loop is not unrolled: its body is large.
fn each_panel(CallPanels { count, stride }: CallPanels, step: usize, work: TokenStream) -> TokenStream {
    if count == 1 {
        return work;
    }
    let [count, stride, step] = [count, stride, step].map(lit);
    quote! {
        for panel in 0..rt::unseen(#count) {
            let w = w.at(panel * #stride);
            let mut c = c.at(panel * #step);
            #work
        }
    }
}

/// Whether dot products are added to sums by an instruction of their own. They take more instructions, and unrolled
/// short runs would not fit in registers.
fn adds_apart(form: DotForm) -> bool {
    matches!(form, DotForm::Words | DotForm::PairedBytes | DotForm::CrossedWords)
}

/// Returns a loop over `quads` quads; `step` computes quad `k`. If registers are few, or the run is one of several
/// (`is_one_of_several`), the compiler must not unroll it fully: it would order the products by weight, and spill sums.
fn each_quad(isa: Isa, form: DotForm, quads: usize, is_one_of_several: bool, step: TokenStream) -> TokenStream {
    if quads == 1 && !is_one_of_several {
        return step;
    }
    if adds_apart(form) {
        return in_pairs(isa, quads, step);
    }
    if isa.has_few_registers() || is_one_of_several { one_by_one(quads, &step) } else { repeat("k", quads, step) }
}

/// Returns a loop that computes one of `quads` quads per iteration, and that the compiler cannot unroll fully.
fn one_by_one(quads: usize, step: &TokenStream) -> TokenStream {
    let quads = lit(quads);
    quote!(for k in 0..rt::unseen(#quads) { #step })
}

/// Returns a loop over `quads` quads, the first of which is `k` in `step`, two per iteration. With few registers there
/// is one per iteration, because the compiler would load the weights of both first.
fn in_pairs(isa: Isa, quads: usize, step: TokenStream) -> TokenStream {
    if isa.has_few_registers() {
        return one_by_one(quads, &step);
    }
    let (pairs, last) = (lit(quads / 2), lit(quads - 1));
    let whole = (quads > 1).then(|| {
        quote! {
            for pair in 0..rt::unseen(#pairs) {
                { let k = 2 * pair; #step }
                { let k = 2 * pair + 1; #step }
            }
        }
    });
    let rest = (quads % 2 == 1).then(|| quote!({ let k = rt::unseen(#last); #step }));
    quote!(#whole #rest)
}

/// Returns the vocabulary of a kernel's vectors and dot products, if it is not that of its module.
fn vocabulary(isa: Isa, half: bool, form: DotForm) -> TokenStream {
    let module = isa.module();
    let module = if half { quote!(#module::half) } else { quote!(#module) };
    let vectors = half.then(|| quote!(use rt::simd::quantized::#module::*;));
    let dots = match form {
        DotForm::Words => quote!(use rt::simd::quantized::#module::in_order::dot;),
        _ if form == isa.dot_form() => quote!(),
        DotForm::CrossedWords => quote!(use rt::simd::quantized::#module::fast::{broadcast, dot, minus, weights};),
        _ => quote!(use rt::simd::quantized::#module::pairs::{broadcast, dot, weights};),
    };
    quote!(#vectors #dots)
}

/// Adds the products of a run's outlier weights. `dots` are the products of quad `k` with a row of `nv` vectors. The
/// outlier list of `quads` quads with at most `rows` rows each is at offset `list`, followed by rows of `row` bytes.
fn outliers(list: usize, [quads, rows]: [usize; 2], row: usize, nv: usize, dots: TokenStream) -> TokenStream {
    let first = list + list_bytes(quads, rows);
    let at = (0..nv).map(|n| lit(first + n * (row / nv)));
    let [list, row] = [list, row].map(lit);
    quote! {
        for row in 0..rt::quantized::outliers::rows(w, #list) {
            let k = rt::quantized::outliers::quad(w, #list, row);
            let v = [#(weights(w, #at + row * #row)),*];
            #dots
        }
    }
}

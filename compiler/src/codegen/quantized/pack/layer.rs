//! Packing of one layer: the runtime's `QuantLayer`, as an expression and as a value.

use mbvc_runtime::OutputRange;
use mbvc_runtime::quantized::{self as runtime, PanelRun};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::codegen::tokens::lit;
use crate::schedule::taps::Taps;
use crate::target::DotForm;

/// Packing of one layer; see `QuantLayer` of the runtime.
#[derive(Debug, Clone)]
pub struct QuantLayer {
    pub weight: String,
    pub bias: String,
    pub weight_scale: String,
    pub weight_zero_point: Option<String>,
    pub input: Named,
    pub output: Named,
    pub activation: OutputRange,
    /// Quantization of the residual, and of the sum.
    pub add: Option<[Named; 2]>,
    /// Number of averaged pixels, and quantization of the average.
    pub pool: Option<(usize, Named)>,
    pub channels: usize,
    /// Indices of the orders of input and output channels.
    pub inputs: Option<usize>,
    pub outputs: Option<usize>,
    pub form: DotForm,
    pub header: usize,
    pub matrix: Matrix,
}

/// Names of the tensors with a value's scale and zero point.
#[derive(Debug, Clone, Default)]
pub struct Named {
    pub scale: String,
    pub zero_point: String,
}

/// Weights of a layer; see `Matrix` of the runtime.
#[derive(Debug, Clone)]
pub enum Matrix {
    Dense { taps: Taps, panels: Vec<PanelRun> },
    Depthwise { at: usize, lanes: usize, vectors: usize },
}

impl QuantLayer {
    pub fn tokens(&self) -> TokenStream {
        let Self { weight, bias, weight_scale, .. } = self;
        let weight_zero_point = option(self.weight_zero_point.as_ref().map(|name| quote!(#name)));
        let [input, output] = [&self.input, &self.output].map(Named::tokens);
        let activation = format_ident!("{}", format!("{:?}", self.activation));
        let add = option(self.add.as_ref().map(|values| {
            let values = values.iter().map(Named::tokens);
            quote!([#(#values),*])
        }));
        let pool = option(self.pool.as_ref().map(|(pixels, average)| {
            let (pixels, average) = (lit(*pixels), average.tokens());
            quote!((#pixels, #average))
        }));
        let [channels, header] = [self.channels, self.header].map(lit);
        let matrix = self.matrix.tokens();
        let [inputs, outputs] = [self.inputs, self.outputs].map(|order| {
            let order = order.map(lit);
            option(order.map(|order| quote!(#order)))
        });
        let form = format_ident!("{}", format!("{:?}", self.form));
        quote!(rt::quantized::QuantLayer {
            weight: #weight, bias: #bias, weight_scale: #weight_scale, weight_zero_point: #weight_zero_point,
            input: #input, output: #output, activation: rt::OutputRange::#activation, add: #add, pool: #pool,
            channels: #channels, inputs: #inputs, outputs: #outputs, form: rt::quantized::DotForm::#form, header: #header,
            matrix: #matrix,
        })
    }

    /// Returns the runtime's layer, which borrows from this one.
    pub fn borrowed(&self) -> runtime::QuantLayer<'_> {
        runtime::QuantLayer {
            weight: &self.weight,
            bias: &self.bias,
            weight_scale: &self.weight_scale,
            weight_zero_point: self.weight_zero_point.as_deref(),
            input: self.input.borrowed(),
            output: self.output.borrowed(),
            activation: self.activation,
            add: self.add.as_ref().map(|values| values.each_ref().map(Named::borrowed)),
            pool: self.pool.as_ref().map(|(pixels, average)| (*pixels, average.borrowed())),
            channels: self.channels,
            inputs: self.inputs,
            outputs: self.outputs,
            form: self.form,
            header: self.header,
            matrix: self.matrix.borrowed(),
        }
    }
}

impl Named {
    pub fn tokens(&self) -> TokenStream {
        let Self { scale, zero_point } = self;
        quote!(rt::quantized::Named { scale: #scale, zero_point: #zero_point })
    }

    pub fn borrowed(&self) -> runtime::Named<'_> {
        runtime::Named { scale: &self.scale, zero_point: &self.zero_point }
    }
}

impl Matrix {
    fn tokens(&self) -> TokenStream {
        match self {
            Self::Depthwise { at, lanes, vectors } => {
                let [at, lanes, vectors] = [*at, *lanes, *vectors].map(lit);
                quote!(rt::quantized::Matrix::Depthwise { at: #at, lanes: #lanes, vectors: #vectors })
            }
            Self::Dense { taps: Taps { runs, run, quads, ends }, panels } => {
                let [runs, run, quads] = [*runs, *run, *quads].map(lit);
                let panels = panels.iter().map(|panels| {
                    let PanelRun { first, last, lanes, vectors, at, stride } = *panels;
                    let [first, last, lanes, vectors, at, stride] = [first, last, lanes, vectors, at, stride].map(lit);
                    quote!(rt::quantized::PanelRun {
                        first: #first, last: #last, lanes: #lanes, vectors: #vectors, at: #at, stride: #stride,
                    })
                });
                quote!(rt::quantized::Matrix::Dense(rt::quantized::Taps {
                    runs: #runs, run: #run, quads: #quads, ends: #ends, panels: &[#(#panels),*],
                }))
            }
        }
    }

    fn borrowed(&self) -> runtime::Matrix<'_> {
        match self {
            Self::Depthwise { at, lanes, vectors } => {
                runtime::Matrix::Depthwise { at: *at, lanes: *lanes, vectors: *vectors }
            }
            Self::Dense { taps: Taps { runs, run, quads, ends }, panels } => {
                runtime::Matrix::Dense(runtime::Taps { runs: *runs, run: *run, quads: *quads, ends: *ends, panels })
            }
        }
    }
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

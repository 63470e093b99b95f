//! The input of both networks for one image.

use std::path::Path;

use mbvc::weights::Preprocess;
use mbvc_compiler::spec::Precision;
use mbvc_import::{Container, Data, Layout, Trace};
use mbvc_runtime::quantized::Table;
use mbvc_runtime::quantized::arithmetic::{Integer, Quant};

use super::peer::{Dtype, Image, Input};
use crate::error::{CliError, Result};

/// Input of the reference interpreter in NHWC.
#[derive(Debug, Clone, PartialEq)]
pub enum Ours {
    Floats(Vec<f32>),
    Integers(Vec<i32>),
}

/// Converts pixels to the inputs of both networks.
pub struct Feed {
    preprocess: Preprocess,
    quantized: Option<Input8>,
    pixel_scale: Option<f32>,
    reversed: bool,
    layout: Layout,
    dtype: Dtype,
    /// Shape of the input: `[height, width, channels]`.
    size: [usize; 3],
}

/// The input of a quantized network.
struct Input8 {
    quant: Quant,
    integer: Integer,
    table: Table,
}

/// Integer type of a network; `None` for float32 and bf16.
pub fn integer(precision: Precision) -> Option<Integer> {
    match precision {
        Precision::F32 | Precision::Bf16 => None,
        Precision::Int8 => Some(Integer::Int8),
        Precision::Uint8 => Some(Integer::Uint8),
    }
}

/// Scale and zero point of the tensor `name`.
///
/// # Errors
/// If the container has none.
pub fn quant(container: &Container, name: &str, integer: Integer) -> Result<Quant> {
    let data = |kind: &str| container.tensor(&format!("{name}.{kind}")).map(|tensor| &tensor.data);
    let found = match (data("scale"), data("zero_point")) {
        (Some(Data::F32(scale)), Some(Data::I32(zero_point))) => scale.first().zip(zero_point.first()),
        _ => None,
    };
    let quant = found.and_then(|(scale, zero_point)| Quant::new(*scale, *zero_point, integer));
    quant.ok_or_else(|| CliError::new(format!("the weights have no valid scale and zero point of {name}")))
}

impl Feed {
    /// Returns the feed of a network of `size` (height, width, channels) with the weights of `container`, whose pixels
    /// are preprocessed by `preprocess`. `input` describes the input of `model` in the other engine.
    ///
    /// # Errors
    /// If the input of the model has another size, or an unsupported type.
    pub fn new(
        container: &Container,
        preprocess: Preprocess,
        integer: Option<Integer>,
        trace: &Trace,
        (model, input): (&Path, &Input),
        size: [usize; 3],
    ) -> Result<Self> {
        let Trace { pixel_scale, reversed, .. } = *trace;
        let layout = trace.input.layout;
        let quantized = match integer {
            None => None,
            Some(integer) => {
                let quant = quant(container, "input", integer)?;
                Some(Input8 { quant, integer, table: Table::new(&preprocess, quant, integer) })
            }
        };
        let dtype = match input.dtype.as_str() {
            // The other engine converts float32 to these.
            "float16" | "float32" | "float64" => Some(Dtype::Float32),
            "uint8" if quantized.is_some() || pixel_scale == Some(1.0) => Some(Dtype::Uint8),
            "int8" if quantized.is_some() => Some(Dtype::Int8),
            _ => None,
        };
        let shown = model.display();
        let dtype = dtype.ok_or_else(|| {
            CliError::new(format!("{shown} has an input of type {}, expected float32", input.dtype))
                .help("export it with a float32 input")
        })?;
        let feed = Self { preprocess, quantized, pixel_scale, reversed, layout, dtype, size };
        let fits = |(given, size): (&Option<usize>, &usize)| given.is_none_or(|given| given == *size);
        let shape = feed.shape();
        if input.shape.len() != shape.len() || !input.shape.iter().zip(&shape).all(fits) {
            let sizes = |sizes: &mut dyn Iterator<Item = String>| sizes.collect::<Vec<_>>().join("x");
            let found = sizes(&mut input.shape.iter().map(|size| size.map_or("?".into(), |size| size.to_string())));
            let expected = sizes(&mut shape.iter().map(ToString::to_string));
            return Err(CliError::new(format!("{shown} has an input of {found}, expected {expected}"))
                .help("set the size of the network with --resolution HxW; the batch size of the model must be 1"));
        }
        Ok(feed)
    }

    fn shape(&self) -> Vec<usize> {
        let [height, width, channels] = self.size;
        match self.layout {
            Layout::Nchw => vec![1, channels, height, width],
            Layout::Nhwc | Layout::Flat => vec![1, height, width, channels],
        }
    }

    /// Input of the interpreter for interleaved pixels.
    pub fn ours(&self, pixels: &[u8]) -> Ours {
        match &self.quantized {
            None => {
                let mut values = vec![0.0; pixels.len()];
                self.preprocess.apply(pixels, &mut values);
                Ours::Floats(values)
            }
            Some(input) => {
                let low = input.integer.limits().low;
                Ours::Integers(input.steps(pixels).into_iter().map(|step| i32::from(step) + low).collect())
            }
        }
    }

    /// Input of the other engine for the same pixels.
    pub fn theirs(&self, pixels: &[u8]) -> Image {
        let bytes = match (&self.quantized, self.pixel_scale, self.dtype) {
            (Some(input), _, Dtype::Uint8) => self.laid_out(&input.steps(pixels), |step| [step]),
            (Some(input), _, Dtype::Int8) => self.laid_out(&input.steps(pixels), |step| [step ^ 0x80]),
            (Some(input), _, Dtype::Float32) => {
                let (scale, zero) = (input.quant.scale(), input.quant.zero_point() - input.integer.limits().low);
                self.laid_out(&input.steps(pixels), |step| ((i32::from(step) - zero) as f32 * scale).to_le_bytes())
            }
            (None, Some(_), Dtype::Uint8 | Dtype::Int8) => self.laid_out(pixels, |pixel| [pixel]),
            (None, Some(scale), Dtype::Float32) => {
                self.laid_out(pixels, |pixel| (f32::from(pixel) * scale).to_le_bytes())
            }
            (None, None, _) => {
                let mut values = vec![0.0; pixels.len()];
                self.preprocess.apply(pixels, &mut values);
                self.laid_out(&values, f32::to_le_bytes)
            }
        };
        Image { dtype: self.dtype, shape: self.shape(), bytes }
    }

    /// Interleaved values in the layout and channel order of the other engine.
    fn laid_out<T: Copy, const N: usize>(&self, values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        let [_, _, channels] = self.size;
        let place = |channel: usize| if self.reversed { channels - 1 - channel } else { channel };
        let pixels = values.chunks_exact(channels);
        match self.layout {
            Layout::Nchw => (0..channels)
                .flat_map(|channel| pixels.clone().flat_map(move |pixel| [pixel[place(channel)]]))
                .flat_map(bytes)
                .collect(),
            Layout::Nhwc | Layout::Flat => pixels
                .flat_map(|pixel| (0..channels).map(move |channel| pixel[place(channel)]))
                .flat_map(bytes)
                .collect(),
        }
    }
}

impl Input8 {
    /// Quantized pixels, offset so that the minimum of the integer type is 0.
    fn steps(&self, pixels: &[u8]) -> Vec<u8> {
        let mut steps = vec![0; pixels.len()];
        self.table.convert(pixels, &mut steps);
        steps
    }
}

#[cfg(test)]
mod tests {
    use mbvc_import::{SourceTensor, Tensor};

    use super::*;

    fn trace(layout: Layout, pixel_scale: Option<f32>, reversed: bool) -> Trace {
        let input = SourceTensor { name: "image".into(), index: None, layout };
        Trace { input, pixel_scale, reversed, resolution: None, values: Vec::new() }
    }

    fn feed(trace: &Trace, dtype: &str, integer: Option<Integer>) -> Feed {
        let tensor = |name: &str, data| Tensor { name: name.into(), shape: vec![1], data };
        let tensors = vec![
            tensor("input.scale", Data::F32(vec![0.5])),
            tensor("input.zero_point", Data::I32(vec![integer.map_or(0, |integer| integer.limits().low)])),
        ];
        let container = Container { tensors, ..Container::default() };
        let preprocess = Preprocess { scale: [0.5, 1.0, 2.0], offset: [0.0; 3] };
        let input = Input { dtype: dtype.into(), shape: vec![None; 4] };
        Feed::new(&container, preprocess, integer, trace, (Path::new("m"), &input), [1, 2, 3]).unwrap()
    }

    fn floats(image: &Image) -> Vec<f32> {
        image.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    const PIXELS: [u8; 6] = [2, 3, 4, 20, 30, 40];

    #[test]
    fn floats_are_preprocessed_and_laid_out() {
        let plain = feed(&trace(Layout::Nhwc, None, false), "float32", None);
        assert_eq!(floats(&plain.theirs(&PIXELS)), [1.0, 3.0, 8.0, 10.0, 30.0, 80.0]);
        assert_eq!(plain.ours(&PIXELS), Ours::Floats(vec![1.0, 3.0, 8.0, 10.0, 30.0, 80.0]));
        let turned = feed(&trace(Layout::Nchw, None, true), "float16", None);
        let image = turned.theirs(&PIXELS);
        assert_eq!((floats(&image), image.shape), (vec![8.0, 80.0, 3.0, 30.0, 1.0, 10.0], vec![1, 3, 1, 2]));
    }

    #[test]
    fn a_graph_that_preprocesses_gets_pixels() {
        let scaled = feed(&trace(Layout::Nhwc, Some(1.0 / 255.0), false), "float32", None);
        assert_eq!(floats(&scaled.theirs(&PIXELS))[5], 40.0 / 255.0);
        assert_eq!(scaled.ours(&PIXELS), Ours::Floats(vec![1.0, 3.0, 8.0, 10.0, 30.0, 80.0]));
        let bytes = feed(&trace(Layout::Nhwc, Some(1.0), false), "uint8", None);
        assert_eq!(bytes.theirs(&PIXELS).bytes, PIXELS);
    }

    /// 2, 6 and 16 steps of 0.5 above the minimum are 1, 3 and 8 in every type.
    #[test]
    fn integers_have_the_same_values_in_every_type() {
        for integer in [Integer::Int8, Integer::Uint8] {
            let steps = [2, 6, 16, 20, 60, 160];
            let low = integer.limits().low;
            let signed = feed(&trace(Layout::Nhwc, None, false), "int8", Some(integer));
            assert_eq!(signed.theirs(&PIXELS).bytes, steps.map(|step: u8| step ^ 0x80));
            assert_eq!(signed.ours(&PIXELS), Ours::Integers(steps.map(|step| i32::from(step) + low).to_vec()));
            let unsigned = feed(&trace(Layout::Nhwc, None, false), "uint8", Some(integer));
            assert_eq!(unsigned.theirs(&PIXELS).bytes, steps);
            let real = feed(&trace(Layout::Nhwc, None, false), "float32", Some(integer));
            assert_eq!(floats(&real.theirs(&PIXELS)), [1.0, 3.0, 8.0, 10.0, 30.0, 80.0]);
        }
    }

    #[test]
    fn rejects_other_sizes_and_types() {
        let trace = trace(Layout::Nhwc, None, false);
        let refused = |dtype: &str, shape: &[usize]| {
            let input = Input { dtype: dtype.into(), shape: shape.iter().copied().map(Some).collect() };
            let preprocess = Preprocess { scale: [1.0; 3], offset: [0.0; 3] };
            let container = Container::default();
            let made = Feed::new(&container, preprocess, None, &trace, (Path::new("m.onnx"), &input), [1, 2, 3]);
            made.err().map(|error| error.to_string())
        };
        assert_eq!(refused("float32", &[1, 1, 2, 3]), None);
        let size = refused("float32", &[1, 8, 8, 3]).unwrap();
        assert_eq!(size, "m.onnx has an input of 1x8x8x3, expected 1x1x2x3");
        assert!(refused("float32", &[4, 1, 2, 3]).is_some(), "a batch");
        assert!(refused("uint8", &[1, 1, 2, 3]).unwrap().contains("uint8"));
    }
}

//! Comparison of weights with the tensors and conventions that a network requires.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::conventions::{Activation, Color, Conventions, Precision};
use crate::formats::container::{Dtype, Header};
use crate::formats::metadata::size_multiple;
use crate::network::Needs;

/// One difference between weights and a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// A tensor's name or a convention.
    pub field: String,
    /// What the network requires: `F32 [3, 3, 3, 32]`, `relu6`; `nothing` for a tensor that the network does not have.
    pub expected: String,
    /// What the weights have; `nothing` for a missing tensor.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

const NOTHING: &str = "nothing";
const RESOLUTION: &str = "resolution";

impl Needs<'_> {
    /// All differences from a weights file with these conventions and this header: conventions, then the network's
    /// tensors in order of execution, then tensors that the network does not have, in the order of the header.
    ///
    /// A bias has the length of its weight's last dimension, so a difference is reported for the weight alone. If the
    /// precision differs, so does every element type. In this case only shapes are compared, without those of scales
    /// and zero points.
    pub fn mismatches(&self, theirs: Conventions, header: &Header<'_>) -> Vec<Mismatch> {
        let mut found = Vec::new();
        let mut check = |field: &str, expected: String, value: String| {
            let differs = expected != value;
            if differs {
                found.push(Mismatch { field: field.to_owned(), expected, found: value });
            }
            differs
        };
        let ours = self.conventions;
        check("activation", ours.activation.to_string(), theirs.activation.to_string());
        let word = |activation: Option<Activation>| activation.map_or("none", Activation::word).to_owned();
        check("dense_activation", word(ours.dense_activation), word(theirs.dense_activation));
        check("padding", ours.padding.to_string(), theirs.padding.to_string());
        let other_precision = check("precision", ours.precision.of_weights().to_string(), theirs.precision.to_string());
        check("classes", ours.classes.to_string(), theirs.classes.to_string());
        let [height, width] = self.resolution;
        // `Conventions::of` has rejected other values than whole numbers from 1.
        let multiple = size_multiple(header).unwrap_or(1);
        let fits = height.is_multiple_of(multiple) && width.is_multiple_of(multiple);
        let expected = alloc::format!("{height}x{width}");
        let value = if fits { expected.clone() } else { alloc::format!("weights for multiples of {multiple}") };
        check(RESOLUTION, expected, value);

        let shape = |dtype: Dtype, dims: &[usize]| match other_precision {
            true => shape(dims),
            false => alloc::format!("{} {}", dtype.name(), shape(dims)),
        };
        let is_compared =
            |name: &str| !(other_precision && (name.ends_with(".scale") || name.ends_with(".zero_point")));
        let ours = self.parameters.iter().find(|parameter| parameter.name == Color::STEM);
        let colors = (
            ours.and_then(|stem| Color::of_stem(stem.shape)),
            header.tensor(Color::STEM).and_then(|stem| Color::of_stem(stem.shape.dims())),
        );
        if let (Some(ours), Some(theirs)) = colors {
            check("input", ours.to_string(), theirs.to_string());
        }
        let declared: BTreeMap<String, _> =
            header.tensors().map(|tensor| (tensor.name.to_string(), (tensor.dtype, tensor.shape))).collect();
        let mut differing = "";
        for parameter in self.parameters.iter().filter(|parameter| is_compared(parameter.name)) {
            let layer = parameter.name.rsplit_once('.').map_or("", |(layer, _)| layer);
            if parameter.name.ends_with(".bias") && layer == differing {
                continue;
            }
            let expected = shape(parameter.dtype, parameter.shape);
            let value = match declared.get(parameter.name) {
                Some((dtype, dims)) => shape(*dtype, dims.dims()),
                None => NOTHING.to_owned(),
            };
            if check(parameter.name, expected, value) && parameter.name.ends_with(".weight") {
                differing = layer;
            }
        }
        for tensor in header.tensors() {
            let name = tensor.name.to_string();
            let is_known = self.parameters.iter().any(|parameter| *parameter.name == name);
            let follows = name.strip_suffix(".bias").is_some_and(|layer| {
                let weight = alloc::format!("{layer}.weight");
                declared.contains_key(&weight) && !self.parameters.iter().any(|parameter| *parameter.name == weight)
            });
            if !is_known && !follows && is_compared(&name) {
                check(&name, NOTHING.to_owned(), shape(tensor.dtype, tensor.shape.dims()));
            }
        }
        found
    }
}

fn shape(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    alloc::format!("[{}]", dims.join(", "))
}

/// Remedy for weights that differ from the network.
pub struct Remedy<'a>(pub &'a [Mismatch]);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [Mismatch { field, .. }] = self.0
            && field == RESOLUTION
        {
            return f.write_str(
                "set `resolution` to a multiple (in the macro: `resolution = N`; of a command: --resolution N), or import \
                 the model with a fixed input size: at other sizes its padding is another",
            );
        }
        let Some(Mismatch { expected, found, .. }) = self.0.iter().find(|one| one.field == "precision") else {
            return f
                .write_str("use the spec that the weights were imported with, or import the weights for this spec");
        };
        write!(f, "write `precision: {found}` into the spec (in the macro: `precision = \"{found}\"`), or ")?;
        match expected == Precision::F32.word() {
            true => f.write_str("import the weights again with `mbvc import --dequantize`"),
            false => write!(f, "import the weights of a model that is quantized to {expected}"),
        }
    }
}

/// Lists differences, one per line: the first three, then the number of further ones.
pub struct Listing<'a>(pub &'a [Mismatch]);

/// Number of differences that a message lists.
const LISTED: usize = 3;

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mismatch in self.0.iter().take(LISTED) {
            write!(f, "\n  {}: {mismatch}", mismatch.field)?;
        }
        match self.0.len().checked_sub(LISTED) {
            Some(more) if more > 0 => write!(f, "\n  and {more} more"),
            _ => Ok(()),
        }
    }
}

//! Quantized networks in containers: written by `keep`, checked here when they are read.

mod keep;
#[cfg(test)]
mod tests;

use mbvc_compiler::interp::{QuantBindings, Values};
use mbvc_runtime::quantized::arithmetic::{Integer, PoolKind, is_scale};

use crate::container::{Container, Data, Tensor};
use crate::error::{ImportError, Result};
use crate::source::shorten;

pub use keep::keep;

const SCALE: &str = ".scale";
const ZERO_POINT: &str = ".zero_point";
const MEAN: &str = "mean";
const AVERAGE: &str = "average";

/// Whether a tensor says what others stand for, rather than being weights itself.
pub fn is_parameter_of(name: &str) -> bool {
    name.ends_with(SCALE) || name.ends_with(ZERO_POINT)
}

/// Checks types, scales and zero points of a container against its precision.
pub fn check(container: &Container) -> Result<()> {
    let precision = container.metadata.get("mbvc.precision").map_or("f32", String::as_str);
    let integer = match precision {
        "int8" => Integer::Int8,
        "uint8" => Integer::Uint8,
        _ => {
            let other = container.tensors.iter().find(|tensor| tensor.data.f32s().is_none());
            return other.map_or(Ok(()), |tensor| Err(wrong(tensor, "F32")));
        }
    };
    if !matches!(container.metadata.get("mbvc.pool").map(String::as_str), Some(MEAN | AVERAGE)) {
        return Err(ImportError::malformed("the metadata entry mbvc.pool is missing or unknown")
            .expected("mean or average, with precision int8 or uint8")
            .help("make the file again with `mbvc import`"));
    }
    container.tensors.iter().try_for_each(|tensor| check_tensor(tensor, integer))
}

fn check_tensor(tensor: &Tensor, integer: Integer) -> Result<()> {
    let name = tensor.name.as_str();
    match &tensor.data {
        Data::F32(scales) if name.ends_with(SCALE) => {
            let odd = scales.iter().find(|scale| !is_scale(**scale));
            odd.map_or(Ok(()), |scale| Err(wrong(tensor, "normal numbers above 0").found(scale.to_string())))
        }
        Data::I32(zeros) if name.ends_with(ZERO_POINT) => {
            let limits = integer.limits();
            let odd = zeros.iter().find(|zero| limits.clamp(**zero) != **zero);
            let range = format!("{} to {}", limits.low, limits.high);
            odd.map_or(Ok(()), |zero| Err(wrong(tensor, &range).found(zero.to_string())))
        }
        _ if name.ends_with(SCALE) => Err(wrong(tensor, "F32")),
        _ if name.ends_with(ZERO_POINT) => Err(wrong(tensor, "I32")),
        Data::I32(_) if name.ends_with(".bias") => Ok(()),
        _ if name.ends_with(".bias") => Err(wrong(tensor, "I32")),
        Data::I8(_) if integer == Integer::Int8 => Ok(()),
        Data::U8(_) if integer == Integer::Uint8 => Ok(()),
        _ => Err(wrong(tensor, if integer == Integer::Int8 { "I8" } else { "U8" })),
    }
}

fn wrong(tensor: &Tensor, expected: &str) -> Box<ImportError> {
    ImportError::malformed(format!("tensor '{}' is not what the precision asks for", shorten(&tensor.name)))
        .expected(expected)
        .found(tensor.data.element().name())
        .help("make the file again with `mbvc import`")
}

/// Lets the reference interpreter run on a quantized container.
impl QuantBindings for Container {
    fn values(&self, name: &str) -> Option<Values<'_>> {
        Some(match &self.tensor(name)?.data {
            Data::F32(values) => Values::F32(values),
            Data::I8(values) => Values::I8(values),
            Data::U8(values) => Values::U8(values),
            Data::I32(values) => Values::I32(values),
        })
    }

    fn pool(&self) -> PoolKind {
        match self.metadata.get("mbvc.pool").map(String::as_str) {
            Some(AVERAGE) => PoolKind::Average,
            _ => PoolKind::Mean,
        }
    }
}

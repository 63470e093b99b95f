//! Validation of a container's tensors against its precision.

use std::collections::BTreeMap;

use mbvc_runtime::quantized::arithmetic::{Integer, PoolKind, is_scale};

use crate::error::{ImportError, Result};
use crate::tensor::{Data, Tensor};
use crate::text::shorten;

pub const SCALE: &str = ".scale";
pub const ZERO_POINT: &str = ".zero_point";
pub const MEAN: &str = "mean";
pub const AVERAGE: &str = "average";

/// Whether a tensor is a scale or zero point rather than weights.
pub fn is_parameter_of(name: &str) -> bool {
    name.ends_with(SCALE) || name.ends_with(ZERO_POINT)
}

/// Checks types, scales and zero points of a container against its precision.
pub fn check(tensors: &[Tensor], metadata: &BTreeMap<String, String>) -> Result<()> {
    let precision = metadata.get("mbvc.precision").map_or("f32", String::as_str);
    let integer = match precision {
        "int8" => Integer::Int8,
        "uint8" => Integer::Uint8,
        _ => {
            let other = tensors.iter().find(|tensor| tensor.data.f32s().is_none());
            return other.map_or(Ok(()), |tensor| Err(wrong(tensor, "F32")));
        }
    };
    if !matches!(metadata.get("mbvc.pool").map(String::as_str), Some(MEAN | AVERAGE)) {
        return Err(ImportError::malformed("the metadata entry mbvc.pool is missing or unknown")
            .expected("mean or average, with precision int8 or uint8")
            .help("import the model again with `mbvc import`"));
    }
    tensors.iter().try_for_each(|tensor| check_tensor(tensor, integer))
}

fn check_tensor(tensor: &Tensor, integer: Integer) -> Result<()> {
    let name = tensor.name.as_str();
    match &tensor.data {
        Data::F32(scales) if name.ends_with(SCALE) => {
            let invalid = scales.iter().find(|scale| !is_scale(**scale));
            invalid.map_or(Ok(()), |scale| Err(wrong(tensor, "normal numbers above 0").found(scale.to_string())))
        }
        Data::I32(zeros) if name.ends_with(ZERO_POINT) => {
            let limits = integer.limits();
            let invalid = zeros.iter().find(|zero| limits.clamp(**zero) != **zero);
            let range = format!("{} to {}", limits.low, limits.high);
            invalid.map_or(Ok(()), |zero| Err(wrong(tensor, &range).found(zero.to_string())))
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
    ImportError::malformed(format!("tensor '{}' does not fit the precision", shorten(&tensor.name)))
        .expected(expected)
        .found(tensor.data.element().name())
        .help("import the model again with `mbvc import`")
}

/// Returns the kind of average pool in the metadata.
pub fn pool(metadata: &BTreeMap<String, String>) -> PoolKind {
    match metadata.get("mbvc.pool").map(String::as_str) {
        Some(AVERAGE) => PoolKind::Average,
        _ => PoolKind::Mean,
    }
}

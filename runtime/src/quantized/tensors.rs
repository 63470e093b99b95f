//! Access to tensors and metadata of a container, for packing.

use super::plan::Named;
use crate::conventions::ConventionError;
use crate::float::pack::PackError;
use crate::formats::container::{Container, Dtype};
use crate::quantized::arithmetic::{Integer, PoolKind, Quant};

/// Returns the bytes of a tensor, if it has the expected type and size.
pub(super) fn data<'a, 'n>(
    weights: &Container<'a>,
    name: &'n str,
    dtype: Dtype,
    bytes: usize,
) -> Result<&'a [u8], PackError<'n>> {
    let tensor = weights.tensor(name).ok_or(PackError::Missing(name))?;
    if tensor.dtype != dtype {
        return Err(PackError::Type { name, expected: dtype, found: tensor.dtype });
    }
    if tensor.data.len() != bytes {
        return Err(PackError::Size { name, expected: bytes, found: tensor.data.len() });
    }
    Ok(tensor.data)
}

/// Returns the bytes of a tensor of one 32-bit number.
pub(super) fn word<'n>(weights: &Container<'_>, name: &'n str, dtype: Dtype) -> Result<[u8; 4], PackError<'n>> {
    data(weights, name, dtype, 4)?.first_chunk().copied().ok_or(PackError::Missing(name))
}

/// Reads `mbvc.pool`.
pub(super) fn pool_kind(weights: &Container<'_>) -> Result<PoolKind, PackError<'static>> {
    match weights.metadata("mbvc.pool").and_then(|text| text.as_plain()) {
        Some("mean") => Ok(PoolKind::Mean),
        Some("average") => Ok(PoolKind::Average),
        _ => Err(PackError::Convention(ConventionError::Value { key: "mbvc.pool", expected: "`mean` or `average`" })),
    }
}

/// Reads the quantization of a value.
pub(super) fn quant_of<'n>(
    weights: &Container<'_>,
    named: Named<'n>,
    integer: Integer,
) -> Result<Quant, PackError<'n>> {
    let scale = word(weights, named.scale, Dtype::F32).map(f32::from_le_bytes)?;
    let zero_point = word(weights, named.zero_point, Dtype::I32).map(i32::from_le_bytes)?;
    Quant::new(scale, zero_point, integer).ok_or(PackError::OutOfRange(named.scale))
}

//! Element types and shapes (FF IV.A.2.d and IV.A.2.b).

use super::cursor::Cursor;
use crate::error::{ImportError, Result};
use crate::source::DType;

/// Element type of a dataset or attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datatype {
    Number(DType),
    /// This many bytes, padded with zeros or spaces.
    FixedString(usize),
    /// Variable length, in the global heap.
    String,
    /// An unsupported type, by class.
    Other(u8),
}

impl Datatype {
    pub fn read(mut cursor: Cursor<'_>) -> Result<Self> {
        const FIXED_POINT: u8 = 0;
        const FLOATING_POINT: u8 = 1;
        const STRING: u8 = 3;
        const VARIABLE_LENGTH: u8 = 9;
        let class = cursor.u8()? & 15;
        let bits = cursor.number(3)?;
        let size = cursor.size(4)?;
        // Little-endian without significant padding.
        let little = bits & 0x41 == 0;
        Ok(match class {
            STRING => Self::FixedString(size),
            VARIABLE_LENGTH if bits & 15 == 1 => Self::String,
            FIXED_POINT if little => Self::integer(size, bits & 8 != 0),
            FLOATING_POINT if little => {
                // Bit offset and precision, position of the exponent; then its width.
                cursor.skip(5)?;
                Self::float(size, cursor.u8()?)
            }
            other => Self::Other(other),
        })
    }

    fn integer(size: usize, signed: bool) -> Self {
        Self::Number(match (size, signed) {
            (1, true) => DType::I8,
            (1, false) => DType::U8,
            (2, true) => DType::I16,
            (2, false) => DType::U16,
            (4, true) => DType::I32,
            (8, true) => DType::I64,
            _ => return Self::Other(0),
        })
    }

    fn float(size: usize, exponent: u8) -> Self {
        Self::Number(match (size, exponent) {
            (2, 5) => DType::F16,
            (2, 8) => DType::Bf16,
            (4, 8) => DType::F32,
            (8, 11) => DType::F64,
            _ => return Self::Other(1),
        })
    }
}

/// Reads the shape in a dataspace message: rank 0 for a scalar, `[0]` for an empty dataspace.
pub fn shape(mut cursor: Cursor<'_>) -> Result<Vec<usize>> {
    /// Weights have at most 4 dimensions.
    const MAX_RANK: u8 = 8;
    const NULL: u8 = 2;
    let (version, rank) = (cursor.u8()?, cursor.u8()?);
    // Flags.
    cursor.skip(1)?;
    let space = cursor.u8()?;
    match version {
        1 => cursor.skip(4)?,
        2 if space == NULL => return Ok(vec![0]),
        2 => {}
        other => {
            return Err(ImportError::malformed(format!("unsupported dataspace version {other}")).expected("1 or 2"));
        }
    }
    if rank > MAX_RANK {
        return Err(ImportError::unsupported(format!("the dataspace has {rank} dimensions"))
            .expected(format!("at most {MAX_RANK}")));
    }
    (0..rank).map(|_| cursor.length()).collect()
}

//! Reads safetensors files with the names of a PyTorch state dict to a [`StateDict`].

use safetensors::{Dtype, SafeTensors};

use super::dict::{StateDict, Stored};
use crate::error::{ImportError, Result};
use crate::source::DType;

/// Longest header in bytes. A checkpoint with an optimizer has about 200 KB, and decoding expands it several times.
const MAX_HEADER: u64 = 1 << 23;

/// Whether the header has the entry that identifies an mbvc container.
pub fn is_container(bytes: &[u8]) -> bool {
    check_header(bytes).is_ok()
        && SafeTensors::read_metadata(bytes).is_ok_and(|(_, header)| {
            header.metadata().as_ref().is_some_and(|entries| entries.contains_key("mbvc.format"))
        })
}

/// Checks the length of the header before it is decoded.
pub fn check_header(bytes: &[u8]) -> Result<()> {
    let length = bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
    if length > MAX_HEADER {
        return Err(ImportError::unsupported(format!("the safetensors header has {length} bytes"))
            .expected(format!("at most {MAX_HEADER}")));
    }
    Ok(())
}

/// Reads the names and tensors of a file.
pub fn read(bytes: &[u8]) -> Result<StateDict<'_>> {
    check_header(bytes)?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        ImportError::malformed(format!("invalid safetensors file: {error}")).help("the file may be truncated")
    })?;
    let mut dict = StateDict::default();
    for (name, tensor) in file.iter() {
        let shape = tensor.shape().to_vec();
        let stored = match dtype(tensor.dtype()) {
            Some(dtype) => Ok(Stored::whole(dtype, shape, tensor.data())),
            None => Err(ImportError::unsupported(format!("unsupported element type {:?}", tensor.dtype()))
                .expected("16-bit, 32-bit or 64-bit floats")),
        };
        dict.tensors.insert(name.to_owned(), stored);
    }
    Ok(dict)
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::Bf16,
        Dtype::I8 => DType::I8,
        Dtype::U8 | Dtype::BOOL => DType::U8,
        Dtype::I16 => DType::I16,
        Dtype::U16 => DType::U16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        _ => return None,
    })
}

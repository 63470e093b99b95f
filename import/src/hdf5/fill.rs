//! Fill values, the content of chunks that were never written (FF IV.A.2.e and IV.A.2.f).

use super::file::File;
use super::header::{Object, kind};
use crate::error::{ImportError, Result};

impl<'a> File<'a> {
    /// Returns the bytes of a dataset's fill value; `None` for the default, zero.
    ///
    /// # Errors
    /// If the value does not have `element` bytes.
    pub(super) fn fill_value(&self, object: &Object<'a>, element: usize) -> Result<Option<&'a [u8]>> {
        let value = match self.new_fill_value(object)? {
            Some(value) => value,
            None => self.old_fill_value(object)?,
        };
        if !value.is_empty() && value.len() != element {
            return Err(ImportError::malformed("the fill value does not match the element type")
                .expected(format!("{element} bytes"))
                .found(format!("{} bytes", value.len())));
        }
        Ok(Some(value).filter(|value| value.iter().any(|byte| *byte != 0)))
    }

    /// Reads the message of HDF5 1.6 and later; `None` if it is absent.
    fn new_fill_value(&self, object: &Object<'a>) -> Result<Option<&'a [u8]>> {
        const DEFINED: u8 = 1 << 5;
        let Some(mut message) = object.message(kind::FILL_VALUE)? else { return Ok(None) };
        let has_value = match message.u8()? {
            version @ (1 | 2) => {
                // The times of allocation and of filling.
                message.skip(2)?;
                message.u8()? != 0 || version == 1
            }
            3 => message.u8()? & DEFINED != 0,
            other => {
                return Err(
                    ImportError::malformed(format!("unsupported version {other} of the fill value")).expected("1 to 3")
                );
            }
        };
        let size = if has_value { message.size(4)? } else { 0 };
        message.take(size).map(Some)
    }

    /// Reads the message of earlier versions; empty if it is absent.
    fn old_fill_value(&self, object: &Object<'a>) -> Result<&'a [u8]> {
        let Some(mut message) = object.message(kind::OLD_FILL_VALUE)? else { return Ok(&[]) };
        let size = message.size(4)?;
        message.take(size)
    }
}

/// Returns `size` bytes, each element of which is `value`.
pub fn filled(size: usize, value: Option<&[u8]>) -> Vec<u8> {
    match value {
        Some(value) => value.iter().copied().cycle().take(size).collect(),
        None => vec![0; size],
    }
}

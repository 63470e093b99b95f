//! Arrays of images at the size of the input.

use mbvc_runtime::NetworkInfo;
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods as _};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// A borrowed array `[N, height, width, channels]`.
pub enum Images<'py> {
    /// Pixels.
    Bytes(PyReadonlyArrayDyn<'py, u8>),
    /// Preprocessed values.
    Floats(PyReadonlyArrayDyn<'py, f32>),
}

/// One image of an array.
pub enum Image<'a> {
    Bytes(&'a [u8]),
    Floats(&'a [f32]),
}

impl<'py> Images<'py> {
    /// Checks type and shape.
    ///
    /// # Errors
    /// If `object` is not an array of uint8 or float32 with the shape that the network requires.
    pub fn new(object: &Bound<'py, PyAny>, info: &NetworkInfo) -> PyResult<Self> {
        let array = object.cast::<PyUntypedArray>().map_err(|_| {
            let class = object.get_type();
            PyTypeError::new_err(format!("expected a NumPy array, found {class}"))
        })?;
        let [height, width, channels] = info.input;
        if !matches!(*array.shape(), [_, h, w, c] if [h, w, c] == info.input) {
            let found = array.shape();
            return Err(PyValueError::new_err(format!(
                "expected the shape [N, {height}, {width}, {channels}], found {found:?}"
            )));
        }
        if let Ok(bytes) = object.extract() {
            return Ok(Self::Bytes(bytes));
        }
        object.extract().map(Self::Floats).map_err(|_| {
            let dtype = array.dtype();
            PyTypeError::new_err(format!("expected uint8 pixels or float32 values, found {dtype}"))
        })
    }

    /// Returns the images.
    ///
    /// # Errors
    /// If the array is not contiguous.
    pub fn list(&self, info: &NetworkInfo) -> PyResult<Vec<Image<'_>>> {
        let length = info.input.iter().product();
        let contiguous = || PyValueError::new_err("expected a contiguous array");
        Ok(match self {
            Self::Bytes(array) => {
                array.as_slice().map_err(|_| contiguous())?.chunks_exact(length).map(Image::Bytes).collect()
            }
            Self::Floats(array) => {
                array.as_slice().map_err(|_| contiguous())?.chunks_exact(length).map(Image::Floats).collect()
            }
        })
    }
}

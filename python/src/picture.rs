//! Pictures as Python has them.

use std::path::{Path, PathBuf};

use mbvc_pictures::Photo;
use mbvc_runtime::{Framing, Rgb};
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods as _};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString};

/// A picture of any size.
pub enum Picture {
    /// Path of an image file.
    File(PathBuf),
    /// Content of an image file.
    Encoded(PyBackedBytes),
    /// RGB bytes, `[height, width, 3]`.
    Pixels(Rgb<'static>),
}

impl Picture {
    /// Frames the picture for an input of the shape `[height, width, channels]`.
    ///
    /// # Errors
    /// If a file cannot be read or decoded.
    pub fn frame(&self, framing: Framing, input: [usize; 3]) -> mbvc_pictures::Result<Vec<u8>> {
        match self {
            Self::File(path) => mbvc_pictures::load(path, framing, input),
            Self::Encoded(bytes) => Ok(Photo::from_bytes(bytes, Path::new("the image"))?.frame(framing, input)),
            Self::Pixels(rgb) => Ok(framing.frame(rgb, input)),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Picture {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyBytes>() {
            return Ok(Self::Encoded(object.extract()?));
        }
        if object.is_instance_of::<PyString>() || object.hasattr("__fspath__")? {
            return Ok(Self::File(object.extract()?));
        }
        if object.hasattr("__array_interface__")? {
            return pixels(&object).map(Self::Pixels);
        }
        let class = object.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "expected a picture: a path, the bytes of an image file, a PIL image, or an array of uint8 [height, width, 3]; \
             found {class}"
        )))
    }
}

/// Copies an array `[height, width, 3]`, or a gray one `[height, width]` or `[height, width, 1]`.
fn pixels(object: &Bound<'_, PyAny>) -> PyResult<Rgb<'static>> {
    let array = object.cast::<PyUntypedArray>()?;
    let shape = array.shape();
    let wrong = || {
        let message = format!(
            "expected pixels as an array of uint8 [height, width, 3] or [height, width], found {} {shape:?}",
            array.dtype()
        );
        PyValueError::new_err(message)
    };
    let bytes: PyReadonlyArrayDyn<'_, u8> = object.extract().map_err(|_| wrong())?;
    let (size, channels) = match *shape {
        [height, width] => ([height, width], 1),
        [height, width, channels @ (1 | 3)] => ([height, width], channels),
        _ => return Err(wrong()),
    };
    let values = bytes.as_array();
    let pixels: Vec<u8> = match channels {
        3 => values.iter().copied().collect(),
        _ => values.iter().flat_map(|gray| [*gray; 3]).collect(),
    };
    Rgb::new(pixels, size).map_err(|cause| PyValueError::new_err(cause.to_string()))
}

//! The weights file: a safetensors file with canonical names, folded weights and string metadata.
//!
//! With `mbvc.precision` = `f32` all tensors are F32. With `int8` and `uint8` there are, for every layer `L` and every
//! value `V` that is the input or the output of a layer, an add or the pool (`input`, `stem`, `block2.expand`,
//! `block3.add`, `head.pool`, `classifier`; a layer's value has the layer's name and follows its activation, before a
//! residual):
//!
//! | tensor                | int8                       | uint8             |
//! |-----------------------|----------------------------|-------------------|
//! | `L.weight`            | I8, symmetric              | U8                |
//! | `L.weight.scale`      | F32 `[out]`                | F32 `[1]`         |
//! | `L.weight.zero_point` |                            | I32 `[1]`, 0..=255|
//! | `L.bias`              | I32 `[out]`, in units of input scale * weight scale | the same |
//! | `V.scale`             | F32 `[1]`                  | F32 `[1]`         |
//! | `V.zero_point`        | I32 `[1]`, -128..=127      | I32 `[1]`, 0..=255|
//!
//! An integer `q` represents `scale * (q - zero_point)`; every scale is a normal number above 0. `mbvc.pool` is the
//! kind of average: `mean` (TFLite's MEAN and ONNX's pools, with an output scale) or `average` (AVERAGE_POOL_2D, whose
//! output has the input's scale). `mbvc.calibration` is the method by which `mbvc quantize` selected the scales.
//!
//! Adding 128 to an integer and its zero point converts int8 to uint8 without changing the number it represents. Models
//! whose values and weights differ in type, as is usual in ONNX, are converted to the form of their weights.

use std::collections::BTreeMap;
use std::path::Path;

use ::safetensors::{SafeTensorError, SafeTensors};
use mbvc_interpreter::{Bindings, QuantBindings, Values};
use mbvc_runtime::quantized::arithmetic::PoolKind;
use serde::Serialize;

use crate::error::{ErrorKind, ImportError, Result};
use crate::files::read_file;
use crate::quantized;
use crate::state_dict::safetensors;
use crate::tensor::{Data, Tensor};
use crate::text::{display_shape, elements, shorten};

/// Version of a weights file's conventions, in `mbvc.format`.
pub const FORMAT_VERSION: &str = "1";

/// Tensors and metadata of a weights file (safetensors).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Container {
    /// In order of execution.
    pub tensors: Vec<Tensor>,
    /// `mbvc.` entries of the header.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Container {
    /// Reads and validates a weights file: format, version, shapes, and the element types of its precision.
    ///
    /// # Errors
    /// If the bytes are not a weights file of this version.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self> {
        Self::parse(bytes).map_err(|error| error.file(name))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let damaged = |error: SafeTensorError| {
            let problem = match error {
                SafeTensorError::MetadataIncompleteBuffer => {
                    "the size of the file does not match the tensors in its header".into()
                }
                other => other.to_string(),
            };
            ImportError::malformed(format!("invalid safetensors file: {problem}"))
                .help("the file may be truncated; write it again with `mbvc import`")
        };
        safetensors::check_header(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let metadata: BTreeMap<String, String> = header.metadata().clone().unwrap_or_default().into_iter().collect();
        match metadata.get("mbvc.format").map(String::as_str) {
            Some(FORMAT_VERSION) => {}
            Some(other) => {
                return Err(ImportError::unsupported("unsupported version of the weights file")
                    .expected(format!("mbvc.format = {FORMAT_VERSION}"))
                    .found(format!("mbvc.format = {}", shorten(other)))
                    .help("import the model again with this version of `mbvc`"));
            }
            None => {
                return Err(ImportError::new(
                    ErrorKind::NotAModel,
                    "a safetensors file, but not a weights file of mbvc",
                )
                .expected("the metadata entry mbvc.format")
                .help("convert a model with `mbvc import MODEL --output FILE`"));
            }
        }
        // The data is in order of execution.
        let mut tensors = Vec::with_capacity(file.len());
        for name in header.offset_keys() {
            let view = file.tensor(&name).map_err(damaged)?;
            let data = Data::read(view.dtype(), view.data()).ok_or_else(|| {
                ImportError::malformed(format!("tensor '{}' has element type {:?}", shorten(&name), view.dtype()))
                    .expected("F32, or I8, U8 or I32 if the network is quantized")
            })?;
            if elements(view.shape())? != data.len() {
                return Err(ImportError::malformed(format!(
                    "tensor '{}' has {} values for the shape {}",
                    shorten(&name),
                    data.len(),
                    display_shape(view.shape())
                )));
            }
            tensors.push(Tensor { name, shape: view.shape().to_vec(), data });
        }
        quantized::check(&tensors, &metadata)?;
        Ok(Self { tensors, metadata })
    }

    /// Reads and validates a weights file: see [`from_bytes`](Self::from_bytes).
    ///
    /// # Errors
    /// If the file cannot be read or is not a weights file of this version.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = read_file(path)?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Checks that no float32 element is NaN or infinite.
    ///
    /// # Errors
    /// If one is; the message names the tensor and the element.
    pub fn check_finite(&self) -> Result<()> {
        for tensor in &self.tensors {
            let odd = tensor.data.f32s().unwrap_or_default().iter().position(|value| !value.is_finite());
            if let Some(at) = odd {
                let name = shorten(&tensor.name);
                return Err(ImportError::unsupported(format!("element {at} of tensor '{name}' is NaN or infinite"))
                    .expected("finite weights")
                    .help("import the model again; if it has the same values, its training diverged"));
            }
        }
        Ok(())
    }

    /// Returns the tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Returns the number of weights and biases, without scales and zero points.
    pub fn parameters(&self) -> usize {
        let counted = self.tensors.iter().filter(|tensor| !quantized::is_parameter_of(&tensor.name));
        counted.map(|tensor| tensor.data.len()).sum()
    }

    /// Returns the file's bytes, which are deterministic.
    ///
    /// The header is written here because `safetensors::serialize` takes the metadata as a `HashMap`,
    /// whose order differs from run to run.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut bytes, length) = self.header();
        bytes.reserve_exact(length - bytes.len());
        for tensor in &self.tensors {
            tensor.data.write(&mut bytes);
        }
        bytes
    }

    /// Returns the bytes before the tensors' data, and the length of the whole file.
    pub(crate) fn header(&self) -> (Vec<u8>, usize) {
        let mut header = serde_json::Map::new();
        if let Ok(metadata) = serde_json::to_value(&self.metadata) {
            header.insert("__metadata__".into(), metadata);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            let end = offset + tensor.data.len() * tensor.data.element().bytes();
            let entry = Entry { dtype: tensor.data.dtype(), shape: &tensor.shape, data_offsets: [offset, end] };
            if let Ok(entry) = serde_json::to_value(entry) {
                header.insert(tensor.name.clone(), entry);
            }
            offset = end;
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        // The data is 64-byte aligned, so that a mapped file can be read by aligned vectors.
        header.resize((header.len() + 8).next_multiple_of(64) - 8, b' ');
        let mut bytes = Vec::with_capacity(8 + header.len());
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        let length = bytes.len() + offset;
        (bytes, length)
    }
}

/// Weights for the reference interpreter.
impl Bindings for Container {
    fn get(&self, name: &str) -> Option<&[f32]> {
        self.tensor(name)?.data.f32s()
    }
}

/// Quantized weights for the reference interpreter.
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
        quantized::pool(&self.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Container {
        let tensor = |name: &str, shape: &[usize], data: &[f32]| Tensor {
            name: name.into(),
            shape: shape.to_vec(),
            data: Data::F32(data.to_vec()),
        };
        let metadata = [("mbvc.format", "1"), ("mbvc.width", "1"), ("mbvc.labels", "a\n\"b\"\u{e9}")];
        Container {
            tensors: vec![tensor("z.weight", &[1, 2], &[1.5, -0.0]), tensor("a.bias", &[1], &[f32::MIN_POSITIVE])],
            metadata: metadata.map(|(key, value)| (key.into(), value.into())).into(),
        }
    }

    #[test]
    fn round_trips() {
        let bytes = small().to_bytes();
        assert_eq!(bytes, small().to_bytes());
        let again = Container::from_bytes(&bytes, "x").unwrap();
        assert_eq!(again, small());
        assert_eq!(again.parameters(), 3);
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!((length + 8) % 64, 0);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = small().to_bytes();
        for end in 0..bytes.len() {
            assert!(Container::from_bytes(&bytes[..end], "x").is_err(), "{end} bytes");
        }
    }

    #[test]
    fn rejects_other_versions_and_foreign_files() {
        let mut other = small();
        other.metadata.insert("mbvc.format".into(), "2".into());
        let error = Container::from_bytes(&other.to_bytes(), "x").unwrap_err();
        assert!(error.to_string().contains("mbvc.format = 2"), "{error}");
        other.metadata.clear();
        let error = Container::from_bytes(&other.to_bytes(), "w.safetensors").unwrap_err();
        assert!(
            error.to_string().starts_with("w.safetensors: a safetensors file, but not a weights file of mbvc"),
            "{error}"
        );
    }

    fn quantized(metadata: &[(&str, &str)], tensors: Vec<(&str, Data)>) -> Result<Container> {
        let known = [("mbvc.format", "1")];
        let container = Container {
            tensors: tensors
                .into_iter()
                .map(|(name, data)| Tensor { name: name.into(), shape: vec![data.len()], data })
                .collect(),
            metadata: known.iter().chain(metadata).map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        };
        Container::from_bytes(&container.to_bytes(), "x")
    }

    #[test]
    fn quantized_tensors_round_trip_and_invalid_ones_are_rejected() {
        let int8 = [("mbvc.precision", "int8"), ("mbvc.pool", "mean")];
        let valid = || {
            vec![
                ("a.weight", Data::I8(vec![-128, 127])),
                ("a.bias", Data::I32(vec![i32::MIN])),
                ("a.scale", Data::F32(vec![0.5])),
                ("a.zero_point", Data::I32(vec![-128])),
            ]
        };
        let container = quantized(&int8, valid()).unwrap();
        assert_eq!(container.tensors.iter().map(|tensor| tensor.data.clone()).collect::<Vec<_>>()[0], valid()[0].1);
        assert_eq!(container.parameters(), 3);
        for (name, data) in [
            ("a.scale", Data::F32(vec![0.0])),
            ("a.scale", Data::F32(vec![-1.0])),
            ("a.scale", Data::F32(vec![f32::NAN])),
            ("a.scale", Data::F32(vec![f32::INFINITY])),
            ("a.scale", Data::F32(vec![f32::MIN_POSITIVE / 2.0])),
            ("a.scale", Data::I32(vec![1])),
            ("a.zero_point", Data::I32(vec![128])),
            ("a.zero_point", Data::F32(vec![0.0])),
            ("a.bias", Data::F32(vec![0.0])),
            ("a.weight", Data::U8(vec![0])),
            ("a.weight", Data::F32(vec![0.0])),
        ] {
            let mut tensors = valid();
            tensors.retain(|(other, _)| *other != name);
            tensors.push((name, data));
            let error = quantized(&int8, tensors).unwrap_err().to_string();
            assert!(error.contains(&format!("tensor '{name}'")), "{error}");
        }
        let error = quantized(&[("mbvc.precision", "f32")], valid()).unwrap_err().to_string();
        assert!(error.contains("tensor 'a.weight'"), "{error}");
        let error = quantized(&int8[..1], valid()).unwrap_err().to_string();
        assert!(error.contains("mbvc.pool"), "{error}");
    }
}

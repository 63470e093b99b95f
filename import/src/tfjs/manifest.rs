//! The tensors of `weightsManifest`: groups of tensors, each stored in one or more shards
//! (`WeightsManifestGroupConfig` of TensorFlow.js, tfjs-core/src/io/types.ts).
//!
//! The shards of a group are consecutive parts of one buffer, which holds the tensors one after the other.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::beside::Beside;
use crate::error::{ImportError, Result};
use crate::limits;
use crate::source::{Constant, DType, Values};
use crate::text::{elements, shorten};

/// Most tensors, above those of any MobileNetV2 and its optimizer; bounds the work on a hostile file.
const MAX_TENSORS: usize = 1 << 13;
/// Group of tensors that only continue the training.
const OPTIMIZER: &str = "optimizer";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    quantization: Option<Quantized>,
    group: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quantized {
    dtype: String,
    scale: Option<f64>,
    min: Option<f64>,
    original_dtype: Option<String>,
}

/// Form of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Encoding {
    Plain(DType),
    /// `stored * scale + min`, from integers of this type to `float32`, or to the nearest `int32`.
    Affine {
        stored: DType,
        scale: f64,
        min: f64,
        whole: bool,
    },
}

impl Encoding {
    fn size(self) -> usize {
        match self {
            Self::Plain(dtype) | Self::Affine { stored: dtype, .. } => dtype.size(),
        }
    }
}

/// A tensor and its place.
#[derive(Debug)]
struct Stored {
    name: String,
    shape: Vec<usize>,
    encoding: Encoding,
    /// Whether it only continues the training.
    is_optimizer: bool,
    buffer: usize,
    range: Range<usize>,
}

/// All tensors of a model.
#[derive(Debug)]
pub struct Tensors {
    /// One per group.
    buffers: Vec<Vec<u8>>,
    stored: Vec<Stored>,
    numbers: HashMap<String, usize>,
    used: RefCell<Vec<bool>>,
    /// Remaining bytes to allocate for dequantized tensors.
    room: Cell<usize>,
}

impl Tensors {
    /// Reads the tensors of `manifest` from the shards beside the model.
    ///
    /// # Errors
    /// If an entry is invalid or unsupported, a shard cannot be read, or the shards are larger or smaller than their tensors.
    pub fn read(manifest: &Json, beside: &mut Beside<'_>) -> Result<Self> {
        let groups: Vec<Group> = Vec::deserialize(manifest)
            .map_err(|error| ImportError::malformed(format!("invalid weights manifest: {error}")))?;
        let count = groups.iter().map(|group| group.weights.len()).sum::<usize>();
        if count > MAX_TENSORS {
            return Err(ImportError::unsupported(format!("the model has {count} tensors"))
                .expected(format!("at most {MAX_TENSORS}")));
        }
        let (mut buffers, mut stored) = (Vec::new(), Vec::new());
        let mut shards = HashSet::new();
        for Group { paths, weights } in groups {
            let mut size = 0usize;
            for entry in weights {
                let place = tensor(&entry.name);
                let read = Stored::read(entry, buffers.len(), size).map_err(|error| error.at(place))?;
                size = read.range.end;
                stored.push(read);
            }
            if let Some(twice) = paths.iter().find(|path| !shards.insert((*path).clone())) {
                return Err(ImportError::malformed(format!("duplicate shard '{}'", shorten(twice))));
            }
            buffers.push(buffer(&paths, size, beside)?);
        }
        let mut numbers = HashMap::new();
        for (number, Stored { name, .. }) in stored.iter().enumerate() {
            if numbers.insert(name.clone(), number).is_some() {
                return Err(ImportError::malformed("duplicate tensor").at(tensor(name)));
            }
        }
        let used = RefCell::new(vec![false; stored.len()]);
        Ok(Self { buffers, stored, numbers, used, room: Cell::new(limits::unpacked(beside.bytes())) })
    }

    /// Iterates over names and numbers of the tensors of the model, without those of the optimizer.
    pub fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        let of_model = self.stored.iter().enumerate().filter(|(_, stored)| !stored.is_optimizer);
        of_model.map(|(number, stored)| (stored.name.as_str(), number))
    }

    /// Returns the number of the tensor with this name.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// Counts bytes before they are allocated.
    pub fn charge(&self, bytes: usize) -> Result<()> {
        let left =
            self.room.get().checked_sub(bytes).ok_or_else(|| {
                ImportError::unsupported("the dequantized tensors are too large, or are used too often")
            })?;
        self.room.set(left);
        Ok(())
    }

    /// Marks a tensor as used.
    pub fn mark(&self, number: usize) {
        if let Some(used) = self.used.borrow_mut().get_mut(number) {
            *used = true;
        }
    }

    /// Returns a tensor and marks it as used.
    pub fn constant(&self, number: usize) -> Result<Constant<'_>> {
        let stored =
            self.stored.get(number).ok_or_else(|| ImportError::malformed(format!("tensor {number} does not exist")))?;
        self.mark(number);
        let bytes = self.buffers.get(stored.buffer).and_then(|buffer| buffer.get(stored.range.clone()));
        self.decoded(stored, bytes.unwrap_or_default()).map_err(|error| error.at(tensor(&stored.name)))
    }

    fn decoded<'a>(&'a self, stored: &Stored, bytes: &'a [u8]) -> Result<Constant<'a>> {
        let shape = stored.shape.clone();
        let Encoding::Affine { stored: dtype, scale, min, whole } = stored.encoding else {
            let Encoding::Plain(dtype) = stored.encoding else {
                return Err(ImportError::malformed("unknown encoding"));
            };
            return Constant::new(shape, Values::Bytes(dtype, Cow::Borrowed(bytes)));
        };
        let integers = Constant::new(shape.clone(), Values::Bytes(dtype, Cow::Borrowed(bytes)))?;
        self.charge(integers.len().saturating_mul(size_of::<f64>() + size_of::<i64>()))?;
        // In double precision and rounded once, as JavaScript does (`decodeWeight` of tfjs-core/src/io/io_utils.ts).
        let values = integers.to_f64().into_iter().map(|integer| integer * scale + min);
        if whole {
            // `Math.round`.
            let values: Vec<i64> = values.map(|value| (value + 0.5).floor() as i64).collect();
            return Constant::new(shape, Values::I64(values.into()));
        }
        Constant::new(shape, Values::F32(values.map(|value| value as f32).collect()))
    }

    /// Checks that every tensor of floats is used, except the state of an optimizer.
    ///
    /// # Errors
    /// If a tensor is not used. The message names it.
    pub fn check_used(&self) -> Result<()> {
        let used = self.used.borrow();
        let unused = self.stored.iter().zip(used.iter()).find(|(stored, used)| {
            let is_float = match stored.encoding {
                Encoding::Plain(dtype) => dtype.is_float(),
                Encoding::Affine { whole, .. } => !whole,
            };
            !**used && is_float && !stored.is_optimizer
        });
        match unused {
            None => Ok(()),
            Some((stored, _)) => Err(ImportError::unsupported("no known operation uses the tensor")
                .at(tensor(&stored.name))
                .help("remove the layer that has it, or save the model again")),
        }
    }

    /// Returns notes on quantized and ignored tensors.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |count: usize, text: String| {
            if count > 0 {
                notes.push(text);
            }
        };
        for (dtype, name) in [(DType::U8, "uint8"), (DType::U16, "uint16")] {
            let is_quantized =
                |stored: &&Stored| matches!(stored.encoding, Encoding::Affine { stored, .. } if stored == dtype);
            let count = self.stored.iter().filter(is_quantized).count();
            note(count, format!("{count} tensors are quantized to {name}; they are dequantized, as in TensorFlow.js"));
        }
        let halves = self.stored.iter().filter(|stored| stored.encoding == Encoding::Plain(DType::F16)).count();
        note(halves, format!("{halves} tensors are stored as float16"));
        let ignored = self.stored.iter().filter(|stored| stored.is_optimizer).count();
        note(ignored, format!("{ignored} tensors of the optimizer are ignored"));
        notes
    }
}

impl Stored {
    fn read(entry: Entry, buffer: usize, start: usize) -> Result<Self> {
        let encoding = encoding(&entry)?;
        let size = elements(&entry.shape)?.checked_mul(encoding.size());
        let end = size.and_then(|size| start.checked_add(size));
        let end = end.ok_or_else(|| ImportError::malformed("the tensor is too large"))?;
        let is_optimizer = match entry.group.as_deref() {
            None | Some("model") => false,
            Some(OPTIMIZER) => true,
            Some(other) => {
                return Err(ImportError::unsupported(format!("unknown group '{}' of the tensor", shorten(other)))
                    .expected("model or optimizer"));
            }
        };
        Ok(Self { name: entry.name, shape: entry.shape, encoding, is_optimizer, buffer, range: start..end })
    }
}

fn encoding(entry: &Entry) -> Result<Encoding> {
    let Some(quantized) = &entry.quantization else {
        return Ok(Encoding::Plain(match entry.dtype.as_str() {
            "float32" => DType::F32,
            "int32" => DType::I32,
            "bool" => DType::U8,
            other => {
                return Err(ImportError::unsupported(format!("unsupported dtype '{}'", shorten(other)))
                    .expected("float32, int32 or bool"));
            }
        }));
    };
    if quantized.original_dtype.as_ref().is_some_and(|original| *original != entry.dtype) {
        return Err(ImportError::malformed("`original_dtype` differs from the dtype of the tensor")
            .expected(shorten(&entry.dtype))
            .found(quantized.original_dtype.as_deref().map(shorten).unwrap_or_default()));
    }
    let stored = match quantized.dtype.as_str() {
        "float16" if entry.dtype == "float32" => return Ok(Encoding::Plain(DType::F16)),
        "uint8" => DType::U8,
        "uint16" => DType::U16,
        other => {
            let dtype = shorten(&entry.dtype);
            return Err(ImportError::unsupported(format!(
                "unsupported quantization of {dtype} to '{}'",
                shorten(other)
            ))
            .expected("uint8 or uint16, or float16 for float32"));
        }
    };
    let whole = match entry.dtype.as_str() {
        "float32" => false,
        "int32" => true,
        other => return Err(ImportError::unsupported(format!("unsupported dtype '{}'", shorten(other)))),
    };
    match (quantized.scale, quantized.min) {
        (Some(scale), Some(min)) => Ok(Encoding::Affine { stored, scale, min, whole }),
        _ => Err(ImportError::malformed("the quantization has no `scale` or no `min`")),
    }
}

/// Reads the shards of a group, whose tensors have `size` bytes.
fn buffer(paths: &[String], size: usize, beside: &mut Beside<'_>) -> Result<Vec<u8>> {
    const HELP: &str = "the file may be truncated, or belong to another model; export the model again";
    let mut buffer = Vec::new();
    let mut last = None;
    for path in paths {
        let shard = beside.read(path, "shard of weights")?;
        let left = size - buffer.len();
        if shard.len() > left {
            return Err(ImportError::malformed(format!("the shard '{}' is too large", shorten(path)))
                .expected(format!("{left} bytes, the rest of the {size} bytes of its tensors"))
                .found(format!("{} bytes", shard.len()))
                .help(HELP));
        }
        last = Some((path, left, shard.len()));
        match buffer.is_empty() {
            true => buffer = shard,
            false => buffer.extend_from_slice(&shard),
        }
    }
    match last {
        _ if buffer.len() == size => Ok(buffer),
        Some((path, left, found)) => Err(ImportError::malformed(format!("the shard '{}' is too small", shorten(path)))
            .expected(format!("{left} bytes, the rest of the {size} bytes of its tensors"))
            .found(format!("{found} bytes"))
            .help(HELP)),
        None => Err(ImportError::malformed("a group of tensors has no shard").expected(format!("{size} bytes"))),
    }
}

fn tensor(name: &str) -> String {
    format!("tensor '{}'", shorten(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::beside::Source;

    fn read(manifest: &Json, files: &[(&str, &[u8])]) -> Result<Tensors> {
        Tensors::read(manifest, &mut Beside::new(Source::Memory(files)))
    }

    fn one(entry: &Json, bytes: &[u8]) -> Result<Vec<f64>> {
        let tensors = read(&json!([{"paths": ["a"], "weights": [entry]}]), &[("a", bytes)])?;
        tensors.constant(0).map(|constant| constant.to_f64())
    }

    /// Expected values from `tf.io.decodeWeights` of TensorFlow.js 4.22.
    #[test]
    fn dequantizes_as_tensorflow_js() {
        let quantized = |dtype: &str, quantization: Json| json!({"name": "w", "shape": [4], "dtype": dtype, "quantization": quantization});
        let (scale, min) = (0.004_705_882_352_941_176, -0.437_129_110_097_885_1);
        let affine = |dtype: &str| json!({"dtype": dtype, "scale": scale, "min": min, "original_dtype": "float32"});
        let bytes = one(&quantized("float32", affine("uint8")), &[0, 1, 127, 255]).unwrap();
        let expected = [0.0, 1.0, 127.0, 255.0].map(|stored: f64| f64::from((stored * scale + min) as f32));
        assert_eq!(bytes, expected);
        assert_eq!(bytes[2], f64::from(0.160_517_95_f32));
        let wide = one(&quantized("float32", affine("uint16")), &[0, 0, 1, 0, 0, 1, 255, 255]).unwrap();
        assert_eq!(wide, [0.0, 1.0, 256.0, 65535.0].map(|stored: f64| f64::from((stored * scale + min) as f32)));
        let whole = quantized("int32", json!({"dtype": "uint8", "scale": 0.5, "min": -1.0}));
        assert_eq!(one(&whole, &[0, 1, 2, 5]).unwrap(), [-1.0, 0.0, 0.0, 2.0]);
        let halves = quantized("float32", json!({"dtype": "float16"}));
        let half = [0x3c00u16, 0xc580, 0x0001, 0x0000].map(u16::to_le_bytes).concat();
        assert_eq!(one(&halves, &half).unwrap(), [1.0, -5.5, 2f64.powi(-24), 0.0]);
    }

    #[test]
    fn tensors_may_span_shards() {
        let manifest = json!([
            {"paths": ["a", "b", "c"], "weights": [
                {"name": "x", "shape": [2], "dtype": "float32"}, {"name": "n", "shape": [], "dtype": "int32"},
            ]},
            {"paths": ["d"], "weights": [{"name": "m", "shape": [1], "dtype": "float32", "group": "optimizer"}]},
        ]);
        let bytes = [1.5f32.to_le_bytes(), (-2f32).to_le_bytes(), 7i32.to_le_bytes()].concat();
        let (a, rest) = bytes.split_at(3);
        let (b, c) = rest.split_at(5);
        let tensors = read(&manifest, &[("a", a), ("b", b), ("c", c), ("d", &[0; 4])]).unwrap();
        assert_eq!(tensors.constant(tensors.number("x").unwrap()).unwrap().to_f64(), [1.5, -2.0]);
        // Integers and the state of an optimizer may be unused.
        tensors.check_used().unwrap();
        assert!(tensors.notes()[0].contains("1 tensors of the optimizer"));
        let tensors = read(&manifest, &[("a", a), ("b", b), ("c", c), ("d", &[0; 4])]).unwrap();
        assert!(tensors.check_used().unwrap_err().to_string().contains("tensor 'x'"));
    }

    #[test]
    fn sizes_match_exactly() {
        let manifest = json!([{"paths": ["a", "b"], "weights": [{"name": "x", "shape": [3], "dtype": "float32"}]}]);
        let error = |a: usize, b: usize| {
            let bytes = [0; 64];
            read(&manifest, &[("a", &bytes[..a]), ("b", &bytes[..b])]).unwrap_err().to_string()
        };
        read(&manifest, &[("a", &[0; 5]), ("b", &[0; 7])]).unwrap();
        for (a, b, expected) in [
            (5, 6, "the shard 'b' is too small"),
            (5, 8, "the shard 'b' is too large"),
            (13, 0, "the shard 'a' is too large"),
            (0, 0, "the shard 'b' is too small"),
        ] {
            let text = error(a, b);
            assert!(text.contains(expected) && text.contains("of the 12 bytes of its tensors"), "{text}");
        }
        let text = read(&manifest, &[("a", &[0; 5])]).unwrap_err().to_string();
        assert!(text.contains("cannot read 'b' (shard of weights): no such file"), "{text}");
    }

    #[test]
    fn rejects_invalid_entries() {
        let entry = |key: &str, value: Json| {
            let mut entry = json!({"name": "w", "shape": [1], "dtype": "float32"});
            entry[key] = value;
            one(&entry, &[0; 4]).unwrap_err().to_string()
        };
        for (key, value, expected) in [
            ("dtype", json!("string"), "unsupported dtype 'string'"),
            ("dtype", json!("complex64"), "unsupported dtype 'complex64'"),
            ("shape", json!([-1]), "invalid weights manifest"),
            ("shape", json!([u64::MAX, 2]), "overflows"),
            ("shape", json!([1u64 << 62]), "too large"),
            ("shape", json!([1 << 20, 1 << 20]), "too small"),
            ("unknown", json!(1), "unknown field `unknown`"),
            ("group", json!("ema"), "unknown group 'ema'"),
            ("quantization", json!({"dtype": "uint8"}), "no `scale`"),
            ("quantization", json!({"dtype": "uint4", "scale": 1, "min": 0}), "unsupported quantization"),
            ("quantization", json!({"dtype": "float16", "original_dtype": "float64"}), "`original_dtype` differs"),
            ("quantization", json!({"dtype": "float16", "zero": 1}), "unknown field `zero`"),
        ] {
            let text = entry(key, value);
            assert!(text.contains(expected), "{text}");
        }
        let same = json!({"name": "w", "shape": [1], "dtype": "bool"});
        let text =
            read(&json!([{"paths": ["a"], "weights": [same, same]}]), &[("a", &[0; 2])]).unwrap_err().to_string();
        assert!(text.contains("tensor 'w': duplicate tensor"), "{text}");
        let twice = json!([{"paths": ["a", "a"], "weights": [same]}]);
        assert!(read(&twice, &[("a", &[])]).unwrap_err().to_string().contains("duplicate shard 'a'"));
        assert!(read(&json!([{"paths": [], "weights": [same]}]), &[]).unwrap_err().to_string().contains("no shard"));
        assert!(read(&json!({}), &[]).unwrap_err().to_string().contains("invalid weights manifest"));
    }
}

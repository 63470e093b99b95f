//! Tensors of a checkpoint: views of storages (`torch/_utils.py`, `_rebuild_tensor_v2` and similar functions).

use std::collections::HashMap;

use super::value::{Pickled, Ref, Value};
use crate::error::{ErrorKind, ImportError, Result};
use crate::source::DType;
use crate::state_dict::{EXPORT, Stored};
use crate::text::shorten;

/// Returns the bytes of a storage by key.
pub type Storages<'s, 'a> = &'s dyn Fn(&str) -> Result<&'a [u8]>;

/// Most wrappers around a tensor, such as a parameter or a subclass.
const MAX_WRAPPERS: usize = 8;
const MAX_RANK: usize = 8;

/// Returns the tensor that the value at `at` describes; `None` for other values.
pub fn rebuild<'a>(pickled: &Pickled<'_>, mut at: Ref, storages: Storages<'_, 'a>) -> Option<Result<Stored<'a>>> {
    for _ in 0..MAX_WRAPPERS {
        let object = pickled.object(at)?;
        let arguments = pickled.elements(object.arguments)?;
        match pickled.global(object.callable)? {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => {
                return Some(view(pickled, arguments, 6, storages));
            }
            // With an element type before the metadata.
            ("torch._utils", "_rebuild_tensor_v3") => return Some(view(pickled, arguments, 7, storages)),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => at = *arguments.first()?,
            ("torch._utils", "_rebuild_qtensor") => {
                return Some(Err(ImportError::unsupported("the file is quantized by PyTorch")
                    .expected("16-bit, 32-bit or 64-bit floats")
                    .help("import the float model and quantize it: `mbvc quantize`")));
            }
            // A tensor with attributes: the function, the class, the arguments, the attributes.
            ("torch._tensor", "_rebuild_from_type_v2") => {
                let (&function, &inner) = (arguments.first()?, arguments.get(2)?);
                return match (pickled.global(function)?, pickled.elements(inner)?) {
                    (("torch._utils", "_rebuild_tensor_v2"), arguments) => Some(view(pickled, arguments, 6, storages)),
                    ((_, name), _) => Some(Err(unknown(name))),
                };
            }
            ("torch._utils" | "torch._tensor", name) if name.starts_with("_rebuild_") => {
                return Some(Err(unknown(name)));
            }
            _ if is_array(pickled, at) => {
                return Some(Err(ImportError::unsupported("unsupported NumPy array")
                    .expected("a PyTorch tensor")
                    .found("numpy.ndarray")
                    .help("save tensors: `torch.save({name: torch.as_tensor(value) for name, value in arrays.items()}, FILE)`")));
            }
            _ => return None,
        }
    }
    None
}

/// A tensor that another function of PyTorch creates, such as a sparse one.
fn unknown(function: &str) -> Box<ImportError> {
    let error = ImportError::unsupported("unsupported kind of tensor").expected("a dense tensor");
    match function {
        "_rebuild_sparse_tensor" => error.found("a sparse tensor").help("save a dense copy: `tensor.to_dense()`"),
        _ => error.found(format!("a tensor of `{}`", shorten(function))).help(EXPORT),
    }
}

/// Whether a value is a NumPy array of numbers.
pub fn is_array(pickled: &Pickled<'_>, at: Ref) -> bool {
    let Some(array) = pickled.object(at) else { return false };
    let dtype = match pickled.global(array.callable) {
        // The state is `(version, shape, dtype, is_fortran, data)`.
        Some(("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct")) => {
            array.state.and_then(|state| pickled.elements(state)?.get(2))
        }
        // Protocol 5: `_frombuffer(data, dtype, shape, order)`.
        Some(("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer")) => {
            pickled.elements(array.arguments).and_then(|arguments| arguments.get(1))
        }
        _ => return false,
    };
    let kind = dtype.and_then(|&dtype| {
        let arguments = pickled.elements(pickled.object(dtype)?.arguments)?;
        pickled.text(*arguments.first()?)
    });
    kind.is_none_or(|kind| !kind.starts_with(['U', 'S', 'O', 'M', 'm']))
}

/// `(storage, offset, sizes, strides, ...)`, all in elements. The argument at `metadata` is a dictionary of properties of the
/// view, such as a pending negation.
fn view<'a>(
    pickled: &Pickled<'_>,
    arguments: &[Ref],
    metadata: usize,
    storages: Storages<'_, 'a>,
) -> Result<Stored<'a>> {
    let invalid = || ImportError::malformed("invalid description of a tensor");
    let &[storage, offset, sizes, strides, ..] = arguments else { return Err(invalid()) };
    if let Some(&metadata) = arguments.get(metadata) {
        match (pickled.get(metadata), pickled.entries(metadata)) {
            (Value::None, _) | (Value::Dict(_) | Value::Object(_), []) => {}
            (_, entries) => {
                let keys = entries.iter().take(4).filter_map(|[key, _]| pickled.text(*key)).map(shorten);
                return Err(ImportError::unsupported("the tensor is a view with other properties than its strides")
                    .expected("no metadata")
                    .found(keys.collect::<Vec<_>>().join(", "))
                    .help("save a copy: `tensor.resolve_neg().resolve_conj().clone()`"));
            }
        }
    }
    // Checked before the copy, because many tensors may share one long list.
    let rank = [sizes, strides].map(|list| pickled.elements(list).map_or(0, <[Ref]>::len));
    if let Some(rank) = rank.into_iter().find(|rank| *rank > MAX_RANK) {
        return Err(ImportError::malformed(format!("the tensor has {rank} dimensions")));
    }
    let (dtype, key, base) = self::storage(pickled, storage)?;
    let offset = pickled.size(offset).and_then(|offset| offset.checked_add(base)).ok_or_else(invalid)?;
    let sizes = pickled.sizes(sizes).ok_or_else(invalid)?;
    let strides = pickled.sizes(strides).filter(|strides| strides.len() == sizes.len()).ok_or_else(invalid)?;
    Stored::view(dtype, storages(&key)?, offset, sizes, &strides)
}

/// Returns element type, key and first element of `("storage", type, key, device, count[, view])`.
///
/// Before PyTorch 1.6 the last may be `(key, offset, count)`: a part of the storage under its own key.
fn storage(pickled: &Pickled<'_>, at: Ref) -> Result<(DType, String, usize)> {
    let invalid = || ImportError::malformed("invalid description of a storage");
    let &Value::Persistent(id) = pickled.get(at) else { return Err(invalid()) };
    let parts = pickled.elements(id).ok_or_else(invalid)?;
    let &[kind, class, key, _device, _count, ..] = parts else { return Err(invalid()) };
    if pickled.text(kind) != Some("storage") {
        return Err(invalid());
    }
    let (_, class) = pickled.global(class).ok_or_else(invalid)?;
    let dtype = dtype(class).ok_or_else(|| {
        ImportError::unsupported(format!("unsupported element type {}", shorten(class)))
            .expected("16-bit, 32-bit or 64-bit floats")
            .help("save the float model; to quantize it, use `mbvc quantize`")
    })?;
    let offset = match parts.get(5).and_then(|&view| pickled.elements(view)) {
        Some(&[_, offset, _]) => pickled.size(offset).ok_or_else(invalid)?,
        _ => 0,
    };
    Ok((dtype, text_or_number(pickled, key).ok_or_else(invalid)?, offset))
}

/// Returns the element size of each storage, by key.
///
/// # Errors
/// If the element type of a storage is unsupported.
pub fn element_sizes(pickled: &Pickled<'_>) -> Result<HashMap<String, usize>> {
    let persistent = (0..pickled.values.len()).filter(|&at| matches!(pickled.get(at), Value::Persistent(_)));
    let sizes = persistent.map(|at| storage(pickled, at).map(|(dtype, key, _)| (key, dtype.size())));
    // Other references are an error where they are used.
    sizes.filter(|size| !matches!(size, Err(error) if error.kind != ErrorKind::Unsupported)).collect()
}

/// Returns the key of a storage: a string, or a number in some files.
pub fn text_or_number(pickled: &Pickled<'_>, at: Ref) -> Option<String> {
    const LONGEST: usize = 64;
    pickled
        .text(at)
        .filter(|key| key.len() <= LONGEST)
        .map(str::to_owned)
        .or_else(|| pickled.int(at).map(|number| number.to_string()))
}

fn dtype(class: &str) -> Option<DType> {
    Some(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::Bf16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        "ByteStorage" | "BoolStorage" => DType::U8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::pickle;
    use super::*;

    /// `_rebuild_tensor_v2(float storage "0", offset, (size,), (stride,))` in protocol 2.
    fn program(offset: u8, size: u8, stride: u8) -> Vec<u8> {
        let head =
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000";
        let rest = [b'K', offset, b'K', size, 0x85, b'K', stride, 0x85, 0x89, b't', b'R', b'.'];
        [&head[..], b"X\x03\0\0\0cpuK\x04tQ", &rest].concat()
    }

    fn values(program: &[u8]) -> Result<Vec<f64>> {
        let storage: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let (pickled, _) = pickle::read(program)?;
        let get = |_: &str| Ok(&storage[..]);
        rebuild(&pickled, pickled.root, &get).unwrap().and_then(|stored| Ok(stored.constant(&mut 100)?.to_f64()))
    }

    #[test]
    fn views_select_elements() {
        assert_eq!(values(&program(1, 2, 1)).unwrap(), [2.0, 3.0]);
        assert_eq!(values(&program(1, 2, 2)).unwrap(), [2.0, 4.0]);
    }

    #[test]
    fn rejects_views_with_metadata() {
        let plain = program(1, 2, 1);
        // `requires_grad`, no hooks, `{key: True}`.
        let with = |metadata: &[u8]| [&plain[..plain.len() - 3], b"}", metadata, b"tR."].concat();
        assert_eq!(values(&with(b"}")).unwrap(), [2.0, 3.0]);
        assert_eq!(values(&with(b"N")).unwrap(), [2.0, 3.0]);
        for key in ["neg", "conj"] {
            let key = [&b"}X"[..], &(key.len() as u32).to_le_bytes(), key.as_bytes(), b"\x88s"].concat();
            let error = values(&with(&key)).unwrap_err().to_string();
            assert!(error.contains("other properties"), "{error}");
        }
    }

    #[test]
    fn rejects_views_outside_the_storage() {
        for (offset, size, stride) in [(3, 2, 1), (0, 5, 1), (1, 2, 3), (0, 200, 200), (200, 1, 1), (0, 5, 0)] {
            assert!(values(&program(offset, size, stride)).is_err(), "{offset} {size} {stride}");
        }
    }
}

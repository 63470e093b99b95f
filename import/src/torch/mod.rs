//! PyTorch's files -> [`StateDict`]: `torch.save` files (`torch/serialization.py`) and TorchScript archives.
//!
//! Since 1.6 a file is a zip archive with a pickle `NAME/data.pkl` and each storage as `NAME/data/KEY`. Earlier files have
//! five pickles (magic number, version, properties of the machine, object, keys of the storages), then the storages, each
//! preceded by its number of elements.

mod names;
mod pickle;
mod script;
mod tensor;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::collections::HashMap;

use crate::archive::{self, Archive};
use crate::error::{ImportError, Result};
use crate::state_dict::{Module, StateDict};
use crate::text::shorten;
use value::{Pickled, Value};

/// The first pickle of a file from before 1.6: `0x1950a86a20f9469cfc6c`, with protocol 2.
pub const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const LEGACY_VERSION: i64 = 1001;

const SAVE_AGAIN: &str = "load it in Python and save the state dict: `torch.save(model.state_dict(), FILE)`";

/// Whether a zip archive has a `data.pkl`, as PyTorch's do.
pub fn is_archive(bytes: &[u8]) -> bool {
    Archive::open(bytes).is_ok_and(|archive| data_pkl(&archive).is_some())
}

/// Reads the names and tensors of a file; also returns its variant of the format.
pub fn read(bytes: &[u8]) -> Result<(StateDict<'_>, &'static str)> {
    if bytes.starts_with(archive::MAGIC) {
        return from_archive(bytes);
    }
    if bytes.starts_with(LEGACY_MAGIC) {
        return Ok((legacy(bytes)?, "before 1.6"));
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Err(ImportError::unsupported("unsupported tar format of PyTorch before 0.2").help(SAVE_AGAIN));
    }
    Err(ImportError::unsupported("a Python pickle, but not a `torch.save` file").help(SAVE_AGAIN))
}

fn data_pkl(archive: &Archive<'_>) -> Option<String> {
    let pickles = archive.names().filter(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    pickles.min_by_key(|name| (name.matches('/').count(), *name)).map(str::to_owned)
}

fn from_archive(bytes: &[u8]) -> Result<(StateDict<'_>, &'static str)> {
    let mut archive = Archive::open(bytes)?;
    let Some(main) = data_pkl(&archive) else {
        return Err(ImportError::unsupported("the archive has no data.pkl").help(SAVE_AGAIN));
    };
    let folder = main.strip_suffix("data.pkl").unwrap_or_default();
    let data = format!("{folder}data/");
    let storages: Vec<String> = archive.names().filter(|name| name.starts_with(&data)).map(str::to_owned).collect();
    let [byte_order, code] = ["byteorder", "code/"].map(|name| format!("{folder}{name}"));
    let has_byte_order = archive.has(&byte_order);
    let is_script = archive.names().any(|name| name.starts_with(&code));
    // Members do not overlap, so their total size is at most that of the file.
    let mut left = bytes.len();
    let mut stored = |name: &str| match archive.read(name, left)? {
        Cow::Borrowed(content) => {
            left = left.saturating_sub(content.len());
            Ok(content)
        }
        Cow::Owned(_) => Err(ImportError::unsupported(format!("'{}' is compressed", shorten(name)))
            .expected("uncompressed members, as in `torch.save` files")
            .help("unpack the archive and create it again without compression: `zip -0 -r`")),
    };
    if has_byte_order && stored(&byte_order)? == b"big" {
        return Err(ImportError::unsupported("unsupported file from a big-endian machine").help(SAVE_AGAIN));
    }
    let (pickled, _) = pickle::read(stored(&main)?)?;
    let mut contents = HashMap::new();
    for name in &storages {
        contents.insert(name.strip_prefix(&data).unwrap_or_default(), stored(name)?);
    }
    let get = |key: &str| contents.get(key).copied().ok_or_else(|| no_storage(key));
    let mut dict = names::collect(&pickled, &get)?;
    if is_script {
        let classes = classes(&mut archive, &code)?;
        for module in dict.modules.values_mut() {
            let class = module.class.as_deref().and_then(|class| classes.get(class));
            if let Some(class) = class {
                module.learn(class.clone());
            }
        }
    }
    Ok((dict, if is_script { "TorchScript" } else { "" }))
}

/// Reads the code below the folder `code` of a TorchScript archive, by qualified name of the class.
fn classes(archive: &mut Archive<'_>, code: &str) -> Result<HashMap<String, Module>> {
    /// Maximum size of the code in bytes; a traced MobileNetV2 has 200 kB.
    const MAX_CODE: usize = 1 << 24;
    let files: Vec<String> =
        archive.names().filter(|name| name.starts_with(code) && name.ends_with(".py")).map(str::to_owned).collect();
    let (mut classes, mut left) = (HashMap::new(), MAX_CODE);
    for file in &files {
        let content = archive.read(file, left)?;
        left = left.saturating_sub(content.len());
        let text = String::from_utf8_lossy(&content);
        script::read(file.strip_prefix(code).unwrap_or(file), &text, &mut classes);
    }
    Ok(classes)
}

fn no_storage(key: &str) -> Box<ImportError> {
    ImportError::malformed(format!("missing storage '{}'", shorten(key))).help("the file may be truncated")
}

/// Reads five pickles, then the storages.
fn legacy(bytes: &[u8]) -> Result<StateDict<'_>> {
    let mut rest = bytes.get(LEGACY_MAGIC.len()..).unwrap_or_default();
    let mut next = || -> Result<Pickled<'_>> {
        let (pickled, length) = pickle::read(rest)?;
        rest = rest.get(length..).unwrap_or_default();
        Ok(pickled)
    };
    let (version, machine, main, keys) = (next()?, next()?, next()?, next()?);
    if version.int(version.root) != Some(LEGACY_VERSION) {
        return Err(
            ImportError::unsupported("unknown version of PyTorch's format").expected(LEGACY_VERSION.to_string())
        );
    }
    let little = |[key, value]: &[usize; 2]| {
        machine.text(*key) == Some("little_endian") && matches!(machine.get(*value), Value::Bool(false))
    };
    if machine.entries(machine.root).iter().any(little) {
        return Err(ImportError::unsupported("unsupported file from a big-endian machine").help(SAVE_AGAIN));
    }
    let sizes = tensor::element_sizes(&main);
    let mut storages = HashMap::new();
    for &key in keys.elements(keys.root).unwrap_or_default() {
        let truncated = || ImportError::malformed("the storages are truncated").help("the file may be truncated");
        let key = tensor::text_or_number(&keys, key).ok_or_else(truncated)?;
        let size = sizes.get(&key).ok_or_else(|| {
            ImportError::malformed(format!("storage '{}' is unused or has an unknown type", shorten(&key)))
        })?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(truncated)?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(*size));
        let (content, after) = length.and_then(|length| after.split_at_checked(length)).ok_or_else(truncated)?;
        storages.insert(key, content);
        rest = after;
    }
    let get = |key: &str| storages.get(key).copied().ok_or_else(|| no_storage(key));
    names::collect(&main, &get)
}

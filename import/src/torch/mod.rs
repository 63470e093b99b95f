//! PyTorch's files: `torch.save` files (`torch/serialization.py`) -> [`StateDict`], TorchScript archives -> [`SourceGraph`].
//!
//! Since 1.6 a file is a zip archive with a pickle `NAME/data.pkl` and each storage as `NAME/data/KEY`. Earlier files have
//! five pickles (magic number, version, properties of the machine, object, keys of the storages), then the storages, each
//! preceded by its number of elements.

mod attributes;
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
use crate::source::SourceGraph;
use crate::state_dict::{Sidecar, StateDict};
use crate::text::shorten;
use script::{Part, Program};
use value::{Pickled, Value};

/// The first pickle of a file from before 1.6: `0x1950a86a20f9469cfc6c`, with protocol 2.
pub const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const LEGACY_VERSION: i64 = 1001;

const SAVE_AGAIN: &str = "load it in Python and save the state dict: `torch.save(model.state_dict(), FILE)`";

/// Whether a zip archive has a `data.pkl`, as PyTorch's do.
pub fn is_archive(bytes: &[u8]) -> bool {
    Archive::open(bytes).is_ok_and(|archive| data_pkl(&archive).is_some())
}

/// Content of a file.
pub enum Content<'a> {
    /// Tensors and modules by name, and the variant of the format.
    Weights(StateDict<'a>, &'static str),
    Script(Box<Script<'a>>),
}

/// A TorchScript archive.
pub struct Script<'a> {
    program: Program,
    data: Pickle<'a>,
    constants: Option<Pickle<'a>>,
}

impl<'a> Script<'a> {
    /// Translates the network; see [`script::read`].
    pub fn graph(&self, sidecar: &Sidecar, most: usize) -> Result<SourceGraph<'a>> {
        let get = |key: &str| self.data.storage(key);
        let (dict, places) = names::collect(&self.data.pickled, &get)?;
        let data = Part { pickled: &self.data.pickled, storages: &get };
        let get = |key: &str| {
            self.constants.as_ref().map_or_else(|| Err(no_storage(key)), |constants| constants.storage(key))
        };
        let constants = self.constants.as_ref().map(|constants| Part { pickled: &constants.pickled, storages: &get });
        script::read(&self.program, &data, constants.as_ref(), &dict, &places, sidecar, most)
    }
}

/// A pickle of an archive and its storages by key.
struct Pickle<'a> {
    pickled: Pickled<'a>,
    storages: HashMap<String, &'a [u8]>,
}

impl<'a> Pickle<'a> {
    fn storage(&self, key: &str) -> Result<&'a [u8]> {
        self.storages.get(key).copied().ok_or_else(|| no_storage(key))
    }
}

/// Reads a file.
pub fn read(bytes: &[u8]) -> Result<Content<'_>> {
    if bytes.starts_with(archive::MAGIC) {
        return from_archive(bytes);
    }
    if bytes.starts_with(LEGACY_MAGIC) {
        return Ok(Content::Weights(legacy(bytes)?, "before 1.6"));
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

fn from_archive(bytes: &[u8]) -> Result<Content<'_>> {
    let mut archive = Archive::open(bytes)?;
    let Some(main) = data_pkl(&archive) else {
        return Err(ImportError::unsupported("the archive has no data.pkl").help(SAVE_AGAIN));
    };
    let folder = main.strip_suffix("data.pkl").unwrap_or_default();
    let [byte_order, code, constants] = ["byteorder", "code/", "constants.pkl"].map(|name| format!("{folder}{name}"));
    // Members do not overlap, so their total size is at most that of the file.
    let mut left = bytes.len();
    if archive.has(&byte_order) && stored(&mut archive, &byte_order, &mut left)? == b"big" {
        return Err(ImportError::unsupported("unsupported file from a big-endian machine").help(SAVE_AGAIN));
    }
    let data = pickle(&mut archive, &main, &format!("{folder}data/"), &mut left)?;
    if !archive.names().any(|name| name.starts_with(&code)) {
        let (dict, _) = names::collect(&data.pickled, &|key| data.storage(key))?;
        return Ok(Content::Weights(dict, ""));
    }
    let constants = archive
        .has(&constants)
        .then(|| pickle(&mut archive, &constants, &format!("{folder}constants/"), &mut left))
        .transpose()?;
    let program = program(&mut archive, &code)?;
    Ok(Content::Script(Box::new(Script { program, data, constants })))
}

/// Returns a member that is not compressed.
fn stored<'a>(archive: &mut Archive<'a>, name: &str, left: &mut usize) -> Result<&'a [u8]> {
    match archive.read(name, *left)? {
        Cow::Borrowed(content) => {
            *left = left.saturating_sub(content.len());
            Ok(content)
        }
        Cow::Owned(_) => Err(ImportError::unsupported(format!("'{}' is compressed", shorten(name)))
            .expected("uncompressed members, as in `torch.save` files")
            .help("unpack the archive and create it again without compression: `zip -0 -r`")),
    }
}

/// Reads a pickle and the storages in `folder`.
fn pickle<'a>(archive: &mut Archive<'a>, name: &str, folder: &str, left: &mut usize) -> Result<Pickle<'a>> {
    let (pickled, _) = pickle::read(stored(archive, name, left)?)?;
    let names: Vec<String> = archive.names().filter(|name| name.starts_with(folder)).map(str::to_owned).collect();
    let mut storages = HashMap::new();
    for name in &names {
        let key = name.strip_prefix(folder).unwrap_or_default().to_owned();
        storages.insert(key, stored(archive, name, left)?);
    }
    Ok(Pickle { pickled, storages })
}

/// Reads the code below the folder `code`.
fn program(archive: &mut Archive<'_>, code: &str) -> Result<Program> {
    /// Maximum size of the code in bytes; a traced MobileNetV2 has 200 kB.
    const MAX_CODE: usize = 1 << 22;
    let files: Vec<String> =
        archive.names().filter(|name| name.starts_with(code) && name.ends_with(".py")).map(str::to_owned).collect();
    let (mut program, mut left) = (Program::default(), MAX_CODE);
    for file in &files {
        let content = archive.read(file, left)?;
        left = left.saturating_sub(content.len());
        program.add(file.strip_prefix(code).unwrap_or(file), &String::from_utf8_lossy(&content));
    }
    Ok(program)
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
    let sizes = tensor::element_sizes(&main)?;
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
    Ok(names::collect(&main, &get)?.0)
}

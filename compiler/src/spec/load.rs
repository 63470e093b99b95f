//! Reads a file into a tree of values, and reports what is wrong with the file or the YAML.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::excerpt::Excerpt;
use super::tree::{Node, Value, read as read_tree};
use super::{MAX_BYTES, NetworkSpec, Overrides, parse_with};
use crate::diagnostic::{Diagnostic, Diagnostics, Origin, Place, SourceFile, absent, catalog};

/// Reads and checks a spec; messages name the path as given.
///
/// # Errors
/// If the file cannot be read or the spec is invalid. The diagnostics list every error.
pub fn load(path: impl AsRef<Path>) -> Result<(SourceFile, NetworkSpec), Diagnostics> {
    load_with(path, &Overrides::none())
}

/// [`load`] with overrides.
///
/// # Errors
/// If the file cannot be read, or the spec or an override is invalid. The diagnostics list every error.
pub fn load_with(path: impl AsRef<Path>, overrides: &Overrides) -> Result<(SourceFile, NetworkSpec), Diagnostics> {
    let path = path.as_ref();
    let source = read(path, &path.to_string_lossy())?;
    let spec = parse_with(&source, overrides)?;
    Ok((source, spec))
}

/// Reads a spec's text. `name` is the file's name in messages. If `path` ends with it, the rest of `path` is reported as the
/// folder that the name is relative to.
///
/// # Errors
/// If the file is missing, a folder, unreadable, too long or not UTF-8.
pub fn read(path: &Path, name: &str) -> Result<SourceFile, Diagnostics> {
    let reject = |text: String, mistake: Diagnostic| {
        let mut diagnostics = Diagnostics::new(SourceFile::new(name, text));
        diagnostics.push(mistake);
        Err(diagnostics)
    };
    let bytes = match read_bytes(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return reject(String::new(), missing(path, name)),
        Err(error) if path.is_dir() || error.kind() == ErrorKind::IsADirectory => {
            let message = format!("`{name}` is a folder");
            let mistake = Diagnostic::new(&catalog::FILE, message).help("pass the YAML file in it");
            return reject(String::new(), mistake);
        }
        Err(error) => {
            let mistake = Diagnostic::new(&catalog::FILE, format!("cannot read `{name}`: {error}"));
            return reject(String::new(), mistake.help("check the permissions of the file"));
        }
    };
    if bytes.len() > MAX_BYTES {
        let message = format!("`{name}` is longer than {MAX_BYTES} bytes");
        let help = "pass a spec, not a weights file; shorten the comments of a longer spec";
        return reject(String::new(), Diagnostic::new(&catalog::LENGTH, message).help(help));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile::new(name, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let mistake = not_utf8(&bytes, at);
            reject(String::from_utf8_lossy(&bytes).into_owned(), mistake)
        }
    }
}

/// Reads at most one byte more than allowed, which distinguishes a long file from the longest allowed one.
fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Before the file is opened: a pipe blocks.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a regular file; save the spec to a file"));
    }
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn missing(path: &Path, name: &str) -> Diagnostic {
    let remedy = format!("`mbvc init {name}` writes a spec to start from");
    absent(&catalog::FILE, path, name, &[".yaml", ".yml"], &remedy)
}

/// The error for invalid UTF-8 at byte `at`, where the text shown has a replacement character.
fn not_utf8(bytes: &[u8], at: usize) -> Diagnostic {
    let place = Place { origin: Origin::Spec, start: at, end: at + char::REPLACEMENT_CHARACTER.len_utf8() };
    let byte = bytes.get(at).copied().unwrap_or_default();
    let help = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "this looks like UTF-16: save the file as UTF-8"
    } else {
        "save the file as UTF-8"
    };
    Diagnostic::new(&catalog::ENCODING, format!("byte {} (0x{byte:02x}) is not UTF-8", at + 1)).at(place).help(help)
}

/// Parses a spec's text into values.
pub(super) fn root(source: &SourceFile, mistakes: &mut Vec<Diagnostic>) -> Option<Node> {
    let text = source.text.as_str();
    if text.len() > MAX_BYTES {
        let message = format!("the spec has {} bytes", text.len());
        mistakes.push(Diagnostic::new(&catalog::LENGTH, message).at(Place::START).help("shorten the comments"));
        return None;
    }
    let base = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    let excerpt = Excerpt { text: &text[base..], origin: Origin::Spec, base };
    if let Some(mistake) = control_character(excerpt) {
        mistakes.push(mistake);
        return None;
    }
    let before = mistakes.len();
    let root = read_tree(excerpt, mistakes);
    match root {
        Some(Node { value: Value::Null, .. }) | None if mistakes.len() == before => {
            let commented = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
            let what = match excerpt.text {
                text if text.trim().is_empty() => "the spec is empty",
                text if text.lines().all(commented) => "the spec contains only comments",
                _ => "the spec contains no values",
            };
            let help = "`mbvc init` writes a spec to start from";
            mistakes.push(Diagnostic::new(&catalog::EMPTY, what).at(Place::START).help(help));
            None
        }
        root => root,
    }
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The first character that YAML forbids, or that ends a line in YAML 1.1 only. The two parsers disagree on some of them,
/// or take them for the end of the text.
fn control_character(excerpt: Excerpt<'_>) -> Option<Diagnostic> {
    let forbidden = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
            || matches!(c, BYTE_ORDER_MARK | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
    };
    let (at, c) = excerpt.text.char_indices().find(|(_, c)| forbidden(*c))?;
    let start = excerpt.base + at;
    let place = Place { origin: excerpt.origin, start, end: start + c.len_utf8() };
    let message = format!("invalid YAML: character U+{:04X}", u32::from(c));
    Some(Diagnostic::new(&catalog::SYNTAX, message).at(place).help("remove the character"))
}

//! The error for a file that does not exist.

use std::path::{Path, PathBuf};

use super::suggest::nearest;
use super::{Diagnostic, Rule};

/// The error for a missing file at `path`, given as `name`. The help proposes a file of a similar name in the same folder
/// with one of `endings`, names the folder that a relative name is relative to, and ends with `remedy`.
pub fn absent(rule: &'static Rule, path: &Path, name: &str, endings: &[&str], remedy: &str) -> Diagnostic {
    let near = neighbor(path, endings).map(|near| Path::new(name).with_file_name(near));
    let proposal = near.map(|near| format!("did you mean `{}`? ", near.display())).unwrap_or_default();
    let folder = searched(path, name).map(|folder| format!("the path is relative to `{}`; ", folder.display()));
    Diagnostic::new(rule, format!("file `{name}` not found"))
        .help(format!("{proposal}{}{remedy}", folder.unwrap_or_default()))
}

/// The folder that a relative name is relative to.
fn searched(path: &Path, name: &str) -> Option<PathBuf> {
    if Path::new(name).is_absolute() {
        return None;
    }
    let below = Path::new(name).components().count();
    let folder = path.ancestors().nth(below)?;
    if folder.as_os_str().is_empty() { std::env::current_dir().ok() } else { Some(folder.to_owned()) }
}

/// A file in the same folder with a similar name.
fn neighbor(path: &Path, endings: &[&str]) -> Option<String> {
    let names: Vec<String> = std::fs::read_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty())?)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
        .collect();
    let name = path.file_name()?.to_str()?;
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

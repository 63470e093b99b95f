//! The mistake of naming a file that is not there.

use std::path::{Path, PathBuf};

use super::{Diagnostic, Rule};
use crate::spec::nearest;

/// Says that `path`, which its user calls `name`, is not there; what could be meant among the files in its folder with
/// one of the endings; which folder a relative name was looked for in; and `remedy`.
pub fn absent(rule: &'static Rule, path: &Path, name: &str, endings: &[&str], remedy: &str) -> Diagnostic {
    let near = neighbor(path, endings).map(|near| Path::new(name).with_file_name(near));
    let meant = near.map(|near| format!("did you mean `{}`? ", near.display())).unwrap_or_default();
    let folder = searched(path, name).map(|folder| format!("the path is relative to `{}`; ", folder.display()));
    Diagnostic::new(rule, format!("there is no file `{name}`"))
        .help(format!("{meant}{}{remedy}", folder.unwrap_or_default()))
}

/// The folder that a relative name was looked for in.
fn searched(path: &Path, name: &str) -> Option<PathBuf> {
    if Path::new(name).is_absolute() {
        return None;
    }
    let below = Path::new(name).components().count();
    let folder = path.ancestors().nth(below)?;
    if folder.as_os_str().is_empty() { std::env::current_dir().ok() } else { Some(folder.to_owned()) }
}

/// A file in the same folder, of nearly the same name.
fn neighbor(path: &Path, endings: &[&str]) -> Option<String> {
    let names: Vec<String> = std::fs::read_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty())?)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
        .collect();
    let wanted = path.file_name()?.to_str()?;
    nearest(wanted, names.iter().map(String::as_str)).map(str::to_owned)
}

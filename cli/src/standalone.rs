//! Writes a standalone crate.

use std::path::Path;

pub use mbvc_engine::standalone::Standalone;

use crate::error::Result;
use crate::files::{self, NewFile};
use crate::options::{FusionArg, OverrideArgs};

/// Returns the text of a spec with a comment on the options that it was compiled with.
pub fn spec_text(text: &str, fusion: FusionArg, overrides: &OverrideArgs) -> String {
    let given = overrides.given();
    let given = if given.is_empty() { given } else { format!(" {given}") };
    format!("# Compiled with --fusion {}{given}.\n{text}", fusion.name())
}

/// Writes a crate that builds without network or registry; returns its name.
///
/// # Errors
/// If the folder is not empty, unless `force` is set, or cannot be written.
pub fn write_crate(folder: &Path, content: &Standalone<'_>, force: bool) -> Result<String> {
    files::check_vacant(folder, force)?;
    let files = content.files().into_iter().map(|file| NewFile { path: folder.join(&file.path), ..file });
    files::write_folder(folder, &files.collect::<Vec<_>>(), force)?;
    Ok(content.crate_name())
}

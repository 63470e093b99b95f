//! Writes a standalone crate.

use std::path::Path;

pub use mbvc_engine::standalone::Standalone;

use crate::error::{CliError, Result};
use crate::files;
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
    for file in content.files() {
        let path = folder.join(&file.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|cause| CliError::io("create", folder, &cause))?;
        }
        files::write(&path, &file.content, force)?;
    }
    Ok(content.crate_name())
}

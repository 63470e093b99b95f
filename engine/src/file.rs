//! Output files in memory, which the caller writes.

use std::path::PathBuf;

/// A file to be written.
#[derive(Debug)]
pub struct NewFile {
    /// Path to write it to.
    pub path: PathBuf,
    /// Its content.
    pub content: Vec<u8>,
    /// Whether it is executable.
    pub executable: bool,
}

impl NewFile {
    /// Returns a text file.
    pub fn text(path: PathBuf, text: String) -> Self {
        Self { path, content: text.into_bytes(), executable: false }
    }
}

//! Results in memory, which the caller writes.

use std::path::PathBuf;

/// A file to be written.
#[derive(Debug)]
pub struct NewFile {
    /// Where it is to be written.
    pub path: PathBuf,
    /// All of its bytes.
    pub content: Vec<u8>,
    /// Whether it can be run.
    pub executable: bool,
}

impl NewFile {
    /// A text file.
    pub fn text(path: PathBuf, text: String) -> Self {
        Self { path, content: text.into_bytes(), executable: false }
    }
}

//! Where tests find their files.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::{Path, PathBuf};

/// A file of the shared data; `None`, with a line on stderr, where it is absent and may be.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MBVC_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    assert!(std::env::var_os("MBVC_REQUIRE_SHARED").is_none_or(|value| value != "1"), "{} is absent", file.display());
    eprintln!("skipped: {} is absent", file.display());
    None
}

/// A file of `tests/fixtures`, made by `make_fixtures.py` there.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

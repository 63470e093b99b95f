//! Writes output files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use mbvc_engine::temporary;
use pyo3::exceptions::{PyFileExistsError, PyOSError};
use pyo3::prelude::*;

/// Writes a file under a temporary name in the same folder and renames it, so that a reader never sees a partial file. An
/// existing file is replaced only if `force`, and only if it is a regular file.
///
/// # Errors
/// `FileExistsError` if it exists, and `OSError` if it cannot be written.
#[pyfunction]
pub fn write(py: Python<'_>, path: PathBuf, content: &[u8], force: bool) -> PyResult<()> {
    py.detach(|| {
        let failed = |cause: std::io::Error| PyOSError::new_err(format!("cannot write {}: {cause}", path.display()));
        let exists = || {
            let message = format!("{} already exists; choose another name, or pass force=True", path.display());
            PyFileExistsError::new_err(message)
        };
        if let Ok(about) = std::fs::symlink_metadata(&path) {
            if !(about.is_file() || about.is_symlink()) {
                return Err(PyOSError::new_err(format!("cannot write {}: it is not a regular file", path.display())));
            }
            if !force {
                return Err(exists());
            }
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = temporary::file(folder, false).map_err(failed)?;
        file.write_all(content).and_then(|()| file.as_file().sync_data()).map_err(failed)?;
        let renamed = if force { file.persist(&path) } else { file.persist_noclobber(&path) };
        match renamed {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists()),
            Err(error) => Err(failed(error.error)),
        }
    })
}

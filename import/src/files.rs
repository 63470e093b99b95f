//! Reading of model files from disk.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::{ErrorKind, ImportError, Result};

/// Size limit of a file. Width 4 in double precision has 450 MB.
pub const MAX_FILE: u64 = 1 << 30;

/// Remedy for a TensorFlow SavedModel.
pub const SAVED_MODEL_HELP: &str = "convert the SavedModel with `tf.lite.TFLiteConverter.from_saved_model(folder).convert()` (to TFLite) or \
     `python -m tf2onnx.convert --saved-model folder --output model.onnx`, or load it in Keras and \
     `model.save(\"model.keras\")`";

/// Reads a whole file of at most 1 GiB.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |problem: String| ImportError::new(ErrorKind::Io, problem).file(&path.display().to_string());
    let unreadable = |error: &io::Error| {
        failed(match error.kind() {
            io::ErrorKind::PermissionDenied => "permission denied".into(),
            _ => format!("cannot read the file: {error}"),
        })
    };
    let about = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("no such file".into()),
        _ => unreadable(&error),
    })?;
    if about.is_dir() {
        let error = failed("a directory, not a file".into());
        return Err(if path.join("saved_model.pb").exists() {
            error.help(SAVED_MODEL_HELP)
        } else {
            error.help("pass the model file in it")
        });
    }
    if !about.is_file() {
        return Err(failed("not a regular file".into()).help("save the model to a file and pass its path"));
    }
    if about.len() > MAX_FILE {
        return Err(
            failed(format!("the file is too large: {} bytes", about.len())).expected(format!("at most {MAX_FILE}"))
        );
    }
    // The size in the metadata is not relied on: the file may grow.
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| unreadable(&error))?;
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

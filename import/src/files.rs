//! Model files on disk.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use crate::error::{ErrorKind, ImportError, Result};

/// Largest file that is read. Width 4 in double precision has 450 MB.
const MAX_FILE: u64 = 1 << 30;

/// What to do with a SavedModel.
pub const SAVED_MODEL_HELP: &str = "convert the SavedModel first: `tf.lite.TFLiteConverter.from_saved_model(folder).convert()` gives a .tflite file, \
     `python -m tf2onnx.convert --saved-model folder --output model.onnx` an ONNX file; \
     or load it with Keras and `model.save(\"model.keras\")`";

/// Reads a whole file, with errors that say what it is instead of a file.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |problem: String| ImportError::new(ErrorKind::Io, problem).file(&path.display().to_string());
    let about = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed("there is no such file".into()),
        _ => failed(format!("cannot read the file: {error}")),
    })?;
    if about.is_dir() {
        let error = failed("this is a directory".into());
        return Err(if path.join("saved_model.pb").exists() {
            error.help(SAVED_MODEL_HELP)
        } else {
            error.help("give the model file in it")
        });
    }
    if about.len() > MAX_FILE {
        return Err(failed(format!("the file has {} bytes", about.len())).expected(format!("at most {MAX_FILE}")));
    }
    // Not by the size that the file system tells: a device or a growing file has another.
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| failed(format!("cannot read the file: {error}")))?;
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| failed(format!("cannot read the file: {error}")))?;
    Ok(bytes)
}

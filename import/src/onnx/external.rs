//! Tensors whose data is in a file beside the model (`docs/ExternalData.md` of ONNX), as PyTorch's exporter writes by default.

use std::collections::HashMap;

use bytes::Bytes;

use super::proto::{KeyValue, Model, Tensor};
use crate::beside::Beside;
use crate::error::{ErrorKind, ImportError, Result};
use crate::text::shorten;

/// `TensorProto.DataLocation.EXTERNAL`.
pub const EXTERNAL: i32 = 1;

/// Reads the external data of all tensors from the files beside the model.
///
/// # Errors
/// If a file is outside of the folder, cannot be read or is too small, or all files together are too large.
pub fn load(model: &mut Model, beside: &mut Beside<'_>) -> Result<()> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let constants =
        graph.node.iter_mut().flat_map(|node| &mut node.attribute).filter_map(|attribute| attribute.t.as_mut());
    let mut files = Files { beside, read: HashMap::new() };
    for tensor in graph.initializer.iter_mut().chain(constants) {
        if tensor.data_location == EXTERNAL {
            let loaded = files.data(tensor).map_err(|error| error.at(format!("tensor '{}'", shorten(&tensor.name))))?;
            tensor.raw_data = loaded;
            tensor.data_location = 0;
        }
    }
    Ok(())
}

/// Returns the value of a key of `external_data`.
pub fn entry<'t>(tensor: &'t Tensor, key: &str) -> Option<&'t str> {
    tensor.external_data.iter().find(|entry| entry.key == key).map(|KeyValue { value, .. }| value.as_str())
}

struct Files<'b, 'f> {
    beside: &'b mut Beside<'f>,
    /// Contents by location; many tensors are parts of one file.
    read: HashMap<String, Bytes>,
}

impl Files<'_, '_> {
    fn data(&mut self, tensor: &Tensor) -> Result<Bytes> {
        let location = entry(tensor, "location").unwrap_or_default();
        let number = |key: &str| match entry(tensor, key) {
            None => Ok(None),
            Some(text) => text
                .parse::<usize>()
                .map(Some)
                .map_err(|_| ImportError::malformed(format!("invalid {key} of external data")).found(shorten(text))),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let file = self.file(location)?;
        let end = length.map_or(Some(file.len()), |length| offset.checked_add(length));
        match end.filter(|end| offset <= *end && *end <= file.len()) {
            Some(end) => Ok(file.slice(offset..end)),
            None => Err(ImportError::malformed(format!("the file '{}' is too small", shorten(location)))
                .expected(format!("at least {} bytes", length.unwrap_or(0).saturating_add(offset)))
                .found(format!("{} bytes", file.len()))
                .help("the file may be truncated, or belong to another model; export the model again")),
        }
    }

    fn file(&mut self, location: &str) -> Result<Bytes> {
        if let Some(bytes) = self.read.get(location) {
            return Ok(bytes.clone());
        }
        let bytes = self.beside.read(location, "external data").map_err(|error| match error.kind {
            ErrorKind::Unsupported => error
                .help("save the model as one file: `onnx.save(onnx.load(path), path, save_as_external_data=False)`"),
            _ => error,
        })?;
        let bytes = Bytes::from(bytes);
        self.read.insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::beside::Source;
    use crate::onnx::proto::Graph;

    fn model(entries: &[(&str, &str)]) -> Model {
        let entry = |(key, value): &(&str, &str)| KeyValue { key: (*key).into(), value: (*value).into() };
        let external_data = entries.iter().map(entry).collect();
        let tensor = Tensor { name: "w".into(), data_location: EXTERNAL, external_data, ..Tensor::default() };
        Model { graph: Some(Graph { initializer: vec![tensor], ..Graph::default() }), ..Model::default() }
    }

    fn loaded(folder: &Path, entries: &[(&str, &str)]) -> Result<Vec<u8>> {
        let mut model = model(entries);
        load(&mut model, &mut Beside::new(Source::Folder(&folder.join("model.onnx"))))?;
        Ok(model.graph.unwrap().initializer[0].raw_data.to_vec())
    }

    #[test]
    fn data_is_a_part_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.data"), b"0123456789").unwrap();
        let of = |entries: &[_]| loaded(folder.path(), &[&[("location", "m.data")], entries].concat()).unwrap();
        assert_eq!(of(&[]), b"0123456789");
        assert_eq!(of(&[("offset", "4")]), b"456789");
        assert_eq!(of(&[("offset", "4"), ("length", "3")]), b"456");
        assert_eq!(of(&[("offset", "10"), ("length", "0")]), b"");
    }

    #[test]
    fn rejects_files_outside_and_parts_beyond_the_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.data"), b"0123456789").unwrap();
        let error = |entries: &[_]| loaded(folder.path(), entries).unwrap_err().to_string();
        for location in ["../m.data", "/etc/passwd", "", ".", "a/../../m.data"] {
            let text = error(&[("location", location)]);
            assert!(text.contains("outside the model's folder"), "{location}: {text}");
        }
        assert!(
            error(&[("location", "absent.data")])
                .contains("check that this file is in the folder of the model and is readable")
        );
        for (key, value) in [("length", "11"), ("offset", "11"), ("length", "18446744073709551615")] {
            let text = error(&[("location", "m.data"), (key, value)]);
            assert!(text.contains("is too small"), "{key} {value}: {text}");
        }
        assert!(error(&[("location", "m.data"), ("offset", "-1")]).contains("invalid offset"));
    }
}

//! Files that a model refers to by name: the external data of ONNX and the shards of TensorFlow.js.

use std::path::{Component, Path};

use crate::error::{ErrorKind, ImportError, Result};
use crate::files::{MAX_FILE, read_file};
use crate::text::shorten;

/// Source of the files.
#[derive(Debug, Clone, Copy)]
pub enum Source<'f> {
    /// Path of the model, in whose folder they are.
    Folder(&'f Path),
    /// Names and contents.
    Memory(&'f [(&'f str, &'f [u8])]),
}

/// The files beside one model.
#[derive(Debug)]
pub struct Beside<'f> {
    source: Source<'f>,
    /// Size of all files read.
    bytes: usize,
}

impl<'f> Beside<'f> {
    pub fn new(source: Source<'f>) -> Self {
        Self { source, bytes: 0 }
    }

    /// Returns the total size of the files read, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads the file with this name, a path relative to the folder of the model. `what` describes the file in messages.
    ///
    /// # Errors
    /// If the file is outside the folder, is not a regular file, or cannot be read, or all files together exceed 1 GiB.
    pub fn read(&mut self, name: &str, what: &str) -> Result<Vec<u8>> {
        let path = Path::new(name);
        let is_inside = named(path).all(|part| matches!(part, Component::Normal(_)));
        if !is_inside || named(path).next().is_none() {
            return Err(outside(name, what));
        }
        let content = match self.source {
            Source::Folder(model) => {
                let file = folder(model).join(path);
                if links_outside(model, &file) {
                    return Err(outside(name, what).found(format!("{}, a link", shorten(name))));
                }
                read_file(&file)
            }
            Source::Memory(files) => {
                let same = |file: &str| named(Path::new(file)).eq(named(path));
                let file = files.iter().find(|(file, _)| same(file)).map(|(_, content)| content.to_vec());
                file.ok_or_else(|| ImportError::new(ErrorKind::Io, "no such file"))
            }
        };
        let content = content.map_err(|error| {
            ImportError::new(error.kind, format!("cannot read '{}' ({what}): {}", shorten(name), error.problem))
                .help("check that this file is in the folder of the model and is readable")
        })?;
        self.bytes = self.bytes.saturating_add(content.len());
        if self.bytes as u64 > MAX_FILE {
            return Err(ImportError::unsupported(format!("the files of the model are too large ({what})"))
                .expected(format!("at most {MAX_FILE} bytes in total")));
        }
        Ok(content)
    }

    /// Reads a file that may be absent.
    ///
    /// # Errors
    /// As [`Beside::read`], for a file that exists.
    pub fn optional(&mut self, name: &str, what: &str) -> Result<Option<Vec<u8>>> {
        let exists = match self.source {
            Source::Folder(model) => folder(model).join(name).exists(),
            Source::Memory(files) => files.iter().any(|(file, _)| *file == name),
        };
        exists.then(|| self.read(name, what)).transpose()
    }
}

/// Returns the parts of a path without `.`.
fn named(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|part| *part != Component::CurDir)
}

fn outside(name: &str, what: &str) -> Box<ImportError> {
    ImportError::unsupported(format!("the file is outside the model's folder ({what})"))
        .expected("the name of a file in that folder")
        .found(shorten(name))
}

fn folder(model: &Path) -> &Path {
    model.parent().unwrap_or(Path::new(""))
}

/// Whether `file` is a link to a file that is neither in the folder of the model nor in that of the file that the model
/// links to. Caches of models consist of links to files of one folder.
fn links_outside(model: &Path, file: &Path) -> bool {
    // A file that does not exist is reported when it is read.
    let Ok(file) = file.canonicalize() else { return false };
    let here = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        path.canonicalize().is_ok_and(|folder| file.starts_with(folder))
    };
    let resolved = model.canonicalize();
    !here(folder(model)) && !resolved.is_ok_and(|resolved| here(folder(&resolved)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_in_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("in");
        std::fs::create_dir_all(inner.join("deep")).unwrap();
        std::fs::write(outer.path().join("secret"), b"outside").unwrap();
        std::fs::write(inner.join("a"), b"0123").unwrap();
        std::fs::write(inner.join("deep/b"), b"45").unwrap();
        let model = inner.join("model");
        let mut beside = Beside::new(Source::Folder(&model));
        for (name, content) in [("a", &b"0123"[..]), ("./a", b"0123"), ("deep/b", b"45")] {
            assert_eq!(beside.read(name, "data").unwrap(), content, "{name}");
        }
        assert_eq!(beside.bytes(), 10);
        for name in ["../secret", "/etc/passwd", "", ".", "./", "deep/../../secret"] {
            let text = beside.read(name, "data").unwrap_err().to_string();
            assert!(text.contains("outside the model's folder"), "{name}: {text}");
        }
        let text = beside.read("absent", "data").unwrap_err().to_string();
        assert!(
            text.contains("cannot read 'absent' (data): no such file") && text.contains("check that this file"),
            "{text}"
        );
        assert!(beside.read("deep", "data").unwrap_err().to_string().contains("a directory"));
        assert_eq!(beside.optional("absent", "data").unwrap(), None);
        assert_eq!(beside.optional("a", "data").unwrap().as_deref(), Some(&b"0123"[..]));
    }

    #[cfg(unix)]
    #[test]
    fn links_may_not_leave_the_folder_of_the_model() {
        use std::os::unix::fs::symlink;
        let outer = tempfile::tempdir().unwrap();
        let [blobs, inner] = ["blobs", "in"].map(|name| outer.path().join(name));
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::create_dir_all(&inner).unwrap();
        for file in ["blobs/model", "blobs/data", "in/plain", "secret"] {
            std::fs::write(outer.path().join(file), file).unwrap();
        }
        symlink("../secret", inner.join("secret")).unwrap();
        symlink("plain", inner.join("alias")).unwrap();
        symlink("../blobs/model", inner.join("linked")).unwrap();
        symlink("../blobs/data", inner.join("data")).unwrap();
        let read = |model: &str, name: &str| Beside::new(Source::Folder(&inner.join(model))).read(name, "data");
        assert_eq!(read("model", "alias").unwrap(), b"in/plain");
        for name in ["secret", "data"] {
            let text = read("model", name).unwrap_err().to_string();
            assert!(text.contains("outside the model's folder"), "{text}");
        }
        // The model is a link to the same folder.
        assert_eq!(read("linked", "data").unwrap(), b"blobs/data");
        assert!(read("linked", "secret").is_err());
    }

    #[test]
    fn files_in_memory_have_names() {
        let files = [("a", &b"1"[..]), ("b/c", b"2")];
        let mut beside = Beside::new(Source::Memory(&files));
        assert_eq!(beside.read("./a", "data").unwrap(), b"1");
        assert_eq!(beside.read("b/c", "data").unwrap(), b"2");
        assert!(beside.read("c", "data").unwrap_err().to_string().contains("no such file"));
        assert!(beside.read("../a", "data").unwrap_err().to_string().contains("outside"));
    }
}

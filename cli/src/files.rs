//! Writes files atomically, and finds image files.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

pub use mbvc_engine::NewFile;
use mbvc_runtime::PackedHeader;
use tempfile::NamedTempFile;

use crate::error::{CliError, Result};
use crate::image::EXTENSIONS;

/// Writes a file under a temporary name in the same folder, then renames it: a reader never sees a partial file.
///
/// # Errors
/// As [`check_output`], or if the file cannot be written.
pub fn write(path: &Path, content: &[u8], kind: Kind) -> Result {
    check_output(path, kind)?;
    let written = temporary(path, content, false)?;
    rename(written, path)
}

/// As [`write`], for several files: all are written before the first is renamed.
///
/// # Errors
/// If one of them cannot be written.
pub fn write_all(files: &[NewFile]) -> Result {
    let written = files.iter().map(|NewFile { path, content, executable }| temporary(path, content, *executable));
    let written: Vec<_> = written.collect::<Result<_>>()?;
    written.into_iter().zip(files).try_for_each(|(written, file)| rename(written, &file.path))
}

/// A temporary file in the folder of `path`, which is deleted unless it is renamed.
fn temporary(path: &Path, content: &[u8], executable: bool) -> Result<NamedTempFile> {
    let failed = |cause: &std::io::Error| CliError::io("write", path, cause);
    check_output(path, Kind::Any)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mbvc-");
    // A temporary file is private by default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(if executable { 0o777 } else { 0o666 }));
    #[cfg(not(unix))]
    let _ = executable;
    let mut file = builder.tempfile_in(folder).map_err(|cause| failed(&cause))?;
    file.write_all(content).map_err(|cause| failed(&cause))?;
    Ok(file)
}

fn rename(written: NamedTempFile, path: &Path) -> Result {
    written.persist(path).map_err(|cause| CliError::io("write", path, &cause.error))?;
    Ok(())
}

/// Kind of an output file. An existing file of another kind is not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Weights,
    Packed,
    Drawing,
    /// Content that cannot be identified, such as a spec. Replaces any regular file.
    Any,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Weights => "a weights file",
            Self::Packed => "a packed file",
            Self::Drawing => "an SVG drawing",
            Self::Any => "a file",
        }
    }

    /// Whether a file that starts with these bytes is of this kind.
    fn is_of(self, start: &[u8]) -> bool {
        let contains = |text: &[u8]| start.windows(text.len()).any(|window| window == text);
        match self {
            Self::Weights => start.get(8) == Some(&b'{') && contains(b"\"mbvc.format\""),
            Self::Packed => PackedHeader::is_in(start),
            Self::Drawing => contains(b"<svg"),
            Self::Any => true,
        }
    }
}

/// Checks, before long work, that a file of this kind can be written.
///
/// # Errors
/// If `path` is not a regular file or is one of another kind, or its folder does not exist.
pub fn check_output(path: &Path, kind: Kind) -> Result {
    /// Number of bytes read to identify a file; covers the longest header of a weights file.
    const START: u64 = (1 << 20) + 8;
    let refused = |why: &str| CliError::new(format!("cannot write {}: {why}", path.display()));
    if path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        return Err(refused("its folder does not exist"));
    }
    let Ok(about) = std::fs::metadata(path) else { return Ok(()) };
    if about.is_dir() {
        return Err(refused("it is a folder"));
    }
    if !about.is_file() {
        return Err(refused("it is not a regular file").help("choose another name"));
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut start));
    // An empty file may be a temporary one that the caller has created.
    if read.is_err() || (!start.is_empty() && !kind.is_of(&start)) {
        return Err(CliError::new(format!("{} already exists and is not {}", path.display(), kind.name()))
            .help("choose another name, or delete the file"));
    }
    Ok(())
}

/// Whether two paths are the same existing file.
pub fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Image files: every given file, and the images in every given folder, ordered by name.
///
/// # Errors
/// If a folder cannot be read or contains no images.
pub fn images(paths: &[PathBuf], recursive: bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        collect(path, recursive, &mut found)?;
        if found.len() == before {
            let help = if recursive { "" } else { "; --recursive searches its subfolders" };
            return Err(CliError::new(format!("the folder {} contains no images", path.display()))
                .help(format!("images have one of the extensions {}{help}", EXTENSIONS.join(", "))));
        }
    }
    Ok(found)
}

fn collect(folder: &Path, recursive: bool, found: &mut Vec<PathBuf>) -> Result {
    let entries = std::fs::read_dir(folder).map_err(|cause| CliError::io("read", folder, &cause))?;
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Symbolic links to folders are not followed: they may form a cycle.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if recursive {
                collect(&path, recursive, found)?;
            }
        } else if path.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end.eq_ignore_ascii_case(known)))
            && path.is_file()
        {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKED_START: &[u8] = b"MBVCPACK";

    #[test]
    fn folders_are_searched_with_or_without_subfolders() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("deep")).unwrap();
        for name in ["b.PNG", "a.jpg", "notes.txt", "deep/c.webp"] {
            std::fs::write(at(name), "").unwrap();
        }
        let flat = images(&[folder.path().to_owned()], false).unwrap();
        assert_eq!(flat, [at("a.jpg"), at("b.PNG")]);
        let deep = images(&[folder.path().to_owned()], true).unwrap();
        assert_eq!(deep, [at("a.jpg"), at("b.PNG"), at("deep/c.webp")]);
        let named = images(&[at("notes.txt")], false).unwrap();
        assert_eq!(named, [at("notes.txt")], "a given file is read with any extension");
        std::fs::create_dir(at("empty")).unwrap();
        assert!(images(&[at("empty")], false).unwrap_err().to_string().contains("contains no images"));
    }

    #[test]
    fn files_are_complete_and_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        write(&path, b"one", Kind::Any).unwrap();
        write(&path, b"two", Kind::Any).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o400, 0o400);
            assert_eq!(mode & 0o111, 0);
        }
        let files = ["new", "no/such/folder"].map(|name| NewFile::text(folder.path().join(name), "text".to_owned()));
        assert!(write_all(&files).is_err() && !files[0].path.exists(), "all or none");
        write_all(&files[..1]).unwrap();
        assert_eq!(std::fs::read(&files[0].path).unwrap(), b"text");
        let message = write(&folder.path().join("no/such/folder"), b"", Kind::Any).unwrap_err().to_string();
        assert!(message.contains("its folder does not exist"), "{message}");
        assert!(write(folder.path(), b"", Kind::Any).unwrap_err().to_string().contains("it is a folder"));
    }

    #[test]
    fn files_of_another_kind_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let packed = [PACKED_START, &[0; 60]].concat();
        let container = b"\x40\0\0\0\0\0\0\0{\"__metadata__\":{\"mbvc.format\":\"1\"}}";
        let files = [(Kind::Weights, &container[..]), (Kind::Packed, &packed), (Kind::Drawing, b"<svg xmlns=\"\"/>")];
        for (kind, content) in files {
            write(&path, content, Kind::Any).unwrap();
            for (other, _) in files {
                let replaced = write(&path, content, other);
                assert_eq!(replaced.is_ok(), other == kind, "{kind:?} by {other:?}");
                if let Err(error) = replaced {
                    assert!(error.to_string().contains(&format!("is not {}", other.name())), "{error}");
                }
            }
        }
        assert_eq!(std::fs::read(&path).unwrap(), files[2].1, "nothing is written after an error");
        std::fs::write(&path, "").unwrap();
        write(&path, &packed, Kind::Packed).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_not_replaced() {
        let message = write(Path::new("/dev/null"), b"", Kind::Any).unwrap_err().to_string();
        assert!(message.contains("it is not a regular file"), "{message}");
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}

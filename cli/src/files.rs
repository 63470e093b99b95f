//! Writes files atomically, and finds image files.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

pub use mbvc_engine::NewFile;
use mbvc_engine::temporary;
use mbvc_pictures::EXTENSIONS;
use tempfile::NamedTempFile;

use crate::error::{CliError, Result};

/// Writes a file under a temporary name in the same folder, then renames it: a reader never sees a partial file, and an
/// interrupted run leaves a file that the next one in this folder deletes.
///
/// # Errors
/// As [`check_output`], or if the file cannot be written.
pub fn write(path: &Path, content: &[u8], force: bool) -> Result {
    let written = draft(path, content, false, force)?;
    rename(written, path)
}

/// As [`write`], for several files: all are written before the first is renamed.
///
/// # Errors
/// If one of them cannot be written.
pub fn write_all(files: &[NewFile], force: bool) -> Result {
    let written = files.iter().map(|NewFile { path, content, executable }| draft(path, content, *executable, force));
    let written: Vec<_> = written.collect::<Result<_>>()?;
    written.into_iter().zip(files).try_for_each(|(written, file)| rename(written, &file.path))
}

/// Writes a temporary file in the folder of `path`, which is deleted unless it is renamed.
fn draft(path: &Path, content: &[u8], executable: bool, force: bool) -> Result<NamedTempFile> {
    let failed = |cause: &std::io::Error| CliError::io("write", path, cause);
    check_output(path, force, &[])?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = temporary::file(folder, executable).map_err(|cause| failed(&cause))?;
    file.write_all(content).and_then(|()| file.as_file().sync_data()).map_err(|cause| failed(&cause))?;
    Ok(file)
}

/// Returns an error for a spec, which users may confuse with the other inputs of a command.
///
/// # Errors
/// If the file has the extension .yaml or .yml. The message says what is `expected` instead.
pub fn reject_spec(path: &Path, expected: &str) -> Result {
    if path.extension().is_none_or(|end| end != "yaml" && end != "yml") || !path.is_file() {
        return Ok(());
    }
    let shown = path.display();
    Err(CliError::new(format!("{shown} is a spec, expected {expected}"))
        .help(format!("`mbvc check {shown}` checks it; pass the spec of a network with --spec FILE")))
}

fn rename(written: NamedTempFile, path: &Path) -> Result {
    written.persist(path).map_err(|cause| CliError::io("write", path, &cause.error))?;
    Ok(())
}

/// Checks, before long work, that an output file can be written. An existing file that is not empty is replaced only if
/// `force` is set, and never if it is one of the `inputs`.
///
/// # Errors
/// If it cannot be written.
pub fn check_output(path: &Path, force: bool, inputs: &[&Path]) -> Result {
    let shown = path.display();
    let refused = |why: &str| CliError::new(format!("cannot write {shown}: {why}"));
    if path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        return Err(refused("its folder does not exist").help("create the folder, or choose another name"));
    }
    let Ok(entry) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let about = std::fs::metadata(path).unwrap_or_else(|_| entry.clone());
    if about.is_dir() {
        return Err(refused("it is a folder").help("choose another name"));
    }
    // A link to a file is replaced, but not one of the system, such as `/dev/stdout`.
    let is_system_link = entry.is_symlink() && ["/dev", "/proc"].iter().any(|root| path.starts_with(root));
    if is_system_link || !(about.is_file() || about.is_symlink()) {
        return Err(refused("it is not a regular file").help("choose another name"));
    }
    if inputs.iter().any(|input| same(input, path)) {
        return Err(CliError::new(format!("the output {shown} would overwrite an input file"))
            .help("choose another name for the output"));
    }
    // An empty file may be a temporary one that the caller has created.
    if !force && about.len() > 0 {
        return Err(
            CliError::new(format!("{shown} already exists")).help("choose another name, or overwrite it with --force")
        );
    }
    Ok(())
}

/// Checks that a folder for several new files is absent or empty, unless `force` is set.
///
/// # Errors
/// If `folder` is not empty or not a folder, or its parent does not exist.
pub fn check_folder(folder: &Path, force: bool) -> Result {
    let shown = folder.display();
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if parent.is_some_and(|parent| !parent.is_dir()) {
        return Err(CliError::new(format!("cannot write {shown}: the parent folder does not exist"))
            .help("create the folder, or choose another name"));
    }
    if folder.symlink_metadata().is_ok() && !folder.is_dir() {
        return Err(CliError::new(format!("cannot write {shown}: not a folder")).help("choose another name"));
    }
    check_vacant(folder, force)
}

/// Checks that a folder has no files, unless `force` is set.
///
/// # Errors
/// If the folder is not empty.
pub fn check_vacant(folder: &Path, force: bool) -> Result {
    let occupied = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !force {
        return Err(CliError::new(format!("{} is not empty", folder.display()))
            .help("choose another folder, or overwrite its files with --force"));
    }
    Ok(())
}

/// Like [`write_all`], for files in `folder`, but creates `folder` and its subfolders if they are absent.
///
/// # Errors
/// If a folder or one of the files cannot be written.
pub fn write_folder(folder: &Path, files: &[NewFile], force: bool) -> Result {
    // From the outermost: every folder between `folder` and a file.
    let between = |file: &NewFile| {
        file.path.ancestors().skip(1).map(Path::to_owned).take_while(|one| one.starts_with(folder)).collect::<Vec<_>>()
    };
    let absent: BTreeSet<PathBuf> = files.iter().flat_map(between).filter(|one| !one.exists()).collect();
    let written = create_all(&absent).and_then(|()| write_all(files, force));
    written.inspect_err(|_| {
        for created in absent.iter().rev() {
            // Fails unless the folder is empty; `write_all` writes all files or none.
            let _ = std::fs::remove_dir(created);
        }
    })
}

/// Creates folders, parents before children, and what is missing above them.
fn create_all(folders: &BTreeSet<PathBuf>) -> Result {
    folders
        .iter()
        .try_for_each(|folder| std::fs::create_dir_all(folder).map_err(|cause| CliError::io("create", folder, &cause)))
}

/// Whether two paths are the same existing file.
fn same(one: &Path, other: &Path) -> bool {
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
        std::fs::write(folder.path().join(".mbvc-killed.part"), "half").unwrap();
        write(&path, b"one", false).unwrap();
        write(&path, b"two", true).unwrap();
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
        assert!(write_all(&files, true).is_err() && !files[0].path.exists(), "all or none");
        write_all(&files[..1], false).unwrap();
        assert_eq!(std::fs::read(&files[0].path).unwrap(), b"text");
        let message = write(&folder.path().join("no/such/folder"), b"", true).unwrap_err().to_string();
        assert!(message.contains("its folder does not exist"), "{message}");
        assert!(write(folder.path(), b"", true).unwrap_err().to_string().contains("it is a folder"));
    }

    #[test]
    fn existing_files_are_replaced_by_force_only() {
        let folder = tempfile::tempdir().unwrap();
        let [path, input] = ["out", "input"].map(|name| folder.path().join(name));
        std::fs::write(&path, "precious").unwrap();
        std::fs::write(&input, "precious").unwrap();
        let CliError::Message { message, help, .. } = write(&path, b"new", false).unwrap_err() else {
            panic!("another error")
        };
        assert!(message.ends_with("out already exists") && help[0].contains("--force"), "{message}: {help:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        check_output(&path, true, &[&input]).unwrap();
        let message = check_output(&folder.path().join("./input"), true, &[&path, &input]).unwrap_err().to_string();
        assert!(message.contains("would overwrite an input file"), "{message}");
        write(&path, b"new", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        std::fs::write(&path, "").unwrap();
        write(&path, b"an empty file is not lost", false).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_but_not_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let [other, link, open] = ["other", "link", "open"].map(|name| folder.path().join(name));
        std::fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        std::os::unix::fs::symlink(folder.path().join("absent"), &open).unwrap();
        for link in [link, open] {
            assert!(write(&link, b"new", false).unwrap_err().to_string().contains("already exists"));
            write(&link, b"new", true).unwrap();
            assert!(!std::fs::symlink_metadata(&link).unwrap().is_symlink());
        }
        assert_eq!(std::fs::read(&other).unwrap(), b"precious");
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_not_replaced() {
        for path in ["/dev/null", "/dev/stdout", "/dev/fd/0"] {
            let before = std::fs::symlink_metadata(path).unwrap().file_type();
            let message = write(Path::new(path), b"", true).unwrap_err().to_string();
            assert!(message.contains("it is not a regular file"), "{message}");
            assert_eq!(std::fs::symlink_metadata(path).unwrap().file_type(), before);
        }
    }
}

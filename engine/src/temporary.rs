//! Temporary files and folders, which are deleted even if the process that owns them was killed.
//!
//! The owner holds a lock, which the operating system releases when the process ends in any way. Whoever creates the
//! next one in the same folder deletes those without an owner. A file system without locks keeps them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use tempfile::{NamedTempFile, TempDir};

/// Start and end of the names of temporary files.
const FILE_NAME: [&str; 2] = [".mbvc-", ".part"];
/// Name of the locked file in a temporary folder.
const LOCK: &str = ".lock";
/// Number of times that another process may delete a new file before its lock is taken.
const ATTEMPTS: usize = 100;

/// A temporary folder, deleted when it is dropped.
#[derive(Debug)]
pub struct Folder {
    /// Closed before the folder is deleted.
    _lock: File,
    folder: TempDir,
}

impl Folder {
    /// Creates a folder in `place`, whose name starts with `prefix`, and deletes those of ended processes.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn new(place: &Path, prefix: &str) -> io::Result<Self> {
        clean(place, [prefix, ""]);
        for _ in 0..ATTEMPTS {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(place)?;
            let path = folder.path().join(LOCK);
            match File::create_new(&path) {
                Ok(lock) if is_owned(&lock, &path) => return Ok(Self { _lock: lock, folder }),
                Ok(_) => {}
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                Err(cause) => return Err(cause),
            }
        }
        Err(ErrorKind::ResourceBusy.into())
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Creates a file in the folder `place`, which is deleted when it is dropped, unless it is renamed. Deletes those of
/// ended processes.
///
/// # Errors
/// If it cannot be created.
pub fn file(place: &Path, executable: bool) -> io::Result<NamedTempFile> {
    clean(place, FILE_NAME);
    let mut builder = tempfile::Builder::new();
    builder.prefix(FILE_NAME[0]).suffix(FILE_NAME[1]);
    // A temporary file is private by default.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(if executable { 0o777 } else { 0o666 }));
    #[cfg(not(unix))]
    let _ = executable;
    for _ in 0..ATTEMPTS {
        let file = builder.tempfile_in(place)?;
        if is_owned(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
    Err(ErrorKind::ResourceBusy.into())
}

/// Locks a new file; `false` if another process has deleted it, or is about to.
fn is_owned(lock: &File, path: &Path) -> bool {
    !matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)) && path.exists()
}

/// Deletes the temporary files and folders of ended processes. Failures are ignored: they may belong to another user.
fn clean(place: &Path, [prefix, suffix]: [&str; 2]) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(prefix) || !name.ends_with(suffix) {
            continue;
        }
        let path = entry.path();
        // Links are not followed.
        let Ok(kind) = entry.file_type() else { continue };
        let lock = if kind.is_dir() { path.join(LOCK) } else { path.clone() };
        if !std::fs::symlink_metadata(&lock).is_ok_and(|about| about.is_file()) {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(&lock) else { continue };
        // The lock is held meanwhile, so that a new owner notices the deletion.
        if file.try_lock().is_ok() {
            let _ = if kind.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_ended_processes_are_deleted() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let (mine, folder) = (file(place.path(), false).unwrap(), Folder::new(place.path(), ".building-").unwrap());
        std::fs::write(folder.path().join("source"), "").unwrap();
        for name in [".mbvc-killed.part", ".mbvc-other", ".building-file"] {
            std::fs::write(at(name), "").unwrap();
        }
        for name in [".building-killed", "other"] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join(LOCK), "").unwrap();
        }
        let second = [file(place.path(), false).unwrap().path().exists(), mine.path().exists()];
        assert_eq!(second, [true, true]);
        assert!(!at(".mbvc-killed.part").exists() && at(".building-killed").exists(), "of the same kind");
        let other = Folder::new(place.path(), ".building-").unwrap();
        assert!(!at(".building-killed").exists());
        assert!(folder.path().join("source").exists() && other.path().exists(), "an owner is alive");
        assert!(at(".mbvc-other").exists() && at("other").exists(), "other files are kept");
        let paths = [folder.path().to_owned(), other.path().to_owned(), mine.path().to_owned()];
        drop((folder, other, mine));
        assert!(paths.iter().all(|path| !path.exists()));
    }

    #[test]
    fn two_processes_do_not_delete_each_others_files() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..50 {
                        let file = file(place.path(), false).unwrap();
                        let folder = Folder::new(place.path(), ".building-").unwrap();
                        std::fs::write(folder.path().join("source"), "").unwrap();
                        std::thread::yield_now();
                        assert!(file.path().exists() && folder.path().join("source").exists(), "{number}");
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

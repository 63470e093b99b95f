//! Packed weights in cache files. All processes of a machine map the same file, so that memory holds one copy. Calls take the same
//! time as with private weights in huge pages (measured in float32 and int8).
//!
//! A file that is damaged, or that the kernels reject, is replaced. Storing a file deletes those that no process has opened for
//! 30 days.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mbvc_runtime::{Isa, Network, Weights, choose};
use memmap2::MmapOptions;
use sha2::{Digest, Sha256};

use crate::cache::{Cache, hex, key};
use crate::chain::Chain;
use crate::program::Unbound;
use crate::temporary;

/// Extension of the files.
const EXTENSION: &str = "weights";
/// Time after which an unused file is deleted.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The mapped files that kernels use, with their paths. They stay mapped until the process ends.
static MAPPED: Chain<(PathBuf, &'static [u8])> = Chain::new();

/// Binds shared packed weights to a network. Returns `None` if they do not fit or the cache cannot be used.
pub fn network(cache: &Cache, unbound: &Unbound, weights: &Weights, isa: Option<Isa>) -> Option<Box<dyn Network>> {
    let info = unbound.info();
    if !info.needs().mismatches(weights.conventions(), weights.container().header()).is_empty() {
        return None;
    }
    let isa = choose(info.isas, isa).ok()?.isa();
    // Packing uses the numerics that `MBVC_NUMERICS` and the processor determine.
    let numerics = info.numerics.choose().ok()?;
    let hash = hex(&Sha256::digest(weights.as_bytes()));
    let name = key([isa.name(), numerics.name(), &hash, &unbound.key()]);
    let path = cache.packed().join(format!("{name}.{EXTENSION}"));
    let is_missing = !path.exists();
    open(&path, unbound).or_else(|| {
        // Even if the file cannot be stored: another process may have stored it.
        let _ = store(&path, &unbound.pack(weights, isa)?, is_missing);
        open(&path, unbound)
    })
}

/// Maps a file and binds it to a network. Returns `None` if the file is missing or the kernels reject it.
fn open(path: &Path, unbound: &Unbound) -> Option<Box<dyn Network>> {
    if let Some((_, map)) = MAPPED.iter().find(|(mapped, _)| mapped == path) {
        return unbound.bind_packed(map);
    }
    let file = File::open(path).ok()?;
    // `bind_packed` reads every page to verify the checksum. `populate` maps all pages at once, which avoids page faults.
    // SAFETY: no process writes the file: `store` renames complete files, and the folder belongs to the user, as for libraries that
    // are loaded from the cache. The folder must be on a local disk, where a deleted file keeps its content until it is unmapped.
    let map = unsafe { MmapOptions::new().populate().map(&file) }.ok()?;
    // A rejected file stays mapped, because `bind_packed` requires a static slice.
    let map: &'static [u8] = Box::leak(Box::new(map));
    let network = unbound.bind_packed(map)?;
    // Keeps `delete_unused` from deleting it. Fails if another user owns the file, which is harmless.
    let _ = file.set_modified(SystemTime::now());
    MAPPED.push((path.to_owned(), map));
    Some(network)
}

/// Stores a file atomically. If `is_missing` is set, one that another process has stored meanwhile is kept, because processes share
/// it.
fn store(path: &Path, content: &[u8], is_missing: bool) -> Option<()> {
    let folder = path.parent()?;
    std::fs::create_dir_all(folder).ok()?;
    delete_unused(folder);
    let mut file = temporary::file(folder, false).ok()?;
    file.write_all(content).ok()?;
    match is_missing {
        true => file.persist_noclobber(path).ok()?,
        false => file.persist(path).ok()?,
    };
    Some(())
}

/// Deletes packed files that no process has opened for 30 days.
fn delete_unused(folder: &Path) {
    let is_unused = |path: &Path| {
        let modified = std::fs::metadata(path).and_then(|about| about.modified()).ok();
        path.extension().is_some_and(|extension| extension == EXTENSION)
            && modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > UNUSED)
    };
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if is_unused(&path) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mbvc_compiler::diagnostic::SourceFile;
    use mbvc_compiler::spec::{Overrides, Words};

    use super::*;
    use crate::caller::Caller;
    use crate::carried;
    use crate::library::Library;
    use crate::progress::Silent;
    use crate::source::Source;

    fn logits(network: &dyn Network) -> Vec<f32> {
        let mut caller = Caller::new(network.info());
        caller.noise();
        caller.call(network, &mut mbvc_runtime::Unobserved);
        caller.logits
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)).collect()
    }

    /// The network of the tiny spec with another value of `key`, compiled into a cache.
    fn tiny(cache: &Cache, key: &str, value: &str) -> Unbound {
        let text = format!("{}isa: portable\n", include_str!("../../specs/tiny.yaml"));
        let mut overrides = Overrides::new(Words::Command);
        overrides.set(key, value);
        let source = Source::new(SourceFile::new("tiny.yaml", text), overrides).unwrap();
        let compiled = source.compile(source.spec.fusion, &[]).unwrap();
        Unbound::Library(Library::open_in(cache, &compiled, "tiny", &Silent).unwrap())
    }

    #[test]
    fn a_file_is_reused_and_one_that_cannot_be_used_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let cache = |name: &str| Cache::at(&folder.path().join(name));
        let (unbound, other) =
            (tiny(&cache("libraries"), "fusion", "block"), tiny(&cache("libraries"), "fusion", "relu6"));
        let weights = Weights::from_static(carried::weights::bytes()).unwrap();
        let shared = |cache: &Cache| network(cache, &unbound, &weights, None);
        let expected = logits(&*unbound.build(&weights, None).unwrap());

        let first = cache("first");
        for _ in 0..2 {
            assert_eq!(logits(&*shared(&first).unwrap()), expected);
        }
        let [stored] = &files(&first.packed())[..] else { panic!("expected one file") };
        let content = fs::read(stored).unwrap();

        let foreign = other.pack(&weights, Isa::Portable).unwrap();
        let mut damaged = content.clone();
        damaged[1000] ^= 1;
        let old = SystemTime::now() - 2 * UNUSED;
        // Each file is in a separate folder, because this process keeps the others mapped.
        for (number, file) in
            [&content, &damaged, &content[..content.len() - 64], b"", &foreign].into_iter().enumerate()
        {
            let cache = cache(&format!("second{number}"));
            fs::create_dir_all(cache.packed()).unwrap();
            let path = cache.packed().join(stored.file_name().unwrap());
            let [unused, unknown] = ["unused.weights", "unused.yaml"].map(|name| cache.packed().join(name));
            for (path, content) in [(&path, file), (&unused, b""), (&unknown, b"")] {
                fs::write(path, content).unwrap();
                File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
            }
            for _ in 0..2 {
                assert_eq!(logits(&*shared(&cache).unwrap()), expected);
            }
            assert!(fs::read(&path).unwrap() == content, "file {number}");
            let age = fs::metadata(&path).unwrap().modified().unwrap().elapsed().unwrap();
            assert!(age < UNUSED, "it is marked as used");
            // Old files are deleted when one is stored.
            assert_eq!((unused.exists(), unknown.exists()), (number == 0, true));
        }
        // The cache folder cannot be created.
        assert!(shared(&Cache::at(stored)).is_none());
    }

    #[test]
    fn a_file_that_another_process_has_stored_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packed/name.weights");
        let stored: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|number| {
                    scope.spawn({
                        let path = &path;
                        move || store(path, &[number; 100_000], true)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let first = stored.iter().position(Option::is_some).unwrap();
        assert_eq!(stored.iter().flatten().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), [first as u8; 100_000]);
        assert!(store(&path, b"replaced", false).is_some());
        assert_eq!(fs::read(&path).unwrap(), b"replaced");
        assert_eq!(files(path.parent().unwrap()), [path]);
    }

    #[test]
    fn weights_of_another_network_are_not_stored() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let unbound = tiny(&cache, "classes", "7");
        let weights = Weights::from_static(carried::weights::bytes()).unwrap();
        assert!(network(&cache, &unbound, &weights, None).is_none());
        assert!(!cache.packed().exists());
    }
}

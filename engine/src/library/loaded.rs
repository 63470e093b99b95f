//! Libraries that the process has loaded. They are never unloaded, because threads of their pools may run their code at
//! any time.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::{Library, Symbol};
use mbvc_runtime::NetworkInfo;

use super::facts::{self, NetworkFacts, Tables};
use super::{Build, Describe, DescribeModel, Free, Run, collect};
use crate::error::{Error, Result};

/// The C functions of a library.
pub struct Functions {
    pub model: DescribeModel,
    pub build: Build,
    pub free: Free,
    pub run: Run<f32>,
    pub run_pixels: Run<u8>,
}

/// A loaded library and the facts of its network.
pub struct Loaded {
    path: PathBuf,
    pub functions: Functions,
    facts: NetworkFacts,
    tables: Tables,
    _library: Library,
}

/// All loaded libraries.
static LOADED: Chain<Loaded> = Chain::new();

impl Loaded {
    /// Loads a library that the cache has compiled and checked, unless it is already loaded.
    ///
    /// # Errors
    /// If it cannot be loaded, or was not compiled with this version's driver.
    pub fn open(path: &Path) -> Result<&'static Self> {
        if let Some(loaded) = LOADED.iter().find(|loaded| loaded.path == path) {
            return Ok(loaded);
        }
        let fail = |cause: libloading::Error| Error::new(format!("cannot load {}: {cause}", path.display()));
        // SAFETY: the cache compiled this file from code without initializers, and has verified its checksum.
        let library = unsafe { Library::new(path) }.map_err(fail)?;
        // SAFETY: the types are those of `carried/driver.rs`; the file's name is a hash of that file too.
        let (describe, functions) = unsafe {
            let describe: Symbol<Describe> = library.get(b"mbvc_network\0").map_err(fail)?;
            let model: Symbol<DescribeModel> = library.get(b"mbvc_model\0").map_err(fail)?;
            let build: Symbol<Build> = library.get(b"mbvc_build\0").map_err(fail)?;
            let free: Symbol<Free> = library.get(b"mbvc_free\0").map_err(fail)?;
            let run: Symbol<Run<f32>> = library.get(b"mbvc_run\0").map_err(fail)?;
            let run_pixels: Symbol<Run<u8>> = library.get(b"mbvc_run_pixels\0").map_err(fail)?;
            (*describe, Functions { model: *model, build: *build, free: *free, run: *run, run_pixels: *run_pixels })
        };
        let mut encoded = Vec::new();
        // SAFETY: the sink's context is a `Vec<u8>`.
        unsafe { describe(collect, (&raw mut encoded).cast()) };
        let facts = NetworkFacts::decode(&encoded).map_err(|cause| {
            Error::new(format!("cannot read the description of the network in {}: {cause}", path.display()))
        })?;
        let path = path.to_owned();
        Ok(LOADED.push(Self { path, functions, facts, tables: Tables::default(), _library: library }))
    }

    /// Returns the facts of the network.
    pub fn info(&'static self) -> &'static NetworkInfo {
        facts::info(&self.facts, &self.tables)
    }
}

/// An append-only list, whose items live as long as the list.
struct Chain<T>(OnceLock<Box<(T, Self)>>);

impl<T> Chain<T> {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn push(&self, value: T) -> &T {
        let mut value = Some(value);
        let mut at = self;
        loop {
            let link = || Box::new((value.take().expect("is moved into one link only"), Self::new()));
            let (item, rest) = &**at.0.get_or_init(link);
            if value.is_none() {
                return item;
            }
            at = rest;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::successors(self.0.get(), |link| link.1.0.get()).map(|link| &link.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;

    #[test]
    fn items_stay_where_they_are() {
        let chain = Chain::new();
        let first = chain.push(1);
        std::thread::scope(|scope| {
            for value in 2..6 {
                let chain = &chain;
                scope.spawn(move || assert_eq!(*chain.push(value), value));
            }
        });
        let mut all: Vec<i32> = chain.iter().copied().collect();
        assert_eq!((all[0], chain.iter().next().map(std::ptr::from_ref)), (1, Some(std::ptr::from_ref(first))));
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }
}

//! Imports between the files of a crate, read from its source: circles among files, and the order of modules.
//!
//! A test of a crate includes this file by `#[path]` and checks the crate's `src`:
//!
//! ```text
//! #[path = "../../tests/architecture/mod.rs"]
//! mod architecture;
//!
//! let imports = Imports::of_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
//! assert_eq!(imports.circles(), []);
//! assert_eq!(imports.against(&["spec", "ir", "target", "passes"]), []);
//! ```
//!
//! A file imports another if it names one of its items: in a `use`, or by a path such as `crate::ir::Graph` or
//! `super::shape`. A name that a module re-exports counts for the file that defines it. `mod` lines are not imports, neither are
//! re-exports of names that the file itself does not use, and items under `#[cfg(test)]` are left out.

#![allow(dead_code, reason = "each crate's test uses a part")]

mod file;
mod resolve;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use file::File;
use resolve::{Module, module_of, resolve};

/// One file imports names of another. Files are relative to the source folder.
#[derive(Clone, PartialEq, Eq)]
pub struct Import {
    pub from: String,
    pub to: String,
    pub names: BTreeSet<String>,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        write!(f, "{} -> {}: {}", self.from, self.to, names.join(", "))
    }
}

/// Files that import each other in a loop, and the imports among them.
#[derive(Clone, PartialEq, Eq)]
pub struct Circle {
    pub files: Vec<String>,
    pub imports: Vec<Import>,
}

impl fmt::Debug for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circle of {} files", self.files.len())?;
        self.imports.iter().try_for_each(|import| write!(f, "\n    {import:?}"))
    }
}

/// All imports between the files of a crate.
pub struct Imports(Vec<Import>);

impl Imports {
    /// Reads every `.rs` file below `source`, the folder of a `lib.rs` or `main.rs`.
    pub fn of_folder(source: &Path) -> Self {
        let mut files = Vec::new();
        gather(source, "", &mut files);
        Self::of_files(files.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }

    /// Reads the files with these paths, relative to the source folder and with `/`, and contents.
    pub fn of_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        // A package with both is a library. Its `main.rs` is a separate crate, which uses that library by name.
        if files.iter().any(|(path, _)| *path == "lib.rs") {
            files.retain(|(path, _)| *path != "main.rs");
        }
        let files: BTreeMap<Module, File> =
            files.into_iter().map(|(path, text)| (module_of(path), File::parse(path, text))).collect();
        let is_test = |module: &Module| {
            (1..=module.len()).any(|depth| {
                let (name, parent) = (&module[depth - 1], &module[..depth - 1]);
                files.get(parent).is_some_and(|parent| parent.tests.contains(name))
            })
        };
        let mut imports = Vec::new();
        for (module, file) in files.iter().filter(|(module, _)| !is_test(module)) {
            let mut targets: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
            for path in file.paths() {
                if let Some((target, name)) = resolve(&files, module, &path, &mut BTreeSet::new())
                    && target.path != file.path
                {
                    targets.entry(&target.path).or_default().insert(name);
                }
            }
            imports.extend(targets.into_iter().map(|(to, names)| Import {
                from: file.path.clone(),
                to: to.to_owned(),
                names,
            }));
        }
        Self(imports)
    }

    /// All imports, by the importing file.
    pub fn all(&self) -> &[Import] {
        &self.0
    }

    /// The same without what files import from their own submodules: a module may then name its parts, and they it.
    pub fn without_submodules(self) -> Self {
        let is_inside = |import: &Import| module_of(&import.to).starts_with(&module_of(&import.from));
        Self(self.0.into_iter().filter(|import| !is_inside(import)).collect())
    }

    /// The circles among files: none in a sound crate.
    pub fn circles(&self) -> Vec<Circle> {
        let mut reachable: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for import in &self.0 {
            reachable.entry(&import.from).or_insert_with(|| self.reachable(&import.from));
        }
        let mut circles: Vec<Circle> = Vec::new();
        for (file, targets) in &reachable {
            let in_circle = |other: &str| {
                targets.contains(other) && reachable.get(other).is_some_and(|targets| targets.contains(file))
            };
            if !in_circle(file) || circles.iter().any(|circle| circle.files.iter().any(|other| other == file)) {
                continue;
            }
            let is_member = |import: &&Import| in_circle(&import.from) && in_circle(&import.to);
            circles.push(Circle {
                files: reachable.keys().filter(|other| in_circle(other)).map(|other| (*other).to_owned()).collect(),
                imports: self.0.iter().filter(is_member).cloned().collect(),
            });
        }
        circles
    }

    fn reachable<'a>(&'a self, from: &'a str) -> BTreeSet<&'a str> {
        let (mut found, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            let targets = self.0.iter().filter(|import| import.from == file).map(|import| import.to.as_str());
            open.extend(targets.filter(|target| found.insert(*target)));
        }
        found
    }

    /// Imports of a later module by an earlier one. `order` lists modules, such as `codegen::float`, each of which may use
    /// those before it; modules that it leaves out may use and be used by all.
    pub fn against(&self, order: &[&str]) -> Vec<Import> {
        let rank = |file: &str| {
            let module = module_of(file).join("::");
            let inside =
                |outer: &str| module.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
            // The deepest module decides, so that `codegen` and `codegen::float` may both be listed.
            order
                .iter()
                .enumerate()
                .filter(|(_, outer)| inside(outer))
                .max_by_key(|(_, outer)| outer.len())
                .map(|(at, _)| at)
        };
        let is_against = |import: &&Import| match (rank(&import.from), rank(&import.to)) {
            (Some(from), Some(to)) => from < to,
            _ => false,
        };
        self.0.iter().filter(is_against).cloned().collect()
    }
}

fn gather(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            gather(&path, &format!("{prefix}{name}/"), files);
        } else if name.ends_with(".rs") {
            files.push((format!("{prefix}{name}"), fs::read_to_string(&path).unwrap()));
        }
    }
}

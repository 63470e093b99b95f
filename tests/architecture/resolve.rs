//! Paths of modules, and the files that define what they name.

use std::collections::{BTreeMap, BTreeSet};

use super::file::File;

/// The path of a module from the root of its crate: empty for `lib.rs`, `["codegen", "step"]` for `codegen/step/mod.rs`.
pub type Module = Vec<String>;

/// The path of the module in the file `path`.
pub fn module_of(path: &str) -> Module {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let parts: Module = path.split('/').map(str::to_owned).collect();
    match parts.split_last() {
        Some((last, folders)) if last == "mod" || (folders.is_empty() && (last == "lib" || last == "main")) => {
            folders.to_vec()
        }
        _ => parts,
    }
}

/// The file that defines what `path` names, seen from `module`, and the name. Re-exports are followed.
pub fn resolve<'f>(
    files: &'f BTreeMap<Module, File>,
    module: &Module,
    path: &[String],
    seen: &mut BTreeSet<(Module, String)>,
) -> Option<(&'f File, String)> {
    let mut at = module.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            at.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                at.pop()?;
                rest = &rest[1..];
            }
        }
        _ => {}
    }
    let is_rooted = rest.len() < path.len();
    while let Some((part, after)) = rest.split_first() {
        let mut inner = at.clone();
        inner.push(part.clone());
        if files.contains_key(&inner) {
            (at, rest) = (inner, after);
            continue;
        }
        let file = files.get(&at)?;
        if !seen.insert((at.clone(), part.clone())) {
            return None;
        }
        for (alias, target) in &file.uses {
            // A module, or an item, under another path. An own module may have the alias, too.
            if alias == part && (target.len() > 1 || target[0] != *part) {
                let whole: Vec<String> = target.iter().chain(after).cloned().collect();
                return resolve(files, &at, &whole, seen);
            }
        }
        if !file.items.contains(part) {
            for (_, target) in file.uses.iter().filter(|(alias, _)| alias == "*") {
                let whole: Vec<String> = target.iter().chain(rest).cloned().collect();
                if let Some((found, name)) = resolve(files, &at, &whole, seen)
                    && found.items.contains(&name)
                {
                    return Some((found, name));
                }
            }
            // An external crate, a local name or a variant.
            if !is_rooted && at == *module {
                return None;
            }
        }
        return Some((file, part.clone()));
    }
    // A module as a whole: what is used of it is found where it is used.
    None
}

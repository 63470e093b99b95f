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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

/// The path of a module from the root of its crate: empty for `lib.rs`, `["codegen", "step"]` for `codegen/step/mod.rs`.
type Module = Vec<String>;

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

fn module_of(path: &str) -> Module {
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
fn resolve<'f>(
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

/// What one file defines, uses and names.
struct File {
    path: String,
    /// Names of `use` and the paths behind them, `*` of a glob.
    uses: Vec<(String, Vec<String>)>,
    /// Those of `uses` that are re-exports.
    reexports: BTreeSet<String>,
    /// Paths of two or more parts outside of `use`.
    paths: Vec<Vec<String>>,
    /// Items at the level of the file.
    items: BTreeSet<String>,
    /// All identifiers outside of `use`.
    words: BTreeSet<String>,
    /// Modules in separate files that are compiled for tests only.
    tests: BTreeSet<String>,
}

impl File {
    fn parse(path: &str, text: &str) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            uses: Vec::new(),
            reexports: BTreeSet::new(),
            paths: Vec::new(),
            items: BTreeSet::new(),
            words: BTreeSet::new(),
            tests: BTreeSet::new(),
        };
        let tokens = without_tests(&tokens(text), &mut file.tests);
        let mut depth = 0usize;
        let mut is_public = false;
        let mut at = 0;
        while at < tokens.len() {
            let token = tokens[at].as_str();
            match token {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                "use" => {
                    let end =
                        tokens[at..].iter().position(|token| token == ";").map_or(tokens.len(), |length| at + length);
                    let before = file.uses.len();
                    use_tree(&tokens[at + 1..end], &[], &mut file.uses);
                    if is_public {
                        file.reexports.extend(file.uses[before..].iter().map(|(alias, _)| alias.clone()));
                    }
                    at = end;
                }
                "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" | "mod" if depth == 0 => {
                    let name =
                        tokens[at + 1..].iter().find(|token| is_word(token) && !matches!(token.as_str(), "mut" | "fn"));
                    file.items.extend(name.cloned());
                }
                "macro_rules" => file.items.extend(tokens.get(at + 2).cloned()),
                _ => {}
            }
            // `pub` and the tokens that may follow before `use`.
            is_public = match token {
                "pub" => true,
                "(" | ")" | "crate" | "super" | "self" | "in" => is_public,
                _ => false,
            };
            if is_word(token) && token != "use" {
                file.words.insert(token.to_owned());
                let is_start = at.checked_sub(1).is_none_or(|before| tokens[before] != "::");
                if is_start && tokens.get(at + 1).is_some_and(|next| next == "::") {
                    file.paths.push(path_at(&tokens[at..]));
                }
            }
            at += 1;
        }
        file
    }

    /// All paths to names that the file uses.
    fn paths(&self) -> Vec<Vec<String>> {
        let is_used = |alias: &String| !self.reexports.contains(alias) || self.words.contains(alias);
        let uses = self.uses.iter().filter(|(alias, _)| is_used(alias)).map(|(alias, path)| {
            let glob = (alias == "*").then(|| alias.clone());
            path.iter().cloned().chain(glob).collect()
        });
        uses.chain(self.paths.iter().cloned()).collect()
    }
}

fn path_at(tokens: &[String]) -> Vec<String> {
    let mut path = vec![tokens[0].clone()];
    let mut rest = &tokens[1..];
    while let [colons, part, after @ ..] = rest
        && colons == "::"
        && is_word(part)
    {
        path.push(part.clone());
        rest = after;
    }
    path
}

/// Lists the names that a `use` brings in, with their whole paths.
fn use_tree(tokens: &[String], prefix: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let mut path = prefix.to_vec();
    let mut rest = tokens;
    loop {
        match rest {
            [colons, after @ ..] if colons == "::" => rest = after,
            [open, inner @ .., close] if open == "{" && close == "}" => {
                let (mut depth, mut start) = (0usize, 0);
                for (at, token) in inner.iter().enumerate() {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        "," if depth == 0 => {
                            use_tree(&inner[start..at], &path, found);
                            start = at + 1;
                        }
                        _ => {}
                    }
                }
                return use_tree(&inner[start..], &path, found);
            }
            [word, alias, ..] if word == "as" => return found.push((alias.clone(), path)),
            [star] if star == "*" => return found.push(("*".into(), path)),
            [word, after @ ..] if is_word(word) => {
                // `use a::{self}` brings in `a`.
                if word != "self" || path.is_empty() {
                    path.push(word.clone());
                }
                rest = after;
            }
            _ if path.len() > prefix.len() || !tokens.is_empty() => {
                return found.extend(path.last().cloned().map(|alias| (alias, path)));
            }
            _ => return,
        }
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Identifiers, `::` and single punctuation; comments and literals are left out.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        if first == '/' && next == Some('/') {
            at += chars[at..].iter().position(|letter| *letter == '\n').unwrap_or(chars.len() - at);
        } else if first == '/' && next == Some('*') {
            at = after_comment(&chars, at);
        } else if first == '"' {
            at = after_string(&chars, at);
        } else if let Some(end) = after_raw_string(&chars, at) {
            at = end;
        } else if first == '\'' {
            // A character, or a lifetime.
            let is_lifetime = chars.get(at + 2) != Some(&'\'') && next != Some('\\');
            let close = || {
                chars[at + 3..].iter().position(|letter| *letter == '\'').map_or(chars.len(), |length| at + 4 + length)
            };
            at = match (is_lifetime, next) {
                (true, _) => at + 1,
                (false, Some('\\')) => close(),
                (false, _) => at + 3,
            };
            if is_lifetime {
                at += chars[at..].iter().take_while(|letter| letter.is_alphanumeric() || **letter == '_').count();
            }
        } else if first.is_alphanumeric() || first == '_' {
            let length = chars[at..].iter().take_while(|letter| letter.is_alphanumeric() || **letter == '_').count();
            tokens.push(chars[at..at + length].iter().collect());
            at += length;
        } else if first == ':' && next == Some(':') {
            tokens.push("::".into());
            at += 2;
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            at += 1;
        }
    }
    tokens
}

/// Comments nest.
fn after_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0usize, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r"..."`, `br#"..."#`, and raw identifiers excepted.
fn after_raw_string(chars: &[char], start: usize) -> Option<usize> {
    let rest = &chars[start..];
    let prefix = match rest {
        ['b' | 'c', 'r', ..] => 2,
        ['r', ..] => 1,
        _ => return None,
    };
    let hashes = rest[prefix..].iter().take_while(|letter| **letter == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = start + prefix + hashes + 1;
    let length = chars[body..].windows(close.len()).position(|window| window == close.as_slice());
    Some(length.map_or(chars.len(), |length| body + length + close.len()))
}

/// Leaves out attributes, and with them the items under `#[cfg(test)]` or `#[test]`; collects the names of the modules
/// among these.
fn without_tests(tokens: &[String], modules: &mut BTreeSet<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] != "#" {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let open = at + 1 + usize::from(tokens.get(at + 1).is_some_and(|token| token == "!"));
        if tokens.get(open).is_none_or(|token| token != "[") {
            // `#name` of a quoted template.
            at += 1;
            continue;
        }
        let end = after_group(tokens, open);
        let attribute: Vec<&str> = tokens[open + 1..end - 1].iter().map(String::as_str).collect();
        at = end;
        if matches!(attribute.as_slice(), ["test"] | ["cfg", "(", "test", ")"]) {
            let end = after_item(tokens, at);
            let is_module = |pair: &&[String]| pair[0] == "mod";
            modules.extend(tokens[at..end].windows(2).find(is_module).map(|pair| pair[1].clone()));
            at = end;
        }
    }
    kept
}

/// The index after the bracket that closes the one at `open`.
fn after_group(tokens: &[String], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "[" | "{" | "(" => depth += 1,
            "]" | "}" | ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The index after an item: its `;`, or its body.
fn after_item(tokens: &[String], start: usize) -> usize {
    let mut at = start;
    while at < tokens.len() {
        match tokens[at].as_str() {
            ";" => return at + 1,
            "{" => {
                let end = after_group(tokens, at);
                // `use a::{b};`
                return end + usize::from(tokens.get(end).is_some_and(|token| token == ";"));
            }
            "(" | "[" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

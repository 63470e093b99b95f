//! Reads the imports, names and items of a file from its tokens.

use std::collections::BTreeSet;

use super::tokens::{is_word, tokens, without_tests};

/// Path, items and imports of a file.
pub struct File {
    pub path: String,
    /// Names of `use` and the paths behind them, `*` of a glob.
    pub uses: Vec<(String, Vec<String>)>,
    /// Those of `uses` that are re-exports.
    reexports: BTreeSet<String>,
    /// Paths of two or more parts outside of `use`.
    paths: Vec<Vec<String>>,
    /// Items at the level of the file.
    pub items: BTreeSet<String>,
    /// All identifiers outside of `use`.
    words: BTreeSet<String>,
    /// Modules in separate files that are compiled for tests only.
    pub tests: BTreeSet<String>,
}

impl File {
    /// Parses the text of the file at `path`.
    pub fn parse(path: &str, text: &str) -> Self {
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
    pub fn paths(&self) -> Vec<Vec<String>> {
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

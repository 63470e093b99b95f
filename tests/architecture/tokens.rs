//! Tokens of Rust source, as far as imports need them.

use std::collections::BTreeSet;

/// Whether a token is an identifier or a keyword.
pub fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Identifiers, `::` and single punctuation; comments and literals are left out.
pub fn tokens(text: &str) -> Vec<String> {
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
pub fn without_tests(tokens: &[String], modules: &mut BTreeSet<String>) -> Vec<String> {
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

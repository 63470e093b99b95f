//! Checks of mappings: unknown, duplicate and missing keys.

use std::borrow::Cow;

use super::excerpt::shortened;
use super::syntax::{COLON_MISSING, joined};
use super::tree::Entry;
use super::tree::{Node, Value};
use super::values::Checker;
use crate::diagnostic::{Diagnostic, catalog, nearest};

/// The keys of one kind of mapping.
pub(super) struct Shape {
    /// Name of the mapping in messages: "the spec", "a row of `blocks`".
    pub what: &'static str,
    /// Prefix of key names in messages: `stem.`.
    pub prefix: &'static str,
    pub keys: &'static [Key],
    /// Label of the mapping's first line if a key is missing; empty for mappings of one line.
    pub begins: &'static str,
    /// Help if the value is not a mapping.
    pub remedy: &'static str,
}

pub(super) struct Key {
    pub name: &'static str,
    /// Long form of the name.
    pub synonym: Option<&'static str>,
    /// An example of the key with a value; `None` if it has a default.
    pub required: Option<&'static str>,
}

impl Key {
    pub const fn required(name: &'static str, example: &'static str) -> Self {
        Self { name, synonym: None, required: Some(example) }
    }

    pub const fn optional(name: &'static str) -> Self {
        Self { name, synonym: None, required: None }
    }

    pub const fn or(mut self, synonym: &'static str) -> Self {
        self.synonym = Some(synonym);
        self
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.synonym)
    }
}

/// The entries of a mapping under their canonical names.
pub(super) struct Fields<'a> {
    entries: Vec<(&'static str, Entry<'a>)>,
}

impl<'a> Fields<'a> {
    pub fn get(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|(known, _)| *known == name).map(|(_, entry)| entry)
    }
}

impl Checker<'_> {
    /// Sorts a mapping's entries under the keys of its shape; reports unknown, duplicate and missing ones.
    pub fn fields<'n>(&mut self, node: &'n Node, shape: &Shape) -> Option<Fields<'n>> {
        let Value::Map(pairs) = &node.value else {
            let message = format!("{} is {}", shape.what, self.describe(node));
            self.push(Diagnostic::new(&catalog::MAPPING, message).at(node.place).help(shape.remedy));
            return None;
        };
        let mut entries: Vec<(&'static str, Entry<'n>)> = Vec::new();
        let mut meant = Vec::new();
        for (key, value) in pairs {
            let Some(known) = self.known_key(key, value, shape, &mut meant) else { continue };
            let name = match &key.value {
                Value::Text(text) => Cow::Owned(format!("{}{text}", shape.prefix)),
                _ => Cow::Borrowed(known.name),
            };
            let entry = Entry { name, key: key.place, value };
            match entries.iter().find(|(name, _)| *name == known.name) {
                Some((_, first)) => self.duplicate(&entry, first),
                None => entries.push((known.name, entry)),
            }
        }
        for key in shape.keys {
            let given = entries.iter().any(|(name, _)| *name == key.name);
            // A misspelled key is reported once, as unknown.
            if let Some(example) = key.required.filter(|_| !given && !meant.contains(&key.name)) {
                let message = format!("missing key `{}` in {}", key.name, shape.what);
                let mistake = Diagnostic::new(&catalog::MISSING_KEY, message).at(node.place);
                self.push(mistake.label(shape.begins).help(format!("add `{example}`")));
            }
        }
        Some(Fields { entries })
    }

    /// Finds the key of the shape that a node names. `meant` collects the keys that misspelled ones resemble.
    fn known_key<'s>(
        &mut self,
        node: &Node,
        value: &Node,
        shape: &'s Shape,
        meant: &mut Vec<&'static str>,
    ) -> Option<&'s Key> {
        let Value::Text(text) = &node.value else {
            let message = format!("expected a key of {}, found {}", shape.what, self.describe(node));
            self.push(Diagnostic::new(&catalog::UNKNOWN_KEY, message).at(node.place).help(key_list(shape)));
            return None;
        };
        let called = |text: &str| shape.keys.iter().find(|key| key.names().any(|name| name == text));
        if let Some(key) = called(text) {
            return Some(key);
        }
        // In `head { channels: 5 }` YAML takes the bracket for a part of the key.
        if let Some(pair) = joined(text).filter(|pair| matches!(value.value, Value::Null) || pair.is_opened())
            && let Some(key) = called(pair.key)
        {
            self.push(Diagnostic::new(&catalog::MAPPING, COLON_MISSING).at(node.place).help(pair.remedy()));
            meant.push(key.name);
            return None;
        }
        if text == "<<" {
            let mistake = Diagnostic::new(&catalog::PLAIN, "YAML merge keys are not supported").at(node.place);
            self.push(mistake.help("write out the keys"));
            return None;
        }
        let near = nearest(text, shape.keys.iter().flat_map(Key::names));
        let help = match near {
            Some(name) => format!("did you mean `{name}`?"),
            None => key_list(shape),
        };
        meant.extend(shape.keys.iter().find(|key| key.names().any(|name| Some(name) == near)).map(|key| key.name));
        let message = format!("unknown key `{}` in {}", shortened(text), shape.what);
        self.push(Diagnostic::new(&catalog::UNKNOWN_KEY, message).at(node.place).help(help));
        None
    }

    fn duplicate(&mut self, second: &Entry<'_>, first: &Entry<'_>) {
        let message = if second.name == first.name {
            format!("`{}` is given twice", second.name)
        } else {
            format!("`{}` and `{}` are the same key", first.name, second.name)
        };
        self.push(
            Diagnostic::new(&catalog::DUPLICATE_KEY, message)
                .at(second.key)
                .label("second here")
                .related(first.key, "first here")
                .help("remove one of the two"),
        );
    }
}

fn key_list(shape: &Shape) -> String {
    let names: Vec<_> = shape.keys.iter().map(|key| key.name).collect();
    format!("known keys: {}", names.join(", "))
}

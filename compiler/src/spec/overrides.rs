//! Overrides of a spec's values, from the command line or the macro call.

use std::borrow::Cow;

use super::excerpt::Excerpt;
use super::excerpt::shortened;
use super::tree::Entry;
use super::tree::{Node, Value, read};
use crate::diagnostic::{Diagnostic, Origin, Place, SourceFile, catalog, nearest};

/// The keys that can be overridden.
pub const OVERRIDABLE: &[&str] = &[
    "name",
    "width",
    "resolution",
    "classes",
    "precision",
    "numerics",
    "rounding",
    "fusion",
    "isa",
    "threads",
    "batch",
    "scratch_budget",
];

/// Spelling of overrides, which errors repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Words {
    /// `width = 0.5`
    #[default]
    Macro,
    /// `--width 0.5`
    Command,
}

/// Keys and values that override those of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    words: Words,
    given: Vec<(String, String)>,
}

impl Overrides {
    /// No overrides.
    pub fn none() -> Self {
        Self::default()
    }

    /// No overrides yet, in the caller's spelling.
    pub fn new(words: Words) -> Self {
        Self { words, given: Vec::new() }
    }

    /// Overrides a key with a YAML value, such as `0.5`, `avx2`, `"avx2"` or `[192, 224]`, or one in the spelling of
    /// the command, such as `192x224` or `avx2,neon`. It is checked with the spec. Hyphens in the key are read as
    /// underscores.
    pub fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.given.push((key.replace('-', "_"), value.to_owned()));
        self
    }

    /// Returns the keys and values, in the order in which they were set.
    pub fn given(&self) -> &[(String, String)] {
        &self.given
    }

    /// Whether there is no override.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Spells out the overrides as the caller did, and parses their values.
    pub(super) fn arguments(&self, mistakes: &mut Vec<Diagnostic>) -> Arguments {
        let mut arguments =
            Arguments { source: SourceFile::new(self.words.place(), ""), words: self.words, given: Vec::new() };
        for (key, value) in &self.given {
            let value = self.words.spelled(value);
            let (key_place, value_place) = self.words.write(&mut arguments.source.text, key, &value);
            let name = self.words.name(key);
            if !OVERRIDABLE.contains(&key.as_str()) {
                mistakes.push(unknown(&name, key, key_place, self.words));
            } else if arguments.get(key).is_some() {
                mistakes.push(
                    Diagnostic::new(&catalog::DUPLICATE_KEY, format!("`{name}` is given twice"))
                        .at(key_place)
                        .help("remove one of the two"),
                );
            } else {
                let value = node(&value, value_place);
                arguments.given.push(Argument { key: key.clone(), name, key_place, value });
            }
        }
        arguments
    }

    /// Index of the override that a place is in, in the order of [`set`](Self::set).
    pub fn at(&self, place: Place) -> Option<usize> {
        let mut text = String::new();
        let ends =
            self.given.iter().map(|(key, value)| self.words.write(&mut text, key, &self.words.spelled(value)).1.end);
        ends.into_iter().position(|end| place.end <= end).filter(|_| place.origin == Origin::Arguments)
    }
}

/// Overrides with their places in the text that errors show: one a line, so that an error shows one.
pub(super) struct Arguments {
    pub source: SourceFile,
    pub words: Words,
    given: Vec<Argument>,
}

struct Argument {
    key: String,
    /// In the caller's spelling.
    name: String,
    key_place: Place,
    value: Node,
}

impl Arguments {
    pub fn get(&self, key: &str) -> Option<Entry<'_>> {
        let argument = self.given.iter().find(|argument| argument.key == key)?;
        Some(Entry { name: argument.name.as_str().into(), key: argument.key_place, value: &argument.value })
    }
}

impl Words {
    /// Name of the text in place of a file name.
    fn place(self) -> &'static str {
        match self {
            Self::Macro => "macro arguments",
            Self::Command => "command line",
        }
    }

    /// Arguments that are not keys of the spec.
    fn others(self) -> &'static [&'static str] {
        match self {
            Self::Macro => &["weights", "crate"],
            Self::Command => &[],
        }
    }

    fn name(self, key: &str) -> String {
        match self {
            Self::Macro => key.to_owned(),
            Self::Command => format!("--{}", key.replace('_', "-")),
        }
    }

    /// A value in the caller's spelling: lists of options have no brackets.
    fn spelled(self, value: &str) -> Cow<'_, str> {
        match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(list) if self == Self::Command => list.replace(", ", ",").into(),
            _ => value.into(),
        }
    }

    /// Appends a line with an override to the text; returns the places of its key and value.
    fn write(self, text: &mut String, key: &str, value: &str) -> (Place, Place) {
        let equals = match self {
            Self::Macro => " = ",
            Self::Command => " ",
        };
        if !text.is_empty() {
            text.push('\n');
        }
        let mut append = |piece: &str| {
            let start = text.len();
            text.push_str(piece);
            Place { origin: Origin::Arguments, start, end: text.len() }
        };
        let key = append(&self.name(key));
        append(equals);
        (key, append(value))
    }
}

/// Parses the value of an override. A value that is not plain YAML is a string, so that the error is that of its key.
fn node(text: &str, place: Place) -> Node {
    let mut mistakes = Vec::new();
    let excerpt = Excerpt { text, origin: place.origin, base: place.start };
    let readable = text.len() <= super::MAX_BYTES && !text.chars().any(char::is_control);
    match readable.then(|| read(excerpt, &mut mistakes)) {
        Some(Some(node)) if mistakes.is_empty() => node,
        Some(None) if mistakes.is_empty() => Node { place, value: Value::Null },
        _ => Node { place, value: Value::Text(text.to_owned()) },
    }
}

fn unknown(name: &str, key: &str, place: Place, words: Words) -> Diagnostic {
    let known = OVERRIDABLE.iter().chain(words.others()).copied();
    let help = match nearest(key, known) {
        Some(near) => format!("did you mean `{}`?", words.name(near)),
        None => "set it in the spec, or remove it".to_owned(),
    };
    Diagnostic::new(&catalog::ARGUMENT, format!("unknown argument `{}`", shortened(name))).at(place).help(help)
}

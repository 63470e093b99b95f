//! Checks of single values: whole numbers, numbers, choices.

use std::ops::RangeInclusive;

use super::excerpt::shortened;
use super::overrides::{Arguments, Words};
use super::tree::{Entry, Node, Value};
use crate::diagnostic::{Diagnostic, Origin, Place, Rule, SourceFile, nearest};

/// A checked value with its place, for later errors.
#[derive(Debug, Clone)]
pub(super) struct Given<T> {
    pub value: T,
    pub place: Place,
}

/// Checks values and collects errors. Every check returns `None` after an error.
pub(super) struct Checker<'a> {
    spec: &'a SourceFile,
    arguments: &'a Arguments,
    mistakes: &'a mut Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    pub fn new(spec: &'a SourceFile, arguments: &'a Arguments, mistakes: &'a mut Vec<Diagnostic>) -> Self {
        Self { spec, arguments, mistakes }
    }

    pub fn push(&mut self, mistake: Diagnostic) {
        self.mistakes.push(mistake);
    }

    /// Whether there is no error so far.
    pub fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// Whether an entry is an option of the command.
    pub fn is_option(&self, entry: &Entry<'_>) -> bool {
        entry.key.origin == Origin::Arguments && self.arguments.words == Words::Command
    }

    /// Line of a place in the spec, from 1.
    pub fn line(&self, place: Place) -> usize {
        self.spec.line(place.start)
    }

    /// Reports an invalid entry.
    pub fn reject<T>(&mut self, entry: &Entry<'_>, rule: &'static Rule, help: impl Into<String>) -> Option<T> {
        let message = match &entry.value.value {
            Value::Null => format!("`{}` has no value", entry.name),
            _ => format!("`{}` is {}", entry.name, self.describe(entry.value)),
        };
        self.push(Diagnostic::new(rule, message).at(entry.place()).help(help));
        None
    }

    /// Describes a value in a message.
    pub fn describe(&self, node: &Node) -> String {
        match &node.value {
            Value::Null => "empty".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Integer(_) | Value::Float(_) => match shortened(self.excerpt(node.place)) {
                written if written.is_empty() => "a number".to_owned(),
                written => written,
            },
            Value::Text(text) => format!("the string `{}`", shortened(text)),
            Value::List(items) if items.is_empty() => "an empty list".to_owned(),
            Value::List(items) => format!("a list of length {}", items.len()),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// Checks a whole number in a range.
    pub fn whole(&mut self, entry: &Entry<'_>, rule: &'static Rule, range: RangeInclusive<usize>) -> Option<usize> {
        let found = match entry.value.value {
            Value::Integer(value) => usize::try_from(value).ok().filter(|value| range.contains(value)),
            _ => None,
        };
        // YAML reads 0x20 as 32, which is more likely a mistake than intended.
        let decimal = self.excerpt(entry.value.place).bytes().all(|byte| byte.is_ascii_digit() || byte == b'+');
        found.filter(|_| decimal).or_else(|| self.reject(entry, rule, whole_help(&entry.value.value, &range)))
    }

    /// Checks a finite number against a condition.
    pub fn number(
        &mut self,
        entry: &Entry<'_>,
        rule: &'static Rule,
        accepts: impl Fn(f64) -> bool,
        help: &str,
    ) -> Option<f64> {
        let found = match entry.value.value {
            Value::Integer(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            _ => None,
        };
        found.filter(|value| value.is_finite() && accepts(*value)).or_else(|| {
            let help = match &entry.value.value {
                Value::Text(text) if text.parse().is_ok_and(|value: f64| value.is_finite() && accepts(value)) => {
                    "write the number without quotes"
                }
                _ => help,
            };
            self.reject(entry, rule, help)
        })
    }

    /// Checks one of several words.
    pub fn choice<T: Copy>(&mut self, entry: &Entry<'_>, rule: &'static Rule, words: &[(&str, T)]) -> Option<T> {
        let Value::Text(text) = &entry.value.value else {
            return self.reject(entry, rule, one_of(words));
        };
        self.word(&entry.name, text, entry.place(), rule, words)
    }

    /// [`Checker::choice`] for a word at a place.
    pub fn word<T: Copy>(
        &mut self,
        name: &str,
        text: &str,
        place: Place,
        rule: &'static Rule,
        words: &[(&str, T)],
    ) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let help = match nearest(text, words.iter().map(|(word, _)| *word)) {
            Some(word) => format!("did you mean `{word}`?"),
            None => one_of(words),
        };
        let message = format!("unknown value `{}` for `{name}`", shortened(text));
        self.push(Diagnostic::new(rule, message).at(place).help(help));
        None
    }

    fn excerpt(&self, place: Place) -> &str {
        match place.origin {
            Origin::Spec => self.spec.excerpt(place),
            Origin::Arguments => self.arguments.source.excerpt(place),
        }
    }
}

fn whole_help(value: &Value, range: &RangeInclusive<usize>) -> String {
    let (low, high) = (range.start(), range.end());
    let in_range = |value: &f64| value.fract() == 0.0 && *value >= *low as f64 && *value <= *high as f64;
    match value {
        Value::Float(value) if in_range(value) => format!("write {value}"),
        Value::Text(text) => match text.trim().parse::<f64>() {
            Ok(value) if in_range(&value) => format!("write {value} without quotes"),
            _ => format!("write a whole number from {low} to {high}"),
        },
        _ if low == high => format!("write {low}"),
        _ => format!("write a whole number from {low} to {high}"),
    }
}

fn one_of<T>(words: &[(&str, T)]) -> String {
    let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    match words.as_slice() {
        [only] => format!("write {only}"),
        [first @ .., last] => format!("write {} or {last}", first.join(", ")),
        [] => String::new(),
    }
}

//! Class names: one per line, or JSON.

use std::path::Path;

use crate::error::{ErrorKind, ImportError, Result};
use crate::files::read_file;
use crate::text::shorten;

/// The 1000 classes of ILSVRC 2012 in the order of their WordNet synset numbers, as in Keras, torchvision, timm and
/// TensorFlow. Names from timm 1.0.31 (Apache-2.0), based on WordNet 3.0 (Princeton University).
const IMAGENET: &str = include_str!("labels/imagenet.txt");

/// WordNet ids of these classes.
const WORDNET_IDS: &str = include_str!("labels/wordnet.txt");

/// Name of class 0 of TensorFlow's published networks, before the classes of ImageNet.
const BACKGROUND: &str = "background";

/// Longest file in bytes; one with 21 841 labels has 2 MB.
pub(crate) const MAX_BYTES: usize = 1 << 22;

/// Names by class index. Each is one non-empty line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    file: String,
}

impl Labels {
    /// Reads a file with one label per line, numbered from 0 or not, a JSON list of labels, or Keras' JSON object
    /// `{"0": ["n01440764", "tench"], ...}`.
    ///
    /// # Errors
    /// If the file cannot be read, is not UTF-8, or contains no labels.
    pub fn open(path: &Path) -> Result<Self> {
        Self::parse(&read_file(path)?, &path.display().to_string())
    }

    /// Returns labels that are listed in an argument.
    ///
    /// # Errors
    /// If there are none, or one is empty or spans lines.
    pub fn listed(names: Vec<String>) -> Result<Self> {
        let names = names.iter().map(|name| name.trim().to_owned()).collect();
        Self::checked(names, "labels")
    }

    /// Parses the content of a label file: see [`open`](Self::open). `file` is its name in messages.
    ///
    /// # Errors
    /// If the bytes are not UTF-8 or contain no labels.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self> {
        let wrong = |problem: String| ImportError::new(ErrorKind::Labels, problem).file(file);
        if bytes.len() > MAX_BYTES {
            let problem = format!("the label file is too large: {} bytes", bytes.len());
            return Err(wrong(problem).expected(format!("at most {MAX_BYTES}")).help("write one label per line"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            wrong(format!("invalid UTF-8 at byte {}", error.valid_up_to())).help("save the file as UTF-8 text")
        })?;
        let text = text.trim_start_matches('\u{feff}');
        let names = if text.trim_start().starts_with(['[', '{']) {
            from_json(text).map_err(|problem| wrong(problem).help("write a list of strings, or one label per line"))?
        } else {
            from_lines(text)
        };
        Self::checked(names, file)
    }

    fn checked(names: Vec<String>, file: &str) -> Result<Self> {
        let wrong = |problem: String| ImportError::new(ErrorKind::Labels, problem).file(file);
        if names.is_empty() {
            return Err(wrong("expected at least one label, found none".into()).help("write one label per line"));
        }
        if let Some(at) = names.iter().position(|name| name.is_empty() || name.contains(['\n', '\r'])) {
            return Err(
                wrong(format!("label {at} is empty or spans lines")).help("write one line of text for each class")
            );
        }
        Ok(Self { names, file: file.to_owned() })
    }

    /// Returns ImageNet's names for 1000 classes, or for 1001 classes with the background first.
    pub fn imagenet(classes: usize) -> Option<Self> {
        let names = IMAGENET.lines().map(str::to_owned);
        let names: Vec<_> = match classes {
            1000 => names.collect(),
            1001 => std::iter::once(BACKGROUND.to_owned()).chain(names).collect(),
            _ => return None,
        };
        Some(Self { names, file: "ImageNet".to_owned() })
    }

    /// Returns the WordNet id of each class, such as `n02123045` for the tabby cat, if `labels` are those of ImageNet. The
    /// background has an empty one.
    ///
    /// Labels are published in several forms (`tench`, `tench, Tinca tinca`), and some were corrected. They are ImageNet's
    /// if at least nine tenths share a word with ImageNet's names in its order.
    pub fn wordnet_ids(labels: &[impl AsRef<str>]) -> Option<Vec<&'static str>> {
        let background = labels.len().checked_sub(IMAGENET.lines().count()).filter(|extra| *extra <= 1)?;
        let words = |label: &str| -> Vec<String> {
            label.split(',').map(|word| word.trim().replace('_', " ").to_lowercase()).collect()
        };
        let alike = labels.iter().skip(background).zip(IMAGENET.lines()).filter(|(label, name)| {
            let names = words(name);
            words(label.as_ref()).iter().any(|word| names.contains(word))
        });
        let is_imagenet = alike.count() * 10 >= IMAGENET.lines().count() * 9;
        is_imagenet.then(|| std::iter::repeat_n("", background).chain(WORDNET_IDS.lines()).collect())
    }

    /// Returns the names in order of class.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Checks that there is one label per class.
    ///
    /// # Errors
    /// If the number of labels differs from `classes`. A difference of one is explained by the background class.
    pub fn check(&self, classes: usize) -> Result<()> {
        let count = self.names.len();
        if count == classes {
            return Ok(());
        }
        let error =
            ImportError::new(ErrorKind::Labels, format!("expected {classes} labels, found {count}")).file(&self.file);
        Err(if count.checked_add(1) == Some(classes) {
            error.help(format!(
                "class 0 of this network is the background: insert a line `{BACKGROUND}` before the first label"
            ))
        } else if classes.checked_add(1) == Some(count) {
            let first = self.names.first().map(|name| shorten(name)).unwrap_or_default();
            error.help(format!("this network has no background class: remove the first line, `{first}`"))
        } else {
            error.help("write one label per class, in order of index")
        })
    }
}

fn from_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
    // Teachable Machine numbers its labels: `0 Flask`.
    let unnumbered = lines.iter().enumerate().map(|(at, line)| {
        let (number, label) = line.split_once(' ')?;
        (number.parse() == Ok(at) && number.len() == at.to_string().len()).then_some(label.trim())
    });
    let labels = unnumbered.collect::<Option<Vec<_>>>().unwrap_or(lines);
    labels.into_iter().map(str::to_owned).collect()
}

fn from_json(text: &str) -> std::result::Result<Vec<String>, String> {
    use serde_json::Value;
    match serde_json::from_str(text).map_err(|error| format!("invalid JSON: {error}"))? {
        Value::Array(items) => items
            .into_iter()
            .enumerate()
            .map(|(at, item)| match item {
                Value::String(name) => Ok(name.trim().to_owned()),
                _ => Err(format!("element {at} is not a string")),
            })
            .collect(),
        Value::Object(map) => (0..map.len())
            .map(|at| match map.get(&at.to_string()) {
                Some(Value::String(name)) => Ok(name.trim().to_owned()),
                Some(Value::Array(pair)) => match pair.last() {
                    Some(Value::String(name)) => Ok(name.trim().to_owned()),
                    _ => Err(format!("entry \"{at}\" contains no name")),
                },
                _ => Err(format!("entry \"{at}\" is missing from {} entries", map.len())),
            })
            .collect(),
        _ => Err("expected a JSON list or object".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        Labels::parse(text.as_bytes(), "labels.txt").unwrap().names
    }

    #[test]
    fn reads_lines_and_json() {
        for text in [
            "cat\ndog, hound\n",
            "\u{feff}cat\r\ndog, hound\r\n\r\n",
            "0 cat\n1 dog, hound\n",
            r#"["cat", "dog, hound"]"#,
            r#"{"1": ["n02", "dog, hound"], "0": ["n01", "cat"]}"#,
            r#"{"0": "cat", "1": "dog, hound"}"#,
        ] {
            assert_eq!(names(text), ["cat", "dog, hound"], "{text}");
        }
    }

    #[test]
    fn numbers_are_part_of_other_labels() {
        for text in ["1 cat\n2 dogs", "0 cats\ndog", "00 cat\n01 dog", "0\n1"] {
            assert_eq!(names(text), text.lines().collect::<Vec<_>>());
        }
    }

    #[test]
    fn imagenet_has_1000_classes_and_a_background() {
        let (plain, with_background) = (Labels::imagenet(1000).unwrap(), Labels::imagenet(1001).unwrap());
        assert!(plain.check(1000).is_ok() && with_background.check(1001).is_ok());
        assert_eq!(with_background.names()[1..], plain.names);
        assert_eq!(Labels::parse(IMAGENET.as_bytes(), "imagenet.txt").unwrap().names, plain.names);
        assert_eq!(Labels::imagenet(10), None);
    }

    #[test]
    fn wordnet_ids_are_those_of_imagenet() {
        assert!(WORDNET_IDS.lines().is_sorted() && WORDNET_IDS.lines().count() == 1000);
        let (plain, with_background) = (Labels::imagenet(1000).unwrap(), Labels::imagenet(1001).unwrap());
        let ids = Labels::wordnet_ids(plain.names()).unwrap();
        for (name, id) in [("tench", "n01440764"), ("tabby", "n02123045"), ("hotdog", "n07697537")] {
            let at = plain.names.iter().position(|label| label.split(',').any(|word| word == name)).unwrap();
            assert_eq!(ids[at], id, "{name}");
        }
        assert_eq!(Labels::wordnet_ids(with_background.names()).unwrap(), [&[""], &ids[..]].concat());
        // The names of Keras.
        let short: Vec<_> = plain.names.iter().map(|name| name.split(',').next().unwrap().replace(' ', "_")).collect();
        assert_eq!(Labels::wordnet_ids(&short).unwrap(), ids);
        let reversed: Vec<_> = plain.names.iter().rev().collect();
        assert_eq!(Labels::wordnet_ids(&reversed), None);
        assert_eq!(Labels::wordnet_ids(&plain.names[..10]), None);
    }

    #[test]
    fn rejects_invalid_files() {
        let problem = |bytes: &[u8]| Labels::parse(bytes, "l").unwrap_err().to_string();
        assert!(problem(b"").contains("expected at least one label, found none"));
        assert!(problem(b"\n \n").contains("expected at least one label, found none"));
        assert!(problem(b"a\n\nb").contains("label 1 is empty"));
        assert!(problem(b"a\xff").contains("byte 1"));
        assert!(problem(b"[1]").contains("element 0"));
        assert!(problem(b"[\"a\\nb\"]").contains("spans lines"));
        assert!(problem(b"{\"1\": \"a\"}").contains("entry \"0\" is missing"));
        assert!(problem(b"[\"a\"").contains("invalid JSON"));
    }

    #[test]
    fn the_background_class_explains_a_difference_of_one() {
        let labels = |count: usize| Labels { names: vec!["x".into(); count], file: "l.txt".into() };
        assert!(labels(1001).check(1001).is_ok());
        let error = labels(1000).check(1001).unwrap_err().to_string();
        assert!(error.contains("expected 1001 labels, found 1000") && error.contains("`background`"), "{error}");
        assert!(labels(1001).check(1000).unwrap_err().to_string().contains("remove the first line"));
        assert!(labels(5).check(1000).unwrap_err().to_string().contains("one label per class"));
    }
}

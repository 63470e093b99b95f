//! YAML values with their places.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use std::borrow::Cow;

use super::excerpt::Excerpt;
use super::locate::{Located, Scan, locate};
use super::syntax::syntax;
use crate::diagnostic::{Diagnostic, Place};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A YAML value. Mappings keep their order and duplicate keys, so that all errors can be reported.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// Also integers beyond 64 bits.
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    /// Name in messages: `s`, `stem.stride`, `--width`.
    pub name: Cow<'a, str>,
    pub key: Place,
    pub value: &'a Node,
}

impl Entry<'_> {
    /// Place of the value, or of the key without a value.
    pub fn place(&self) -> Place {
        if matches!(self.value.value, Value::Null) { self.key } else { self.value.place }
    }
}

/// Reads the first document of a text; `None` if it contains no readable value.
pub(super) fn read(excerpt: Excerpt<'_>, mistakes: &mut Vec<Diagnostic>) -> Option<Node> {
    let Scan { root, mistakes: found, readable } = locate(excerpt);
    mistakes.extend(found);
    let root = root.filter(|_| readable)?;
    let document = serde_yaml::Deserializer::from_str(excerpt.text).next()?;
    match (Reader { located: Some(&root), outer: root.place }).deserialize(document) {
        Ok(node) => Some(node),
        Err(error) => {
            // Where the two parsers disagree, this one decides, because it reads the values.
            let mark = error.location().map_or(0, |location| location.index());
            let at = excerpt.text.char_indices().nth(mark).map_or(excerpt.text.len(), |(byte, _)| byte);
            let start = excerpt.base + at;
            let place = Place { origin: excerpt.origin, start, end: start };
            mistakes.push(syntax(place, &error.to_string(), excerpt));
            None
        }
    }
}

/// Builds [`Node`]s from a deserializer, in step with the tree of places.
#[derive(Clone, Copy)]
struct Reader<'a> {
    /// `None` if the trees of places and values have different shapes.
    located: Option<&'a Located>,
    /// Place of the enclosing collection, as a fallback.
    outer: Place,
}

impl<'a> Reader<'a> {
    fn place(&self) -> Place {
        self.located.map_or(self.outer, |located| located.place)
    }

    fn node(&self, value: Value) -> Node {
        Node { place: self.place(), value }
    }

    fn child(&self, index: usize) -> Reader<'a> {
        Reader { located: self.located.and_then(|located| located.children.get(index)), outer: self.place() }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(self.node(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(self.node(Value::Integer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(self.node(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer)))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Ok(self.node(Value::Float(value as f64)))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Ok(self.node(Value::Float(value as f64)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(self.node(Value::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(self.node(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.child(items.len()))? {
            items.push(item);
        }
        Ok(self.node(Value::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key_seed(self.child(2 * entries.len()))? {
            let value = access.next_value_seed(self.child(2 * entries.len() + 1))?;
            entries.push((key, value));
        }
        Ok(self.node(Value::Map(entries)))
    }

    /// A tagged value. The locator has rejected the tag; the value is read to report further errors.
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Node, A::Error> {
        let (_tag, content) = access.variant::<String>()?;
        content.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Value, read};
    use crate::diagnostic::{Origin, SourceFile};
    use crate::spec::excerpt::Excerpt;

    /// Every value in a tree with the text at its place.
    fn places<'a>(source: &'a SourceFile, node: &Node, found: &mut Vec<(String, &'a str)>) {
        let value = match &node.value {
            Value::List(items) => {
                items.iter().for_each(|item| places(source, item, found));
                "list".to_owned()
            }
            Value::Map(entries) => {
                entries.iter().flat_map(|(key, value)| [key, value]).for_each(|node| places(source, node, found));
                "map".to_owned()
            }
            Value::Text(text) => text.clone(),
            other => format!("{other:?}"),
        };
        found.push((value, source.excerpt(node.place)));
    }

    fn tree(text: &str) -> Vec<(String, String)> {
        let source = SourceFile::new("test.yaml", text);
        let mut mistakes = Vec::new();
        let root = read(Excerpt { text, origin: Origin::Spec, base: 0 }, &mut mistakes);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let mut found = Vec::new();
        root.iter().for_each(|root| places(&source, root, &mut found));
        found.into_iter().map(|(value, place)| (value, place.to_owned())).collect()
    }

    fn is(value: &str, place: &str) -> (String, String) {
        (value.to_owned(), place.to_owned())
    }

    #[test]
    fn every_value_has_its_place() {
        let found = tree("a: [1, 2.5]  # comment\r\nü:\r\n  - 'x y'\r\n  - { k: , z: null }\r\nb: true\r\n");
        let expected = [
            is("a", "a"),
            is("Integer(1)", "1"),
            is("Float(2.5)", "2.5"),
            is("list", "[1, 2.5]"),
            is("ü", "ü"),
            is("x y", "'x y'"),
            is("k", "k"),
            is("Null", ""),
            is("z", "z"),
            is("Null", "null"),
            is("map", "{ k: , z: null }"),
            is("list", "- 'x y'"),
            is("b", "b"),
            is("Bool(true)", "true"),
            is("map", "a: [1, 2.5]  # comment"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn duplicate_keys_survive() {
        let keys = tree("a: 1\na: 2\n");
        assert_eq!(keys[..4], [is("a", "a"), is("Integer(1)", "1"), is("a", "a"), is("Integer(2)", "2")]);
    }
}

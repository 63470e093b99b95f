//! A spec's values, as YAML gives them, each with its place.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::locate::{Excerpt, Located, Scan, locate};
use super::syntax::syntax;
use crate::diagnostic::{Diagnostic, Place};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// Mappings keep their order and their duplicate keys, so that every mistake can be told.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// Also integers that do not fit.
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Reads the first document of a text. `None` where it holds no value, or none that can be read.
pub(super) fn read(excerpt: Excerpt<'_>, mistakes: &mut Vec<Diagnostic>) -> Option<Node> {
    let Scan { root, mistakes: found, readable } = locate(excerpt);
    mistakes.extend(found);
    let root = root.filter(|_| readable)?;
    let document = serde_yaml::Deserializer::from_str(excerpt.text).next()?;
    match (Reader { located: Some(&root), outer: root.place }).deserialize(document) {
        Ok(node) => Some(node),
        Err(error) => {
            // The two parsers disagree on little, and then this one's word counts: it gives the values.
            let mark = error.location().map_or(0, |location| location.index());
            let at = excerpt.text.char_indices().nth(mark).map_or(excerpt.text.len(), |(byte, _)| byte);
            let start = excerpt.base + at;
            let place = Place { origin: excerpt.origin, start, end: start };
            mistakes.push(syntax(place, &error.to_string(), excerpt));
            None
        }
    }
}

/// Makes a [`Node`] of what a deserializer gives, in step with the tree of places.
#[derive(Clone, Copy)]
struct Reader<'a> {
    /// `None` where the places have another shape than the values.
    located: Option<&'a Located>,
    /// Place of the collection that the value is in, the second-best answer.
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

    /// A tagged value: the locator has refused the tag, what it tags is read on for further mistakes.
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Node, A::Error> {
        let (_tag, content) = access.variant::<String>()?;
        content.newtype_variant_seed(self)
    }
}

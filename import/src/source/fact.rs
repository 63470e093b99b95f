//! What was found out of a model, and how.

use serde::Serialize;

/// Something that was found out, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Key of the spec, such as `padding`.
    pub key: &'static str,
    /// As the spec would have it, or for people: `17 in 7 rows`.
    pub value: String,
    /// What it was seen by, or why it was assumed.
    pub how: String,
}

/// Tells another value in place of the first.
pub fn replace(facts: &mut [Fact], key: &str, value: &str, how: &str) {
    for fact in facts.iter_mut().filter(|fact| fact.key == key) {
        fact.value = value.into();
        fact.how = how.into();
    }
}

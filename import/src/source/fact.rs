//! Findings about a model and their evidence.

use serde::Serialize;

/// A finding about a model and its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Key of the spec, such as `padding`.
    pub key: &'static str,
    /// Value as in a spec, or a description: `17 in 7 rows`.
    pub value: String,
    /// Evidence, or the reason for a default.
    pub how: String,
}

/// Replaces the value and the evidence of a key.
pub fn replace(facts: &mut [Fact], key: &str, value: &str, how: &str) {
    for fact in facts.iter_mut().filter(|fact| fact.key == key) {
        fact.value = value.into();
        fact.how = how.into();
    }
}

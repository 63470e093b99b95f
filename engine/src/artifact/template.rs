//! Templates of text files.

/// Replaces each `@word@` of a template by its fact, in the order of the facts: a fact may contain later words.
pub fn fill(template: &str, facts: &[(&str, &str)]) -> String {
    facts.iter().fold(template.to_owned(), |text, (word, fact)| text.replace(&format!("@{word}@"), fact))
}

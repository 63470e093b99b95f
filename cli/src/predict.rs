//! Classes that a network predicts.

use serde::Serialize;

/// A class and its score.
#[derive(Serialize)]
pub struct Prediction<'a> {
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'a str>,
    pub score: f32,
}

impl Prediction<'_> {
    /// The label; `class 7` without one.
    pub fn name(&self) -> String {
        self.label.map_or_else(|| format!("class {}", self.index), str::to_owned)
    }
}

/// At most `count` classes with the highest scores, best first.
pub fn best<'a>(scores: &[f32], labels: &'a [String], count: usize) -> Vec<Prediction<'a>> {
    let label = |index: usize| labels.get(index).map(String::as_str);
    let found = mbvc_engine::best(scores, count).into_iter();
    found.map(|(index, score)| Prediction { index, label: label(index), score }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_may_be_fewer_classes_than_requested() {
        let labels = ["cat".to_owned()];
        let found = best(&[0.25, 0.75], &labels, 5);
        assert_eq!(found.iter().map(|one| (one.index, one.label)).collect::<Vec<_>>(), [(1, None), (0, Some("cat"))]);
        assert_eq!(found.iter().map(Prediction::name).collect::<Vec<_>>(), ["class 1", "cat"]);
    }
}

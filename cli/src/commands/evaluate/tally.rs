//! Counts of right and wrong predictions.

use std::collections::BTreeMap;

use super::folders::Folder;

/// Predictions that count as top-5.
pub const GUESSES: usize = 5;

/// Counts of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Score {
    pub images: usize,
    /// Images with a correct first prediction.
    pub first: usize,
    /// Images with the correct class among the first five.
    pub among_five: usize,
}

impl Score {
    /// Top-1 accuracy in per cent.
    pub fn first_percent(self) -> f64 {
        percent(self.first, self.images)
    }

    /// Top-5 accuracy in per cent.
    pub fn five_percent(self) -> f64 {
        percent(self.among_five, self.images)
    }

    fn count(&mut self, place: Option<usize>) {
        self.images += 1;
        self.first += usize::from(place == Some(0));
        self.among_five += usize::from(place.is_some());
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64 * 100.0
}

/// Counts over all images, by class and by wrong prediction.
#[derive(Debug, Default)]
pub struct Tally {
    pub all: Score,
    /// By index of the folder.
    classes: BTreeMap<usize, Score>,
    /// Wrong predictions by index of the folder and predicted class.
    mistakes: BTreeMap<(usize, usize), usize>,
}

impl Tally {
    /// Counts an image of `folder`, which has index `at`; `guesses` are the predicted classes, best first.
    pub fn count(&mut self, at: usize, folder: &Folder, guesses: &[usize]) {
        let place = guesses.iter().position(|guess| folder.classes.contains(guess));
        self.all.count(place);
        self.classes.entry(at).or_default().count(place);
        if let (Some(guess), true) = (guesses.first(), place != Some(0)) {
            *self.mistakes.entry((at, *guess)).or_default() += 1;
        }
    }

    /// Scores of the folders with readable images, by index.
    pub fn classes(&self) -> impl Iterator<Item = (usize, Score)> {
        self.classes.iter().map(|(at, score)| (*at, *score))
    }

    /// `(folder, predicted class, images)`, the most frequent first.
    pub fn mistakes(&self) -> Vec<(usize, usize, usize)> {
        let mut mistakes: Vec<_> = self.mistakes.iter().map(|((at, guess), images)| (*at, *guess, *images)).collect();
        mistakes.sort_by_key(|(_, _, images)| std::cmp::Reverse(*images));
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_counted() {
        let folder = |classes: &[usize]| Folder { name: String::new(), classes: classes.to_vec(), images: Vec::new() };
        let (cat, crane) = (folder(&[3]), folder(&[0, 7]));
        let mut tally = Tally::default();
        tally.count(0, &cat, &[3, 1, 2, 4, 5]);
        tally.count(0, &cat, &[1, 2, 4, 5, 3]);
        tally.count(0, &cat, &[1, 2, 4, 5, 6]);
        tally.count(1, &crane, &[7, 3, 0, 1, 2]);
        tally.count(1, &crane, &[3, 0, 1, 2, 4]);
        assert_eq!(tally.all, Score { images: 5, first: 2, among_five: 4 });
        let classes: Vec<_> = tally.classes().collect();
        let expected = [Score { images: 3, first: 1, among_five: 2 }, Score { images: 2, first: 1, among_five: 2 }];
        assert_eq!(classes, [(0, expected[0]), (1, expected[1])]);
        assert_eq!(tally.mistakes(), [(0, 1, 2), (1, 3, 1)]);
        assert!((tally.all.first_percent() - 40.0).abs() < 1e-9 && (tally.all.five_percent() - 80.0).abs() < 1e-9);
        assert!(Score::default().first_percent().abs() < 1e-9, "no images");
    }
}

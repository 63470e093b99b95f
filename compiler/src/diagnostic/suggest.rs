//! "Did you mean": the nearest of the accepted words.

/// The candidate nearest to a misspelled word, if it is near enough.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No key is near a longer word; the limit also bounds the table of distances.
    if word.len() > 32 {
        return None;
    }
    let word = normal(word);
    let near = |candidate: &&'a str| distance(&word, &normal(candidate));
    let (best, found) =
        candidates.into_iter().map(|candidate| (near(&candidate), candidate)).min_by_key(|pair| pair.0)?;
    // One edit in a short word, one per three letters in a longer one.
    let allowed = (found.len().max(word.len()) / 3).max(usize::from(word.len() > 1));
    (best <= allowed).then_some(found)
}

/// Ignores case, and the difference between hyphens and underscores.
fn normal(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Damerau-Levenshtein distance with adjacent transpositions.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KEYS: [&str; 5] = ["width", "resolution", "classes", "t", "expansion"];

    #[test]
    fn finds_misspelled_words() {
        for (word, meant) in [
            ("widht", "width"),
            ("Width", "width"),
            ("clases", "classes"),
            ("resolutoin", "resolution"),
            ("expansions", "expansion"),
        ] {
            assert_eq!(nearest(word, KEYS), Some(meant));
        }
    }

    #[test]
    fn proposes_nothing_for_other_words() {
        for word in ["color", "x", "", "weights_of_the_network_and_more_than_that"] {
            assert_eq!(nearest(word, KEYS), None, "{word}");
        }
    }
}

//! The table of predictions in `docs/benchmarks.md`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::predicted::{Predictions, Target};

const MARKERS: [&str; 2] = ["<!-- predicted:begin -->\n", "<!-- predicted:end -->"];

/// One table per instruction set. A cell is the lowest and the highest share of the peak.
pub fn markdown(version: &str, sections: &[Predictions]) -> String {
    let mut text = format!("llvm-mca {version}.\n");
    for predictions in sections {
        let Target { isa, models, .. } = predictions.target;
        let names = models.iter().map(|model| match model.least {
            Some(least) => format!("{} (at least {least:.2})", model.name),
            None => format!("({})", model.name),
        });
        let names = names.collect::<Vec<_>>().join(" | ");
        write!(text, "\n| {isa} | loops | {names} |\n{}|\n", "|---".repeat(models.len() + 2)).expect("memory");
        let (whole, others) = predictions.rows();
        let whole = whole.into_iter().map(|(form, row)| (form.to_string(), row));
        for (name, row) in whole.chain([("other tiles".to_owned(), others)]) {
            let shares: Vec<String> = row.shares.iter().map(|share| range(*share)).collect();
            writeln!(text, "| {name} | {} | {} |", row.loops, shares.join(" | ")).expect("memory");
        }
    }
    text
}

/// `0.92 to 1.00`, or `1.00` if both are the same.
fn range(share: [f64; 2]) -> String {
    let [low, high] = share.map(|share| format!("{share:.2}"));
    if low == high { low } else { format!("{low} to {high}") }
}

/// Writes the tables into the document if `MBVC_WRITE_BENCHMARKS=1`.
pub fn write(tables: &str) {
    if std::env::var_os("MBVC_WRITE_BENCHMARKS").is_none_or(|value| value != "1") {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let document = fs::read_to_string(&path).expect("the document of the repository");
    fs::write(&path, replaced(&document, tables)).expect("written");
}

/// The document with other text between the markers.
fn replaced(document: &str, text: &str) -> String {
    let [begin, end] = MARKERS;
    let (before, rest) = document.split_once(begin).expect("the first marker is a line of the document");
    let (_, after) = rest.split_once(end).expect("the second marker follows");
    format!("{before}{begin}{text}{end}{after}")
}

#[test]
fn replaces_the_text_between_the_markers() {
    let document = "a\n<!-- predicted:begin -->\nold\n<!-- predicted:end -->\nb\n";
    assert_eq!(replaced(document, "new\n"), document.replace("old", "new"));
}

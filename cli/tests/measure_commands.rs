//! `bench` and `profile`.

mod common;

use common::{bad, good, json_lines, tiny};
use serde_json::Value;

#[test]
fn bench_measures_every_variant() {
    let folder = tiny();
    let arguments = ["bench", "--spec", "tiny.yaml", "--runs", "5", "--json", "--callers", "1,2"];
    let rows = json_lines(&good(folder.path(), &arguments));
    let variants: Vec<_> =
        rows.iter().map(|row| (row["fusion"].as_str().unwrap(), row["callers"].as_u64().unwrap())).collect();
    assert_eq!(variants, [("none", 1), ("none", 2), ("relu6", 1), ("relu6", 2), ("block", 1), ("block", 2)]);
    for row in &rows {
        let [min, median, p90] = ["min_ms", "median_ms", "p90_ms"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= p90, "{row}");
        assert!(row["images_per_s"].as_f64().unwrap() > 0.0);
        assert_eq!((&row["network"], &row["weights"], &row["runs"]), (&"Tiny".into(), &"random".into(), &5.into()));
    }
}

#[test]
fn bench_compares_threads_that_share_a_call() {
    let folder = tiny();
    let arguments = ["bench", "--spec", "tiny.yaml", "--fusion", "block", "--runs", "3", "--json", "--threads", "1,2"];
    let rows = json_lines(&good(folder.path(), &arguments));
    assert_eq!(rows.iter().map(|row| row["threads"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn bench_prints_a_table() {
    let folder = tiny();
    let arguments =
        ["bench", "--spec", "tiny.yaml", "--weights", "tiny.safetensors", "--fusion", "block", "--isa", "portable"];
    let said = good(folder.path(), &[&arguments[..], &["--runs", "3"]].concat());
    assert!(said.contains("Tiny 32x32") && said.contains("median ms") && said.contains("portable"), "{said}");
    let (_, said) = bad(folder.path(), &["bench", "--weights", "tiny.safetensors"], 1);
    assert!(said.contains("does not fit"), "{said}");
    bad(folder.path(), &["bench", "--runs", "0"], 2);
    bad(folder.path(), &["bench", "--fusion", "all"], 2);
}

#[test]
fn profile_times_steps_and_stages() {
    let folder = tiny();
    let rows = json_lines(&good(folder.path(), &["profile", "--spec", "tiny.yaml", "--runs", "3", "--json"]));
    let steps: Vec<_> = rows.iter().filter_map(|row| row["step"].as_str()).collect();
    assert_eq!(steps, ["stem+block1", "block2", "block3", "head", "classifier"]);
    let total = rows.last().unwrap();
    let peak = total["peak_gflops"].as_f64().unwrap();
    assert!(peak > 0.0 && total["read_gb_per_s"].as_f64().unwrap() > 0.0, "{total}");
    let mut macs = 0;
    for row in &rows[..rows.len() - 1] {
        let time = |row: &Value, key: &str| row[key].as_f64().unwrap();
        assert!(0.0 < time(row, "min_us") && time(row, "min_us") <= time(row, "us"), "{row}");
        assert!(row["bytes"].as_u64().unwrap() > 0, "{row}");
        macs += row["macs"].as_u64().unwrap();
        let stages = row["stages"].as_array().unwrap();
        assert!(stages.iter().all(|stage| time(stage, "min_us") > 0.0), "{row}");
        let sum: f64 = stages.iter().map(|stage| time(stage, "min_us")).sum();
        assert!((sum - time(row, "min_us")).abs() < 0.01 * (stages.len() + 1) as f64, "stages add up: {row}");
    }
    assert_eq!(total["macs"].as_u64(), Some(macs));
    let stages = rows[1]["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 3, "expand, depthwise, project");
    // 8x8 outputs of stride 2, 48 channels, nine taps.
    assert_eq!(stages[1]["macs"], 8 * 8 * 48 * 9);
}

#[test]
fn profile_writes_a_picture() {
    let folder = tiny();
    let arguments = ["profile", "--spec", "tiny.yaml", "--runs", "2", "--fusion", "none", "--threads", "2"];
    let said = good(folder.path(), &[&arguments[..], &["--svg", "p.svg"]].concat());
    assert!(said.contains("2 threads"), "{said}");
    assert!(said.contains("peak of multiply-adds") && said.contains("p.svg") && said.contains("whole"), "{said}");
    let (_, again) = bad(folder.path(), &["profile", "--spec", "tiny.yaml", "--svg", "p.svg"], 1);
    assert!(again.contains("p.svg already exists") && again.contains("--force"), "{again}");
    let svg = std::fs::read_to_string(folder.path().join("p.svg")).unwrap();
    assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN") && svg.contains("stem + block1"));
}

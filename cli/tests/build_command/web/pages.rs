//! The demo page of this repository, and packages in Firefox.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{TINY, agree, browser, node, package, rustc, tools};
use crate::common::{cache, mbvc};
use crate::folder::{classified, folder};

#[test]
#[ignore = "compiles the demo network and starts a browser"]
fn the_demo_page_classifies_learns_and_measures() {
    let Some((playwright, chromium)) = browser().filter(|_| tools()) else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut build = Command::new("bash");
    build.arg(root.join("scripts/web-demo.sh")).arg(folder.join("page")).env("RUSTC", rustc());
    build.env("MBVC", mbvc(folder, &[]).get_program()).env("MBVC_CACHE", cache());
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let [playwright, chromium] = [&playwright, &chromium].map(|path| path.to_str().unwrap());
    let shown = node(folder, &[], "page.mjs", &["page", playwright, chromium]);
    let sample = root.join("demo/samples/pizza.png");
    let spec = root.join("specs/demo.yaml");
    let weights = root.join("demo/model.safetensors");
    let given = [&sample, &spec, &weights].map(|path| path.to_str().unwrap());
    let command = ["classify", given[0], "--spec", given[1], "--weights", given[2], "--json"];
    let expected = crate::common::json_lines(&crate::common::good(folder, &command)).remove(0);
    let best = expected["predictions"].as_array().unwrap();
    let labels: Vec<_> = best.iter().map(|guess| guess["label"].clone()).collect();
    assert_eq!(shown["labels"], serde_json::json!(labels));
    let scores: Vec<_> =
        best.iter().map(|guess| format!("{:.1} %", 100.0 * guess["score"].as_f64().unwrap())).collect();
    assert_eq!(shown["scores"], serde_json::json!(scores));
    assert_eq!(shown["steps"].as_array().unwrap().len(), 19);
}

#[test]
#[ignore = "starts a browser"]
fn firefox_computes_what_the_command_does() {
    let firefox = std::env::var_os("MBVC_FIREFOX").map(PathBuf::from).filter(|path| path.exists());
    let Some(firefox) = firefox.filter(|_| tools()) else {
        println!("skipped: MBVC_FIREFOX does not name a browser; see scripts/web.sh");
        return;
    };
    let folder = folder();
    let folder = folder.path();
    package(folder, "net", TINY, &[]);
    let found = node(folder, &[], "firefox.mjs", &["net", ".", "a.png", firefox.to_str().unwrap()]);
    assert_eq!(found["info"]["relaxed"], true, "{found}");
    assert!(found["cut"].as_str().unwrap().starts_with("not packed weights"), "{found}");
    agree(&found["guesses"], &classified(folder, "a.png", &[]), 1e-4);
}

//! The guide quotes the output and the pictures of the command.

mod common;

use std::path::Path;

use common::good;

/// `TRYCMD=overwrite cargo test -p mbvc-cli --test guide` updates the quotes.
#[test]
fn quoted_output_is_current() {
    trycmd::TestCases::new().env("NO_COLOR", "1").case("../docs/guide/*.md");
}

#[test]
fn pictures_are_current() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let drawing = folder.path().join("fusion.svg");
    good(&package.join(".."), &["dump", "specs/tiny.yaml", "--isa", "avx2", "--svg", drawing.to_str().unwrap()]);
    let shown = package.join("../docs/guide/fusion.svg");
    let [drawn, shown] = [drawing, shown].map(|path| std::fs::read_to_string(path).unwrap());
    assert!(drawn == shown, "draw it again with the command of the chapter on fusion");
}

#[test]
fn the_explained_columns_are_those_of_profile() {
    let folder = tempfile::tempdir().unwrap();
    let printed = good(folder.path(), &["profile", "--runs", "1"]);
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/profile.md")).unwrap();
    let names = |text: &str| -> Vec<String> {
        let table = text.lines().skip_while(|line| !line.starts_with("step "));
        let header = table.clone().next().unwrap().split_whitespace().map(str::to_owned);
        header.chain(table.skip(1).map_while(|line| line.split_whitespace().next().map(str::to_owned))).collect()
    };
    let (printed, quoted) = (names(&printed), names(&guide));
    assert_eq!(printed[..15], quoted[..15], "the header and the stages of the first step");
    assert!(quoted.iter().all(|name| name == "..." || printed.contains(name)), "{quoted:?} {printed:?}");
}

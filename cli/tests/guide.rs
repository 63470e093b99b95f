//! The guide quotes the output and the pictures of the command.

mod common;

use std::path::Path;

use common::good;

/// `TRYCMD=overwrite cargo test -p mbvc-cli --test guide` updates the quotes.
#[test]
fn quoted_output_is_current() {
    // The guide names files from the root of the repository. The other tests of this file use absolute paths.
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    trycmd::TestCases::new().env("NO_COLOR", "1").case("docs/guide/*.md");
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

/// The guide may leave out columns and rows.
#[test]
fn the_explained_columns_are_those_of_profile() {
    let folder = tempfile::tempdir().unwrap();
    let printed = good(folder.path(), &["profile", "--runs", "1"]);
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/profile.md")).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let table = |text: &str| {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("step "));
        let header = words(lines.next().unwrap());
        (header, lines.map_while(|line| words(line).into_iter().next()).collect::<Vec<_>>())
    };
    let ((columns, rows), (quoted_columns, quoted_rows)) = (table(&printed), table(&guide));
    let mut rest = columns.iter();
    assert!(quoted_columns.iter().all(|column| rest.any(|one| one == column)), "{quoted_columns:?} {columns:?}");
    assert_eq!(rows[..4], quoted_rows[..4], "the stages of the first step");
    assert!(quoted_rows.iter().all(|name| name == "..." || rows.contains(name)), "{quoted_rows:?} {rows:?}");
}

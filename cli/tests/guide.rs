//! The guide tells the truth: its commands print what it quotes, and its pictures are what the command draws.

mod common;

use std::path::Path;

use common::good;

/// `TRYCMD=overwrite cargo test -p mbvc-cli --test guide` takes over what the commands print now.
#[test]
fn commands_print_what_is_quoted() {
    trycmd::TestCases::new().env("NO_COLOR", "1").case("../docs/guide/*.md");
}

#[test]
fn pictures_are_those_that_the_command_draws() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let drawing = folder.path().join("fusion.svg");
    good(&package.join(".."), &["dump", "specs/tiny.yaml", "--isa", "avx2", "--svg", drawing.to_str().unwrap()]);
    let shown = package.join("../docs/guide/fusion.svg");
    let [drawn, shown] = [drawing, shown].map(|path| std::fs::read_to_string(path).unwrap());
    assert!(drawn == shown, "draw it again, as the chapter on fusion says");
}

#[test]
fn profiles_have_the_columns_that_are_explained() {
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
    assert_eq!(printed[..12], quoted[..12], "the header, and the stages of the first step");
    assert!(quoted.iter().all(|name| name == "..." || printed.contains(name)), "{quoted:?} {printed:?}");
}

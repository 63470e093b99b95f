//! Help of the command.

mod common;

use common::{bad, good};

const COMMANDS: [&str; 14] = [
    "init", "check", "dump", "emit", "import", "inspect", "quantize", "verify", "pack", "classify", "evaluate",
    "build", "bench", "profile",
];

#[test]
fn every_command_has_help_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    let whole = good(folder.path(), &["--help"]);
    for command in COMMANDS {
        assert!(whole.contains(&format!("\n  {command} ")), "{whole}");
        let help = good(folder.path(), &[command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  mbvc {command}")), "{help}");
        assert!(!help.contains('\x1b'), "no color in a pipe: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100 || line.contains("  mbvc ")), "{help}");
    }
}

#[test]
fn misuse_exits_with_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let (_, said) = bad(folder.path(), &["clasify"], 2);
    assert!(said.contains("classify"), "the similar command is suggested: {said}");
    bad(folder.path(), &["--color"], 2);
    assert!(good(folder.path(), &["--version"]).starts_with("mbvc "));
}

//! The Python that runs other engines, for the tests of several packages.

use std::process::Command;

/// The program: `MBVC_PYTHON`, or `python3`.
pub fn python() -> String {
    std::env::var("MBVC_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Whether Python has the packages. Prints a note if not, and panics if they are required (`MBVC_REQUIRE_SHARED=1`).
pub fn has(packages: &str) -> bool {
    let reason = match Command::new(python()).args(["-c", &format!("import {packages}")]).output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    let required = std::env::var_os("MBVC_REQUIRE_SHARED").is_some_and(|value| value == "1");
    assert!(!required, "{} lacks {packages}: {reason}", python());
    eprintln!("skipped: {} lacks {packages}: {reason}", python());
    false
}

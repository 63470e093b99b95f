//! The program `mbvc`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mbvc_cli::run(std::env::args_os()))
}

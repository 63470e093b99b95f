//! The build script: sets `mbvc_dsp` for Arm targets with the DSP extension, which stable compilers do not expose
//! through `cfg`.

use std::env;

/// Processors of the M profile with the extension.
const PROCESSORS: [&str; 7] =
    ["cortex-m4", "cortex-m7", "cortex-m33", "cortex-m35p", "cortex-m52", "cortex-m55", "cortex-m85"];

fn main() {
    std::println!("cargo::rerun-if-changed=src/cfg.rs");
    std::println!("cargo::rustc-check-cfg=cfg(mbvc_dsp)");
    let variable = |name| env::var(name).unwrap_or_default();
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let is_little = variable("CARGO_CFG_TARGET_ENDIAN") == "little";
    let is_shown = variable("CARGO_CFG_TARGET_FEATURE").split(',').any(|feature| feature == "dsp");
    if is_little && has_dsp(&variable("TARGET"), is_shown, flags.split('\u{1f}')) {
        std::println!("cargo::rustc-cfg=mbvc_dsp");
    }
}

/// Whether a target of the M profile has the extension with these flags of rustc. A feature that is named wins over those
/// of the processor, and the last one wins.
fn has_dsp<'a>(target: &str, is_shown: bool, flags: impl Iterator<Item = &'a str>) -> bool {
    if !["thumbv7em", "thumbv8m.main"].iter().any(|profile| target.starts_with(profile)) {
        return false;
    }
    let (mut has, mut named) = (target.starts_with("thumbv7em") || is_shown, None);
    for flag in flags {
        // `-C option=value` can be one argument or two.
        let option =
            ["--codegen=", "--codegen", "-C"].iter().find_map(|start| flag.strip_prefix(start)).unwrap_or(flag);
        match option.trim().split_once('=') {
            Some(("target-cpu", processor)) => has = PROCESSORS.contains(&processor),
            Some(("target-feature", features)) => {
                named = features.split(',').fold(named, |named, feature| match feature {
                    "+dsp" => Some(true),
                    "-dsp" => Some(false),
                    _ => named,
                });
            }
            _ => {}
        }
    }
    named.unwrap_or(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_flags_select_the_extension() {
        let (m4, m33) = ("thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf");
        let cases: [(&str, bool, &[&str], bool); 14] = [
            (m4, false, &[], true),
            (m4, false, &["-Ctarget-feature=-dsp"], false),
            (m33, false, &[], false),
            (m33, true, &[], true),
            (m33, false, &["-C", "target-cpu=cortex-m33"], true),
            (m33, false, &["--codegen=target-cpu=cortex-m33"], true),
            (m33, false, &["--codegen", "target-cpu=cortex-m33"], true),
            (m33, false, &["-Ctarget-cpu=cortex-m33", "-Ctarget-feature=-dsp"], false),
            (m33, false, &["-Ctarget-feature=-dsp", "-Ctarget-cpu=cortex-m33"], false),
            (m33, false, &["-Ctarget-feature=+dsp,+fp-armv8d16sp"], true),
            (m33, false, &["-Ctarget-cpu=cortex-m33", "-Ctarget-cpu=cortex-m23"], false),
            ("thumbv7m-none-eabi", false, &["-Ctarget-cpu=cortex-m3"], false),
            ("armv7r-none-eabihf", true, &[], false),
            ("x86_64-unknown-linux-gnu", false, &["-Ctarget-feature=+dsp"], false),
        ];
        for (target, is_shown, flags, expected) in cases {
            assert_eq!(has_dsp(target, is_shown, flags.iter().copied()), expected, "{target} {is_shown} {flags:?}");
        }
    }
}

//! The build script: sets `mbvc_dsp` for Arm targets with the DSP extension, which stable compilers do not expose
//! through `cfg`.

use std::env;

/// Processors of the M profile with the extension.
const PROCESSORS: [&str; 7] =
    ["cortex-m4", "cortex-m7", "cortex-m33", "cortex-m35p", "cortex-m52", "cortex-m55", "cortex-m85"];

fn main() {
    println!("cargo::rerun-if-changed=src/cfg.rs");
    println!("cargo::rustc-check-cfg=cfg(mbvc_dsp)");
    let variable = |name| env::var(name).unwrap_or_default();
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    // `-C option=value` can be one argument or two.
    let options = flags.split('\u{1f}').map(|flag| flag.strip_prefix("-C").unwrap_or(flag));
    let is_enabled = options.filter_map(|option| option.trim().split_once('=')).any(|(name, value)| match name {
        "target-cpu" => PROCESSORS.contains(&value),
        "target-feature" => value.split(',').any(|feature| feature == "+dsp"),
        _ => false,
    });
    let is_arm = variable("CARGO_CFG_TARGET_ARCH") == "arm";
    let is_shown = variable("CARGO_CFG_TARGET_FEATURE").split(',').any(|feature| feature == "dsp");
    if variable("TARGET").starts_with("thumbv7em") || is_arm && (is_shown || is_enabled) {
        println!("cargo::rustc-cfg=mbvc_dsp");
    }
}

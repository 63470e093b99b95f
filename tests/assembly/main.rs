//! The assembly of networks that are compiled as users do, optimized: no innermost loop of a kernel keeps vectors on the
//! stack, and the loops over products keep the multipliers busy.
#![cfg(target_arch = "x86_64")]

mod k_loops;
mod loops;
mod mca;
mod network;
mod predicted;
mod spills;
mod table;

use mbvc_compiler::spec::Overrides;
use network::Compiler;
use spills::{Spill, spills};

/// Fails where there are such spills.
fn check<'a>(case: &str, spills: impl Iterator<Item = &'a Spill>) {
    let spills: Vec<String> = spills.map(ToString::to_string).collect();
    assert!(spills.is_empty(), "{case}: vectors on the stack in inner loops:\n{}", spills.join("\n"));
}

/// Of kernels of floats.
fn check_floats(numerics: &str) {
    let mut overrides = Overrides::none();
    overrides.set("isa", "[avx512, avx2]").set("numerics", numerics).set("batch", "8");
    let assembly = Compiler::native().assembly_of(numerics, "v2.yaml", &overrides);
    let report = spills(&assembly);
    check_guide(&assembly);
    for isa in ["avx512", "avx2"] {
        // A guard against reading nothing: v2.yaml has 35 pointwise convolutions, of more than ten shapes.
        let found = report.loops.iter().filter(|name| name.contains("f32_pw") && name.ends_with(isa)).count();
        assert!(found > 20, "{found} inner loops of pointwise kernels for {isa}, {numerics}");
    }
    check(numerics, report.spills.iter());
}

/// The guide quotes the inner loop of one kernel, as it is compiled.
fn check_guide(assembly: &str) {
    const KERNEL: &str = "f32_pw_relu6_6x16_k64_px14x14_a64r896_c16r256__avx2";
    let guide = include_str!("../../docs/guide/one_layer.md");
    assert!(guide.contains(&format!("fn {KERNEL}(")));
    let (_, quoted) = guide.split_once("```asm\n").expect("the guide quotes assembly");
    let (quoted, _) = quoted.split_once("```").expect("which ends");
    let quoted: Vec<&str> = quoted.lines().collect();
    let is_start = |line: &&str| line.contains(KERNEL) && line.ends_with(':');
    let body = assembly.lines().skip_while(|line| !is_start(line)).take_while(|line| !line.contains(".cfi_endproc"));
    let body: Vec<String> = body.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let found = body.windows(quoted.len()).any(|window| window.iter().eq(&quoted));
    assert!(found, "{KERNEL} is not compiled to what the guide quotes, but to\n{}", body.join("\n"));
}

#[test]
#[ignore = "compiles optimized networks"]
fn no_inner_loop_of_strict_kernels_spills() {
    check_floats("strict");
}

#[test]
#[ignore = "compiles optimized networks"]
fn no_inner_loop_of_fast_kernels_spills() {
    check_floats("fast");
}

#[test]
#[ignore = "compiles optimized networks"]
fn no_inner_loop_of_bf16_kernels_spills() {
    let mut overrides = Overrides::none();
    overrides.set("isa", "avx512bf16").set("precision", "bf16").set("batch", "8");
    let report = spills(&Compiler::native().assembly_of("bf16", "v2.yaml", &overrides));
    for (family, least) in [("bf16_pw", 10), ("bf16f32_pw", 6), ("f32bf16_dw3x3", 8)] {
        let found = report.loops.iter().filter(|name| name.starts_with(family)).count();
        assert!(found >= least, "{found} inner loops of {family}");
    }
    check("bf16", report.spills.iter());
}

/// Sums stay in registers. Where short loops are unrolled, tiles are inner loops, and constants that finish sums may be
/// read from the stack once a tile.
#[test]
#[ignore = "compiles optimized networks"]
fn no_inner_loop_of_kernels_of_bytes_writes_to_the_stack() {
    let mut overrides = Overrides::none();
    overrides.set("isa", "[avx512vnni, avx2]").set("precision", "int8");
    let report = spills(&Compiler::native().assembly_of("int8", "v2.yaml", &overrides));
    for (isa, expand) in [("avx512vnni", "u8_pw_quads"), ("avx2", "u8_pw_fast_quads")] {
        for (family, least) in [(expand, 30), ("u8_conv3x3_quads", 10), ("u8_dw3x3", 40), ("u8_pw_", 60)] {
            let found = report.loops.iter().filter(|name| name.starts_with(family) && name.ends_with(isa)).count();
            assert!(found >= least, "{found} inner loops of {family} for {isa}");
        }
    }
    // Six vectors of weights, each of them two of 16-bit numbers, leave no room for windows in sixteen registers; the
    // head's pooled sums are there beside its tile's.
    let is_crowded = |spill: &&Spill| {
        spill.kernel.ends_with("avx2") && (spill.kernel.starts_with("u8_dw3x3") || spill.kernel.contains("_pool_"))
    };
    check("int8", report.spills.iter().filter(|spill| spill.is_written() && !is_crowded(spill)));
}

//! Between two barriers, no thread of a team accesses bytes that another one writes.

use std::path::Path;

use mbvc_compiler::ir::Graph;
use mbvc_compiler::ir::verify::{Invariant, VerifyErrors};
use mbvc_compiler::passes::{self, Target};
use mbvc_compiler::schedule::accesses::races;
use mbvc_compiler::spec::{self, Fusion, Isa, NetworkSpec, Numerics, Precision};
use proptest::prelude::*;

use crate::support::{networks, parsed, rewritten};

fn scheduled(
    spec: &NetworkSpec,
    fusion: Fusion,
    isa: Isa,
    threads: usize,
    batch: usize,
) -> Result<Graph, VerifyErrors> {
    let mut graph = rewritten(spec, fusion, None);
    let target = Target { fusion, numerics: Numerics::Fast, isa, threads, batch };
    passes::schedule(&mut graph, target, None, &mut |_, _| {}).map(|_| graph)
}

/// Schedules for every fusion level. `plan_scratch` is followed by the verifier of accesses.
fn sound_for(spec: &NetworkSpec, isas: &[Isa], threads: &[usize], what: &str) {
    let batch = if spec.precision.is_quantized() { 1 } else { 8 };
    for isa in isas.iter().copied() {
        for fusion in [Fusion::None, Fusion::Relu6, Fusion::Block] {
            for threads in threads {
                if let Err(broken) = scheduled(spec, fusion, isa, *threads, batch) {
                    panic!("{what} {fusion:?} {isa:?} {threads} threads: {broken}");
                }
            }
        }
    }
}

/// Schedules for every instruction set and fusion level. `plan_scratch` is followed by the verifier of accesses.
fn sound(spec: &NetworkSpec, threads: &[usize], what: &str) {
    sound_for(spec, Isa::of(spec.precision), threads, what);
}

fn published(name: &str) -> NetworkSpec {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs").join(name);
    spec::parse(&spec::read(&path, name).expect("a readable spec")).expect("a sound spec")
}

#[test]
fn published_network() {
    let spec = published("v2.yaml");
    sound_for(&with(&spec, Precision::F32), &[Isa::Avx512], &[3], "v2.yaml F32");
    sound_for(&with(&spec, Precision::Bf16), &[Isa::Avx512Bf16, Isa::AmxBf16], &[3], "v2.yaml Bf16");
    sound_for(&with(&spec, Precision::Int8), &[Isa::Avx512Vnni], &[3], "v2.yaml Int8");
}

#[test]
#[ignore = "minutes: all specs for all instruction sets"]
fn published_networks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    for entry in folder.read_dir().expect("the folder of specs") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let spec = published(&name);
        // A schedule for eight threads is checked for all smaller teams too.
        let threads: &[usize] = if ["tiny.yaml", "v2.yaml"].contains(&&*name) { &[2, 3, 5, 8] } else { &[8] };
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            sound(&with(&spec, precision), threads, &format!("{name} {precision:?}"));
        }
    }
}

fn with(spec: &NetworkSpec, precision: Precision) -> NetworkSpec {
    NetworkSpec { precision, ..spec.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_networks(text in networks()) {
        let spec = parsed(&text);
        sound_for(&with(&spec, Precision::F32), &[Isa::Avx512, Isa::Neon], &[2, 3, 5], &text);
        sound_for(&with(&spec, Precision::Bf16), &[Isa::Avx512Bf16, Isa::AmxBf16, Isa::Portable], &[2, 3, 5], &text);
        sound_for(&with(&spec, Precision::Int8), &[Isa::Avx512Vnni, Isa::Avx2], &[2, 3, 5], &text);
    }

    #[test]
    #[ignore = "minutes: all instruction sets and teams"]
    fn small_networks_on_all_instruction_sets(text in networks()) {
        let spec = parsed(&text);
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            sound(&with(&spec, precision), &[2, 3, 4, 5, 6, 7, 8], &text);
        }
    }
}

/// The maximum number of threads in a spec.
#[test]
fn many_threads() {
    let spec = parsed(crate::support::SMALL);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        sound(&with(&spec, precision), &[64], "64 threads");
    }
}

/// Values that all threads write are in arenas. A plan without one is an internal error.
#[test]
fn a_shared_arena_is_found() {
    let spec = parsed(crate::support::V2);
    let graph = scheduled(&spec, Fusion::Block, Isa::Avx2, 3, 1).expect("a sound schedule");
    assert_eq!(races(&graph, Isa::Avx2, 3), []);
    let mut found = 0;
    for id in graph.ids() {
        let mut broken = graph.clone();
        let mbvc_compiler::ir::Op::Fused(fused) = &mut broken.node_mut(id).op else { continue };
        for stage in &mut fused.stages {
            if let Some(arenas) = stage.place.as_mut().and_then(|place| place.arenas.as_mut()) {
                arenas.bytes = 0;
            }
        }
        let races = races(&broken, Isa::Avx2, 3);
        assert!(races.iter().any(|race| race.node == id), "{races:?}");
        found += 1;
    }
    assert_eq!(found, 17);
    assert_eq!(Invariant::Accesses.to_string(), "accesses");
}

//! Compares the model of accesses with generated code: a step writes the bytes of the model, and no two threads write
//! the same byte between two barriers.

use std::ops::Range;

use mbvc_compiler::codegen::Program;
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::ir::{NodeId, Op};
use mbvc_compiler::schedule::accesses::{Access, Memory, traces};
use mbvc_compiler::schedule::team::Thread;
use mbvc_compiler::spec::Overrides;

use crate::machine::{Code, Writes};

/// A stem without a block, blocks that halve an odd size, residuals, `t: 1` in the middle, and widths that are not a
/// multiple of a vector.
const TABLE: &str = "\
resolution: [HEIGHT, WIDTH]
classes: 7
padding: PADDING
stem: { channels: 24, stride: 2 }
blocks:
  - { t: 1, c: 16, n: 1, s: 1 }
  - { t: 6, c: 24, n: 2, s: 2 }
  - { t: 1, c: 24, n: 1, s: 1 }
  - { t: 3, c: 40, n: 2, s: 1 }
head: { channels: 56 }
";

fn compiled([height, width]: [usize; 2], padding: &str, keys: &[(&'static str, &'static str)]) -> Program {
    let (height, width) = (height.to_string(), width.to_string());
    let text = TABLE.replace("HEIGHT", &height).replace("WIDTH", &width).replace("PADDING", padding);
    let mut overrides = Overrides::none();
    for (key, value) in keys {
        overrides.set(key, value);
    }
    let compiled = mbvc_compiler::compile(&SourceFile::new("small.yaml", text), &overrides);
    compiled.unwrap_or_else(|mistakes| panic!("{mistakes}")).programs.remove(0)
}

/// Sorted and without overlap.
fn merged(mut writes: Writes) -> Writes {
    writes.retain(|(_, bytes)| !bytes.is_empty());
    writes.sort_by_key(|(memory, bytes)| (*memory, bytes.start));
    let mut merged: Writes = Vec::new();
    for (memory, bytes) in writes {
        match merged.last_mut() {
            Some((last, before)) if *last == memory && before.end >= bytes.start => {
                before.end = before.end.max(bytes.end)
            }
            _ => merged.push((memory, bytes)),
        }
    }
    merged
}

fn of_model(accesses: &[Access]) -> Writes {
    let ranges = |access: &Access| {
        let (memory, run) = (access.memory, access.run);
        (0..run.count).map(move |at| (memory, run.start + at * run.pitch..run.start + at * run.pitch + run.bytes))
    };
    merged(accesses.iter().filter(|access| access.writes).flat_map(ranges).collect())
}

fn contains(all: &Writes, (memory, bytes): &(Memory, Range<usize>)) -> bool {
    let after = all.partition_point(|(other, range)| (*other, range.start) <= (*memory, bytes.start));
    after.checked_sub(1).is_some_and(|at| all[at].0 == *memory && bytes.end <= all[at].1.end)
}

/// Compares the code of all steps with the model. Returns the number of intervals in which several threads write.
fn compare(program: &Program, what: &str) -> usize {
    let (graph, code) = (&program.graph, Code::new(program));
    let order = graph.order().expect("an order");
    let nodes: Vec<NodeId> = order.into_iter().filter(|id| !matches!(graph.node(*id).op, Op::Input)).collect();
    let mut shared = 0;
    for (step, nodes) in
        program.steps.iter().zip(nodes.chunk_by(|a, b| graph.node(*a).origin.step == graph.node(*b).origin.step))
    {
        for team in 1..=program.threads {
            let model: Vec<_> = nodes.iter().map(|id| traces(graph, *id, program.isa, program.threads, team)).collect();
            for choice in [false, true] {
                let threads = 0..team;
                let written: Vec<Vec<Writes>> = threads
                    .clone()
                    .map(|index| code.run(&step.name, Thread { index, team }, choice).into_iter().map(merged).collect())
                    .collect();
                for index in threads {
                    let what = format!("{what}: {}, thread {index} of {team}", step.name);
                    let expected: Vec<Writes> =
                        model.iter().flat_map(|traces| traces[index].intervals()).map(|i| of_model(i)).collect();
                    // Only an observer follows the last wait of a step.
                    assert_eq!(written[index].len(), expected.len() + 1, "{what}");
                    for (at, (written, expected)) in written[index].iter().zip(&expected).enumerate() {
                        let unknown = written.iter().find(|bytes| !contains(expected, bytes));
                        assert_eq!(unknown, None, "{what}, interval {at}: the model has {expected:?}");
                    }
                }
                for interval in 0..written[0].len() {
                    let mut all: Vec<_> = written.iter().flat_map(|writes| writes[interval].clone()).collect();
                    all.sort_by_key(|(memory, bytes)| (*memory, bytes.start));
                    let race = all.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[0].1.end > pair[1].1.start);
                    assert_eq!(race, None, "{what}: {}, team of {team}, interval {interval}", step.name);
                    shared += usize::from(written.iter().filter(|writes| !writes[interval].is_empty()).count() > 1);
                }
            }
        }
    }
    shared
}

/// Sizes, and padding with each.
type Sizes<'a> = &'a [([usize; 2], &'a str)];

fn compare_all(precision: &'static str, fusions: &[&'static str], isas: &[&'static str], sizes: Sizes<'_>) {
    for fusion in fusions {
        for isa in isas {
            for (size, padding) in sizes {
                let keys = [("fusion", *fusion), ("isa", *isa), ("threads", "3"), ("precision", precision)];
                let what = format!("{precision} {fusion} {isa} {size:?} {padding}");
                assert!(compare(&compiled(*size, padding, &keys), &what) > 0, "{what}");
            }
        }
    }
}

#[test]
fn float_code_writes_what_the_model_says() {
    compare_all("f32", &["relu6", "block"], &["avx512"], &[([33, 20], "same"), ([1, 1], "same")]);
}

#[test]
fn quantized_code_writes_what_the_model_says() {
    compare_all("int8", &["relu6", "block"], &["avx512vnni"], &[([33, 20], "same"), ([1, 1], "same")]);
}

const MANY_SIZES: Sizes<'_> = &[([33, 20], "same"), ([64, 47], "symmetric"), ([120, 96], "same"), ([1, 1], "same")];

#[test]
#[ignore = "minutes: instruction sets and sizes"]
fn all_float_code_writes_what_the_model_says() {
    compare_all("f32", &["none", "relu6", "block"], &["avx512", "avx2", "neon"], MANY_SIZES);
}

#[test]
#[ignore = "minutes: instruction sets and sizes"]
fn all_quantized_code_writes_what_the_model_says() {
    compare_all("int8", &["relu6", "block"], &["avx512vnni", "avx2", "neon"], MANY_SIZES);
}

//! Token-level properties of every kernel, and a snapshot of one kernel per family.

use std::collections::BTreeSet;

use mbvc_engine::source_text;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::kernel::{Depthwise, Dots, Elementwise, Gemm, Pool};
use crate::codegen::Program;
use crate::codegen::kernel::Kernel;
use crate::diagnostic::SourceFile;
use crate::ir::{Activation, ElementType, Epilogue, Factors, Product};
use crate::spec::{Overrides, Precision};
use crate::target::{Isa, IsaFacts};

const TABLE: &str = "
name: Small
width: 0.5
resolution: [33, 20]
padding: PADDING
classes: 7
stem: { channels: 24, stride: 2 }
blocks:
  - { t: 1, c: 16, n: 1, s: 1 }
  - { t: 6, c: 24, n: 2, s: 2 }
  - { t: 1, c: 24, n: 1, s: 1 }
  - { t: 3, c: 40, n: 2, s: 1 }
head: { channels: 56 }
";

fn programs(precision: &str, fusion: &str, padding: &str) -> Vec<Program> {
    let source = SourceFile::new("small.yaml", TABLE.replace("PADDING", padding));
    let mut overrides = Overrides::none();
    overrides.set("fusion", fusion).set("precision", precision);
    match crate::compile(&source, &overrides) {
        Ok(compiled) => compiled.programs,
        Err(mistakes) => panic!("{}", mistakes.render(false)),
    }
}

fn all_programs() -> impl Iterator<Item = Program> {
    let choices = ["none", "relu6", "block"].into_iter().flat_map(|f| ["same", "symmetric"].map(|p| (f, p)));
    choices
        .flat_map(|(fusion, padding)| ["f32", "bf16"].map(|precision| programs(precision, fusion, padding)))
        .flatten()
}

/// Calls `visit` on every token, a group before its contents.
fn walk(tokens: TokenStream, visit: &mut impl FnMut(&TokenTree)) {
    for token in tokens {
        visit(&token);
        if let TokenTree::Group(group) = &token {
            walk(group.stream(), visit);
        }
    }
}

/// Checks the names in a kernel: the vocabulary of the runtime, views, loop variables, and numbered registers. Any
/// other name would be a shape, a stride or a trip count that is only known at run time.
#[test]
fn kernels_know_nothing_at_run_time_but_their_views() {
    let vocabulary: BTreeSet<&str> = [
        "doc",
        "target_feature",
        "enable",
        "inline",
        "never",
        "fn",
        "let",
        "mut",
        "for",
        "in",
        "Src",
        "Dst",
        "_",
        "at",
        "src",
        "load",
        "load_first",
        "load_bf16",
        "load_bf16_first",
        "load_pairs",
        "splat_pair",
        "splat_single",
        "even",
        "odd",
        "dot",
        "store_bf16",
        "store_bf16_first",
        "Bf16",
        "splat",
        "store",
        "store_first",
        "fma",
        "fma_lane",
        "prefetch",
        "add",
        "mul",
        "relu",
        "relu6",
        "constant",
        "sub",
        "sums",
        "pair",
        "unroll",
        "P",
        "dots",
        "t",
        "each_lane",
        "LANE",
        "ROW",
        "zero",
        "use",
        "rt",
        "simd",
        "float",
        "avx512",
        "avx512bf16",
        "half",
        "a",
        "w",
        "c",
        "r",
        "x",
        "v",
        "b",
        "d",
        "s",
        "u",
        "y",
        "batch",
        "line",
        "sum",
        "band",
        "tile",
        "vector",
        "k",
        "quad",
        "pixel",
        "unseen",
        "pooled",
        "next",
        "tiles",
        "Sums",
        "UNINIT",
        "memory",
        "multiply",
        "view",
        "row",
    ]
    .into();
    let numbered = |name: &str| {
        let rest = name.strip_prefix(['a', 'b', 'c', 'd', 'w', 'x']).unwrap_or("?");
        rest.chars().all(|c| c.is_ascii_digit() || c == '_')
    };
    for program in all_programs() {
        for (name, item) in &program.kernels {
            walk(item.clone(), &mut |token| {
                if let TokenTree::Ident(ident) = token {
                    let ident = ident.to_string();
                    assert!(vocabulary.contains(&*ident) || numbered(&ident) || ident == *name, "{name}: {ident}");
                }
            });
        }
    }
}

#[test]
fn trip_counts_are_literals() {
    fn check(name: &str, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for window in tokens.windows(2) {
            if let [TokenTree::Ident(word), TokenTree::Ident(_)] = window {
                assert_ne!(word.to_string(), "while", "{name}");
            }
        }
        for (at, token) in tokens.iter().enumerate() {
            if matches!(token, TokenTree::Ident(word) if word == "in") {
                let range: String = tokens[at + 1..].iter().map(ToString::to_string).collect();
                let range =
                    range.split(['{', ' ']).next().unwrap_or_default().replace("rt::unseen(", "").replace(')', "");
                let (from, to) = range.split_once("..").unwrap_or_else(|| panic!("{name}: {range}"));
                assert!(from.parse::<usize>().is_ok() && to.parse::<usize>().is_ok(), "{name}: {range}");
            }
            if let TokenTree::Group(group) = token
                && group.delimiter() == Delimiter::Brace
            {
                check(name, group.stream());
            }
        }
    }
    for program in all_programs() {
        program.kernels.iter().for_each(|(name, item)| check(name, item.clone()));
    }
}

#[test]
fn the_same_name_is_the_same_code() {
    let mut seen = std::collections::BTreeMap::<String, String>::new();
    for program in all_programs() {
        for kernel in program.steps.iter().flat_map(|step| &step.kernels) {
            let code = kernel.item.to_string();
            let first = seen.entry(kernel.name.clone()).or_insert_with(|| code.clone());
            assert_eq!(*first, code, "{}", kernel.name);
        }
    }
}

#[test]
fn every_pass_leaves_its_mark_on_the_code() {
    let names = |fusion: &str| -> BTreeSet<String> {
        let programs = programs("f32", fusion, "same");
        programs.iter().flat_map(|program| program.kernels.keys().cloned()).collect()
    };
    let (none, relu6, block) = (names("none"), names("relu6"), names("block"));
    assert!(
        none.iter().any(|name| name.starts_with("f32_relu6_n"))
            && none.iter().any(|name| name.starts_with("f32_add_n"))
    );
    assert!(!none.iter().any(|name| name.contains("pw_relu6") || name.contains("pw_add")));
    assert!(relu6.iter().any(|name| name.contains("pw_relu6")) && relu6.iter().any(|name| name.contains("pw_add")));
    assert!(!relu6.iter().any(|name| name.starts_with("f32_relu6_n") || name.starts_with("f32_add_n")));
    assert_ne!(relu6, block);
}

#[test]
fn the_same_input_gives_the_same_tokens() {
    let text = |programs: Vec<Program>| -> String {
        programs.iter().flat_map(|program| program.steps.iter().map(|step| step.item.to_string())).collect()
    };
    assert_eq!(text(programs("bf16", "block", "same")), text(programs("bf16", "block", "same")));
}

/// Formats a kernel as `mbvc emit` does.
pub fn formatted(kernel: &Kernel) -> String {
    source_text::format(kernel.item.clone()).unwrap_or_else(|error| panic!("{}: {error}", kernel.name))
}

#[test]
fn one_kernel_of_each_family_and_set() {
    let relu6 = Epilogue { activation: Some(Activation::Relu6), residual: false, pool: None };
    for isa in Isa::of(Precision::F32).iter().copied() {
        let lanes = isa.lanes();
        let pointwise = Gemm {
            isa,
            lanes,
            product: Product::Plain,
            factors: Factors::Exact,
            output: ElementType::F32,
            residual: ElementType::F32,
            runs: 1,
            run: 6,
            rows: 1,
            cols: 5,
            a_pixel: 6,
            a_row: 30,
            c_pixel: lanes + 3,
            c_row: 5 * (lanes + 3),
            mr: 3,
            nv: 2,
            last: 3,
            epilogue: Epilogue { activation: None, residual: true, pool: None },
            streams: false,
            next: 0,
        };
        let stem = Gemm {
            isa,
            lanes,
            product: Product::Plain,
            factors: Factors::Exact,
            output: ElementType::F32,
            residual: ElementType::F32,
            runs: 3,
            run: 9,
            rows: 1,
            cols: 2,
            a_pixel: 6,
            a_row: 24,
            c_pixel: lanes,
            c_row: 2 * lanes,
            mr: 2,
            nv: 1,
            last: lanes,
            epilogue: relu6,
            streams: false,
            next: 0,
        };
        let depthwise = Depthwise {
            isa,
            kernel: [3, 3],
            stride: [1, 1],
            rows: 2,
            cols: 3,
            // As `assign_tiles` chooses.
            tile: if isa.has_few_registers() { 1 } else { 2 },
            a_pixel: lanes,
            c_pixel: lanes,
            c_row: 3 * lanes,
            vectors: 1,
            epilogue: relu6,
            output: ElementType::F32,
        };
        let elementwise = |op| {
            let (output, residual) = (ElementType::F32, ElementType::F32);
            Elementwise { isa, op, vectors: 4, input: None, output, residual }.kernel()
        };
        let mut kernels = vec![
            pointwise.kernel(),
            stem.kernel(),
            depthwise.kernel(),
            elementwise(None),
            elementwise(Some(Activation::Relu6)),
            Pool { isa, pixels: 4, channels: lanes + 1, a_pixel: lanes + 1 }.kernel(),
        ];
        if isa.has_few_registers() {
            kernels.push(Depthwise { stride: [2, 2], rows: 1, ..depthwise }.kernel());
        }
        if isa.has_half_vectors() {
            kernels.push(Gemm { lanes: lanes / 2, nv: 1, last: 3, streams: true, ..pointwise }.kernel());
        }
        let pooling = Epilogue { activation: Some(Activation::Relu6), residual: false, pool: Some([1, 5]) };
        let pooled = Gemm { epilogue: pooling, c_row: 0, ..pointwise };
        kernels.push(pooled.kernel());
        if isa.has_fast_product() {
            kernels.push(Gemm { product: Product::Fast, nv: 1, run: 7, streams: true, next: 96, ..pooled }.kernel());
            let fast = Gemm { product: Product::Fast, nv: 1, run: 7, ..pointwise };
            kernels.push(fast.kernel());
            kernels.push(Gemm { product: Product::Fast, ..stem }.kernel());
            kernels.push(Dots { isa, len: lanes + 2, pixels: lanes + 1, stride: 40 }.kernel());
        }
        let text: Vec<String> = kernels.iter().map(formatted).collect();
        insta::assert_snapshot!(format!("kernels_{}", isa.name()), text.join("\n"));
    }
}

#[test]
fn one_bf16_kernel_of_each_family_and_set() {
    let (f32, bf16) = (ElementType::F32, ElementType::Bf16);
    for isa in [Isa::Portable, Isa::Avx512Bf16, Isa::AmxBf16] {
        let lanes = isa.lanes();
        let project = Gemm {
            isa,
            lanes,
            product: Product::Plain,
            factors: Factors::Bf16,
            output: bf16,
            residual: bf16,
            runs: 1,
            run: 7,
            rows: 1,
            cols: 5,
            a_pixel: 7,
            a_row: 35,
            c_pixel: lanes + 3,
            c_row: 5 * (lanes + 3),
            mr: 3,
            nv: 2,
            last: 3,
            epilogue: Epilogue { activation: None, residual: true, pool: None },
            streams: false,
            next: 0,
        };
        let relu6 = Epilogue { activation: Some(Activation::Relu6), residual: false, pool: None };
        let expand = Gemm { output: f32, residual: f32, epilogue: relu6, run: 8, streams: true, ..project };
        let classifier = Gemm {
            factors: Factors::Bf16Weights,
            output: f32,
            residual: f32,
            epilogue: Epilogue::default(),
            cols: 1,
            mr: 1,
            ..project
        };
        let depthwise = Depthwise {
            isa,
            kernel: [3, 3],
            stride: [2, 2],
            rows: 1,
            cols: 2,
            tile: 2,
            a_pixel: lanes,
            c_pixel: lanes,
            c_row: 2 * lanes,
            vectors: 1,
            epilogue: relu6,
            output: bf16,
        };
        let mut kernels = vec![
            project.kernel(),
            expand.kernel(),
            classifier.kernel(),
            depthwise.kernel(),
            Elementwise { isa, op: None, vectors: 4, input: Some(f32), output: bf16, residual: bf16 }.kernel(),
            Elementwise { isa, op: Some(Activation::Relu6), vectors: 4, input: None, output: bf16, residual: bf16 }
                .kernel(),
        ];
        if isa.has_half_vectors() {
            kernels.push(Gemm { lanes: lanes / 2, nv: 1, last: 3, residual: f32, ..project }.kernel());
        }
        if isa.has_block_products() {
            let blocks =
                Gemm { product: Product::Blocks { depth: 8 }, run: 16, a_pixel: 16, a_row: 80, mr: 2, ..project };
            let epilogue = Epilogue { pool: Some([1, 5]), ..relu6 };
            let rows = Gemm { rows: 3, a_row: 96, epilogue: relu6, nv: 1, streams: true, ..blocks };
            kernels
                .extend([blocks, rows, Gemm { epilogue, c_row: 0, output: f32, ..blocks }].map(|gemm| gemm.kernel()));
        }
        let text: Vec<String> = kernels.iter().map(formatted).collect();
        insta::assert_snapshot!(format!("bf16_kernels_{}", isa.name()), text.join("\n"));
    }
}

//! Tables of invalid specs, with snapshots of their diagnostics.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use mbvc_compiler::diagnostic::{Diagnostics, SourceFile, catalog};
use mbvc_compiler::spec::{MAX_BYTES, Overrides, Words, parse, parse_with, read};

/// A text of the valid spec and its replacement.
type Edit = (&'static str, &'static str);
/// A name and its edits.
type Case = (&'static str, &'static [Edit]);

const GOOD: &str = include_str!("good.yaml");

const YAML: &[Case] = &[
    ("tab_for_indentation", &[("  - { t: 1,", "\t- { t: 1,")]),
    ("open_bracket", &[("s: 2 }\n  - { t: 6, c: 32", "s: 2\n  - { t: 6, c: 32")]),
    ("open_quote", &[("padding: same", "padding: \"same")]),
    ("backquote", &[("padding: same", "padding: `same`")]),
    ("comma_missing", &[("{ t: 6, c: 24,", "{ t: 6 c: 24,")]),
    ("comma_missing_behind_a_list", &[("range: [-1, 1]", "mean: [0, 0, 0] std: [1, 1, 1]")]),
    ("colon_without_a_space", &[("classes: 10", "classes:10")]),
    ("colon_missing", &[("width: 1.0", "width 1.0")]),
    ("colon_missing_in_the_first_line", &[("name: Small", "name Small")]),
    ("colon_missing_in_the_last_line", &[("preprocessing: { range: [-1, 1] }", "isa avx2")]),
    ("colon_missing_before_a_bracket", &[("preprocessing: {", "preprocessing {")]),
    ("colon_missing_before_a_list", &[("range: [", "range [")]),
    ("two_values_in_a_line", &[("width: 1.0", "width: 1.0: 2")]),
    ("second_document", &[("stem:", "---\nstem:")]),
    ("anchor", &[("width: 1.0", "width: &w 1.0")]),
    ("alias", &[("width: 1.0", "width: &w 1.0\nthreads: *w")]),
    ("merge_key", &[("head: {", "head: { <<: { channels: 5 },")]),
    ("tag", &[("width: 1.0", "width: !!float 1")]),
    ("nested_too_deep", &[("width: 1.0", "width: [[[[[[[[[1]]]]]]]]]")]),
    ("nul", &[("width: 1.0", "width: 1.0\0")]),
];

const KEYS: &[Case] = &[
    ("unknown_key", &[("width: 1.0", "color: red")]),
    ("misspelled_key", &[("classes: 10", "clases: 10")]),
    ("key_with_a_capital", &[("width: 1.0", "Width: 1.0")]),
    ("unknown_key_of_a_row", &[("n: 2,", "n: 2, k: 5,")]),
    ("unknown_key_of_the_stem", &[("stride: 2", "stride: 2, kernel: 5")]),
    ("key_of_a_row_without_a_space", &[("t: 6", "t:6"), ("c: 24", "c=24")]),
    ("key_of_the_head_without_a_colon", &[("channels: 64", "channels 64")]),
    ("head_without_a_colon", &[("head: {", "head {")]),
    ("number_as_key", &[("width: 1.0", "1: 2")]),
    ("list_as_key", &[("width: 1.0", "[1, 2]: 3")]),
    ("missing_classes", &[("classes: 10\n", "")]),
    ("missing_repeat", &[("n: 2, ", "")]),
    ("missing_stride_of_the_stem", &[(", stride: 2", "")]),
    ("duplicate_key", &[("padding: same", "padding: same\nwidth: 0.5")]),
    ("duplicate_by_synonym", &[("t: 6, c: 32", "t: 6, expansion: 6, c: 32")]),
    ("stem_is_a_number", &[("stem: { channels: 16, stride: 2 }", "stem: 16")]),
    ("row_is_a_list", &[("{ t: 6, c: 32, n: 1, s: 1 }", "[6, 32, 1, 1]")]),
];

const VALUES: &[Case] = &[
    ("stride_of_three", &[("s: 2 }", "s: 3 }")]),
    ("stride_of_zero", &[("stride: 2", "stride: 0")]),
    ("stride_is_no_number", &[("stride: 2", "stride: fast")]),
    ("zero_repeat", &[("n: 2", "n: 0")]),
    ("absurd_repeat", &[("n: 2", "n: 99999999999999999999999")]),
    ("negative_expansion", &[("t: 1", "t: -1")]),
    ("fractional_channels", &[("c: 24", "c: 24.5")]),
    ("whole_float", &[("c: 24", "c: 24.0")]),
    ("zero_channels", &[("channels: 64", "channels: 0")]),
    ("hexadecimal", &[("c: 24", "c: 0x18")]),
    ("quoted_number", &[("classes: 10", "classes: '10'")]),
    ("no_value", &[("classes: 10", "classes:")]),
    ("too_many_classes", &[("classes: 10", "classes: 1000000")]),
    ("zero_width", &[("width: 1.0", "width: 0")]),
    ("negative_width", &[("width: 1.0", "width: -0.5")]),
    ("width_is_nan", &[("width: 1.0", "width: .nan")]),
    ("width_is_infinite", &[("width: 1.0", "width: .inf")]),
    ("width_beyond_f64", &[("width: 1.0", "width: 1e999")]),
    ("zero_resolution", &[("resolution: 32", "resolution: 0")]),
    ("absurd_resolution", &[("resolution: 32", "resolution: 100000")]),
    ("resolution_of_three", &[("resolution: 32", "resolution: [32, 32, 3]")]),
    ("one_side_is_wrong", &[("resolution: 32", "resolution: [32, 0]")]),
    ("unknown_padding", &[("padding: same", "padding: valid")]),
    ("padding_in_capitals", &[("padding: same", "padding: SAME")]),
    ("unknown_activation", &[("activation: relu6", "activation: hardswish")]),
    ("epsilon_of_zero", &[("width: 1.0", "batch_norm_epsilon: 0")]),
    ("blocks_is_a_mapping", &[("blocks:\n", "blocks: { t: 1 }\nisa: # ")]),
    ("name_is_a_keyword", &[("name: Small", "name: Self")]),
    ("name_in_small_letters", &[("name: Small", "name: mobilenet_v2")]),
    ("name_with_a_space", &[("name: Small", "name: Mobile Net")]),
    ("name_is_a_number", &[("name: Small", "name: 224")]),
    ("name_is_not_ascii", &[("name: Small", "name: Größe")]),
    ("unknown_precision", &[("width: 1.0", "precision: int4")]),
    ("rounding_of_float", &[("width: 1.0", "rounding: xnnpack")]),
    ("rounding_of_integers", &[("width: 1.0", "precision: uint8\nrounding: even")]),
    ("unknown_numerics", &[("width: 1.0", "numerics: fst")]),
    ("unknown_rounding", &[("width: 1.0", "rounding: away")]),
    ("too_many_threads", &[("width: 1.0", "threads: 65")]),
    ("no_threads", &[("width: 1.0", "threads: 0")]),
    ("too_large_a_batch", &[("width: 1.0", "batch: 65")]),
    ("no_batch", &[("width: 1.0", "batch: 0")]),
    ("misspelled_fusion", &[("width: 1.0", "fusion: blok")]),
    ("unknown_isa", &[("width: 1.0", "isa: [avx2, sse9]")]),
    ("isa_twice", &[("width: 1.0", "isa: [avx2, avx2]")]),
    ("no_isa", &[("width: 1.0", "isa: []")]),
    ("range_upside_down", &[("range: [-1, 1]", "range: [1, -1]")]),
    ("range_and_mean", &[("range: [-1, 1]", "range: [-1, 1], mean: [0, 0, 0]")]),
    ("mean_without_std", &[("range: [-1, 1]", "mean: [0, 0, 0]")]),
    ("std_of_zero", &[("range: [-1, 1]", "mean: [0, 0, 0], std: [1, 0, 1]")]),
    ("mean_of_two", &[("range: [-1, 1]", "mean: [0, 0], std: [1, 1, 1]")]),
    ("mean_and_std_of_bytes", &[("range: [-1, 1]", "mean: [123.675, 116, 103], std: [58, 57, 57]")]),
    ("mean_of_bytes", &[("range: [-1, 1]", "mean: [123, 116, 103], std: [1, 1, 1]")]),
    ("std_of_bytes", &[("range: [-1, 1]", "mean: [0, 0, 0], std: [255, 255, 255]")]),
    ("mean_below_0", &[("range: [-1, 1]", "mean: [-0.5, 0, 0], std: [1, 1, 1]")]),
    ("scale_without_offset", &[("range: [-1, 1]", "scale: [1, 1, 1]")]),
    ("scale_offset_and_range", &[("range: [-1, 1]", "range: [-1, 1], scale: [1, 1, 1], offset: [0, 0, 0]")]),
    ("offset_of_two", &[("range: [-1, 1]", "scale: [1, 1, 1], offset: [0, 0]")]),
    ("std_beyond_bytes", &[("range: [-1, 1]", "mean: [0, 0, 0], std: [1, 1, 256]")]),
    ("dense_is_empty", &[("channels: 64", "channels: 64, dense: []")]),
    ("dense_has_too_many_layers", &[("channels: 64", "channels: 64, dense: [1, 2, 3, 4, 5, 6, 7, 8, 9]")]),
    ("dense_has_invalid_units", &[("channels: 64", "channels: 64, dense: [100, 0, ten]")]),
    ("dense_activation_without_dense", &[("channels: 64", "channels: 64, dense_activation: relu")]),
    ("dense_activation_is_unknown", &[("channels: 64", "channels: 64, dense: 10, dense_activation: tanh")]),
    ("unknown_input", &[("width: 1.0", "input: grey")]),
    ("input_is_a_number", &[("width: 1.0", "input: 1")]),
    ("gray_with_three_means", &[("width: 1.0", "input: gray"), ("range: [-1, 1]", "mean: [0, 0, 0], std: 1")]),
    ("gray_with_a_word_as_mean", &[("width: 1.0", "input: gray"), ("range: [-1, 1]", "mean: half, std: [1, 1]")]),
    ("gray_with_the_mean_of_bytes", &[("width: 1.0", "input: gray"), ("range: [-1, 1]", "mean: 127.5, std: 127.5")]),
    ("one_mean_of_three_colors", &[("range: [-1, 1]", "mean: 0.5, std: [0.5]")]),
    ("residual_is_a_word", &[("s: 1 }\nhead", "s: 1, residual: maybe }\nhead")]),
    ("budget_without_a_unit", &[("width: 1.0", "scratch_budget: lots")]),
];

const NETWORK: &[Case] = &[
    ("width_leaves_no_channel", &[("width: 1.0", "width: 0.01")]),
    ("residual_across_channels", &[("s: 1 }\nhead", "s: 1, residual: true }\nhead")]),
    ("residual_across_stride_and_channels", &[("s: 2 }", "s: 2, residual: true }")]),
    ("residual_across_rounded_channels", &[("c: 32, n: 1, s: 1 }", "c: 28, n: 1, s: 1, residual: true }")]),
    ("too_many_blocks", &[("n: 2", "n: 127")]),
    ("width_makes_a_layer_too_wide", &[("width: 1.0", "width: 2"), ("channels: 64", "channels: 65000")]),
    ("expansion_makes_a_layer_too_wide", &[("t: 6, c: 24", "t: 64, c: 2000")]),
    ("tensor_too_large", &[("resolution: 32", "resolution: 4096"), ("c: 16", "c: 320")]),
    ("too_many_parameters", &[("c: 24", "c: 10000")]),
    ("too_much_work", &[("resolution: 32", "resolution: 4096"), ("c: 16, n: 1", "c: 250, n: 20"), ("t: 6", "t: 1")]),
];

/// Several edits at once: all errors are reported.
const MANY: &[Edit] = &[
    ("name: Small", "name: small\nnmae: Small"),
    ("width: 1.0", "width: wide"),
    ("resolution: 32", "resolution: [0, 9999]"),
    ("classes: 10\n", ""),
    ("n: 1, s: 1 }\n  - { t: 6, c: 24", "n: 0, s: 4 }\n  - { t: 6, c: -24"),
    ("s: 1 }\nhead", "z: 1 }\nhead"),
];

fn edited(edits: &[Edit]) -> SourceFile {
    let text = edits.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the valid spec");
        text.replacen(from, to, 1)
    });
    SourceFile::new("specs/small.yaml", text)
}

/// The diagnostics of a table of cases, and the codes of the broken rules.
fn report(table: &[Case]) -> (String, BTreeSet<&'static str>) {
    let mut text = String::new();
    let mut codes = BTreeSet::new();
    for (name, edits) in table {
        let mistakes = parse(&edited(edits)).expect_err(name);
        codes.extend(mistakes.iter().map(|one| one.rule.code));
        check_remedies(&mistakes);
        let _ = writeln!(text, "## {name}\n{mistakes}\n");
    }
    (text, codes)
}

fn check_remedies(mistakes: &Diagnostics) {
    for mistake in mistakes.iter() {
        assert!(!mistake.help.is_empty(), "no remedy for: {}", mistake.message);
        assert_ne!(mistake.rule.code, "internal", "{}", mistake.message);
        assert!(!mistake.message.contains('\n'), "{}", mistake.message);
    }
}

#[test]
fn yaml() {
    insta::assert_snapshot!(report(YAML).0);
}

#[test]
fn keys() {
    insta::assert_snapshot!(report(KEYS).0);
}

#[test]
fn values() {
    insta::assert_snapshot!(report(VALUES).0);
}

#[test]
fn network() {
    insta::assert_snapshot!(report(NETWORK).0);
}

#[test]
fn many_errors_at_once() {
    insta::assert_snapshot!(parse(&edited(MANY)).unwrap_err());
}

#[test]
fn nothing_to_read() {
    let reports: Vec<_> = ["", " \n\n", "# only a comment\n", "---\n", "null", "~", "7", "[1, 2]", "blocks"]
        .into_iter()
        .map(|text| format!("## {text:?}\n{}\n", parse(&SourceFile::new("specs/empty.yaml", text)).unwrap_err()))
        .collect();
    insta::assert_snapshot!(reports.join("\n"));
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let folder_text = folder.path().to_string_lossy().into_owned();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    std::fs::create_dir(folder.path().join("specs")).unwrap();
    write("specs/small.yaml", GOOD.as_bytes());
    write("specs/latin1.yaml", b"name: Small\nwidth: 1.0 # gro\xdf\n");
    write("specs/utf16.yaml", b"\xff\xfen\0a\0m\0e\0");
    write("specs/long.yaml", &vec![b'#'; MAX_BYTES + 1]);
    let mut reports = String::new();
    for name in
        ["specs/smal.yaml", "other/small.yaml", "specs", "specs/latin1.yaml", "specs/utf16.yaml", "specs/long.yaml"]
    {
        let mistakes = read(&folder.path().join(name), name).expect_err(name);
        check_remedies(&mistakes);
        let _ = writeln!(reports, "## {name}\n{mistakes}\n");
    }
    insta::assert_snapshot!(reports.replace(&folder_text, "/home/user/project"));
}

#[test]
fn a_relative_path_is_reported_with_the_current_folder() {
    let mistakes = read(Path::new("specs/absent.yaml"), "specs/absent.yaml").unwrap_err().to_string();
    let here = std::env::current_dir().unwrap();
    assert!(mistakes.contains(&format!("relative to `{}`", here.display())), "{mistakes}");
}

const ARGUMENTS: &[(&str, &str)] = &[
    ("width", "0"),
    ("name", "match"),
    ("resolution", "97x"),
    ("isa", "avx2,mmx"),
    ("threads", "two"),
    ("fusion", "total"),
    ("classes", ""),
    ("numerics", "*"),
    ("precission", "f32"),
    ("padding", "same"),
    ("width", "1"),
];

fn arguments(words: Words) -> Overrides {
    let mut overrides = Overrides::new(words);
    for (key, value) in ARGUMENTS {
        overrides.set(key, value);
    }
    overrides
}

#[test]
fn arguments_of_the_command() {
    let mistakes = parse_with(&edited(&[("width: 1.0", "width: -1")]), &arguments(Words::Command)).unwrap_err();
    check_remedies(&mistakes);
    insta::assert_snapshot!(mistakes);
}

#[test]
fn arguments_of_the_macro() {
    let mistakes = parse_with(&edited(&[]), &arguments(Words::Macro)).unwrap_err();
    insta::assert_snapshot!(mistakes);
}

#[test]
fn an_override_can_break_a_rule_of_the_network() {
    let source = edited(&[(
        "c: 24, n: 2, s: 2 }\n  - { t: 6, c: 32, n: 1, s: 1 }",
        "c: 24, n: 2, s: 2 }\n  - { t: 6, c: 20, n: 1, s: 1, residual: true }",
    )]);
    assert!(parse(&source).is_ok(), "20 channels round to 24");
    let mut overrides = Overrides::new(Words::Command);
    overrides.set("width", "2");
    let mistakes = parse_with(&source, &overrides).unwrap_err();
    insta::assert_snapshot!(mistakes);
}

#[test]
fn scratch_beyond_the_budget() {
    let source = edited(&[("width: 1.0", "scratch_budget: 1.3 MB")]);
    let spec = parse(&source).unwrap();
    assert!(spec.check_scratch(1_300_000, None).is_none());
    let mut mistakes = Diagnostics::new(source);
    mistakes.push(spec.check_scratch(1_300_001, None).unwrap());
    insta::assert_snapshot!(mistakes);
}

#[test]
fn the_step_beyond_the_scratch_budget_is_reported() {
    let reports = ["precision: int8", "numerics: fast"].map(|key| {
        let source = SourceFile::new("net.yaml", GOOD.replace("width: 1.0", &format!("scratch_budget: 10 kB\n{key}")));
        mbvc_compiler::compile(&source, &Overrides::none()).err().expect("more than the budget").to_string()
    });
    insta::assert_snapshot!(reports.join("\n"));
}

#[test]
fn a_precision_without_kernels_is_reported_before_code_generation() {
    let reports: String = ["batch: 4", "fusion: deep\nthreads: 2", "fusion: deep\nisa: [dsp, avx2]"]
        .map(|key| {
            let source = SourceFile::new("net.yaml", GOOD.replace("width: 1.0", &format!("precision: int8\n{key}")));
            assert!(parse(&source).is_ok());
            mbvc_compiler::compile(&source, &Overrides::none()).err().expect("no kernels").to_string()
        })
        .join("\n");
    insta::assert_snapshot!(reports);
}

#[test]
fn every_rule_is_broken_somewhere() {
    let mut broken: BTreeSet<_> = [YAML, KEYS, VALUES, NETWORK].into_iter().flat_map(|table| report(table).1).collect();
    // Broken by the other tests of this file.
    broken.extend(["file", "length", "encoding", "empty", "argument", "scratch", "kernels"]);
    // Broken by the tests of the macro, the only reader of embedded weights.
    broken.extend(["weights-file", "weights-form", "weights-fit", "weights-packed"]);
    let missing: Vec<_> = catalog::ALL.iter().map(|rule| rule.code).filter(|code| !broken.contains(code)).collect();
    assert_eq!(missing, ["internal"]);
}

#[test]
fn the_catalog_states_the_limits_that_are_checked() {
    use mbvc_compiler::spec::{MAX_BLOCKS, MAX_CHANNELS, MAX_CLASSES, MAX_EXPANSION, MAX_RESOLUTION, MAX_WIDTH};
    for (rule, limit) in [
        (&catalog::LENGTH, MAX_BYTES),
        (&catalog::RESOLUTION, MAX_RESOLUTION),
        (&catalog::CLASSES, MAX_CLASSES),
        (&catalog::CHANNELS, MAX_CHANNELS),
        (&catalog::LAYER_CHANNELS, MAX_CHANNELS),
        (&catalog::EXPANSION, MAX_EXPANSION),
        (&catalog::REPEAT, MAX_BLOCKS),
        (&catalog::BLOCK_COUNT, MAX_BLOCKS),
        (&catalog::WIDTH, MAX_WIDTH as usize),
    ] {
        assert!(rule.text.contains(&limit.to_string()), "{}: {limit}", rule.code);
    }
}

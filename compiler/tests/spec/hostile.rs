//! Hostile texts: none makes the parser panic, hang or use much memory.

use mbvc_compiler::diagnostic::{Diagnostics, SourceFile};
use mbvc_compiler::spec::{MAX_BYTES, NetworkSpec, Overrides, Words, parse, parse_with};
use proptest::prelude::*;

const GOOD: &str = include_str!("good.yaml");

/// Parses a text, renders its diagnostics, and checks that every place is within the text.
fn survive(text: &str) -> Result<NetworkSpec, Diagnostics> {
    match parse(&SourceFile::new("hostile.yaml", text)) {
        Ok(spec) => {
            let resolved = spec.resolve();
            assert!(resolved.blocks.iter().all(|block| block.out_channels > 0));
            Ok(spec)
        }
        Err(mistakes) => {
            for mistake in mistakes.iter().take(50) {
                assert_ne!(mistake.rule.code, "internal", "{text:?}");
                assert!(!mistake.help.is_empty());
                if let Some(place) = mistake.place {
                    assert!(place.start <= place.end && place.end <= text.len());
                    let (line, column) = mistakes.line_and_column(mistake).unwrap();
                    let header = format!("hostile.yaml:{line}:{column}");
                    // The number of rendered errors is limited.
                    assert!(mistakes.len() > 40 || mistakes.to_string().contains(&header), "{header}\n{mistakes}");
                }
            }
            assert!(!mistakes.render(true).is_empty());
            Err(mistakes)
        }
    }
}

fn full(unit: &str) -> String {
    unit.repeat(MAX_BYTES / unit.len())
}

/// The rules that a text breaks, each once, in the order of their first mistakes.
fn broken(text: &str) -> Vec<&'static str> {
    let mut rules = Vec::new();
    for mistake in survive(text).expect_err("no valid spec").iter() {
        if !rules.contains(&mistake.rule.code) {
            rules.push(mistake.rule.code);
        }
    }
    rules
}

#[test]
fn large_and_deep_texts_are_rejected() {
    let many_rows = format!("blocks:\n{}", "  - { t: 6, c: 24, n: 2, s: 9 }\n".repeat(2000));
    let texts: [(String, &[&str]); 30] = [
        (full("["), &["yaml"]),
        (full("{"), &["yaml"]),
        (full("- "), &["depth"]),
        (full("? "), &["depth"]),
        (full("a: "), &["yaml"]),
        (full(": "), &["depth"]),
        (full("{a: "), &["yaml"]),
        (full("[]"), &["yaml"]),
        (full("!"), &["yaml"]),
        (full("&a "), &["plain", "yaml"]),
        (full("*a "), &["yaml"]),
        (full("'"), &["mapping"]),
        (full("\""), &["yaml"]),
        (full("|\n"), &["mapping"]),
        (full("#"), &["empty"]),
        (full("\n"), &["empty"]),
        (full("\t"), &["empty"]),
        (full("a\n"), &["mapping"]),
        (full("a: 1\n"), &["unknown-key", "missing-key"]),
        (full("---\n"), &["document", "mapping"]),
        (full("é"), &["mapping"]),
        (full("\r"), &["empty"]),
        (full("\u{85}"), &["yaml"]),
        (full("\u{2028}"), &["yaml"]),
        (full("%YAML 1.2\n"), &["yaml"]),
        (full("9"), &["mapping"]),
        (format!("width: {}", full("9").split_off(10)), &["missing-key", "width"]),
        (format!("name: {}", full("A").split_off(10)), &["missing-key", "name"]),
        (format!("{}: 1", full("k").split_off(10)), &["yaml"]),
        (many_rows, &["missing-key", "stride", "block-count"]),
    ];
    for (text, rules) in &texts {
        let beginning: String = text.chars().take(30).collect();
        assert_eq!(broken(text), *rules, "{beginning:?}");
    }
}

/// Each anchor and each alias in the text is one mistake, however many values the aliases stand for.
#[test]
fn aliases_are_not_expanded() {
    let bomb = format!("a: &a [{}]\nb: [{}]\n", "0, ".repeat(9000), "*a, ".repeat(9000));
    let billion_laughs = "a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n".to_owned();
    for (text, mistakes) in [(bomb, 9001), (billion_laughs, 9)] {
        assert_eq!(broken(&text), ["plain"]);
        assert_eq!(survive(&text).map_err(|found| found.len()), Err(mistakes));
    }
}

/// None of its two million unknown keys is reported.
#[test]
fn a_text_beyond_the_limit_is_not_parsed() {
    assert_eq!(broken(&"a: 1\n".repeat(2_000_000)), ["length"]);
}

/// Tokens of YAML and of specs.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "blocks",
        "stem",
        "head",
        "t",
        "c",
        "n",
        "s",
        "width",
        "resolution",
        "residual",
        "true",
        "null",
        "~",
        ".nan",
        "-.inf",
        "1e999",
        "0x1F",
        "0o17",
        "- ",
        ": ",
        "? ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\n",
        "\n  ",
        "\r\n",
        "\r",
        "\t",
        " ",
        "#",
        "&a ",
        "*a",
        "<<: ",
        "!t ",
        "!!int ",
        "|",
        ">",
        "|2-\n",
        "'",
        "\"",
        "\\",
        "%YAML 1.2",
        "---",
        "...",
        "@",
        "`",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\0",
        "é",
        "😀",
        "18446744073709551616",
        "-9223372036854775809",
    ];
    prop_oneof![8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces(pieces in proptest::collection::vec(piece(), 0..60)) {
        let _ = survive(&pieces.concat());
    }

    /// A valid spec with some ranges replaced.
    #[test]
    fn mutated_specs(edits in proptest::collection::vec((0usize..400, 0usize..12, piece()), 1..4)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, removed, piece) in edits {
            let start = at.min(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, piece.chars());
        }
        let _ = survive(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_argument(key in "[a-z_-]{0,10}|width|isa|name|resolution|classes", value in prop_oneof![piece(), ".*"]) {
        for words in [Words::Macro, Words::Command] {
            let mut overrides = Overrides::new(words);
            overrides.set(&key, &value);
            if let Err(mistakes) = parse_with(&SourceFile::new("good.yaml", GOOD), &overrides) {
                prop_assert!(!mistakes.render(false).is_empty());
            }
        }
    }

    /// For all accepted numbers nothing overflows, and the channels are correct.
    #[test]
    fn any_numbers(width in 0.0f64..70.0, c in 0usize..70_000, t in 0usize..70, n in 0usize..140, side in 0usize..5000) {
        let text = GOOD
            .replace("width: 1.0", &format!("width: {width:?}"))
            .replace("t: 6, c: 24, n: 2", &format!("t: {t}, c: {c}, n: {n}"))
            .replace("resolution: 32", &format!("resolution: [{side}, 32]"));
        if let Ok(spec) = survive(&text) {
            let resolved = spec.resolve();
            prop_assert!(resolved.blocks.iter().all(|block| block.expanded_channels <= 65_536));
            prop_assert_eq!(resolved.blocks.len(), n + 2);
        }
    }
}

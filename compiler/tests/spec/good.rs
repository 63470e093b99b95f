//! Valid specs and their values.

use std::path::PathBuf;

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{
    Activation, Color, Fusion, Isa, NetworkSpec, OVERRIDABLE, Overrides, Padding, Precision, Preprocessing,
    ResidualRule, Template, Words, load, parse, parse_with, template,
};

fn parsed(text: &str) -> NetworkSpec {
    parse(&SourceFile::new("test.yaml", text)).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The table of the paper with a width, and only the keys that are required.
fn v2(width: &str) -> NetworkSpec {
    parsed(&format!(
        "width: {width}\nresolution: 224\nclasses: 1000\nstem: {{channels: 32, stride: 2}}\nhead: {{channels: 1280}}\n\
         blocks:\n- {{t: 1, c: 16, n: 1, s: 1}}\n- {{t: 6, c: 24, n: 2, s: 2}}\n- {{t: 6, c: 32, n: 3, s: 2}}\n\
         - {{t: 6, c: 64, n: 4, s: 2}}\n- {{t: 6, c: 96, n: 3, s: 1}}\n- {{t: 6, c: 160, n: 3, s: 2}}\n\
         - {{t: 6, c: 320, n: 1, s: 1}}\n"
    ))
}

/// Stem, the seven rows and head: the channels of the models that Keras publishes.
const PUBLISHED: [(&str, [usize; 9]); 6] = [
    ("0.35", [16, 8, 8, 16, 24, 32, 56, 112, 1280]),
    ("0.5", [16, 8, 16, 16, 32, 48, 80, 160, 1280]),
    ("0.75", [24, 16, 24, 24, 48, 72, 120, 240, 1280]),
    ("1.0", [32, 16, 24, 32, 64, 96, 160, 320, 1280]),
    ("1.3", [40, 24, 32, 40, 80, 128, 208, 416, 1664]),
    ("1.4", [48, 24, 32, 48, 88, 136, 224, 448, 1792]),
];

#[test]
fn widths_give_the_published_channels() {
    for (width, channels) in PUBLISHED {
        let resolved = v2(width).resolve();
        let mut found = vec![resolved.stem_channels];
        // The last block of each row.
        found.extend([1, 3, 6, 10, 13, 16, 17].map(|index| resolved.blocks[index - 1].out_channels));
        found.push(resolved.head_channels);
        assert_eq!(found, channels, "width {width}");
    }
}

#[test]
fn dense_layers_before_the_classifier() {
    let head = |more: &str| {
        let table = "resolution: 9\nclasses: 2\nstem: {channels: 16, stride: 1}\nblocks: [{t: 1, c: 8, n: 1, s: 1}]\n";
        parsed(&format!("{table}head: {{channels: 8{more}}}\n")).head
    };
    assert_eq!((head("").dense, head("").dense_activation), (vec![], Activation::Relu));
    assert_eq!(head(", dense: 100").dense, [100]);
    let head = head(", dense: [100, 7], dense_activation: relu6");
    assert_eq!((head.dense, head.dense_activation), (vec![100, 7], Activation::Relu6));
}

#[test]
fn blocks_count_from_one_and_chain() {
    let resolved = v2("1.0").resolve();
    assert_eq!(resolved.blocks.len(), 17);
    let mut input = resolved.stem_channels;
    for (at, block) in resolved.blocks.iter().enumerate() {
        assert_eq!((block.index, block.in_channels), (at + 1, input));
        assert_eq!(block.expanded_channels, block.in_channels * block.expansion);
        input = block.out_channels;
    }
    let residuals: Vec<_> = resolved.blocks.iter().filter(|block| block.residual).map(|block| block.index).collect();
    assert_eq!(residuals, [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]);
    let halvings: Vec<_> = resolved.blocks.iter().filter(|block| block.stride == 2).map(|block| block.index).collect();
    assert_eq!(halvings, [2, 4, 7, 14]);
    assert_eq!(resolved.blocks[16].line, 13);
}

#[test]
fn rounding_can_make_a_residual_between_rows() {
    // At width 0.35, 16 and 24 both round to 8; only the stride keeps the residual from block 2.
    let resolved = v2("0.35").resolve();
    assert_eq!((resolved.blocks[1].in_channels, resolved.blocks[1].out_channels), (8, 8));
    assert!(!resolved.blocks[1].residual);
    // At width 0.5, 24 and 32 round to 16.
    let resolved = v2("0.5").resolve();
    assert_eq!((resolved.blocks[3].in_channels, resolved.blocks[3].out_channels), (16, 16));
}

#[test]
fn residuals_can_be_required_and_disabled() {
    let rows = "- {t: 1, c: 16, n: 2, s: 1, residual: true}\n- {t: 6, c: 16, n: 2, s: 1, residual: false}\n\
                - {t: 6, c: 16, n: 2, s: 2, residual: auto}\n";
    let head = "resolution: 9\nclasses: 2\nstem: {channels: 16, stride: 1}\nhead: {channels: 8}\nblocks:\n";
    let spec = parsed(&format!("{head}{rows}"));
    let rules: Vec<_> = spec.blocks.iter().map(|row| row.residual).collect();
    assert_eq!(rules, [ResidualRule::Required, ResidualRule::Never, ResidualRule::Auto]);
    let residuals: Vec<_> = spec.resolve().blocks.iter().map(|block| block.residual).collect();
    assert_eq!(residuals, [true, true, false, false, false, true]);
}

#[test]
fn omitted_keys_have_defaults() {
    let spec = v2("1");
    assert_eq!(spec.name, "MobileNetV2");
    assert_eq!(spec.padding, Padding::Same);
    assert_eq!((spec.batch_norm_epsilon, spec.threads), (1e-3, 1));
    assert_eq!(spec.fusion, Fusion::Block);
    assert_eq!(spec.isas, Isa::of(Precision::F32));
    assert_eq!(spec.preprocessing, Preprocessing::from_range(-1.0, 1.0));
    assert_eq!(spec.scratch_budget, None);
}

#[test]
fn preprocessing_follows_the_published_formulas() {
    let pixels = Preprocessing::from_range(-1.0, 1.0);
    assert_eq!((pixels.scale, pixels.offset), ([0.007_843_138; 3], [-1.0; 3]));
    let base = "resolution: 9\nclasses: 2\nstem: {channels: 16, stride: 1}\nhead: {channels: 8}\n\
                blocks: [{t: 1, c: 8, n: 1, s: 1}]\n";
    let spec = parsed(&format!("{base}preprocessing: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}\n"));
    for (channel, (mean, std)) in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)].into_iter().enumerate() {
        for pixel in [0.0, 100.0, 255.0] {
            let expected = (pixel / 255.0 - mean) / std;
            let found = pixel as f32 * spec.preprocessing.scale[channel] + spec.preprocessing.offset[channel];
            assert!((f64::from(found) - expected).abs() < 1e-5, "{found}, not {expected}");
        }
    }
}

#[test]
fn gray_input_has_one_channel_and_one_mean() {
    let base = "resolution: 9\nclasses: 2\nstem: {channels: 16, stride: 1}\nhead: {channels: 8}\n\
                blocks: [{t: 1, c: 8, n: 1, s: 1}]\n";
    assert_eq!(parsed(base).input, Color::Rgb);
    assert_eq!(parsed(&format!("{base}input: rgb\n")), parsed(base));
    let expected = Preprocessing::from_mean_and_std([0.25; 3], [0.5; 3]);
    for numbers in ["mean: 0.25, std: 0.5", "mean: [0.25], std: [0.5]"] {
        let spec = parsed(&format!("{base}input: gray\npreprocessing: {{ {numbers} }}\n"));
        assert_eq!((spec.input, spec.preprocessing), (Color::Gray, expected), "{numbers}");
    }
    let spec = parsed(&format!("{base}input: gray\npreprocessing: {{ range: [0, 1] }}\n"));
    assert_eq!(spec.preprocessing, Preprocessing::from_range(0.0, 1.0));
}

#[test]
fn long_names_and_block_style_are_equivalent() {
    let short = "resolution: [9, 7]\nclasses: 2\nstem: {channels: 16, stride: 1}\nhead: {channels: 8}\n\
                 blocks: [{t: 2, c: 8, n: 3, s: 2}]\n";
    let long = "resolution:\n- 9\n- 7\nclasses: 2\nstem:\n  channels: 16\n  stride: 1\nhead:\n  channels: 8\nblocks:\n\
                - expansion: 2\n  channels: 8\n  repeat: 3\n  stride: 2\n";
    let (short, mut long) = (parsed(short), parsed(long));
    assert_eq!((long.stem.line, long.head.line, long.blocks[0].line), (5, 8, 11));
    (long.stem.line, long.head.line, long.blocks[0].line) = (3, 4, 5);
    assert_eq!(short, long);
}

#[test]
fn line_ends_and_byte_order_mark_make_no_difference() {
    let text = include_str!("good.yaml");
    let plain = parsed(text);
    assert_eq!(parsed(&text.replace('\n', "\r\n")), plain);
    assert_eq!(parsed(&format!("\u{feff}{text}")), plain);
    assert_eq!(parsed(&format!("---\n{text}...\n")).name, plain.name);
}

#[test]
fn extreme_sizes_are_accepted() {
    for (from, to) in [
        ("resolution: 32", "resolution: [1, 1]"),
        ("resolution: 32", "resolution: [4096, 1]"),
        ("width: 1.0", "width: 0.04"),
        ("width: 1.0", "width: 8"),
        ("c: 24", "c: 1"),
        ("classes: 10", "classes: 1"),
        ("n: 2", "n: 126"),
    ] {
        let spec = parsed(&include_str!("good.yaml").replace(from, to));
        assert!(spec.resolve().blocks.iter().all(|block| block.out_channels >= 8), "{to}");
    }
    let text = include_str!("good.yaml").replace("resolution: 32", "resolution: 4096");
    parsed(&text.replace("width: 1.0", "width: 1.4"));
}

#[test]
fn overrides_replace_values_of_the_spec() {
    let values = [
        ("name", "Other"),
        ("width", "0.5"),
        ("resolution", "96x64"),
        ("classes", "7"),
        ("precision", "f32"),
        ("numerics", "strict"),
        ("rounding", "even"),
        ("fusion", "\"none\""),
        ("isa", "portable,avx2"),
        ("threads", "64"),
        ("batch", "64"),
        ("scratch-budget", "64 KiB"),
    ];
    let keys: Vec<_> = values.iter().map(|(key, _)| key.replace('-', "_")).collect();
    assert_eq!(keys, OVERRIDABLE);
    let mut overrides = Overrides::new(Words::Command);
    for (key, value) in values {
        overrides.set(key, value);
    }
    let spec = parse_with(&SourceFile::new("good.yaml", include_str!("good.yaml")), &overrides)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!((spec.name.as_str(), spec.width, spec.resolution, spec.classes), ("Other", 0.5, [96, 64], 7));
    assert_eq!(spec.fusion, Fusion::None);
    assert_eq!(spec.isas, [Isa::Portable, Isa::Avx2]);
    assert_eq!(spec.scratch_budget.map(|budget| budget.bytes), Some(65_536));
}

#[test]
fn lists_are_overridden_as_the_macro_spells_them() {
    let mut overrides = Overrides::new(Words::Macro);
    overrides.set("isa", "[\"avx2\", \"portable\"]").set("resolution", "[96, 64]");
    let spec = parse_with(&SourceFile::new("good.yaml", include_str!("good.yaml")), &overrides).unwrap();
    assert_eq!((spec.isas, spec.resolution), (vec![Isa::Portable, Isa::Avx2], [96, 64]));
}

#[test]
fn templates_are_valid() {
    let default = Template::default();
    for options in [
        default.clone(),
        Template { padding: Padding::Symmetric, classes: 1000, ..default.clone() },
        Template { input: Color::Gray, ..default.clone() },
        Template { name: "Wide".to_owned(), width: 1.4, resolution: [160, 224], ..default },
    ] {
        let spec = parsed(&template(&options));
        assert_eq!((spec.name.as_str(), spec.width), (options.name.as_str(), options.width));
        assert_eq!((spec.resolution, spec.classes), (options.resolution, options.classes));
        assert_eq!((spec.padding, spec.input), (options.padding, options.input));
        let torch = options.padding == Padding::Symmetric;
        assert_eq!(spec.batch_norm_epsilon, if torch { 1e-5 } else { 1e-3 });
        assert_eq!(spec.preprocessing.offset == [-1.0; 3], !torch);
        assert_eq!(spec.blocks.len(), 7);
    }
}

fn specs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../specs")
}

#[test]
fn the_specs_of_the_project_are_valid() {
    // The published package of the compiler does not contain them.
    let Ok(folder) = std::fs::read_dir(specs()) else { return println!("skipped: no folder specs") };
    let mut names = Vec::new();
    for entry in folder {
        let path = entry.unwrap().path();
        let (_, spec) = load(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        // The name of the file contains its width and resolution: v2_WIDTH_RESOLUTION.
        if let [_, width, resolution] = file.split('_').collect::<Vec<_>>()[..] {
            assert_eq!(
                (spec.width.to_string(), spec.resolution[0].to_string()),
                (width.replace("1.0", "1"), resolution.into())
            );
        }
        let (_, channels) = PUBLISHED.iter().find(|(width, _)| width.parse() == Ok(spec.width)).unwrap();
        let resolved = spec.resolve();
        if file.starts_with("v2") {
            assert_eq!(resolved.blocks.len(), 17, "{file}");
            assert_eq!((resolved.stem_channels, resolved.head_channels), (channels[0], channels[8]), "{file}");
        }
        names.push(spec.name);
    }
    names.sort();
    let count = names.len();
    names.dedup();
    assert!(count >= 8 && names.len() == count, "{names:?}");
}

//! `init`, `check`, `dump` and `emit`.

mod common;

use common::{TINY, bad, good, json_lines, mbvc};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.yaml"), TINY).unwrap();
    std::fs::write(
        folder.path().join("bad.yaml"),
        TINY.replace("s: 2 }\nhead", "s: 3 }\nhead").replace("t: 6", "u: 6"),
    )
    .unwrap();
    folder
}

#[test]
fn init_writes_a_spec_that_check_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let said = good(folder.path(), &["init"]);
    assert!(said.contains("wrote mobilenet_v2.yaml") && said.contains("mbvc check mobilenet_v2.yaml"), "{said}");
    let said = good(folder.path(), &["check", "mobilenet_v2.yaml"]);
    assert!(said.contains("53 layers in 19 steps, 300.8 M MACs, 3 489 097 parameters"), "{said}");

    let text = std::fs::read_to_string(folder.path().join("mobilenet_v2.yaml")).unwrap();
    let (_, said) = bad(folder.path(), &["init", "--width", "0.5"], 1);
    assert!(said.contains("already exists") && said.contains("--force"), "{said}");
    assert_eq!(std::fs::read_to_string(folder.path().join("mobilenet_v2.yaml")).unwrap(), text);
    good(folder.path(), &["init", "--width", "0.5", "--force"]);
    assert_ne!(std::fs::read_to_string(folder.path().join("mobilenet_v2.yaml")).unwrap(), text);
}

#[test]
fn init_has_options_for_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--width", "0.35", "--resolution", "96x128", "--classes", "1000", "--padding", "symmetric"];
    good(folder.path(), &[&["init", "specs/small.yaml", "--name", "Small"], &options[..]].concat());
    let report = &json_lines(&good(folder.path(), &["check", "specs/small.yaml", "--json"]))[0];
    assert_eq!(report["ok"], true);
    assert_eq!(report["name"], "Small");
    assert_eq!(report["resolution"], serde_json::json!([96, 128]));
    assert_eq!(report["classes"], 1000);
    for padding in ["same", "symmetric"] {
        let text = good(folder.path(), &["init", "-", "--input", "gray", "--padding", padding]);
        assert!(text.contains("\ninput: gray  #"), "{text}");
        assert!(text.contains(if padding == "same" {
            "preprocessing: { range: [-1, 1] }"
        } else {
            "preprocessing: { mean: 0.5, std: 0.5 }"
        }));
        good(folder.path(), &["init", "gray.yaml", "--input", "gray", "--padding", padding, "--force"]);
        assert!(good(folder.path(), &["check", "gray.yaml"]).contains("224x224 gray, 1001 classes"));
    }
    assert!(good(folder.path(), &["init", "-"]).contains("blocks:"), "`-` is standard output");
}

#[test]
fn init_writes_nothing_that_check_rejects() {
    let folder = tempfile::tempdir().unwrap();
    let (_, said) = bad(folder.path(), &["init", "--resolution", "99999", "--classes", "0"], 1);
    assert!(said.contains("resolution") && said.contains("classes"), "all errors at once: {said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    bad(folder.path(), &["init", "--resolution", "wide"], 2);
}

#[test]
fn check_reports_all_errors_with_their_position() {
    let folder = folder();
    let (out, said) = bad(folder.path(), &["check", "bad.yaml"], 1);
    assert_eq!(out, "");
    assert!(said.contains("--> bad.yaml:9:"), "{said}");
    assert!(said.contains("`u`"), "{said}");

    let (out, said) = bad(folder.path(), &["check", "tiny.yaml", "bad.yaml", "absent.yaml", "--json"], 1);
    let reports = json_lines(&out);
    assert_eq!(said, "");
    assert_eq!(reports.iter().map(|one| one["ok"].as_bool().unwrap()).collect::<Vec<_>>(), [true, false, false]);
    let mistakes = reports[1]["mistakes"].as_array().unwrap();
    assert!(!mistakes.is_empty());
    for mistake in mistakes {
        assert!(mistake["line"].as_u64().unwrap() > 0 && mistake["column"].as_u64().unwrap() > 0, "{mistake}");
        assert!(!mistake["rule"].as_str().unwrap().is_empty() && !mistake["message"].as_str().unwrap().is_empty());
    }
    let (out, said) = bad(folder.path(), &["check", "tiny.yaml", "bad.yaml"], 1);
    assert!(out.contains("ok  tiny.yaml") && said.contains("1 of 2 specs have errors"), "{said}");
}

#[test]
fn overrides_are_checked_with_the_spec() {
    let folder = folder();
    let said = good(folder.path(), &["check", "tiny.yaml", "--resolution", "40x64", "--classes", "7"]);
    assert!(said.contains("40x64, 7 classes"), "{said}");
    let (_, said) = bad(folder.path(), &["check", "tiny.yaml", "--width", "zero"], 1);
    assert!(said.contains("--width"), "{said}");
    for size in ["97x", "192,224", "[192, 224"] {
        let (_, said) = bad(folder.path(), &["check", "tiny.yaml", "--resolution", size, "--classes", "7"], 1);
        assert!(said.contains("write `224`, or `192x224` for height and width"), "{said}");
        assert!(said.contains(&format!(" | --resolution {size}\n")), "the other option is valid: {said}");
    }
    let (_, said) = bad(folder.path(), &["check", "tiny.yaml", "--classes", "-1", "--width", "-0.5"], 1);
    assert!(said.contains("`--classes` is -1") && said.contains("a whole number from 1 to 65536"), "{said}");
    assert!(said.contains("`--width` is -0.5") && said.contains("2 errors in the command line"), "{said}");
}

#[test]
fn dump_shows_the_graph_after_each_pass() {
    let folder = folder();
    let lowered = good(folder.path(), &["dump", "tiny.yaml", "--after", "lower"]);
    assert!(lowered.contains("batch_norm") && lowered.contains("block2.expand.relu6"), "{lowered}");
    let folded = good(folder.path(), &["dump", "tiny.yaml", "--after", "fold_batch_norm"]);
    assert!(!folded.contains("= batch_norm") && folded.contains("= relu6"), "{folded}");
    let last = good(folder.path(), &["dump", "tiny.yaml"]);
    assert!(last.contains("= fused") && last.contains("tile"), "{last}");
    let unfused = good(folder.path(), &["dump", "tiny.yaml", "--fusion", "none"]);
    assert!(!unfused.contains("= fused") && unfused.contains("= relu6") && unfused.contains("tile"), "{unfused}");

    let all = good(folder.path(), &["dump", "tiny.yaml", "--all"]);
    let passes = ["lower", "fold_batch_norm", "fuse_activation", "fuse_residual_add", "fuse_inverted_residual"];
    let passes = passes.into_iter().chain(["fuse_pool", "assign_layouts", "assign_tiles", "plan_scratch"]);
    let places: Vec<_> = passes.map(|pass| all.find(&format!("after {pass}\n")).unwrap()).collect();
    assert!(places.is_sorted());
}

#[test]
fn dump_rejects_unknown_passes_and_files() {
    let folder = folder();
    let (_, said) = bad(folder.path(), &["dump", "tiny.yaml", "--fusion", "none", "--after", "fuse_activation"], 1);
    assert!(said.contains("does not run fuse_activation") && said.contains("--fusion block"), "{said}");
    let (_, said) = bad(folder.path(), &["dump", "tiny.yaml", "--after", "magic"], 2);
    assert!(said.contains("fold_batch_norm"), "the passes are listed: {said}");
    let (_, said) = bad(folder.path(), &["dump", "absent.yaml"], 1);
    assert!(said.contains("absent.yaml") && said.contains("mbvc init"), "{said}");
}

/// Levels and instruction sets that `emit` rejects, `dump` rejects too.
#[test]
fn dump_and_emit_accept_the_same_options() {
    let folder = folder();
    for (options, expected) in [(["--isa", "neondot"], "no f32 kernels for neondot"), (["--fusion", "deep"], "deep")] {
        let (_, emitted) = bad(folder.path(), &[&["emit", "tiny.yaml", "--all"], &options[..]].concat(), 1);
        let (_, dumped) = bad(folder.path(), &[&["dump", "tiny.yaml"], &options[..]].concat(), 1);
        assert!(emitted.contains(expected), "{emitted}");
        assert_eq!(dumped, emitted);
    }
}

#[test]
fn dump_writes_a_picture() {
    let folder = folder();
    let dot = good(folder.path(), &["dump", "tiny.yaml", "--dot"]);
    assert!(dot.starts_with("digraph") && dot.trim_end().ends_with('}'), "{dot}");
    good(folder.path(), &["dump", "tiny.yaml", "--svg", "tiny.svg"]);
    let (_, again) = bad(folder.path(), &["dump", "tiny.yaml", "--svg", "tiny.svg"], 1);
    assert!(again.contains("tiny.svg already exists") && again.contains("--force"), "{again}");
    good(folder.path(), &["dump", "tiny.yaml", "--svg", "tiny.svg", "--force"]);
    let (_, own) = bad(folder.path(), &["dump", "tiny.yaml", "--svg", "tiny.yaml", "--force"], 1);
    assert!(own.contains("would overwrite an input file"), "{own}");
    let svg = std::fs::read_to_string(folder.path().join("tiny.svg")).unwrap();
    assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"));
    for text in ["Tiny 32×32", "as written", "after fusion", "stem + block1", "block3", "classifier"] {
        assert!(svg.contains(text), "{text}");
    }
    // Two residuals on both sides: at this width the first block has as many channels as the stem.
    assert_eq!(svg.matches("url(#residual)").count(), 4);
    let (_, said) = bad(folder.path(), &["dump", "tiny.yaml", "--svg", "no/such/folder.svg"], 1);
    assert!(said.contains("its folder does not exist"), "{said}");
}

#[test]
fn emit_prints_the_requested_part() {
    let folder = folder();
    let isa = ["--isa", "portable"];
    let emit = |arguments: &[&str]| good(folder.path(), &[&["emit", "tiny.yaml"], arguments, &isa].concat());
    let block = emit(&["--block", "2"]);
    assert!(block.contains("fn step_1_block2") && !block.contains("note!"), "{block}");
    assert!(block.contains("// layer 5, block2.depthwise"), "notes are comments: {block}");
    let layer = emit(&["--layer", "5"]);
    assert!(layer.contains("_dw3x3s2_") && layer.len() < block.len(), "{layer}");
    let kernels = |text: &str| text.lines().filter(|line| line.starts_with("fn f32_")).count();
    assert_eq!((kernels(&layer), kernels(&block)), (1, 3), "the layer's kernel, and the three of the block");
    let all = emit(&["--all"]);
    assert!(all.contains("pub struct Tiny") && all.contains("mod portable {") && !all.contains("mod avx2 {"));
    syn::parse_file(&all).unwrap();
    assert_eq!(all, emit(&["--all"]), "the output is deterministic");
}

#[test]
fn emit_lists_the_valid_numbers() {
    let folder = folder();
    let (_, said) = bad(folder.path(), &["emit", "tiny.yaml", "--layer", "12"], 1);
    assert!(said.contains("no layer 12 in Tiny") && said.contains("from 1 to 11"), "{said}");
    let (_, said) = bad(folder.path(), &["emit", "tiny.yaml", "--block", "0"], 1);
    assert!(said.contains("from 1 to 3"), "{said}");
    bad(folder.path(), &["emit", "tiny.yaml"], 2);
    bad(folder.path(), &["emit", "tiny.yaml", "--all", "--layer", "1"], 2);
}

#[test]
fn a_standalone_crate_builds_offline_without_warnings() {
    let folder = folder();
    let said = good(folder.path(), &["emit", "tiny.yaml", "--standalone", "crate"]);
    assert!(said.contains("cargo build --release --offline"), "{said}");
    let (_, said) = bad(folder.path(), &["emit", "tiny.yaml", "--standalone", "crate"], 1);
    assert!(said.contains("is not empty") && said.contains("--force"), "{said}");
    let build = |arguments: &[&str]| {
        let built = std::process::Command::new(env!("CARGO"))
            .current_dir(folder.path().join("crate"))
            .args(["build", "--offline", "--quiet"])
            .args(arguments)
            .env("CARGO_TARGET_DIR", folder.path().join("target"))
            .env("RUSTFLAGS", "-Dwarnings")
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    };
    build(&["--examples"]);
    build(&["--no-default-features"]);
}

#[test]
fn a_closed_pipe_ends_the_command_silently() {
    let folder = folder();
    let binary = mbvc(folder.path(), &[]).get_program().to_owned();
    let mut child = std::process::Command::new(binary)
        .args(["emit", "--all"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Compares predictions with the guide's table, which holds instruction counts from QEMU and sizes of compiled programs.
#[test]
fn check_predicts_the_cost_on_a_microcontroller() {
    let folder = tempfile::tempdir().unwrap();
    good(folder.path(), &["init", "small.yaml", "--classes", "3", "--padding", "same"]);
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/embedded.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let rows: Vec<Vec<&str>> = guide
        .lines()
        .filter(|line| line.starts_with("| 0.") || line.starts_with("| 1."))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 16, "expected 16 rows in the table of docs/guide/embedded.md");
    for row in rows {
        let [_, width, size, _, million, _, _, scratch, _, code, weights, _] = row[..] else { panic!("{row:?}") };
        let network = ["--width", width, "--resolution", size, "--precision", "int8"];
        let program = ["--isa", "dsp", "--fusion", "deep", "--json"];
        let report = good(folder.path(), &[&["check", "small.yaml"], &network[..], &program].concat());
        let cost = &json_lines(&report)[0]["microcontroller"];
        let number = |key: &str| cost[key].as_f64().unwrap();
        let is_near = |key: &str, unit: f64, counted: &str, tolerance: f64| {
            let counted = counted.parse::<f64>().unwrap() * unit;
            assert!((number(key) / counted - 1.0).abs() <= tolerance, "{width} {size}: {key} {counted} {cost}");
        };
        // Rounding 5.8 million to one decimal place is an error of up to 1 %.
        is_near("instructions", 1e6, million, 0.02);
        is_near("code_bytes", 1e3, code, 0.1);
        is_near("weight_bytes", 1e3, weights, 0.002);
        is_near("scratch_bytes", 1e3, scratch, 0.002);
        let stages = cost["stages"].as_array().unwrap();
        let sum: f64 = stages.iter().map(|stage| stage["instructions"].as_f64().unwrap()).sum();
        assert_eq!(sum, number("instructions"));
    }
}

#[test]
fn check_shows_layers_only_for_dsp() {
    let folder = folder();
    let dsp = ["check", "tiny.yaml", "--precision", "int8", "--isa", "dsp"];
    let said = good(folder.path(), &[&dsp[..], &["--layers"]].concat());
    assert!(said.contains("flash: about ") && said.contains("block1.depthwise"), "{said}");
    let said = good(folder.path(), &dsp);
    assert!(said.contains("flash: about ") && !said.contains("block1.depthwise"), "{said}");
    for options in [&["--layers"][..], &[&dsp[2..], &["--fusion", "none", "--layers"]].concat()] {
        let (_, said) = bad(folder.path(), &[&["check", "tiny.yaml"], options].concat(), 1);
        assert!(said.contains("--layers requires the instruction set dsp") && said.contains("--isa dsp"), "{said}");
    }
    let said = good(folder.path(), &[&dsp[..], &["--fusion", "none"]].concat());
    assert!(said.contains("with fusion none") && !said.contains("flash"), "no prediction without fusion: {said}");
    let said = good(folder.path(), &["check", "tiny.yaml", "--json"]);
    assert!(!said.contains("microcontroller"), "{said}");
}

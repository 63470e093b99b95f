//! Programs: what they print, and that they classify as the command does.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

use crate::common::{good, json_lines, shared};
use crate::folder::{LABELS, build, classified, folder};

/// A program, built once for all tests.
static PROGRAM: LazyLock<(tempfile::TempDir, Value)> = LazyLock::new(|| {
    let folder = folder();
    let report = build(folder.path(), &["--output", "tiny"]);
    (folder, report)
});

fn program() -> PathBuf {
    PROGRAM.0.path().join(format!("tiny{}", std::env::consts::EXE_SUFFIX))
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program())
        .current_dir(PROGRAM.0.path())
        .args(arguments)
        .env_remove("MBVC_ISA")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that fails early closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn answers(arguments: &[&str], input: &[u8]) -> Vec<Value> {
    let output = run(&[arguments, &["--json"]].concat(), input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    json_lines(&String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_program_classifies_as_the_command_does() {
    let (folder, report) = &*PROGRAM;
    let bytes = std::fs::metadata(program()).unwrap().len();
    assert_eq!((&report["kind"], &report["network"]), (&"program".into(), &"TinyNet".into()));
    assert_eq!(report["files"][0]["bytes"], bytes);
    assert_eq!(report["files"].as_array().unwrap().len(), 1);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 10, "no other file is left: {left:?}");

    for name in ["a", "b"] {
        let expected = classified(folder.path(), &format!("{name}.png"), &[]);
        let bytes = std::fs::read(folder.path().join(format!("{name}.ppm"))).unwrap();
        let (ppm, bmp) = (format!("{name}.ppm"), format!("{name}.bmp"));
        let found = answers(&[&ppm, &bmp, "-"], &bytes);
        let images: Vec<_> = found.iter().map(|answer| answer["image"].as_str().unwrap()).collect();
        assert_eq!(images, [&ppm, &bmp, "-"]);
        assert!(found.iter().all(|answer| answer["predictions"] == expected), "{found:?}\n{expected}");
        assert!(found.iter().all(|answer| answer["ms"].as_f64().unwrap() > 0.0));
    }
    // Raw pixels of the input size, or of a given size.
    let expected = [classified(folder.path(), "b.png", &["--top", "10"]), classified(folder.path(), "a.png", &[])];
    let raw = std::fs::read(folder.path().join("b.rgb")).unwrap();
    for answer in answers(&["b.rgb", "-", "--top=12"], &raw) {
        assert_eq!(answer["predictions"], expected[0], "all ten classes");
    }
    assert_eq!(answers(&["--size", "50x40", "a.rgb"], b"")[0]["predictions"], expected[1]);
    let labels: Vec<_> = LABELS.lines().collect();
    for prediction in expected[0].as_array().unwrap() {
        let index = prediction["index"].as_u64().unwrap() as usize;
        assert_eq!(prediction["label"], labels[index]);
    }

    let output = run(&["a.ppm", "--top", "2"], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let [title, first, _] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(title.starts_with("a.ppm  ") && title.ends_with(" ms"), "{text}");
    assert!(first.ends_with(expected[1][0]["label"].as_str().unwrap()) && first.contains(" %  "), "{text}");
}

#[test]
fn a_program_has_help_and_reports_errors() {
    let text = |arguments: &[&str], code: i32| {
        let output = run(arguments, b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        String::from_utf8(output.stdout).unwrap() + &said
    };
    let help = text(&["--help"], 0);
    assert!(help.starts_with("tiny: ") && help.contains("TinyNet at 32x32, 10 classes"), "{help}");
    let about = text(&["--about"], 0);
    for word in ["TinyNet, [32, 32, 3] to 10 classes (10 labels)", "crop 40/32 bicubic", "numerics", "ISA", "portable"]
    {
        assert!(about.contains(word), "{about}");
    }
    assert_eq!(text(&["--version"], 0), about);
    assert!(text(&[], 2).contains("expected an image\n       see tiny --help"));
    assert!(text(&["--color"], 2).contains("unknown option --color"));
    assert!(text(&["a.png"], 1).contains("a.png: unsupported format PNG"));
    assert!(text(&["absent.ppm"], 1).contains("absent.ppm: cannot read the image"));
    assert!(text(&["."], 1).contains(".: cannot read the image"));
    assert!(text(&["-"], 1).contains("expected 3072 bytes, found 0"));
    assert!(text(&["--size", "50x41", "a.rgb"], 1).contains("a.rgb: 6000 bytes do not fit a picture of 50x41"));
    assert!(text(&["--size", "9999999999999x9999999999999", "a.rgb"], 1).contains("do not fit a picture of"));

    // Readable images are classified, the others reported.
    let folder = tempfile::tempdir().unwrap();
    let [huge, cut] = ["huge.bmp", "cut.ppm"].map(|name| folder.path().join(name));
    let mut bmp = std::fs::read(PROGRAM.0.path().join("a.bmp")).unwrap();
    bmp[18..26].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0x80]);
    std::fs::write(&huge, &bmp).unwrap();
    std::fs::write(&cut, &std::fs::read(PROGRAM.0.path().join("a.ppm")).unwrap()[..500]).unwrap();
    let said = text(&[huge.to_str().unwrap(), "a.ppm", cut.to_str().unwrap()], 1);
    assert!(said.contains("huge.bmp: expected at most 178956970 pixels, found 2147483647x2147483648"), "{said}");
    assert!(said.contains("cut.ppm: truncated file") && said.contains("cannot read 2 of 3 images"), "{said}");
    assert!(said.contains("a.ppm  "), "{said}");

    let output = Command::new(program()).arg("--about").env("MBVC_ISA", "mmx").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("MBVC_ISA is not an instruction set"));
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_a_program_silently() {
    let mut child = Command::new(program())
        .current_dir(PROGRAM.0.path())
        .args(["a.ppm"; 50])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""));
}

/// The published network, float and int8, on a photograph.
#[test]
#[ignore = "compiles MobileNetV2 for all instruction sets, twice"]
fn the_cat_is_an_egyptian_cat() {
    let (Some(models), Some(images)) = (shared("models"), shared("images")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let labels = models.join("imagenet_labels_1001.txt");
    let cat = images.join("cat.bmp");
    for (model, name) in [("f32.onnx", "float"), ("int8_ptq.tflite", "int8")] {
        let model = models.join(format!("mobilenet_v2_1.0_224_{model}"));
        let import = ["import", model.to_str().unwrap(), "--labels", labels.to_str().unwrap()];
        good(folder, &[&import[..], &["--output", "w.safetensors"]].concat());
        good(folder, &["build", "--weights", "w.safetensors", "--output", name]);
        let output = Command::new(folder.join(name)).args([cat.to_str().unwrap(), "--json"]).output().unwrap();
        let found = json_lines(&String::from_utf8(output.stdout).unwrap()).remove(0);
        let classify = ["classify", cat.to_str().unwrap(), "--weights", "w.safetensors", "--json"];
        let expected = json_lines(&good(folder, &classify)).remove(0);
        assert_eq!(found["predictions"], expected["predictions"]);
        assert_eq!(found["predictions"][0]["label"], "Egyptian cat");
        std::fs::remove_file(folder.join("w.safetensors")).unwrap();
    }
}

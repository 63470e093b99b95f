//! The example counts labels, with a model file whose network is compiled by the example.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use datafusion::parquet::arrow::ArrowWriter;
use mbvc_engine::Classifier;
use mbvc_networks::demo::{SAMPLES, Variant, build, weights};
use mbvc_pictures::Photo;

/// Runs `count_labels` and returns its exit code, its output and its errors.
fn run(arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    run_example("count_labels", arguments, folder)
}

fn run_example(name: &str, arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    // Cargo builds examples next to the folder of the tests.
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    program.push(format!("examples/{name}{}", std::env::consts::EXE_SUFFIX));
    let ran = Command::new(program).args(arguments).env("MBVC_CACHE", folder).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

/// Writes the samples and an image that cannot be decoded.
fn write(file: &Path) {
    let images = SAMPLES.iter().map(|(_, image)| *image).chain([&b"no image"[..]]);
    let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    let batch = RecordBatch::try_from_iter([("image", array)]).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(file).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn labels_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("photos")).unwrap();
    for number in 0..2 {
        write(&folder.path().join(format!("photos/{number}.parquet")));
    }
    let weights = weights().unwrap();
    assert_eq!(run_example("demo_model", &["demo.mbvc"], folder.path()).0, Some(0));

    let classifier = Classifier::new(build(&Variant::Unfused, &weights).unwrap(), &weights);
    let mut counts = BTreeMap::<_, usize>::new();
    for (name, image) in SAMPLES {
        let pixels = classifier.frame(Photo::from_bytes(image, Path::new(name)).unwrap().rgb());
        let scores = classifier.scores(&mut classifier.caller(), &pixels);
        let mut best = [(0, 0.0)];
        mbvc_runtime::top_k(&scores, &mut best);
        *counts.entry(classifier.labels[best[0].0].clone()).or_default() += 2;
    }
    *counts.entry(String::new()).or_default() += 2;

    let (code, output, errors) = run(&["--model", "demo.mbvc", "--threads", "2", "photos"], folder.path());
    assert_eq!((code, &*errors), (Some(0), ""));
    let rows = output.lines().filter(|line| line.starts_with('|')).skip(1);
    let mut found = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        found.insert(cells[1].to_owned(), cells[2].parse::<usize>().unwrap());
    }
    assert_eq!(found, counts, "{output}");

    let (code, _, errors) = run(&["--model", "demo.mbvc", "--fail", "photos"], folder.path());
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("error: ") && errors.contains("the image in row 12 is not an image"), "{errors}");

    let (code, _, errors) = run(&["--model", "demo.mbvc", "--image", "picture", "photos"], folder.path());
    assert_eq!(code, Some(1));
    assert!(errors.contains("No field named picture"), "{errors}");

    std::fs::create_dir(folder.path().join("empty")).unwrap();
    for (other, message) in
        [("empty", "No files found at"), ("other", "cannot read other: No such file or directory (os error 2)")]
    {
        let (code, _, errors) = run(&["--model", "demo.mbvc", other], folder.path());
        assert_eq!(code, Some(1));
        assert!(errors.contains(message), "{errors}");
    }
}

#[test]
fn arguments_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (code, output, _) = run(&["--help"], folder.path());
    assert_eq!(code, Some(0));
    assert!(output.contains("example: count_labels"));
    for (arguments, message) in [
        (&[][..], "expected a model file: --model FILE"),
        (&["--model"], "expected a value after --model"),
        (&["--model", "a.mbvc"], "expected a folder of Parquet files"),
        (&["--model", "a.mbvc", "one", "two"], "expected one folder, found two too"),
        (&["--threads", "x"], "expected a number of threads, found x"),
        (&["--model", "a.mbvc", "--thread", "1"], "unknown option --thread"),
    ] {
        let (code, _, errors) = run(arguments, folder.path());
        assert_eq!((code, errors), (Some(1), format!("error: {message}\nhelp: count_labels --help\n")));
    }
    let (code, _, errors) = run(&["--model", "a.mbvc", "."], folder.path());
    assert_eq!((code, &*errors), (Some(1), "error: cannot read a.mbvc: no such file\n"));
}

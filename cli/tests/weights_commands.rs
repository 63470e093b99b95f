//! `import`, `inspect` and `classify`.

mod common;

use common::{bad, good, json_lines, mbvc, picture, shared, tiny};

#[test]
fn missing_weights_have_a_remedy() {
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let (_, said) = bad(folder.path(), &["classify", "a.png"], 1);
    assert!(said.contains("--weights") && said.contains("mbvc import"), "{said}");
    let (_, said) = bad(folder.path(), &["classify", "a.png", "--weights", "absent.safetensors"], 1);
    assert!(said.contains("absent.safetensors") && said.contains("mbvc import"), "{said}");
    std::fs::write(folder.path().join("model.onnx"), b"\x08\x07").unwrap();
    let (_, said) = bad(folder.path(), &["classify", "a.png", "--weights", "model.onnx"], 1);
    assert!(said.contains("mbvc import model.onnx"), "{said}");
}

#[test]
fn rejects_weights_of_another_network_by_name() {
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let (_, said) = bad(folder.path(), &["classify", "a.png", "--weights", "tiny.safetensors"], 1);
    assert!(said.contains("tiny.safetensors does not fit the network MobileNetV2 of width 1.0 (built in)"), "{said}");
    assert!(said.contains("classes: expected 1001, found 10"), "{said}");
    assert!(said.contains("--spec"), "{said}");
    let arguments = ["classify", "a.png", "--weights", "tiny.safetensors", "--spec", "tiny.yaml", "--width", "0.5"];
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains("tiny.safetensors does not fit the network Tiny"), "{said}");
}

#[test]
fn a_spec_is_compiled_once_and_classifies() {
    let folder = tiny();
    for (name, seed) in [("a.png", 1), ("b.png", 2)] {
        picture(&folder.path().join(name), seed);
    }
    let arguments = ["classify", ".", "--weights", "tiny.safetensors", "--spec", "tiny.yaml", "--json", "--top", "3"];
    let cache = folder.path().join("cache");
    let run = |fusion: &str| {
        let output = mbvc(folder.path(), &arguments).args(["--fusion", fusion]).env("MBVC_CACHE", &cache).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        json_lines(&String::from_utf8(output.stdout).unwrap())
    };
    // Each file has a checksum file.
    let files = || std::fs::read_dir(&cache).unwrap().count() / 2;
    let answers = run("block");
    assert_eq!(files(), 2, "only the runtime and the network");
    assert_eq!(answers.len(), 2);
    for (answer, image) in answers.iter().zip(["./a.png", "./b.png"]) {
        assert_eq!(answer["image"], image);
        assert!(answer["ms"].as_f64().unwrap() > 0.0);
        let scores: Vec<f64> =
            answer["predictions"].as_array().unwrap().iter().map(|one| one["score"].as_f64().unwrap()).collect();
        assert_eq!(scores.len(), 3);
        assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] <= 1.0 && scores[2] > 0.0, "{scores:?}");
    }
    assert_ne!(answers[0]["predictions"], answers[1]["predictions"]);
    let again = run("block");
    assert_eq!(files(), 2, "compiled once");
    assert_eq!(again[0]["predictions"], answers[0]["predictions"]);
    // Every level computes the same bits.
    assert_eq!(run("none")[0]["predictions"], answers[0]["predictions"]);
    assert_eq!(files(), 3);
}

#[test]
fn unreadable_images_are_reported_and_skipped() {
    let folder = tiny();
    let photos = folder.path().join("photos");
    std::fs::create_dir_all(photos.join("more")).unwrap();
    picture(&photos.join("a.png"), 1);
    std::fs::write(photos.join("b.jpg"), "no picture").unwrap();
    picture(&photos.join("c.png"), 2);
    picture(&photos.join("more/d.png"), 3);
    let arguments = ["classify", "photos", "--weights", "tiny.safetensors", "--spec", "tiny.yaml", "--json"];
    let (out, said) = bad(folder.path(), &arguments, 1);
    assert_eq!(json_lines(&out).len(), 2);
    assert!(said.contains("b.jpg is not an image") && said.contains("one image of 3 could not be read"), "{said}");
    let (out, _) = bad(folder.path(), &[&arguments[..], &["--recursive"]].concat(), 1);
    assert_eq!(json_lines(&out).len(), 3);

    let people = ["classify", "photos/a.png", "--weights", "tiny.safetensors", "--spec", "tiny.yaml"];
    let said = good(folder.path(), &people);
    assert!(said.contains("photos/a.png") && said.contains("class "), "numbers replace missing labels: {said}");
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let (_, said) =
        bad(folder.path(), &["classify", "empty", "--weights", "tiny.safetensors", "--spec", "tiny.yaml"], 1);
    assert!(said.contains("the folder empty contains no images"), "{said}");
    bad(folder.path(), &["classify"], 2);
}

#[test]
fn a_missing_instruction_set_is_an_error() {
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let absent = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let arguments = ["classify", "a.png", "--weights", "tiny.safetensors", "--spec", "tiny.yaml", "--isa", absent];
    let (_, said) = bad(folder.path(), &arguments, 1);
    assert!(said.contains(&format!("this processor does not support {absent}")), "{said}");
    let (_, said) = bad(folder.path(), &[&arguments[..7], &["avxvnni"]].concat(), 1);
    assert!(said.contains("no f32 kernels for avxvnni"), "{said}");
}

#[test]
fn inspect_shows_a_weights_file() {
    let folder = tiny();
    let said = good(folder.path(), &["inspect", "tiny.safetensors"]);
    assert!(said.contains("block2.expand.weight") && said.contains("mbvc.classes"), "{said}");
    let value = &json_lines(&good(folder.path(), &["inspect", "tiny.safetensors", "--json"]))[0];
    assert_eq!(value["metadata"]["mbvc.classes"], "10");
    assert_eq!(value["tensors"][0]["name"], "stem.weight");
    assert!(value.get("numerics").is_none(), "the weights do not fit the built-in network");
    let arguments = ["inspect", "tiny.safetensors", "--spec", "tiny.yaml", "--json"];
    let output = mbvc(folder.path(), &arguments).env("MBVC_NUMERICS", "strict").output().unwrap();
    let numerics = &json_lines(&String::from_utf8(output.stdout).unwrap())[0]["numerics"];
    assert_eq!(numerics["fast"], serde_json::json!([]), "MBVC_NUMERICS=strict");
    let plain = numerics["plain"].as_array().unwrap();
    assert!(numerics["isa"] != "avx512" || plain.contains(&"head".into()), "{numerics}");
    let (_, said) = bad(folder.path(), &["inspect", "tiny.yaml"], 1);
    assert!(
        said.contains("tiny.yaml is a spec, expected a weights file") && said.contains("mbvc check tiny.yaml"),
        "{said}"
    );
    bad(folder.path(), &["inspect", "absent"], 1);
}

/// What `classify` refuses, `inspect` does not show.
#[test]
fn inspect_and_classify_apply_the_same_checks() {
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let whole = mbvc_import::Container::open(&folder.path().join("tiny.safetensors")).unwrap();
    let with = |key: &str, value: &str| {
        let mut changed = whole.clone();
        changed.metadata.insert(key.to_owned(), value.to_owned());
        changed
    };
    let mut nan = whole.clone();
    if let mbvc_import::Data::F32(values) = &mut nan.tensors[0].data {
        values[3] = f32::NAN;
    }
    for (weights, expected) in [
        (with("mbvc.labels", "one\ntwo"), "one line for each class"),
        (with("mbvc.preprocessing", "scale 1 1 1"), "mbvc.preprocessing"),
        (with("mbvc.framing", "stretch"), "mbvc.framing"),
        (with("mbvc.padding", "valid"), "mbvc.padding"),
        (with("mbvc.classes", "-1"), "mbvc.classes"),
        (with("mbvc.head_activation", "tanh"), "mbvc.head_activation"),
        (nan, "NaN"),
    ] {
        std::fs::write(folder.path().join("w.safetensors"), weights.to_bytes()).unwrap();
        let classify = ["classify", "a.png", "--weights", "w.safetensors", "--spec", "tiny.yaml"];
        let inspect = [&["inspect", "w.safetensors"][..], &["inspect", "w.safetensors", "--json"]];
        for arguments in inspect.into_iter().chain([&classify[..]]) {
            let (out, said) = bad(folder.path(), arguments, 1);
            assert!(said.contains("w.safetensors") && said.contains(expected) && out.is_empty(), "{expected}: {said}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_in_json_can_be_restored() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tiny();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9 \\.png");
    picture(&folder.path().join("a.png"), 1);
    std::fs::rename(folder.path().join("a.png"), folder.path().join(name)).unwrap();
    let arguments = ["classify", "--weights", "tiny.safetensors", "--spec", "tiny.yaml", "--json"];
    let output = mbvc(folder.path(), &arguments).arg(name).output().unwrap();
    let answer = &json_lines(&String::from_utf8(output.stdout).unwrap())[0];
    assert_eq!(answer["image"], "caf\\xe9 \\\\.png");
}

#[test]
fn import_rejects_other_files_and_bad_options() {
    let folder = tiny();
    let (_, said) = bad(folder.path(), &["import", "tiny.yaml", "--output", "w.safetensors"], 1);
    assert!(said.contains("tiny.yaml"), "{said}");
    let (_, said) = bad(folder.path(), &["import", "tiny.safetensors", "--output", "tiny.safetensors"], 1);
    assert!(said.contains("the output tiny.safetensors would overwrite an input file"), "{said}");
    bad(folder.path(), &["import", "absent.onnx", "--output", "w.safetensors"], 1);
    let (_, said) = bad(folder.path(), &["import", "absent.onnx"], 1);
    assert!(said.contains("absent.onnx"), "{said}");
    let numbers = ["import", "absent.onnx", "--mean", "1,2", "--std", "1,1,0"];
    let (_, said) = bad(folder.path(), &numbers, 2);
    assert!(said.contains("expected 3 comma-separated numbers"), "{said}");
    let pixels = |mean, std| bad(folder.path(), &["import", "absent.onnx", "--mean", mean, "--std", std], 2).1;
    let bytes = "divide values for pixels of 0..255 by 255";
    for (mean, std, expected) in [
        ("123.675,116.28,103.53", "58.395,57.12,57.375", bytes),
        ("0,0,0", "255,255,255", bytes),
        ("0,0,256", "1,1,1", "256 is out of range, expected 0 to 1"),
        ("0,0,0", "1,1,0", "0 is out of range, expected 0.000001 to 1"),
    ] {
        let said = pixels(mean, std);
        assert!(said.contains(expected), "{said}");
    }
    let (_, said) = bad(folder.path(), &["import", "absent.onnx", "--range", "1,-1"], 2);
    assert!(said.contains("'1,-1'") && said.contains("the lower bound first"), "{said}");
    let (_, said) = bad(folder.path(), &["import", "absent.onnx", "--framing", "crop"], 2);
    assert!(said.contains("crop 256/224 bilinear"), "{said}");
    assert!(!folder.path().join("w.safetensors").exists());
}

/// A binary classifier: one logit with a sigmoid, two classes.
#[test]
fn a_single_sigmoid_classifies_into_two_classes() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/fixtures/heads/keras/sigmoid_1.keras");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    picture(&path("a.png"), 5);
    std::fs::write(path("one.txt"), "dog\n").unwrap();
    std::fs::write(path("two.txt"), "cat\ndog\n").unwrap();
    let (_, said) = bad(folder.path(), &["import", model, "--labels", "one.txt"], 1);
    assert!(said.contains("expected 2 labels, found 1"), "{said}");
    good(folder.path(), &["import", model, "--labels", "two.txt"]);
    let arguments = ["classify", "a.png", "--weights", "sigmoid_1.safetensors", "--spec", "sigmoid_1.yaml", "--json"];
    let answer = &json_lines(&good(folder.path(), &arguments))[0];
    assert_eq!(answer["activation"], "sigmoid");
    let predictions = answer["predictions"].as_array().unwrap();
    let scores: Vec<f64> = predictions.iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 2);
    assert!((scores[0] + scores[1] - 1.0).abs() < 1e-6 && scores[0] < 1.0, "{scores:?}");
    let labels: Vec<_> = predictions.iter().map(|one| one["label"].as_str().unwrap()).collect();
    assert!(labels == ["cat", "dog"] || labels == ["dog", "cat"], "{labels:?}");
}

/// A model is sufficient, and existing files are kept.
#[test]
fn import_writes_weights_and_spec_into_the_current_folder() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/fixtures/symmetric_torchvision_op17.onnx");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture, folder.path().join("net.onnx")).unwrap();
    let good = |arguments: &[&str]| good(folder.path(), arguments);
    let said = good(&["import", "net.onnx"]);
    assert!(said.contains("net.safetensors") && said.contains("--spec net.yaml"), "{said}");
    assert!(said.contains("crop 256/224 bilinear"), "{said}");
    good(&["check", "net.yaml"]);
    let (_, again) = bad(folder.path(), &["import", "net.onnx"], 1);
    assert!(again.contains("already exists") && again.contains("overwrite it with --force"), "{again}");
    good(&["import", "net.onnx", "--force"]);

    std::fs::create_dir(folder.path().join("models")).unwrap();
    std::fs::copy(fixture, folder.path().join("models/other.onnx")).unwrap();
    good(&["import", "models/other.onnx"]);
    assert!(folder.path().join("other.safetensors").exists() && folder.path().join("other.yaml").exists());
    assert_eq!(std::fs::read_dir(folder.path().join("models")).unwrap().count(), 1);

    let given = ["--range=0,1", "--framing", "squash bicubic", "--bgr", "--json"];
    let report = json_lines(&good(&[&["import", "net.onnx", "--output", "given.safetensors"][..], &given].concat()));
    let metadata = &report[0]["metadata"];
    assert_eq!(metadata["mbvc.framing"], "squash bicubic");
    assert!(metadata["mbvc.preprocessing"].as_str().unwrap().ends_with("offset 0 0 0"), "{metadata}");
    good(&["check", "given.yaml"]);
    // An edited spec is kept if it still fits.
    let kept = folder.path().join("kept.yaml");
    let edited = format!("# mine\n{}", std::fs::read_to_string(folder.path().join("net.yaml")).unwrap());
    std::fs::write(&kept, &edited).unwrap();
    let import = ["import", "net.onnx", "--output", "kept.safetensors"];
    let output = mbvc(folder.path(), &import).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("kept.yaml already exists and was kept"), "{said}");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), edited);
    std::fs::remove_file(folder.path().join("kept.safetensors")).unwrap();
    let others = [
        ("mine", "kept.yaml already exists and cannot be used"),
        (include_str!("../../specs/tiny.yaml"), "the model does not fit the existing spec kept.yaml:"),
    ];
    for (other, expected) in others {
        std::fs::write(&kept, other).unwrap();
        let (_, refused) = bad(folder.path(), &import, 1);
        assert!(refused.contains(expected), "{refused}");
        assert!(!folder.path().join("kept.safetensors").exists());
    }
    good(&[&import[..], &["--force"]].concat());
    assert!(std::fs::read_to_string(&kept).unwrap() != include_str!("../../specs/tiny.yaml"));
    good(&["check", "kept.yaml"]);
    for more in [&[][..], &["--force"], &["--write-spec", "given.yaml"]] {
        let import = [&["import", "net.onnx", "--output", "given.yaml"], more].concat();
        let (_, refused) = bad(folder.path(), &import, 1);
        assert!(refused.contains("the weights and the spec have the same path, given.yaml"), "{refused}");
    }
    // A spec is neither a model nor weights, and a model is not compared with a spec.
    let (_, refused) = bad(folder.path(), &["import", "net.yaml"], 1);
    assert!(refused.contains("net.yaml is a spec, expected a model"), "{refused}");
    let (_, refused) = bad(folder.path(), &["inspect", "net.onnx", "--spec", "net.yaml"], 1);
    assert!(refused.contains("net.onnx is a model") && refused.contains("mbvc import net.onnx --spec"), "{refused}");
    let (_, refused) = bad(folder.path(), &["inspect", "net.safetensors", "--width", "0.5"], 1);
    assert!(refused.contains("does not fit the network"), "{refused}");
    let (_, refused) = bad(folder.path(), &["import", "net.onnx", "--output", "absent/w.safetensors"], 1);
    assert!(refused.contains("its folder does not exist"), "{refused}");

    // The stem's weights, `[3, 3, 3, out]`: those of red and blue are swapped.
    let stem = |name: &str| {
        let container = mbvc_import::Container::open(&folder.path().join(name)).unwrap();
        let tensor = container.tensor("stem.weight").unwrap().clone();
        (tensor.shape[3], tensor.data.f32s().unwrap().to_vec())
    };
    let ((outputs, rgb), (_, bgr)) = (stem("net.safetensors"), stem("given.safetensors"));
    for (rgb, bgr) in rgb.chunks(3 * outputs).zip(bgr.chunks(3 * outputs)) {
        let [red, green, blue] = [0, 1, 2].map(|channel| &rgb[channel * outputs..][..outputs]);
        assert_eq!(bgr, [blue, green, red].concat());
    }
}

/// The main use of the README: a real model and a photograph.
#[test]
fn the_cat_is_an_egyptian_cat() {
    let (Some(model), Some(labels), Some(images)) =
        (shared("models/mobilenet_v2_1.0_224_f32.onnx"), shared("models/imagenet_labels_1001.txt"), shared("images"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (model, labels) = (model.to_str().unwrap(), labels.to_str().unwrap());
    let said = good(folder.path(), &["import", model, "--output", "w.safetensors", "--labels", labels]);
    assert!(said.contains("3 489 097 parameters") && said.contains("mbvc classify"), "{said}");
    // ImageNet's labels are those of the file, by default and by option.
    let listed = std::fs::read(folder.path().join("w.safetensors")).unwrap();
    for more in [&[][..], &["--labels", "imagenet"]] {
        let import = [&["import", model, "--output", "named.safetensors", "--force"], more].concat();
        good(folder.path(), &import);
        assert!(std::fs::read(folder.path().join("named.safetensors")).unwrap() == listed, "{more:?}");
    }
    good(folder.path(), &["import", model, "--output", "unnamed.safetensors", "--labels", "none"]);
    let [named, unnamed] =
        ["named", "unnamed"].map(|name| good(folder.path(), &["inspect", &format!("{name}.safetensors")]));
    assert!(named.contains("mbvc.labels") && !unnamed.contains("mbvc.labels"), "{unnamed}");

    let cat = images.join("cat.bmp");
    let said = good(folder.path(), &["classify", cat.to_str().unwrap(), "--weights", "w.safetensors"]);
    let first = said.lines().nth(1).unwrap();
    assert!(first.contains("Egyptian cat") && first.trim_start().starts_with("67."), "{said}");
    let said = good(folder.path(), &["classify", images.to_str().unwrap(), "--weights", "w.safetensors", "--json"]);
    let answers = json_lines(&said);
    assert_eq!(answers.len(), 6);
    let cat = answers.iter().find(|one| one["image"].as_str().unwrap().ends_with("cat.bmp")).unwrap();
    let best = &cat["predictions"][0];
    assert_eq!((&best["label"], &best["index"]), (&"Egyptian cat".into(), &286.into()));
    assert!((best["score"].as_f64().unwrap() - 0.672).abs() <= 0.003, "{best}");
    assert_eq!(cat["predictions"].as_array().unwrap().len(), 5);
}

#[test]
fn import_compares_with_a_spec() {
    let Some(model) = shared("models/mobilenet_v2_1.0_224_f32.tflite") else { return };
    let model = model.to_str().unwrap();
    let folder = tiny();
    let import = ["import", model, "--output", "w.safetensors"];
    let (_, said) = bad(folder.path(), &[&import[..], &["--spec", "tiny.yaml"]].concat(), 1);
    assert!(said.contains("stem") && said.contains("expected") && said.contains("--write-spec"), "{said}");
    assert!(!folder.path().join("w.safetensors").exists());
    let out = good(folder.path(), &[&import[..], &["--write-spec", "found.yaml", "--json"]].concat());
    let report = &json_lines(&out)[0];
    assert_eq!((&report["parameters"], &report["format"]), (&3_489_097.into(), &"TFLite".into()));
    let said = good(folder.path(), &["check", "found.yaml"]);
    assert!(said.contains("300.8 M MACs"), "{said}");
    good(folder.path(), &[&import[..], &["--spec", "found.yaml", "--force"]].concat());
    std::fs::write(folder.path().join("labels.txt"), "cat\ndog\n").unwrap();
    let (_, said) = bad(folder.path(), &[&import[..], &["--labels", "labels.txt", "--force"]].concat(), 1);
    assert!(said.contains("labels.txt") && said.contains("1001"), "{said}");
}

/// The precision of the file is kept unless `--dequantize` is given. A spec of the other precision is rejected.
#[test]
fn import_keeps_or_drops_quantization() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../import/tests/fixtures/qdq_channels.onnx");
    let folder = tempfile::tempdir().unwrap();
    let import = |output: &'static str, further: &[&'static str]| -> Vec<&'static str> {
        [&["import", model, "--output", output], further].concat()
    };
    let good = |arguments: &[&str]| good(folder.path(), arguments);
    let kept = json_lines(&good(&import("int8.safetensors", &["--write-spec", "int8.yaml", "--json"])));
    assert_eq!(kept[0]["metadata"]["mbvc.precision"], "int8");
    let float = json_lines(&good(&import("f32.safetensors", &["--dequantize", "--write-spec", "f32.yaml", "--json"])));
    assert_eq!(float[0]["metadata"]["mbvc.precision"], "f32");
    assert_eq!(float[0]["parameters"], kept[0]["parameters"]);
    good(&import("again.safetensors", &["--spec", "int8.yaml"]));
    good(&import("again.safetensors", &["--spec", "f32.yaml", "--dequantize", "--force"]));
    for (further, remedy) in [
        (&["--spec", "f32.yaml"][..], "write `precision: int8` into the spec"),
        (&["--spec", "int8.yaml", "--dequantize"], "write `precision: f32` into the spec"),
    ] {
        let (_, said) = bad(folder.path(), &import("never.safetensors", further), 1);
        assert!(said.contains("precision: expected") && said.contains(remedy), "{said}");
        assert!(!folder.path().join("never.safetensors").exists());
    }
    let shown = good(&["inspect", "int8.safetensors"]);
    let value = &json_lines(&good(&["inspect", "int8.safetensors", "--json"]))[0];
    let scale = value["tensors"].as_array().unwrap().iter().find(|tensor| tensor["name"] == "input.scale").unwrap();
    let digits = (scale["min"].as_f64().unwrap() as f32).to_string();
    assert!(digits.len() > 8 && shown.contains(&digits), "{digits} is not in\n{shown}");
}

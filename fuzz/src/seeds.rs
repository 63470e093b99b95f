//! `seeds FOLDER`: writes the inputs that fuzzing begins with into `FOLDER/TARGET/`: the importer's fixtures, weights
//! together with their JSON files, and containers and packed files of small networks.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use mbvc_fuzz::sidecars::MARK;

/// Size limit. Larger files only slow fuzzing down, and each format has smaller ones.
const MOST: u64 = 180_000;

/// Folders of models in the importer's fixtures.
const PLACES: [&str; 10] = [
    "",
    "torch",
    "heads/gray",
    "heads/keras",
    "heads/metadata",
    "heads/onnx",
    "heads/onnxruntime",
    "heads/tflite",
    "heads/torch",
    "heads/torchscript",
];

const SPECS: [&str; 4] = ["fuzz/specs", "specs", "tests/differential/specs", "compiler/tests/spec"];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("usage: seeds FOLDER")?);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let fixtures = root.join("import/tests/fixtures");
    let mut count = 0;
    let mut write = |target: &str, name: &str, bytes: &[u8]| -> Result<(), Box<dyn Error>> {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
        count += 1;
        Ok(())
    };
    for place in PLACES {
        for path in files(&fixtures.join(place))? {
            let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name that is not UTF-8")?;
            // Folders repeat names.
            let name = format!("{}{name}", place.replace("heads/", "heads-"));
            let target = match path.extension().and_then(|extension| extension.to_str()) {
                Some("onnx") => "onnx",
                Some("tflite") => "tflite",
                Some("h5") => "hdf5",
                Some("keras") => "keras",
                Some("pth" | "pt" | "tar" | "ckpt") => "torch",
                _ => continue,
            };
            write(target, &name, &fs::read(&path)?)?;
        }
    }
    let external = fixtures.join("heads/onnx/external.onnx");
    let pieces = [fs::read(&external)?, fs::read(external.with_extension("onnx.data"))?];
    write("onnx", "external", &pieces.join(MARK))?;
    for repository in ["timm", "transformers"] {
        let folder = fixtures.join("torch").join(repository);
        let pieces = ["model.safetensors", "config.json", "preprocessor_config.json"].map(|name| folder.join(name));
        let pieces = pieces.iter().filter(|path| path.exists()).map(fs::read).collect::<Result<Vec<_>, _>>()?;
        write("state_dict", repository, &pieces.join(MARK))?;
    }
    for model in
        ["graph", "graph_pixels", "graph_plain", "graph_uint16", "graph_float16", "layers_uint8", "teachable_machine"]
    {
        let folder = fixtures.join("heads/tfjs").join(model);
        let shard = ["group1-shard1of1.bin", "weights.bin"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|path| path.exists());
        let pieces = [Some(folder.join("model.json")), shard, Some(folder.join("metadata.json"))];
        let pieces =
            pieces.iter().flatten().filter(|path| path.exists()).map(fs::read).collect::<Result<Vec<_>, _>>()?;
        write("tfjs", model, &pieces.join(MARK))?;
    }
    for place in SPECS {
        for path in files(&root.join(place))?.iter().filter(|path| path.extension().is_some_and(|it| it == "yaml")) {
            let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name that is not UTF-8")?;
            let text = fs::read(path)?;
            write("spec", name, &text)?;
            write("compile", name, &text)?;
            write("spec", &format!("{name}.arguments"), &[&text[..], b"\0width=0.5\0isa=[avx2, portable]"].concat())?;
        }
    }
    for (name, text) in [
        ("lines", "cat\r\ndog, hound\n"),
        ("list", r#"["cat", "dog\u00e9"]"#),
        ("keras", r#"{"0": ["n01440764", "tench"], "1": "goldfish"}"#),
    ] {
        write("labels", name, text.as_bytes())?;
    }
    for text in ["squash bilinear-aliased", "crop 256/224 bicubic", "crop 65535/1 nearest"] {
        write("framing", &text.replace([' ', '/'], "_"), text.as_bytes())?;
    }
    for (target, name, bytes) in mbvc_fuzz::seeds() {
        write(target, &name, &bytes)?;
    }
    println!("{count} files to begin with");
    Ok(())
}

/// The files in `folder`, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_file() && about.len() <= MOST {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

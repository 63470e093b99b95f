//! From a file to an [`Imported`]: the one pipeline of this crate.

use std::collections::BTreeMap;
use std::path::Path;

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{self, NetworkSpec};
use mbvc_runtime::{Listing, MAX_TENSORS};

use crate::beside::{Beside, Source};
use crate::container::{Container, FORMAT_VERSION};
use crate::detect::detect;
use crate::error::{ErrorKind, ImportError, Result};
use crate::files::read_file;
use crate::fold::fold;
use crate::imported::Imported;
use crate::labels::Labels;
use crate::options::{ConfigFiles, Quantization, ReadOptions};
use crate::recognize::{Layer, recognize};
use crate::recover::{self, Recovered, recover};
use crate::source::{Fact, Format, SourceGraph};
use crate::state_dict::{self, Sidecar, StateDict};
use crate::tensor::Tensor;
use crate::torch::Content;
use crate::trace::trace;
use crate::{keras, limits, onnx, quantized, spec_yaml, tfjs, tflite, torch};

/// Reads a model file. Its content determines the format, or [`ReadOptions::format`] if the content is ambiguous. Files in
/// the same folder that belong to the model are read, too: its weights if they are in other files, and for a file of
/// weights `config.json` and `preprocessor_config.json`.
///
/// # Errors
/// If the file cannot be read, is damaged, contains no network of the MobileNetV2 family, is quantized in a way that
/// cannot be kept, or contains weights whose strides are unknown without a spec.
pub fn read(path: &Path, options: &ReadOptions<'_>) -> Result<Imported> {
    read_from(&read_file(path)?, &path.display().to_string(), options, Some(path))
}

/// Reads a model from memory. `name` is used in messages and, without its folders, in the metadata. Of other files, only
/// [`ReadOptions::config_files`] and [`ReadOptions::beside`] are read.
///
/// # Errors
/// As [`read`], except for file access.
pub fn read_bytes(bytes: &[u8], name: &str, options: &ReadOptions<'_>) -> Result<Imported> {
    read_from(bytes, name, options, None)
}

/// Reads a model from memory, and the other files of a model at `path` from its folder.
pub fn read_from(bytes: &[u8], name: &str, options: &ReadOptions<'_>, path: Option<&Path>) -> Result<Imported> {
    let quantization = options.quantization;
    let format = detect(bytes, name, options.format)?;
    let most = limits::parameters(bytes.len());
    let import_at_most = |graph: &SourceGraph<'_>, most: usize| import(graph, name, quantization, most);
    let import = |graph: &SourceGraph<'_>| import_at_most(graph, most);
    let sidecar = || match (options.config_files, path) {
        (ConfigFiles { config: None, preprocessor: None }, Some(path)) => Sidecar::in_folder_of(path),
        (files, _) => Sidecar::of(files),
    };
    let weights = |dict: &StateDict<'_>, variant: &str| {
        import(&state_dict::read(dict, format, variant, &sidecar(), options.spec, most)?)
    };
    let mut beside = match (options.beside, path) {
        ([], Some(path)) => Some(Beside::new(Source::Folder(path))),
        ([], None) => None,
        (files, _) => Some(Beside::new(Source::Memory(files))),
    };
    let imported = match format {
        Format::Onnx => onnx::decode(bytes).and_then(|mut model| {
            if let Some(beside) = &mut beside {
                onnx::load_external_data(&mut model, beside)?;
            }
            let most = limits::parameters(bytes.len().saturating_add(beside.map_or(0, |beside| beside.bytes())));
            import_at_most(&onnx::read(&model, most)?, most)
        }),
        Format::TfLite => tflite::read(bytes).and_then(|graph| import(&graph)),
        Format::Keras => keras::open(bytes).and_then(|model| import(&keras::read(&model)?)),
        Format::TensorFlowJs => tfjs::open(bytes, beside.as_mut()).and_then(|model| {
            let most = limits::parameters(bytes.len().saturating_add(beside.map_or(0, |beside| beside.bytes())));
            import_at_most(&tfjs::read(&model)?, most)
        }),
        Format::PyTorch => torch::read(bytes).and_then(|content| match content {
            Content::Weights(dict, variant) => weights(&dict, variant),
            Content::Script(script) => import(&script.graph(&sidecar(), most)?),
        }),
        Format::SafeTensors => state_dict::safetensors::read(bytes).and_then(|dict| weights(&dict, "")),
        Format::Container => {
            Err(ImportError::new(ErrorKind::NotAModel, "a weights file of mbvc cannot be imported again")
                .expected("a model of another framework")
                .help("use the file as it is"))
        }
    };
    let mut imported = imported.map_err(|error| error.file(name))?;
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if Format::of_extension(extension).is_some_and(|named| named != format) {
        imported.notes.push(format!("the file is {format}, although its extension is .{extension}"));
    }
    Ok(imported)
}

fn has_integer_weights(layer: &Layer<'_>) -> bool {
    layer.kernel.constant.quantization().is_some()
}

fn import(graph: &SourceGraph<'_>, name: &str, quantization: Quantization, most: usize) -> Result<Imported> {
    let chain = recognize(graph, most)?;
    let (mut recovered, mut facts, mut notes) = recover(&chain, graph)?;
    notes.extend(graph.notes.iter().cloned());
    let kept = match quantization {
        Quantization::Keep => quantized::keep(&chain, graph)?,
        Quantization::Dequantize => None,
    };
    let trace = trace(&chain, graph, kept.is_some());
    let mut tensors = Vec::new();
    let mut pool = None;
    match kept {
        Some(kept) => {
            recovered.precision = kept.precision;
            recover::keep_pixels(&mut recovered, &mut facts, graph);
            facts.push(Fact { key: "precision", value: kept.precision.word().into(), how: kept.how.into() });
            if kept.rounds_biases {
                notes
                    .push("biases are rounded to multiples of input scale * weight scale, as ONNX Runtime does".into());
            }
            (tensors, pool) = (kept.tensors, Some(kept.pool));
        }
        None => {
            if !graph.quants.is_empty() {
                let dropped = "the quantization of values is dropped";
                let has_integers = chain.layers().any(has_integer_weights);
                notes.push(if has_integers { format!("{dropped}; weights are dequantized") } else { dropped.into() });
            } else if graph.format == Format::TfLite && chain.layers().any(has_integer_weights) {
                notes.push(
                    "the weights are integers and the activations are floats (dynamic-range quantization): weights are \
                     dequantized. TensorFlow Lite also quantizes the input of each layer at run time, so its scores differ"
                        .into(),
                );
            }
            for layer in chain.layers() {
                tensors.extend(fold(layer)?);
            }
            if chain.front.is_some_and(|front| front.reversed) {
                reverse_input_channels(&mut tensors);
            }
        }
    }
    if tensors.len() > MAX_TENSORS {
        return Err(ImportError::unsupported(format!("the network has {} tensors", tensors.len()))
            .expected(format!("at most {MAX_TENSORS}, the limit of a weights file")));
    }
    let file = Path::new(name).file_name().map_or(name.into(), |file| file.to_string_lossy());
    let source = match graph.producer.as_str() {
        "" => format!("{} {file}", graph.format),
        producer => format!("{} {file} ({producer})", graph.format),
    };
    let spec = parsed(&spec_yaml::render(&recovered, &source))?;
    let container = Container { tensors, metadata: metadata(&recovered, source, pool) };
    let mut imported = Imported { container, format: graph.format, recovered, facts, notes, trace, spec };
    if let Some((labels, from)) = &graph.hints.labels {
        imported.take_labels(labels, from);
    } else if let Some(labels) = Labels::imagenet(imported.recovered.classes) {
        imported.take_labels(labels.names(), "default for this number of classes; the file records none");
    }
    // The recovered spec must have exactly the layers that were read.
    let mismatches = imported.container.mismatches(&imported.spec)?;
    match mismatches.is_empty() {
        true => Ok(imported),
        false => {
            let listing = Listing(&mismatches);
            Err(ImportError::unsupported(format!("the network cannot be written as a spec:{listing}")))
        }
    }
}

/// Reverses the input channels of the stem, for a network that reverses the channels of its image.
fn reverse_input_channels(tensors: &mut [Tensor]) {
    for tensor in tensors.iter_mut().filter(|tensor| tensor.name == "stem.weight") {
        // `[kh, kw, 3, out]`.
        let outputs = tensor.shape.last().copied().unwrap_or(1).max(1);
        tensor.data.reverse_groups(outputs, 3);
    }
}

fn parsed(yaml: &str) -> Result<NetworkSpec> {
    spec::parse(&SourceFile::new("recovered.yaml", yaml)).map_err(|diagnostics| {
        ImportError::unsupported(format!("the network cannot be written as a spec:\n{diagnostics}"))
    })
}

fn metadata(network: &Recovered, source: String, pool: Option<&str>) -> BTreeMap<String, String> {
    let [height, width] = network.resolution;
    let known = [
        ("format", FORMAT_VERSION.to_owned()),
        ("source", source),
        ("activation", network.activation.word().to_owned()),
        ("padding", network.padding.word().to_owned()),
        ("precision", network.precision.word().to_owned()),
        ("classes", network.classes.to_string()),
        ("head_activation", network.head_activation.word().to_owned()),
        ("width", network.width.to_string()),
        ("resolution", format!("{height}x{width}")),
        ("preprocessing", recover::describe(&network.preprocessing)),
        ("framing", network.framing.to_string()),
    ];
    let multiple = (network.size_multiple > 1).then(|| ("size_multiple", network.size_multiple.to_string()));
    let pool = pool.map(|kind| ("pool", kind.to_owned()));
    let dense = (!network.dense.is_empty()).then(|| ("dense_activation", network.dense_activation.word().to_owned()));
    known
        .into_iter()
        .chain(multiple)
        .chain(dense)
        .chain(pool)
        .map(|(key, value)| (format!("mbvc.{key}"), value))
        .collect()
}

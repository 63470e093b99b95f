//! From a file to an [`Imported`]: the one pipeline of this crate.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{self, NetworkSpec};
use mbvc_runtime::{Framing, MAX_HEADER_BYTES, MAX_TENSORS};

use crate::container::{Container, FORMAT_VERSION};
use crate::error::{ErrorKind, ImportError, Result};
use crate::fold::fold;
use crate::format::{self, Format};
use crate::labels::Labels;
use crate::limits;
use crate::mismatch::{Mismatch, Mismatches};
use crate::recognize::recognize;
use crate::recover::{self, Fact, Recovered, recover};
use crate::sidecar::Sidecar;
use crate::source::SourceGraph;
use crate::state_dict::{self, StateDict};
use crate::trace::{self, Trace};
use crate::{keras, onnx, quantized, spec_yaml, tflite, torch};

/// Largest file that is read. Width 4 in double precision has 450 MB.
const MAX_FILE: u64 = 1 << 30;

/// Bytes of labels in the header, which leave room for the tensors in what the runtime reads.
const MAX_LABELS: usize = MAX_HEADER_BYTES / 4 * 3;

/// A network that was read from a file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Canonical tensors and metadata.
    pub container: Container,
    /// What the file was.
    pub format: Format,
    /// The network in the terms of a spec.
    pub recovered: Recovered,
    /// How each part of `recovered` was found.
    pub facts: Vec<Fact>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Where the file holds what the network computes; `None` of formats that no other engine runs.
    pub trace: Option<Trace>,
    spec: NetworkSpec,
}

/// What becomes of a quantized model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// It stays what it is: integers, scales and zero points.
    Keep,
    /// Its weights become the float32 numbers that they stand for; the quantization of values is dropped.
    Dequantize,
}

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Decides where the content does not tell the format.
    pub format: Option<Format>,
    /// What becomes of the model where it is quantized.
    pub quantization: Quantization,
    /// The network as the user knows it. Strides are taken from it where a file has weights alone.
    pub spec: Option<&'a NetworkSpec>,
    /// What stands beside a file of weights alone; a file's own folder is looked into where it is `None`.
    pub beside: Beside<'a>,
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        Self { format: None, quantization: Quantization::Dequantize, spec: None, beside: Beside::default() }
    }
}

/// The content of the files that repositories of weights have beside them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// `config.json` of timm or transformers.
    pub config: Option<&'a [u8]>,
    /// `preprocessor_config.json` of transformers.
    pub preprocessor: Option<&'a [u8]>,
}

/// Reads a model file, in float32. The content tells which; `hint` decides where it does not.
///
/// # Errors
/// Where the file cannot be read, is damaged, or holds no network of the MobileNetV2 family.
pub fn read(path: &Path, hint: Option<Format>) -> Result<Imported> {
    read_with(path, hint, Quantization::Dequantize)
}

/// As [`read`], with a choice of what becomes of quantized models.
///
/// # Errors
/// As [`read`], and where a quantization cannot be kept.
pub fn read_with(path: &Path, hint: Option<Format>, quantization: Quantization) -> Result<Imported> {
    read_as(path, &ReadOptions { format: hint, quantization, ..ReadOptions::default() })
}

/// Reads a model file, and `config.json` or `preprocessor_config.json` beside it where it has weights alone.
///
/// # Errors
/// As [`read_with`], and where strides are not known without a spec.
pub fn read_as(path: &Path, options: &ReadOptions<'_>) -> Result<Imported> {
    read_from(&read_file(path)?, &path.display().to_string(), options, Some(path))
}

/// As [`read`], from memory; `name` is for messages and, without its folders, for the metadata.
///
/// # Errors
/// As [`read`], but for those of reading the file.
pub fn read_bytes(bytes: &[u8], name: &str, hint: Option<Format>) -> Result<Imported> {
    read_bytes_with(bytes, name, hint, Quantization::Dequantize)
}

/// As [`read_with`], from memory.
///
/// # Errors
/// As [`read_with`], but for those of reading the file.
pub fn read_bytes_with(bytes: &[u8], name: &str, hint: Option<Format>, quantization: Quantization) -> Result<Imported> {
    read_bytes_as(bytes, name, &ReadOptions { format: hint, quantization, ..ReadOptions::default() })
}

/// As [`read_as`], from memory, with no files beside it but those of the options.
///
/// # Errors
/// As [`read_as`], but for those of reading the file.
pub fn read_bytes_as(bytes: &[u8], name: &str, options: &ReadOptions<'_>) -> Result<Imported> {
    read_from(bytes, name, options, None)
}

fn read_from(bytes: &[u8], name: &str, options: &ReadOptions<'_>, path: Option<&Path>) -> Result<Imported> {
    let quantization = options.quantization;
    let format = format::detect(bytes, name, options.format)?;
    let most = limits::parameters(bytes.len());
    let import = |graph: &SourceGraph<'_>| import(graph, name, quantization, most);
    let weights = |dict: &StateDict<'_>, variant: &str| {
        let sidecar = match (options.beside, path) {
            (Beside { config: None, preprocessor: None }, Some(path)) => Sidecar::beside(path),
            (beside, _) => Sidecar::of(beside),
        }?;
        import(&state_dict::read(dict, format, variant, &sidecar, options.spec, most)?)
    };
    let imported = match format {
        Format::Onnx => onnx::decode(bytes).and_then(|model| import(&onnx::read(&model, most)?)),
        Format::TfLite => tflite::read(bytes).and_then(|graph| import(&graph)),
        Format::Keras => keras::open(bytes).and_then(|model| import(&keras::read(&model)?)),
        Format::PyTorch => torch::read(bytes).and_then(|(dict, variant)| weights(&dict, variant)),
        Format::SafeTensors => state_dict::safetensors::read(bytes).and_then(|dict| weights(&dict, "")),
        Format::Container => {
            Err(ImportError::new(ErrorKind::NotAModel, "this is an mbvc container; there is nothing to import")
                .expected("a model of another program")
                .help("`mbvc import` wrote it: use it as it is"))
        }
    };
    let mut imported = imported.map_err(|error| error.file(name))?;
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if format::of_extension(extension).is_some_and(|named| named != format) {
        imported.notes.push(format!("the file is {format}, though its name ends in .{extension}"));
    }
    Ok(imported)
}

fn import(graph: &SourceGraph<'_>, name: &str, quantization: Quantization, most: usize) -> Result<Imported> {
    let chain = recognize(graph, most)?;
    let (mut recovered, mut facts, mut notes) = recover(&chain, graph)?;
    notes.extend(graph.notes.iter().cloned());
    let kept = match quantization {
        Quantization::Keep => quantized::keep(&chain, graph)?,
        Quantization::Dequantize => None,
    };
    let trace = trace::trace(&chain, graph, kept.is_some());
    let mut tensors = Vec::new();
    let mut pool = None;
    match kept {
        Some(kept) => {
            recovered.precision = kept.precision;
            recover::keep_pixels(&mut recovered, &mut facts, graph);
            facts.push(Fact { key: "precision", value: kept.precision.word().into(), how: kept.how.into() });
            (tensors, pool) = (kept.tensors, Some(kept.pool));
        }
        None => {
            if !graph.quants.is_empty() {
                notes.push("the quantization of values is left out; weights are dequantized".into());
            }
            for layer in chain.layers() {
                tensors.extend(fold(layer)?);
            }
        }
    }
    if tensors.len() > MAX_TENSORS {
        return Err(ImportError::unsupported(format!("the network has {} tensors", tensors.len()))
            .expected(format!("at most {MAX_TENSORS}, which a container may have")));
    }
    let file = Path::new(name).file_name().map_or(name.into(), |file| file.to_string_lossy());
    let source = match graph.producer.as_str() {
        "" => format!("{} {file}", graph.format),
        producer => format!("{} {file} ({producer})", graph.format),
    };
    let spec = parsed(&spec_yaml::render(&recovered, &source))?;
    let container = Container { tensors, metadata: metadata(&recovered, source, pool) };
    let mut imported = Imported { container, format: graph.format, recovered, facts, notes, trace, spec };
    if let Some((labels, from)) = &graph.told.labels {
        imported.take_labels(labels, from);
    } else if let Some(labels) = Labels::imagenet(imported.recovered.classes) {
        imported.take_labels(labels.names(), "the file names no classes; so many are ImageNet's");
    }
    // The recovered table must come to the very layers that were read.
    imported.container.check_against(&imported.spec).map_err(|mismatches| {
        ImportError::unsupported(format!("the network cannot be written as a table: {mismatches}"))
    })?;
    Ok(imported)
}

/// Bytes of labels in a header, where some characters are escaped.
fn header_bytes(labels: &[String]) -> usize {
    labels.iter().map(|label| serde_json::Value::from(label.as_str()).to_string().len()).sum()
}

fn parsed(yaml: &str) -> Result<NetworkSpec> {
    spec::parse(&SourceFile::new("recovered.yaml", yaml))
        .map_err(|diagnostics| ImportError::unsupported(format!("the network breaks a rule of specs:\n{diagnostics}")))
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
        ("width", network.width.to_string()),
        ("resolution", format!("{height}x{width}")),
        ("preprocessing", recover::describe(&network.preprocessing)),
        ("framing", network.framing.to_string()),
    ];
    let pool = pool.map(|kind| ("pool", kind.to_owned()));
    known.into_iter().chain(pool).map(|(key, value)| (format!("mbvc.{key}"), value)).collect()
}

impl Imported {
    /// The network as a spec; its lines are those of [`Imported::spec_yaml`].
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// A spec that describes the network.
    pub fn spec_yaml(&self) -> String {
        let source = self.container.metadata.get("mbvc.source").map_or("a model", String::as_str);
        spec_yaml::render(&self.recovered, source)
    }

    /// Puts class names into the metadata.
    ///
    /// # Errors
    /// Where there is not one for each class, or they are too long together.
    pub fn set_labels(&mut self, labels: &Labels) -> Result<()> {
        labels.check(self.recovered.classes)?;
        if header_bytes(labels.names()) > MAX_LABELS {
            return Err(ImportError::new(ErrorKind::Labels, "the labels are too long for the header of a container")
                .expected(format!("at most {MAX_LABELS} bytes together"))
                .help("shorten them"));
        }
        self.remove_labels();
        self.container.metadata.insert("mbvc.labels".into(), labels.names().join("\n"));
        Ok(())
    }

    /// Leaves the classes without names, whatever was found.
    pub fn remove_labels(&mut self) {
        self.facts.retain(|fact| fact.key != "labels");
        self.container.metadata.remove("mbvc.labels");
    }

    /// Takes class names that were found, where there is one for each class.
    fn take_labels(&mut self, labels: &[String], from: &str) {
        let (count, classes) = (labels.len(), self.recovered.classes);
        if count != classes {
            self.notes.push(format!("{from} has {count} labels for {classes} classes; they are left out"));
            return;
        }
        if header_bytes(labels) > MAX_LABELS {
            self.notes.push(format!("the labels of {from} have more than {MAX_LABELS} bytes; they are left out"));
            return;
        }
        self.facts.push(Fact { key: "labels", value: count.to_string(), how: from.into() });
        self.container.metadata.insert("mbvc.labels".into(), labels.join("\n"));
    }

    /// Takes preprocessing from elsewhere, `from` says where, unless the file tells its own; a note says so where they
    /// differ.
    pub fn set_preprocessing(&mut self, preprocessing: spec::Preprocessing, from: &str) {
        if self.recovered.preprocessing_told {
            if self.recovered.preprocessing != preprocessing {
                self.notes.push(format!("the preprocessing is the file's own; that of {from} is not used"));
            }
            return;
        }
        self.recovered.preprocessing = preprocessing;
        self.spec.preprocessing = preprocessing;
        self.tell("preprocessing", recover::describe(&preprocessing), from);
    }

    /// Takes another way of bringing pictures to size.
    pub fn set_framing(&mut self, framing: Framing, from: &str) {
        self.recovered.framing = framing;
        self.tell("framing", framing.to_string(), from);
    }

    /// Lets a network of blue, green, red see red, green, blue, as all of ours do: its stem and its own preprocessing
    /// change places.
    pub fn swap_channels(&mut self) {
        for tensor in self.container.tensors.iter_mut().filter(|tensor| tensor.name == "stem.weight") {
            // `[kh, kw, 3, out]`.
            let outputs = tensor.shape.last().copied().unwrap_or(1).max(1);
            tensor.data.reverse_groups(outputs, 3);
        }
        if let Some(trace) = &mut self.trace {
            trace.reversed = !trace.reversed;
        }
        if self.recovered.preprocessing_told {
            let spec::Preprocessing { scale, offset } = &mut self.recovered.preprocessing;
            scale.reverse();
            offset.reverse();
            self.spec.preprocessing = self.recovered.preprocessing;
            self.tell(
                "preprocessing",
                recover::describe(&self.recovered.preprocessing),
                "the file, in red, green, blue",
            );
        }
    }

    /// Puts what a fact says into the metadata too.
    fn tell(&mut self, key: &str, value: String, from: &str) {
        recover::retell(&mut self.facts, key, &value, from);
        self.container.metadata.insert(format!("mbvc.{key}"), value);
    }

    /// Compares conventions, shapes, strides and residuals with those of `spec`.
    /// Resolution, preprocessing and the epsilon (folded in already) may differ.
    ///
    /// # Errors
    /// All differences, in order of execution.
    pub fn check_against(&self, spec: &NetworkSpec) -> std::result::Result<(), Mismatches> {
        let mut found = match self.container.check_against(spec) {
            Ok(()) => Vec::new(),
            Err(Mismatches(found)) => found,
        };
        let mut differ = |place: String, what, expected: String, has: String| {
            if expected != has {
                found.push(Mismatch { place, what, expected, found: has });
            }
        };
        let (own, asked) = (self.spec.resolve(), spec.resolve());
        differ("stem".into(), "stride", spec.stem.stride.to_string(), self.spec.stem.stride.to_string());
        for (asked, own) in asked.blocks.iter().zip(&own.blocks) {
            let residual = |residual: bool| if residual { "residual" } else { "no residual" }.to_owned();
            differ(format!("block{}", asked.index), "stride", asked.stride.to_string(), own.stride.to_string());
            differ(format!("block{}", asked.index), "skip", residual(asked.residual), residual(own.residual));
        }
        if found.is_empty() { Ok(()) } else { Err(Mismatches(found)) }
    }

    /// Writes the container, whole or not at all.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.container.write(path)
    }
}

/// Reads a whole file, with errors that say what it is instead of a file.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |problem: String| ImportError::new(ErrorKind::Io, problem).file(&path.display().to_string());
    let about = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed("there is no such file".into()),
        _ => failed(format!("cannot read the file: {error}")),
    })?;
    if about.is_dir() {
        let error = failed("this is a directory".into());
        return Err(if path.join("saved_model.pb").exists() {
            error.help(format::SAVED_MODEL_HELP)
        } else {
            error.help("give the model file in it")
        });
    }
    if about.len() > MAX_FILE {
        return Err(failed(format!("the file has {} bytes", about.len())).expected(format!("at most {MAX_FILE}")));
    }
    // Not by the size that the file system tells: a device or a growing file has another.
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| failed(format!("cannot read the file: {error}")))?;
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| failed(format!("cannot read the file: {error}")))?;
    Ok(bytes)
}

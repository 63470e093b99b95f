//! The other engine: ONNX Runtime or LiteRT in a Python process, driven by `peer.py`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use mbvc_engine::temporary::Folder;
use mbvc_import::{Format, Trace};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Result};

const SCRIPT: &str = include_str!("peer.py");

/// Name, version and input of the other engine.
#[derive(Debug, Clone, Deserialize)]
pub struct About {
    pub name: String,
    pub version: String,
    pub input: Input,
}

/// Input of the model; a dimension is `None` if the file leaves it open.
#[derive(Debug, Clone, Deserialize)]
pub struct Input {
    pub dtype: String,
    pub shape: Vec<Option<usize>>,
}

/// Type and shape of a tensor; its values are in a file.
#[derive(Debug, Clone, Deserialize)]
struct Described {
    dtype: Dtype,
    shape: Vec<usize>,
}

/// Element types of exchanged tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    Float32,
    Int8,
    Uint8,
}

impl Dtype {
    fn size(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Int8 | Self::Uint8 => 1,
        }
    }
}

/// Values of a tensor in C order. Integers are offset so that the minimum of their type is 0, which makes int8 and uint8
/// comparable.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    Floats(Vec<f32>),
    Steps(Vec<u8>),
}

/// An input tensor of the model.
#[derive(Debug, Clone)]
pub struct Image {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Little-endian.
    pub bytes: Vec<u8>,
}

#[derive(Serialize)]
struct Start<'a> {
    engine: &'static str,
    reference: bool,
    tensors: Vec<Key<'a>>,
}

/// Identifies a tensor in the model file.
#[derive(Serialize)]
#[serde(untagged)]
enum Key<'a> {
    Name(&'a str),
    Index(usize),
}

#[derive(Serialize)]
struct Run<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    requested: &'a [usize],
}

/// Answer to the first request; an error has no other fields.
#[derive(Deserialize)]
#[serde(untagged)]
enum Started {
    Missing { missing: Vec<String>, python: String },
    Ready(About),
}

#[derive(Deserialize)]
struct Ran {
    values: Vec<Described>,
}

#[derive(Deserialize)]
struct Failed {
    error: String,
}

/// A running engine.
pub struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Holds the script, its standard error, and the exchanged tensors.
    folder: Folder,
    model: PathBuf,
    pub about: About,
}

/// Key and name of the engine that runs a format, and its Python packages.
fn engine(format: Format) -> Option<(&'static str, &'static str, &'static str)> {
    match format {
        Format::Onnx => Some(("onnx", "ONNX Runtime", "numpy onnxruntime")),
        Format::TfLite => Some(("tflite", "LiteRT", "numpy ai-edge-litert")),
        _ => None,
    }
}

/// The error for a format that no engine runs.
pub fn not_run(model: &Path, format: Format) -> CliError {
    let error = CliError::new(format!("{} is {format}, expected an ONNX or TFLite model", model.display()));
    match format {
        Format::TensorFlowJs => error
            .help("verify does not run TensorFlow.js: compare with the model that was converted to TensorFlow.js, or convert a layers model back")
            .help("tensorflowjs_converter --input_format tfjs_layers_model --output_format keras_saved_model model.json saved\npython -m tf2onnx.convert --saved-model saved --output model.onnx"),
        _ => error.help("export the model as ONNX or TFLite from its framework"),
    }
}

impl Peer {
    /// Opens `model` in the engine for its format, for the tensors of `trace`. `reference` selects the reference kernels
    /// of LiteRT instead of its default ones.
    ///
    /// # Errors
    /// If Python or a package is missing, or the engine rejects the model.
    pub fn start(python: &Path, model: &Path, format: Format, trace: &Trace, reference: bool) -> Result<Self> {
        let (kind, name, packages) = engine(format).ok_or_else(|| not_run(model, format))?;
        let place = std::env::temp_dir();
        let folder = Folder::new(&place, "mbvc-verify-").map_err(|cause| CliError::io("write into", &place, &cause))?;
        let script = folder.path().join("peer.py");
        std::fs::write(&script, SCRIPT).map_err(|cause| CliError::io("write", &script, &cause))?;
        let stderr = folder.path().join(STDERR);
        let stderr = File::create(&stderr).map_err(|cause| CliError::io("write", &stderr, &cause))?;
        let started = Command::new(python)
            .arg(&script)
            .args([model, folder.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn();
        let mut child = started.map_err(|cause| {
            let shown = python.display();
            let problem = match cause.kind() {
                std::io::ErrorKind::NotFound => format!("`{shown}` was not found"),
                _ => format!("`{shown}` cannot be run: {cause}"),
            };
            CliError::new(format!("{} requires {name}, which requires Python, but {problem}", model.display()))
                .help(format!("install Python 3.9 or newer, then: python3 -m pip install {packages}"))
                .help("or select another Python, such as that of a virtual environment, with --python PATH or MBVC_PYTHON")
        })?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(CliError::new("the Python process has no pipes"));
        };
        let input = Input { dtype: String::new(), shape: Vec::new() };
        let about = About { name: name.to_owned(), version: String::new(), input };
        let (answers, model) = (BufReader::new(answers), model.to_owned());
        let mut peer = Self { child, requests, answers, folder, model, about };
        let tensors = trace.values.iter().map(|value| match value.tensor.index {
            Some(index) => Key::Index(index),
            None => Key::Name(&value.tensor.name),
        });
        match peer.ask(&Start { engine: kind, reference, tensors: tensors.collect() })? {
            Started::Ready(about) => peer.about = about,
            Started::Missing { missing, python } => {
                let (shown, missing) = (peer.model.display(), missing.join(" "));
                let problem = format!("{shown} requires {name}, but {python} lacks {}", missing.replace(' ', " and "));
                return Err(CliError::new(problem)
                    .help(format!("{python} -m pip install {missing}"))
                    .help("or select a Python that has it with --python PATH or MBVC_PYTHON"));
            }
        }
        Ok(peer)
    }

    /// Runs the model on an image and returns the tensors with the `requested` indices in the trace.
    ///
    /// # Errors
    /// If the engine fails, or returns other tensors.
    pub fn run(&mut self, image: &Image, requested: &[usize]) -> Result<Outputs> {
        let path = self.folder.path().join("input");
        std::fs::write(&path, &image.bytes).map_err(|cause| CliError::io("write", &path, &cause))?;
        let Ran { values } = self.ask(&Run { dtype: image.dtype, shape: &image.shape, requested })?;
        let path = self.folder.path().join("values");
        let file = File::open(&path).map_err(|cause| CliError::io("read", &path, &cause))?;
        let bytes = file.metadata().map_err(|cause| CliError::io("read", &path, &cause))?.len();
        let outputs =
            Outputs::new(file, &values).filter(|outputs| outputs.end == bytes && values.len() == requested.len());
        outputs.ok_or_else(|| self.unexpected("other tensors than requested"))
    }

    /// Sends a request and waits for its answer.
    fn ask<A: for<'a> Deserialize<'a>>(&mut self, request: &impl Serialize) -> Result<A> {
        let mut line = serde_json::to_vec(request).map_err(|cause| self.unexpected(&cause.to_string()))?;
        line.push(b'\n');
        let mut answer = String::new();
        let sent = self.requests.write_all(&line).and_then(|()| self.requests.flush());
        // A process that ended explains it on standard error.
        if sent.and_then(|()| self.answers.read_line(&mut answer)).map_or(true, |length| length == 0) {
            return Err(self.ended());
        }
        if let Ok(Failed { error }) = serde_json::from_str(&answer) {
            let (name, shown) = (&self.about.name, self.model.display());
            return Err(CliError::new(format!("{name} cannot run {shown}: {error}")));
        }
        serde_json::from_str(&answer).map_err(|_| self.unexpected("an invalid answer"))
    }

    fn unexpected(&self, what: &str) -> CliError {
        CliError::new(format!("{} returned {what} for {}", self.about.name, self.model.display()))
    }

    /// The error for a process that ended, with its last lines of standard error.
    fn ended(&mut self) -> CliError {
        const LINES: usize = 20;
        let status = self.child.wait().map_or_else(|cause| cause.to_string(), |status| status.to_string());
        let mut said = Vec::new();
        // Of any length and encoding.
        let path = self.folder.path().join(STDERR);
        if let Ok(file) = File::open(path) {
            let _ = file.take(1 << 20).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
        let problem = format!("the Python that runs {} ended ({status})", self.model.display());
        CliError::new(if last.is_empty() { problem } else { format!("{problem}:\n{last}") })
            .help("Python 3.9 or newer is required; select another with --python PATH or MBVC_PYTHON")
    }
}

/// Name of the file with the standard error of the script.
const STDERR: &str = "stderr";

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tensors of one run, read from the file one at a time.
#[derive(Debug)]
pub struct Outputs {
    file: File,
    /// Each with the offset of its first byte.
    tensors: Vec<(u64, Described)>,
    end: u64,
}

impl Outputs {
    /// `None` if a size overflows.
    fn new(file: File, described: &[Described]) -> Option<Self> {
        let mut end = 0_u64;
        let mut tensors = Vec::with_capacity(described.len());
        for tensor in described {
            tensors.push((end, tensor.clone()));
            end = end.checked_add(u64::try_from(bytes(tensor)?).ok()?)?;
        }
        Some(Self { file, tensors, end })
    }

    /// All requested tensors.
    ///
    /// # Errors
    /// If their file cannot be read.
    pub fn all(mut self) -> Result<Vec<Values>> {
        (0..self.tensors.len()).map(|place| self.read(place)).collect()
    }

    /// The requested tensor with this index.
    ///
    /// # Errors
    /// If there is none, or its file cannot be read.
    pub fn read(&mut self, place: usize) -> Result<Values> {
        let failed = |cause: &std::io::Error| CliError::io("read", Path::new("the tensors of the other engine"), cause);
        let found = self.tensors.get(place).and_then(|(start, tensor)| Some((*start, tensor, bytes(tensor)?)));
        let Some((start, tensor, length)) = found else {
            return Err(CliError::new("the other engine did not return a requested tensor"));
        };
        // Within the length of the file, as checked in `run`.
        let mut content = vec![0; length];
        self.file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.read_exact(&mut content))
            .map_err(|cause| failed(&cause))?;
        let numbers = match tensor.dtype {
            Dtype::Float32 => {
                let words = content.as_chunks::<4>().0;
                Numbers::Floats(words.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }
            Dtype::Int8 => Numbers::Steps(content.iter().map(|byte| byte ^ 0x80).collect()),
            Dtype::Uint8 => Numbers::Steps(content),
        };
        Ok(Values { shape: tensor.shape.clone(), numbers })
    }
}

fn bytes(tensor: &Described) -> Option<usize> {
    tensor.shape.iter().try_fold(tensor.dtype.size(), |product, size| product.checked_mul(*size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(described: &str, content: &[u8]) -> Option<Outputs> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Outputs::new(file, &serde_json::from_str::<Vec<Described>>(described).unwrap())
    }

    #[test]
    fn tensors_are_read_in_any_order() {
        let described =
            r#"[{"dtype":"int8","shape":[1,2]},{"dtype":"float32","shape":[2]},{"dtype":"uint8","shape":[]}]"#;
        let content = [&[0x80, 0x7f][..], &1.5_f32.to_le_bytes(), &(-2.0_f32).to_le_bytes(), &[7]].concat();
        let mut outputs = outputs(described, &content).unwrap();
        assert_eq!(outputs.end, content.len() as u64);
        assert_eq!(outputs.read(2).unwrap(), Values { shape: vec![], numbers: Numbers::Steps(vec![7]) });
        assert_eq!(outputs.read(1).unwrap().numbers, Numbers::Floats(vec![1.5, -2.0]));
        assert_eq!(outputs.read(0).unwrap(), Values { shape: vec![1, 2], numbers: Numbers::Steps(vec![0, 255]) });
        assert!(outputs.read(3).is_err());
    }

    #[test]
    fn rejects_sizes_that_overflow() {
        let huge = format!(r#"[{{"dtype":"float32","shape":[{0},{0}]}}]"#, u64::MAX / 2);
        assert!(outputs(&huge, &[]).is_none());
    }
}

//! The class `Model`: a network with its weights.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mbvc_compiler::spec::{self, Overrides, Words};
use mbvc_engine::{Bundle, Caller, Callers, Classifier, Source, best};
use mbvc_runtime::{Isa, LengthError, Weights};
use numpy::{PyArray1, PyArray2, PyArrayMethods as _};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::arrays::{Image, Images};
use crate::batch;
use crate::errors::{Failure, Result};
use crate::import::{self, Found, Options};
use crate::interrupt::interruptible;
use crate::picture::Picture;
use crate::progress::Reporter;

/// A network with its weights. Its methods may be called from several threads at the same time.
#[pyclass(frozen, module = "mbvc._native")]
pub struct Model {
    classifier: Classifier,
    source: Source,
    /// The content of the model file, for saving; `None` if the model was opened without it.
    bundle: Option<Arc<Bundle>>,
    callers: Callers,
    /// Results of the import: keys, values and reasons, and notes.
    found: (Vec<(String, String, String)>, Vec<String>),
}

type Predictions = Vec<(Option<String>, f32, usize)>;

#[pymethods]
impl Model {
    /// Reads a weights file, and binds it to the network of a spec.
    #[staticmethod]
    fn open(
        py: Python<'_>,
        weights: PathBuf,
        spec: Option<PathBuf>,
        overrides: Vec<(String, String)>,
        isa: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let isa = isa_of(isa.as_deref())?;
        interruptible(py, move || {
            let bundle = opened(&weights, spec.as_deref(), overrides)?;
            Ok(Self::new(bundle, isa, true, &Reporter(progress))?)
        })
    }

    /// Imports a model of another framework.
    #[staticmethod]
    fn import_file(
        py: Python<'_>,
        path: PathBuf,
        options: Options,
        isa: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let isa = isa_of(isa.as_deref())?;
        interruptible(py, move || {
            let Found { bundle, facts, notes } = import::read(&path, &options)?;
            Ok(Self { found: (facts, notes), ..Self::new(bundle, isa, true, &Reporter(progress))? })
        })
    }

    /// Opens a model file. The model can be saved if `keep` is set.
    #[staticmethod]
    fn load(
        py: Python<'_>,
        path: PathBuf,
        isa: Option<String>,
        keep: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let isa = isa_of(isa.as_deref())?;
        let bundle = py.detach(|| Bundle::open(&path)).map_err(Failure::from)?;
        Self::restored(py, bundle, isa, keep, progress)
    }

    /// Opens the bytes of a model file. The model can be saved if `keep` is set.
    #[staticmethod]
    fn loads(
        py: Python<'_>,
        bytes: PyBackedBytes,
        isa: Option<String>,
        keep: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let isa = isa_of(isa.as_deref())?;
        let bundle = py.detach(|| Bundle::from_bytes(&bytes, "the model")).map_err(Failure::from)?;
        Self::restored(py, bundle, isa, keep, progress)
    }

    /// Returns the model file. If `complete` is set, it contains the compiled network, unless the package contains it.
    fn dumps<'py>(
        &self,
        py: Python<'py>,
        complete: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bundle = Arc::clone(self.kept()?);
        let bytes = interruptible(py, move || {
            let bytes = match complete {
                true => bundle.completed(&Reporter(progress)).and_then(|bundle| bundle.to_bytes()),
                false => bundle.to_bytes(),
            };
            Ok(bytes.map_err(Failure::from)?)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Returns the best classes of each picture, or the exception if it cannot be read.
    fn classify<'py>(
        &self,
        py: Python<'py>,
        pictures: Vec<Picture>,
        top: usize,
        threads: Option<NonZero<usize>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let results = self.each(py, &pictures, threads, |caller, pixels| self.best(caller, pixels, top))?;
        let list = PyList::empty(py);
        for result in results {
            match result {
                Ok(predictions) => list.append(predictions)?,
                Err(error) => list.append(Failure::from(error).exception(py)?)?,
            }
        }
        Ok(list)
    }

    /// Returns the pooled vector of each picture, or the exception if it cannot be read.
    fn embed<'py>(
        &self,
        py: Python<'py>,
        pictures: Vec<Picture>,
        threads: Option<NonZero<usize>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let results = self.each(py, &pictures, threads, |caller, pixels| self.classifier.embedding(caller, pixels))?;
        let list = PyList::empty(py);
        for result in results {
            match result {
                Ok(vector) => list.append(PyArray1::from_vec(py, vector))?,
                Err(error) => list.append(Failure::from(error).exception(py)?)?,
            }
        }
        Ok(list)
    }

    /// Returns the logits of an array of images, or their scores, as float32 `[N, classes]`.
    fn run<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        scores: bool,
        threads: Option<NonZero<usize>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let info = self.classifier.network.info();
        let images = Images::new(images, info)?;
        let list = images.list(info)?;
        let rows = batch::each(py, &list, threads, |image| {
            let mut lease = self.callers.lease();
            let caller = lease.caller(|| self.classifier.caller());
            let network = &*self.classifier.network;
            match image {
                Image::Bytes(pixels) => caller.run_pixels(network, pixels)?,
                Image::Floats(values) => caller.run(network, values)?,
            }
            Ok(if scores { self.classifier.activation.scores(&caller.logits) } else { caller.logits.clone() })
        })?;
        let columns = if scores { self.classifier.classes() } else { info.classes };
        let mut flat = Vec::with_capacity(rows.len() * columns);
        for row in rows {
            flat.extend(row.map_err(|cause: LengthError| PyValueError::new_err(cause.to_string()))?);
        }
        PyArray1::from_vec(py, flat).reshape([list.len(), columns])
    }

    /// Labels of the classes; empty if the weights have none.
    #[getter]
    fn labels(&self) -> &[String] {
        &self.classifier.labels
    }

    /// Text of the spec, with the overrides applied.
    #[getter]
    fn spec(&self) -> PyResult<String> {
        Ok(self.source.text().map_err(Failure::from)?)
    }

    /// The weights file.
    #[getter]
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.kept()?.weights.as_bytes()))
    }

    /// Results of the import: keys, values and reasons, and notes.
    #[getter]
    fn found(&self) -> (Vec<(String, String, String)>, Vec<String>) {
        self.found.clone()
    }

    /// Facts of the network.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (network, info) = (&self.classifier.network, self.classifier.network.info());
        let layers = info.layers.iter().map(|layer| (layer.number, layer.name, layer.output, layer.macs));
        let dict = PyDict::new(py);
        dict.set_item("name", info.name)?;
        dict.set_item("input", info.input)?;
        dict.set_item("classes", self.classifier.classes())?;
        dict.set_item("embedding", info.embedding)?;
        dict.set_item("precision", info.conventions.precision.word())?;
        dict.set_item("activation", self.classifier.activation.word())?;
        dict.set_item("framing", self.classifier.framing.to_string())?;
        dict.set_item("isa", network.isa().name())?;
        dict.set_item("parameters", parameters(info))?;
        dict.set_item("macs", info.layers.iter().map(|layer| layer.macs).sum::<usize>())?;
        dict.set_item("scratch_bytes", info.scratch_bytes)?;
        dict.set_item("packed_bytes", network.packed_bytes())?;
        dict.set_item("layers", layers.collect::<Vec<_>>())?;
        Ok(dict)
    }
}

impl Model {
    /// Binds the weights of a bundle to its network. If `keep` is not set, the model drops the bundle and shares its packed weights
    /// with other processes.
    fn new(bundle: Bundle, isa: Option<Isa>, keep: bool, progress: &Reporter) -> Result<Self> {
        // SAFETY: whoever calls `mbvc.load` or `mbvc.loads`, or unpickles a model, vouches for the bytes, and with
        // `keep_weights=False` for the cache folder, as the documentation requires; other bundles have no library.
        let network = unsafe {
            match keep {
                true => bundle.network(isa, progress)?,
                false => bundle.shared_network(isa, progress)?,
            }
        };
        let classifier = Classifier::new(network, &bundle.weights);
        let source = bundle.source.clone();
        let bundle = keep.then(|| Arc::new(bundle));
        Ok(Self { classifier, source, bundle, callers: Callers::default(), found: Default::default() })
    }

    fn restored(
        py: Python<'_>,
        bundle: Bundle,
        isa: Option<Isa>,
        keep: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let is_complete = bundle.is_complete();
        let restore = move || Ok(Self::new(bundle, isa, keep, &Reporter(progress))?);
        // Nothing is compiled, so no new thread is needed: the allocator would keep its memory.
        if is_complete { py.detach(restore) } else { interruptible(py, restore) }
    }

    fn kept(&self) -> Result<&Arc<Bundle>> {
        self.bundle.as_ref().ok_or_else(|| {
            Failure::new("the model was opened with keep_weights=False and cannot be saved or pickled")
                .help("open it without this argument")
        })
    }

    fn each<T: Send>(
        &self,
        py: Python<'_>,
        pictures: &[Picture],
        threads: Option<NonZero<usize>>,
        work: impl Fn(&mut Caller, &[u8]) -> T + Sync,
    ) -> PyResult<Vec<mbvc_pictures::Result<T>>> {
        let (framing, input) = (self.classifier.framing, self.classifier.input());
        batch::each(py, pictures, threads, |picture| {
            let pixels = picture.frame(framing, input)?;
            Ok(work(self.callers.lease().caller(|| self.classifier.caller()), &pixels))
        })
    }

    fn best(&self, caller: &mut Caller, pixels: &[u8], top: usize) -> Predictions {
        let scores = self.classifier.scores(caller, pixels);
        let label = |class: usize| self.classifier.labels.get(class).cloned();
        best(&scores, top).into_iter().map(|(class, score)| (label(class), score, class)).collect()
    }
}

fn opened(weights: &Path, spec: Option<&Path>, given: Vec<(String, String)>) -> Result<Bundle> {
    let weights = Weights::open(weights)?;
    let has_precision = given.iter().any(|(key, _)| key == "precision");
    let mut overrides = Overrides::new(Words::Command);
    for (key, value) in given {
        overrides.set(&key, &value);
    }
    let source = match spec {
        Some(path) => Source::new(spec::read(path, &path.to_string_lossy())?, overrides)?,
        None => {
            if !has_precision {
                overrides.set("precision", weights.conventions().precision.word());
            }
            Source::built_in(overrides)?
        }
    };
    Ok(Bundle::new(source, weights))
}

fn isa_of(name: Option<&str>) -> PyResult<Option<Isa>> {
    let Some(name) = name else { return Ok(None) };
    let known = || Isa::ALL.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ");
    let unknown = || PyValueError::new_err(format!("unknown instruction set {name:?}, expected one of {}", known()));
    Isa::from_name(name).ok_or_else(unknown).map(Some)
}

fn parameters(info: &mbvc_runtime::NetworkInfo) -> usize {
    info.parameters.iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum()
}

//! Keras -> [`SourceGraph`]: `.keras` archives (Keras 2.12 and later) and whole models in `.h5` (Keras 2 and 3).
//!
//! A file contains the model's configuration as JSON and its weights in HDF5. Models are trees: a transfer-learning model
//! has the backbone as one of its layers. [`flatten`] flattens them, [`layers`] translates one layer, and [`stored`] finds
//! the weights of a layer. Other formats have the same configuration and weights of their own ([`Weights`]).
//!
//! Keras files contain no class names.

mod arithmetic;
mod builder;
mod channels;
mod config;
mod flatten;
mod inbound;
mod layers;
mod order;
mod published;
mod stored;
#[cfg(test)]
mod tests;
mod weights;

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::archive::{self, Archive};
use crate::error::{ErrorKind, ImportError, Result};
use crate::hdf5::{File, Object};
use crate::limits;
use crate::source::{Format, Hints, Output, SourceGraph};
use crate::text::shorten;
use stored::{Order, Stored};

pub use config::Layer;
pub use weights::{Key, Path, Scope, Variables, Weights, of_layer};

/// Members of a `.keras` archive.
pub const CONFIG: &str = "config.json";
const METADATA: &str = "metadata.json";
const WEIGHTS: &str = "model.weights.h5";

/// Longest configuration, ten times that of a nested MobileNetV2.
pub const MAX_CONFIG: usize = 2 << 20;
const LONGEST_VERSION: usize = 100;

/// The parts of a model file.
pub struct Model<'a> {
    config: Json,
    /// HDF5 file with the weights.
    hdf5: Cow<'a, [u8]>,
    order: Order,
    producer: String,
    notes: Vec<String>,
}

/// Opens a `.keras` or `.h5` file.
pub fn open(bytes: &[u8]) -> Result<Model<'_>> {
    if bytes.starts_with(archive::MAGIC) { open_archive(bytes) } else { open_hdf5(bytes) }
}

fn open_archive(bytes: &[u8]) -> Result<Model<'_>> {
    let mut archive = Archive::open(bytes)?;
    let config = parse(&archive.read(CONFIG, MAX_CONFIG)?).map_err(|error| error.at(CONFIG))?;
    let metadata = match archive.has(METADATA) {
        true => parse(&archive.read(METADATA, MAX_CONFIG)?).map_err(|error| error.at(METADATA))?,
        false => Json::Null,
    };
    let version = metadata.get("keras_version").and_then(Json::as_str).unwrap_or_default();
    if !archive.has(WEIGHTS) {
        return Err(ImportError::unsupported(format!("the archive has no member {WEIGHTS}"))
            .help("save the model in one file: `model.save(\"model.keras\")`"));
    }
    let hdf5 = archive.read(WEIGHTS, limits::unpacked(bytes.len()))?;
    Ok(Model { config, hdf5, order: Order::Numbered, producer: producer(version), notes: Vec::new() })
}

fn open_hdf5(bytes: &[u8]) -> Result<Model<'_>> {
    let file = File::open(bytes)?;
    let root = file.root()?;
    let version = file.string(&root, "keras_version", LONGEST_VERSION)?.unwrap_or_default();
    let (producer, hdf5) = (producer(version), Cow::Borrowed(bytes));
    if let Some(config) = long_string(&file, &root, "model_config")? {
        let config = parse(config.as_bytes()).map_err(|error| error.at("attribute 'model_config'"))?;
        return Ok(Model { config, hdf5, order: Order::Named, producer, notes: Vec::new() });
    }
    let members = file.members(&root)?;
    let order = if file.has_attribute(&root, "layer_names")? {
        Order::NamedAtRoot
    } else if stored::CONTAINERS.iter().any(|name| members.contains_key(*name)) {
        Order::Numbered
    } else {
        return Err(ImportError::new(ErrorKind::NotAModel, "an HDF5 file without a Keras model")
            .expected("an attribute `model_config` at its root")
            .found(match members.len() {
                0 => "an empty file".into(),
                _ => members.keys().take(4).copied().map(shorten).collect::<Vec<_>>().join(", "),
            })
            .help("save the whole model: `model.save(\"model.keras\")`"));
    };
    Ok(Model {
        config: published::config(&Stored::open(bytes, order)?)?,
        hdf5,
        order,
        producer,
        notes: vec![published::NOTE.into()],
    })
}

/// Returns a string attribute, which Keras splits into `NAME0`, `NAME1`, ... if it is long.
fn long_string(file: &File<'_>, root: &Object<'_>, name: &str) -> Result<Option<String>> {
    if let Some(whole) = file.string(root, name, MAX_CONFIG)? {
        return Ok(Some(whole.to_owned()));
    }
    let mut whole: Option<String> = None;
    for number in 0.. {
        match file.string(root, &format!("{name}{number}"), MAX_CONFIG)? {
            Some(part) if whole.as_ref().map_or(0, String::len) <= MAX_CONFIG => {
                whole.get_or_insert_default().push_str(part);
            }
            _ => break,
        }
    }
    Ok(whole)
}

/// Parses a configuration of at most [`MAX_CONFIG`] bytes.
pub fn parse(text: &[u8]) -> Result<Json> {
    if text.len() > MAX_CONFIG {
        return Err(ImportError::unsupported(format!("the configuration has {} bytes", text.len()))
            .expected(format!("at most {MAX_CONFIG}")));
    }
    serde_json::from_slice(text).map_err(|error| ImportError::malformed(format!("invalid JSON: {error}")))
}

fn producer(version: &str) -> String {
    if version.is_empty() { String::new() } else { format!("Keras {}", shorten(version)) }
}

/// Translates the model.
pub fn read<'a>(model: &'a Model<'_>) -> Result<SourceGraph<'a>> {
    let weights = Box::new(Stored::open(&model.hdf5, model.order)?);
    let mut graph = translate(&model.config, weights)?;
    graph.notes.splice(0..0, model.notes.iter().cloned());
    Ok(SourceGraph { producer: model.producer.clone(), ..graph })
}

/// Translates a model with this configuration, a `Functional` or `Sequential` model.
pub fn translate<'a>(config: &'a Json, weights: Box<dyn Weights<'a> + 'a>) -> Result<SourceGraph<'a>> {
    let (graph, output) = flatten::read(weights, config)?;
    let producer = graph.nodes.iter().find(|node| node.output == output);
    let name = producer.map_or("the image".into(), |node| node.place.name.clone());
    let hints = Hints { facts: graph.weights.ignored()?.into_iter().collect(), ..Hints::default() };
    Ok(SourceGraph {
        input: builder::INPUT,
        input_shape: graph.image,
        input_quantization: graph.takes_pixels.then_some((1.0, 0)),
        nodes: graph.nodes,
        outputs: vec![Output { name, value: output }],
        hints,
        notes: graph.notes,
        ..SourceGraph::of(Format::Keras)
    })
}

//! TensorFlow.js -> [`SourceGraph`]: `model.json` and its shards of weights, as `model.save` and `tensorflowjs_converter` write
//! them.
//!
//! A layers model has the configuration of Keras. A graph model has a TensorFlow graph. The tensors of both are in the files
//! that `weightsManifest` names. Teachable Machine adds `metadata.json`.

mod graph;
mod manifest;
mod metadata;
mod named;
mod node;
mod operators;
mod scope;

use serde_json::Value as Json;

use crate::beside::Beside;
use crate::error::{ImportError, Result};
use crate::keras;
use crate::source::{Format, SourceGraph};
use crate::text::shorten;
use manifest::Tensors;
use metadata::Metadata;
use named::Named;

/// Entries of `model.json` (`ModelJSON` of TensorFlow.js, tfjs-core/src/io/types.ts). Those of training and of users have no
/// effect on the results.
const ENTRIES: [&str; 10] = [
    "format",
    "generatedBy",
    "convertedBy",
    "modelTopology",
    "weightsManifest",
    "signature",
    "trainingConfig",
    "userDefinedMetadata",
    "modelInitializer",
    "initializerSignature",
];

/// The files of a model.
pub struct Model {
    json: Json,
    tensors: Tensors,
    metadata: Option<Metadata>,
    notes: Vec<String>,
}

/// Reads `model.json` and the files that belong to it.
///
/// # Errors
/// If `model.json` is invalid or has unknown entries, or a shard cannot be read.
pub fn open(bytes: &[u8], beside: Option<&mut Beside<'_>>) -> Result<Model> {
    let json = keras::parse(bytes)?;
    let entries = json.as_object().ok_or_else(|| ImportError::malformed("not a JSON object"))?;
    if let Some(unknown) = entries.keys().find(|key| !ENTRIES.contains(&key.as_str())) {
        return Err(ImportError::unsupported(format!("unknown entry '{}' of model.json", shorten(unknown)))
            .help("save the model with a current version of TensorFlow.js"));
    }
    if json.get("modelInitializer").is_some_and(|graph| graph.get("node").is_some()) {
        return Err(ImportError::unsupported("the model has a graph that initializes it (`modelInitializer`)")
            .help("convert a model without hash tables"));
    }
    let manifest = json.get("weightsManifest").ok_or_else(|| {
        ImportError::malformed("model.json has no weights (`weightsManifest`)")
            .help("save the whole model: `model.save(...)`")
    })?;
    let beside = beside.ok_or_else(|| {
        ImportError::unsupported("the weights of a TensorFlow.js model are in other files")
            .help("pass the path of model.json")
    })?;
    let tensors = Tensors::read(manifest, beside)?;
    let mut notes = tensors.notes();
    let metadata = match beside.optional(metadata::FILE, "metadata").map(|file| file.as_deref().map(Metadata::parse)) {
        Ok(None) => None,
        Ok(Some(Ok(metadata))) => Some(metadata),
        Ok(Some(Err(problem))) => {
            notes.push(format!("{} is ignored: {problem}", metadata::FILE));
            None
        }
        Err(error) => {
            notes.push(format!("{} is ignored: {}", metadata::FILE, error.problem));
            None
        }
    };
    Ok(Model { json, tensors, metadata, notes })
}

/// Translates the model.
pub fn read(model: &Model) -> Result<SourceGraph<'_>> {
    let Model { json, tensors, metadata, notes } = model;
    let topology = present(json, "modelTopology")
        .ok_or_else(|| ImportError::malformed("model.json has no model (`modelTopology`)"))?;
    let is_graph = match json.get("format").and_then(Json::as_str) {
        Some("graph-model") => true,
        Some("layers-model") => false,
        // Old versions do not record it.
        None => topology.get("node").is_some(),
        Some(other) => {
            return Err(ImportError::unsupported(format!("unknown format '{}'", shorten(other)))
                .expected("layers-model or graph-model"));
        }
    };
    let mut graph = if is_graph {
        let of_user = json.get("userDefinedMetadata").and_then(|metadata| present(metadata, "signature"));
        graph::read(topology, present(json, "signature").or(of_user).unwrap_or(&Json::Null), tensors)?
    } else {
        if tensors.names().any(|(name, _)| name.contains("/vars/")) {
            return Err(ImportError::unsupported(
                "the tensors have the names of Keras 3, which TensorFlow.js does not load",
            )
            .expected("names such as `Conv1/kernel`")
            .help("import the .keras file, or convert a model of the package tf_keras"));
        }
        let config = present(topology, "model_config").unwrap_or(topology);
        keras::translate(config, Box::new(Named::new(tensors)))?
    };
    tensors.check_used()?;
    graph.format = Format::TensorFlowJs;
    graph.producer = ["generatedBy", "convertedBy"]
        .iter()
        .filter_map(|key| json.get(*key).and_then(Json::as_str).map(shorten))
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(metadata) = metadata {
        metadata.apply(&mut graph)?;
    }
    graph.notes.splice(0..0, notes.iter().cloned());
    Ok(graph)
}

/// Returns an entry that is not null.
fn present<'j>(json: &'j Json, key: &str) -> Option<&'j Json> {
    json.get(key).filter(|value| !value.is_null())
}

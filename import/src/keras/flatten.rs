//! Flattens nested networks: from calls of layers by name to values.

use std::collections::{HashMap, VecDeque};

use serde_json::Value as Json;

use super::builder::{Builder, INPUT, Operand, is_float, values};
use super::config::Layer;
use super::inbound::{Argument, Call, Tensor, calls, tensors};
use super::layers;
use super::weights::{Scope, Weights};
use crate::error::{ImportError, Result};
use crate::source::{MAX_NODES, Place, Value};
use crate::text::shorten;

/// Deepest nesting of networks.
const MAX_DEPTH: usize = 8;
/// Most calls of networks, which are read at each call, and most calls of one layer. Keras' models call an activation
/// about 35 times.
const MAX_NETWORKS: usize = 64;
const MAX_CALLS: usize = 256;
/// Classes of networks.
const NETWORKS: [&str; 3] = ["Functional", "Model", "Sequential"];
/// Most times that layers precede their inputs, in total.
const MAX_WAITS: usize = 1 << 20;

/// The network being read: the scope of its weights and the path of its layers in messages.
struct Inside<'n, 'a> {
    scope: &'n Scope<'a>,
    path: &'n str,
    depth: usize,
}

impl<'a> Inside<'_, 'a> {
    fn place(&self, layer: &Layer<'a>) -> Place<'a> {
        let name = match self.path {
            "" => layer.name.into(),
            path => format!("{path}/{}", shorten(layer.name)).into(),
        };
        Place { name, operator: layer.class.into() }
    }
}

struct Flattener<'a> {
    graph: Builder<'a>,
    /// Layers and calls read so far; bounds the work on a hostile file.
    calls: usize,
    /// Networks read so far.
    networks: usize,
    /// How often a layer came before its inputs.
    waits: usize,
}

/// Reads the whole model. Returns its operations and its output.
pub fn read<'a>(weights: Box<dyn Weights<'a> + 'a>, config: &'a Json) -> Result<(Builder<'a>, Value)> {
    let mut flattener = Flattener { graph: Builder::new(weights), calls: 0, networks: 0, waits: 0 };
    let output = flattener.model(config)?;
    Ok((flattener.graph, output))
}

impl<'a> Flattener<'a> {
    fn model(&mut self, config: &'a Json) -> Result<Value> {
        let model = Layer::new(config)?;
        let layers = members(&model)?.ok_or_else(|| {
            ImportError::unsupported(format!("unsupported model class '{}'", shorten(model.class)))
                .expected("a Functional or Sequential model")
                .help("a subclassed model defines its layers in Python: rebuild it as a functional model and save that")
        })?;
        self.check(&model)?;
        let scope = self.graph.weights.root(&layers)?;
        let inside = Inside { scope: &scope, path: "", depth: 0 };
        let outputs = self.network(&model, &layers, &[INPUT], &inside)?;
        match *outputs.as_slice() {
            [output] => Ok(output),
            _ => Err(ImportError::unsupported(format!("the model has {} outputs", outputs.len()))
                .expected("one output, the scores of the classes")),
        }
    }

    /// Counts layers and calls. A network is read at each call.
    fn spend(&mut self, count: usize) -> Result<()> {
        self.calls += count;
        if self.calls > 2 * MAX_NODES {
            return Err(ImportError::unsupported("the model has too many layers"));
        }
        Ok(())
    }

    fn network(
        &mut self,
        network: &Layer<'a>,
        layers: &[Layer<'a>],
        inputs: &[Value],
        inside: &Inside<'_, 'a>,
    ) -> Result<Vec<Value>> {
        if network.class == "Sequential" {
            return self.sequential(network, layers, inputs, inside);
        }
        self.functional(network, layers, inputs, inside)
    }

    fn sequential(
        &mut self,
        network: &Layer<'a>,
        layers: &[Layer<'a>],
        inputs: &[Value],
        inside: &Inside<'_, 'a>,
    ) -> Result<Vec<Value>> {
        let &[mut value] = inputs else {
            return Err(ImportError::unsupported(format!("the Sequential model has {} inputs", inputs.len()))
                .at(inside.place(network).text())
                .expected("one input"));
        };
        self.graph.learn(value, network);
        for layer in layers {
            self.graph.learn(value, layer);
            self.graph.learn_type(value, layer).map_err(|error| error.at(inside.place(layer).text()))?;
            if layer.class != "InputLayer" {
                let results = self.call(layer, &[Operand::Value(value)], inside)?;
                let &[result] = results.as_slice() else {
                    return Err(ImportError::unsupported("a layer of a Sequential model has more than one result")
                        .at(inside.place(layer).text()));
                };
                value = result;
            }
        }
        Ok(vec![value])
    }

    fn functional(
        &mut self,
        network: &Layer<'a>,
        layers: &[Layer<'a>],
        inputs: &[Value],
        inside: &Inside<'_, 'a>,
    ) -> Result<Vec<Value>> {
        let places = |key| tensors(network.config.get(key).unwrap_or(&Json::Null));
        let (entries, exits) = (places("input_layers")?, places("output_layers")?);
        if entries.len() != inputs.len() {
            return Err(ImportError::unsupported(format!("the model has {} inputs", entries.len()))
                .expected("one image")
                .at(inside.place(network).text()));
        }
        let mut results = Results::default();
        let mut waiting: VecDeque<(&Layer<'a>, usize, Call<'a>)> = VecDeque::new();
        for layer in layers {
            let calls = calls(layer.inbound).map_err(|error| error.at(inside.place(layer).text()))?;
            if calls.len() > MAX_CALLS {
                return Err(ImportError::unsupported(format!("the layer is called {} times", calls.len()))
                    .at(inside.place(layer).text())
                    .expected(format!("at most {MAX_CALLS}")));
            }
            if !results.expect(layer.name, calls.len()) {
                return Err(ImportError::malformed("two layers of the model have the same name")
                    .at(inside.place(layer).text())
                    .help("save the model with Keras itself"));
            }
            for (number, call) in calls.into_iter().enumerate() {
                self.spend(1)?;
                waiting.push_back((layer, number, call));
            }
        }
        for (entry, value) in entries.iter().zip(inputs) {
            if !results.enter(entry.layer, *value) {
                let name = shorten(entry.layer);
                return Err(ImportError::unsupported(format!(
                    "the input '{name}' of the model is the output of another layer"
                ))
                .at(inside.place(network).text())
                .expected("an input layer"));
            }
        }
        for layer in layers {
            if let Some(value) = results.first(layer.name) {
                self.graph.learn(value, layer);
                self.graph.learn_type(value, layer).map_err(|error| error.at(inside.place(layer).text()))?;
            }
        }
        // Layers are in order of execution, so the inputs of nearly all are available at once.
        let mut stuck = 0;
        while let Some((layer, number, call)) = waiting.pop_front() {
            match results.operands(&call) {
                Some(operands) => {
                    let produced = self.call(layer, &operands, inside)?;
                    results.add(layer.name, number, produced);
                    stuck = 0;
                }
                None if stuck > waiting.len() => {
                    return Err(ImportError::malformed("no layer produces an input of this layer")
                        .at(inside.place(layer).text()));
                }
                None => {
                    self.waits += 1;
                    if self.waits > MAX_WAITS {
                        return Err(ImportError::unsupported("the layers are not in order of execution")
                            .help("save the model with Keras itself"));
                    }
                    waiting.push_back((layer, number, call));
                    stuck += 1;
                }
            }
        }
        let result = |exit: &Tensor<'a>| {
            results.get(exit).ok_or_else(|| {
                let name = shorten(exit.layer);
                ImportError::malformed(format!("no layer produces the output '{name}'"))
                    .at(inside.place(network).text())
            })
        };
        exits.iter().map(result).collect()
    }

    /// Checks class, call and number types of a layer.
    fn check(&mut self, layer: &Layer<'a>) -> Result<()> {
        if let Some(package) = layer.foreign.filter(|_| NETWORKS.contains(&layer.class)) {
            return Err(ImportError::unsupported("the model class is not a Keras class")
                .expected("a Functional or Sequential model")
                .found(format!("'{}' of '{}'", shorten(layer.class), shorten(package)))
                .help("its `call` method is Python code, which is not executed: rebuild the model from built-in layers and save it again"));
        }
        if let Some(package) = layer.foreign {
            return Err(ImportError::unsupported("the layer is not a built-in Keras layer")
                .expected("a layer of Keras")
                .found(format!("'{}' of '{}'", shorten(layer.class), shorten(package)))
                .help("rebuild the model from built-in Keras layers and save it again"));
        }
        if layer.is_called_in_training() && !layers::records_training(layer) {
            return Err(ImportError::unsupported("the layer is called with `training=True`")
                .expected("a layer in inference mode")
                .help("build the model without this argument, and save it again"));
        }
        match layer.policy()? {
            Some(policy) if is_float(policy) && policy.contains("float16") => {
                let policy = shorten(policy);
                self.graph.note(format!(
                    "Keras runs this model with the policy {policy}; it is imported as float32, which is more precise"
                ));
            }
            Some(policy) if ["int8", "int4", "float8", "gptq", "awq"].iter().any(|kind| policy.starts_with(kind)) => {
                return Err(ImportError::unsupported("the weights of the layer are quantized by Keras")
                    .found(shorten(policy))
                    .help("save the model before `model.quantize`, and use `mbvc quantize`"));
            }
            Some(policy) if !is_float(policy) && !layers::has_any_type(layer.class) => {
                return Err(layer.wrong("dtype", "a floating-point policy, such as float32"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the results of one call of a layer.
    fn call(&mut self, layer: &Layer<'a>, operands: &[Operand], inside: &Inside<'_, 'a>) -> Result<Vec<Value>> {
        self.check(layer).map_err(|error| error.at(inside.place(layer).text()))?;
        let Some(layers) = members(layer)? else {
            let place = inside.place(layer);
            let translated = layers::translate(&mut self.graph, layer, &place, operands, inside.scope);
            return translated.map(|value| vec![value]).map_err(|error| error.at(place.text()));
        };
        self.networks += 1;
        if inside.depth == MAX_DEPTH || self.networks > MAX_NETWORKS {
            return Err(
                ImportError::unsupported("too many nested models or calls of models").at(inside.place(layer).text())
            );
        }
        self.spend(layers.len())?;
        let inputs = values(operands);
        let scope = self.graph.weights.nested(inside.scope, layer, &layers)?;
        let path = shorten(&inside.place(layer).name);
        self.network(layer, &layers, &inputs, &Inside { scope: &scope, path: &path, depth: inside.depth + 1 })
    }
}

/// Returns the layers of a network; `None` for a layer that is not a network.
fn members<'a>(layer: &Layer<'a>) -> Result<Option<Vec<Layer<'a>>>> {
    let Some(entries) = layer.members().filter(|_| NETWORKS.contains(&layer.class)) else { return Ok(None) };
    if entries.len() > MAX_NODES {
        return Err(ImportError::unsupported("the model has too many layers").expected(format!("at most {MAX_NODES}")));
    }
    entries.iter().map(Layer::new).collect::<Result<Vec<_>>>().map(Some)
}

/// Results of the calls of a network's layers: by layer, then by number of the call.
#[derive(Default)]
struct Results<'a> {
    calls: HashMap<&'a str, Vec<Option<Vec<Value>>>>,
}

impl<'a> Results<'a> {
    /// Adds a layer that is called `count` times. Returns whether its name is new.
    fn expect(&mut self, layer: &'a str, count: usize) -> bool {
        self.calls.insert(layer, vec![None; count]).is_none()
    }

    /// Sets the value of an input. Returns false if a call computes it.
    fn enter(&mut self, layer: &'a str, value: Value) -> bool {
        let calls = self.calls.entry(layer).or_default();
        let is_free = calls.is_empty();
        *calls = vec![Some(vec![value])];
        is_free
    }

    fn add(&mut self, layer: &str, number: usize, results: Vec<Value>) {
        if let Some(call) = self.calls.get_mut(layer).and_then(|calls| calls.get_mut(number)) {
            *call = Some(results);
        }
    }

    fn first(&self, layer: &str) -> Option<Value> {
        self.calls.get(layer)?.first()?.as_ref()?.first().copied()
    }

    /// Returns the value of a tensor; `None` if the call has not been read. Some versions of Keras number the construction
    /// of a nested network as call 0, so any number refers to the call of a layer that is called once.
    fn get(&self, tensor: &Tensor<'a>) -> Option<Value> {
        let call = match self.calls.get(tensor.layer)?.as_slice() {
            [only] => only,
            calls => calls.get(tensor.call)?,
        };
        call.as_ref()?.get(tensor.index).copied()
    }

    /// Returns the operands of a call; `None` if some are not available yet.
    fn operands(&self, call: &Call<'a>) -> Option<Vec<Operand>> {
        let operand = |argument: &Argument<'a>| match argument {
            Argument::Tensor(tensor) => self.get(tensor).map(Operand::Value),
            Argument::Numbers(numbers) => Some(Operand::Numbers(numbers.clone())),
        };
        call.iter().map(operand).collect()
    }
}

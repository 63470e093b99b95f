//! Graph models: the nodes on the way from the input to the output, in order of execution.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value as Json;

use super::manifest::Tensors;
use super::node::{Input, Node};
use super::operators;
use super::scope::{Scope, Slot};
use crate::error::{ImportError, Result};
use crate::source::{Format, MAX_NODES, SourceGraph, dependencies};
use crate::text::shorten;

/// Nodes that have no effect if no other node reads them.
const INERT: [&str; 2] = ["Const", "NoOp"];

/// Translates `topology`, a GraphDef. `signature` names the outputs, if it is recorded.
pub fn read<'a>(topology: &'a Json, signature: &'a Json, tensors: &'a Tensors) -> Result<SourceGraph<'a>> {
    let library = topology.get("library").and_then(|library| library.get("function")).and_then(Json::as_array);
    if library.is_some_and(|functions| !functions.is_empty()) {
        return Err(ImportError::unsupported("the graph calls functions, as those of control flow")
            .help("convert a model without control flow"));
    }
    let graph = Graph::new(topology)?;
    let output = graph.output(signature)?;
    let input = graph.input()?;
    let input_shape = image(&graph.nodes[input])?;
    let input_quantization = pixels(&graph.nodes[input])?;
    let mut scope = Scope::new(tensors);
    let value = scope.fresh(input_shape[2]);
    for at in graph.order(output)? {
        let node = &graph.nodes[at];
        let translated = if at == input { Ok(Slot::Data(value)) } else { operators::read(&mut scope, node) };
        let slot = translated.map_err(|error| error.at(node.place().text()))?;
        scope.bind(node.name, slot);
    }
    let format = SourceGraph::of(Format::TensorFlowJs);
    Ok(SourceGraph { input: value, input_shape, input_quantization, nodes: scope.nodes, ..format })
}

/// Nodes by name.
struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Graph<'a> {
    fn new(topology: &'a Json) -> Result<Self> {
        let nodes = topology.get("node").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            return Err(ImportError::unsupported(format!("the graph has {} nodes", nodes.len()))
                .expected(format!("1 to {MAX_NODES}")));
        }
        let nodes = nodes.iter().map(Node::new).collect::<Result<Vec<_>>>()?;
        let mut numbers = HashMap::new();
        for (number, node) in nodes.iter().enumerate() {
            if numbers.insert(node.name, number).is_some() {
                return Err(ImportError::malformed(format!("the name '{}' is assigned twice", shorten(node.name))));
            }
        }
        Ok(Self { nodes, numbers })
    }

    fn number(&self, input: Input<'a>) -> Result<usize> {
        self.numbers.get(input.node).copied().ok_or_else(|| {
            ImportError::malformed(format!("the node '{}' does not exist", shorten(input.node)))
                .help("the file may be damaged; convert the model again")
        })
    }

    /// Returns the only input.
    fn input(&self) -> Result<usize> {
        let is_input = |node: &Node<'_>| node.operator.starts_with("Placeholder");
        let inputs: Vec<usize> = (0..self.nodes.len()).filter(|&at| is_input(&self.nodes[at])).collect();
        match inputs.as_slice() {
            &[input] if self.nodes[input].operator == "Placeholder" => Ok(input),
            inputs => {
                let names = inputs.iter().take(8).map(|&at| self.nodes[at].place().text());
                Err(ImportError::unsupported("the model does not have exactly one input")
                    .expected("one image, a node `Placeholder`")
                    .found(format!("{} inputs {}", inputs.len(), names.collect::<Vec<_>>().join(", "))))
            }
        }
    }

    /// Returns the only output: that of the signature, or the node that no other node reads.
    fn output(&self, signature: &'a Json) -> Result<usize> {
        let recorded = signature.get("outputs").and_then(Json::as_object).filter(|outputs| !outputs.is_empty());
        let outputs: BTreeSet<usize> = match recorded {
            Some(outputs) => {
                let name = |output: &'a Json| {
                    let name = output.get("name").and_then(Json::as_str);
                    name.ok_or_else(|| ImportError::malformed("an output of the signature has no name"))
                };
                let number = |output| {
                    let output = Input::new(name(output)?);
                    match output.index {
                        0 => self.number(output),
                        _ => Err(ImportError::unsupported("the output is not the first result of its node")),
                    }
                };
                outputs.values().map(number).collect::<Result<_>>()?
            }
            None => {
                let mut outputs: BTreeSet<usize> = (0..self.nodes.len()).collect();
                for node in &self.nodes {
                    for input in node.inputs()? {
                        outputs.remove(&self.number(input)?);
                    }
                }
                outputs.retain(|&at| !INERT.contains(&self.nodes[at].operator));
                outputs
            }
        };
        let mut numbers = outputs.iter();
        match (numbers.next(), numbers.next()) {
            (Some(&output), None) => Ok(output),
            _ => {
                let names = outputs.iter().take(8).map(|&at| format!("'{}'", shorten(self.nodes[at].name)));
                Err(ImportError::unsupported(format!("the model has {} outputs", outputs.len()))
                    .expected("one output, the scores of the classes")
                    .found(names.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// Returns the nodes that `output` depends on, each after its inputs.
    ///
    /// # Errors
    /// If nodes depend on each other, or a node has no effect on the output.
    fn order(&self, output: usize) -> Result<Vec<usize>> {
        let place = |at: usize| self.nodes[at].place().text();
        let inputs = |at: usize| {
            let inputs = self.nodes[at].inputs().map_err(|error| error.at(place(at)))?;
            inputs.into_iter().map(|input| self.number(input)).collect()
        };
        let cycle =
            |at| ImportError::unsupported("the graph has a cycle").at(place(at)).expected("a model without loops");
        let order = dependencies(self.nodes.len(), [output], inputs, cycle)?;
        let used: HashSet<usize> = order.iter().copied().collect();
        let unused = (0..self.nodes.len()).find(|at| !used.contains(at) && !INERT.contains(&self.nodes[*at].operator));
        match unused {
            None => Ok(order),
            Some(at) => Err(ImportError::unsupported("the node has no effect on the output")
                .at(place(at))
                .expected(format!("only nodes that the output '{}' depends on", shorten(self.nodes[output].name)))
                .help("convert the model again: `tensorflowjs_converter` removes such nodes")),
        }
    }
}

/// Returns height, width and channels of the input.
fn image(input: &Node<'_>) -> Result<[Option<usize>; 3]> {
    match input.shape("shape").map_err(|error| error.at(input.place().text()))?.as_deref() {
        None => Ok([None; 3]),
        Some(&[_, height, width, channels]) => Ok([height, width, channels]),
        Some(sizes) => Err(ImportError::unsupported("the input is not a batch of images")
            .at(input.place().text())
            .expected("4 dimensions, [N, height, width, 3]")
            .found(format!("{} dimensions", sizes.len()))),
    }
}

/// Returns scale and zero point of an input of integers, which are pixels from 0 to 255; `None` for floats.
fn pixels(input: &Node<'_>) -> Result<Option<(f64, i64)>> {
    let at = |error: Box<ImportError>| error.at(input.place().text());
    match input.element_type("dtype").map_err(at)? {
        None | Some("DT_FLOAT" | "DT_HALF" | "DT_DOUBLE" | "DT_BFLOAT16") => Ok(None),
        Some("DT_UINT8" | "DT_INT32" | "DT_INT64") => Ok(Some((1.0, 0))),
        Some(other) => Err(at(ImportError::unsupported("unsupported type of the image")
            .expected("floats, or integers from 0 to 255: uint8 or int32")
            .found(shorten(other)))),
    }
}

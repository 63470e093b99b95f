//! TFLite -> [`SourceGraph`], for float and quantized files.

mod channels;
mod metadata;
mod metadata_schema;
mod operators;
mod ops;
mod schema;
mod table;
mod tensors;

use std::collections::{BTreeSet, HashSet};

use crate::error::{ImportError, Result};
use crate::source::{Fact, Format, Hints, MAX_NODES, Node, Op, Output, SourceGraph, Value};
use crate::text::{counted, shorten};
use schema::{Model, Subgraph};
use tensors::{Input, Tensors, text};

/// Most outputs of a model to read.
const MAX_OUTPUTS: usize = 16;

/// Returns a fact that lists the constants that no operator reads.
fn unused(tensors: &Tensors<'_>, subgraph: Subgraph<'_>) -> Result<Option<Fact>> {
    const SHOWN: usize = 4;
    let operators = subgraph.operators()?;
    let mut read = BTreeSet::new();
    for index in 0..operators.len {
        let inputs = schema::Operator(operators.table(index, "operator")?).inputs()?;
        read.extend(inputs.i32s().take(ops::MAX_OPERANDS));
    }
    let (mut count, mut shown) = (0, Vec::new());
    for index in (0..subgraph.tensors()?.len).filter_map(|index| i32::try_from(index).ok()) {
        if !read.contains(&index) && tensors.is_constant(index)? {
            count += 1;
            if shown.len() < SHOWN {
                shown.push(shorten(&tensors.name(index)));
            }
        }
    }
    let value = counted(count, "tensor");
    Ok((count > 0).then(|| Fact { key: "ignored", value, how: format!("read by no operator: {}", shown.join(", ")) }))
}

/// Removes reshapes whose results are read by SHAPE only. The converter merges consecutive reshapes of dynamic size into
/// one, but computes its sizes from the results of the others.
fn without_measured_reshapes<'a>(tensors: &mut Tensors<'a>, outputs: &[Output<'_>]) -> Vec<Node<'a>> {
    let nodes = std::mem::take(&mut tensors.nodes);
    let inputs = nodes.iter().flat_map(|node| &node.inputs);
    let read: HashSet<Value> = inputs.copied().chain(outputs.iter().map(|output| output.value)).collect();
    let is_needed = |node: &Node<'_>| {
        !matches!(node.op, Op::Flatten) || read.contains(&node.output) || !tensors.measured.contains(&node.output)
    };
    nodes.into_iter().filter(is_needed).collect()
}

/// Translates the first subgraph.
pub fn read(bytes: &[u8]) -> Result<SourceGraph<'_>> {
    let model = Model::new(bytes)?;
    let version = model.version()?;
    if version != 3 {
        return Err(ImportError::unsupported(format!("unsupported schema version {version}")).expected("version 3"));
    }
    let subgraphs = model.subgraphs()?;
    if subgraphs.len == 0 {
        return Err(ImportError::malformed("the file has no subgraph").help("the file may be truncated"));
    }
    let subgraph = Subgraph(subgraphs.table(0, "subgraph")?);
    let mut tensors = Tensors::new(bytes, model, subgraph)?;
    if subgraphs.len > 1 {
        tensors.notes.push(format!("only the first of {} subgraphs is imported", subgraphs.len));
    }
    let inputs: Vec<i32> = subgraph.inputs()?.i32s().take(2).collect();
    let &[input] = inputs.as_slice() else {
        return Err(ImportError::unsupported("the model does not have exactly one input")
            .expected("one image")
            .found(format!("{} inputs", subgraph.inputs()?.len)));
    };
    let value = tensors.make(input)?;
    let operators = subgraph.operators()?;
    if operators.len > MAX_NODES {
        return Err(ImportError::unsupported(format!("the graph has {} operators", operators.len))
            .expected(format!("at most {MAX_NODES}")));
    }
    for index in 0..operators.len {
        ops::read(&mut tensors, model, schema::Operator(operators.table(index, "operator")?))?;
    }
    let mut outputs = Vec::new();
    for output in subgraph.outputs()?.i32s().take(MAX_OUTPUTS) {
        if let Input::Data(value) = tensors.input(output)? {
            outputs.push(Output { name: tensors.name(output), value });
        }
    }
    if outputs.is_empty() && subgraph.outputs()?.len > 0 {
        return Err(ImportError::unsupported("no output of the model is computed from the values of the image")
            .expected("the scores of the classes"));
    }
    let nodes = without_measured_reshapes(&mut tensors, &outputs);
    let facts = unused(&tensors, subgraph)?.into_iter().collect();
    let input_shape = tensors.image(input)?;
    let metadata = metadata::read(bytes, model, input_shape[2].unwrap_or(3))?;
    tensors.notes.extend(metadata.notes);
    let hints = Hints {
        facts,
        preprocessing: metadata.normalization.map(|normalization| (normalization, true)),
        labels: metadata.labels,
        ..Hints::default()
    };
    Ok(SourceGraph {
        format: Format::TfLite,
        producer: shorten(&text(model.description()?)),
        input: value,
        input_shape,
        input_quantization: tensors.pixels(input)?,
        nodes,
        outputs,
        quants: tensors.quants,
        holders: tensors.holders,
        hints,
        notes: tensors.notes,
    })
}

//! TFLite -> [`SourceGraph`], for float and quantized files.

mod operators;
mod ops;
mod schema;
mod table;
mod tensors;

use crate::error::{ImportError, Result};
use crate::source::{Format, Hints, MAX_NODES, SourceGraph};
use crate::text::shorten;
use schema::{Model, Subgraph};
use tensors::{Tensors, text};

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
    Ok(SourceGraph {
        format: Format::TfLite,
        producer: shorten(&text(model.description()?)),
        input: value,
        input_shape: tensors.image(input)?,
        input_quantization: tensors.pixels(input)?,
        nodes: tensors.nodes,
        quants: tensors.quants,
        holders: tensors.holders,
        hints: Hints::default(),
        notes: tensors.notes,
    })
}

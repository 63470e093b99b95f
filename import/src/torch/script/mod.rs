//! TorchScript archives (`torch.jit.trace`, `torch.jit.script`, `torch.jit.freeze`) -> [`SourceGraph`].
//!
//! ```text
//! code/*.py --lexer, parser--> functions --machine--> nodes
//! data.pkl, constants.pkl --objects--> weights
//! ```
//! The code is executed symbolically, starting at `forward` of the root module, so that each operation is judged by the values
//! that it reads. A function without an equivalent is an error. A tensor that the code does not read has no effect.

mod arguments;
mod constants;
mod layers;
mod lexer;
mod machine;
mod objects;
mod parser;
mod program;
mod recorder;
mod scalars;
mod shapes;
mod signatures;
mod tensors;
#[cfg(test)]
mod tests;
mod value;

use std::collections::{BTreeMap, HashSet};

use self::machine::Machine;
use self::objects::Objects;
pub use self::program::Program;
use self::value::Value;
use super::tensor::Storages;
use super::value::{Pickled, Ref};
use crate::error::{ImportError, Result};
use crate::source::{self, Fact, Format, Node, SourceGraph};
use crate::state_dict::{Sidecar, StateDict, conventions};
use crate::text::{counted, shorten};

/// A pickle of an archive and the storages of its tensors.
pub struct Part<'p, 'a> {
    pub pickled: &'p Pickled<'a>,
    pub storages: Storages<'p, 'a>,
}

/// Translates the network of an archive. `dict` has the tensors of `data` by name, `places` their places in the pickle.
/// At most `most` elements are copied.
///
/// # Errors
/// If the code contains an operation that MobileNetV2 does not have.
pub fn read<'a>(
    program: &Program,
    data: &Part<'_, 'a>,
    constants: Option<&Part<'_, 'a>>,
    dict: &StateDict<'a>,
    places: &BTreeMap<String, Ref>,
    sidecar: &Sidecar,
    most: usize,
) -> Result<SourceGraph<'a>> {
    let constants = constants.map(|part| Objects::new(part.pickled, part.storages));
    let mut machine = Machine::new(program, Objects::new(data.pickled, data.storages), constants, most);
    let result = machine.run()?;
    let Some(output) = output(&result) else {
        return Err(ImportError::unsupported("the code does not return one tensor")
            .expected("a model that returns the scores of the classes")
            .found(result.text())
            .help("save a model that returns the scores alone"));
    };
    let output = machine.recorder.current(output)?;
    let is_read = |name: &&String| places.get(*name).is_some_and(|at| machine.objects.read.contains_key(at));
    let unread: Vec<&String> = dict.tensors.keys().filter(|name| !is_read(name)).collect();
    let ignored = ignored(&unread);
    let nodes = reaching(machine.recorder.nodes, output);
    let known = conventions(dict, sidecar);
    let mut hints = known.hints;
    hints.facts.extend(ignored);
    let [height, width] = known.resolution.map_or([None; 2], |size| size.map(Some));
    Ok(SourceGraph {
        producer: [known.name, "TorchScript"].join(" ").trim().to_owned(),
        // The stem determines the channels: 3, or 1 for a gray image.
        input_shape: [height, width, None],
        nodes,
        hints,
        notes: known.notes,
        ..SourceGraph::of(Format::PyTorch)
    })
}

/// Returns the only tensor of a result, which may be in a tuple or dictionary.
fn output<'v>(result: &'v Value<'_>) -> Option<&'v value::Tensor> {
    match result {
        Value::Tensor(tensor) => Some(tensor).filter(|tensor| tensor.averaged.is_none()),
        Value::List(elements) | Value::Tuple(elements) | Value::Dict(elements) => match &**elements {
            [one] => output(one),
            _ => None,
        },
        _ => None,
    }
}

/// Keeps the nodes that `output` depends on.
fn reaching(nodes: Vec<Node<'_>>, output: source::Value) -> Vec<Node<'_>> {
    let mut needed = HashSet::from([output]);
    let mut kept: Vec<_> = nodes
        .into_iter()
        .rev()
        .filter(|node| {
            let is_needed = needed.contains(&node.output);
            if is_needed {
                needed.extend(&node.inputs);
            }
            is_needed
        })
        .collect();
    kept.reverse();
    kept
}

fn ignored(names: &[&String]) -> Option<Fact> {
    let first = names.first()?;
    let value = counted(names.len(), "tensor");
    let more = if names.len() == 1 { String::new() } else { format!(" and {} more", names.len() - 1) };
    Some(Fact { key: "ignored", value, how: format!("not read by the code: {}{more}", shorten(first)) })
}

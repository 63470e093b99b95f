//! What holds of every graph, and what holds since a pass ran. Checked between all passes, always.
//!
//! A violation is a mistake of the compiler, never of the user. All of them are reported, each with its node.

mod layout;
mod place;
mod postcondition;
mod quant;
mod site;
mod structure;

use std::fmt;

use super::{Graph, Node, NodeId};
pub use postcondition::Postcondition;

/// The rules, one for each kind of violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// No value depends on itself.
    Acyclic,
    /// Input slots are taken from 0 on, each once, as many as the operation has.
    Inputs,
    /// One image goes in, one vector comes out, and nothing is made that nobody reads.
    Ends,
    /// No operation reads what a later step makes.
    Steps,
    /// Layers are numbered from 1 without gap, each once.
    Layers,
    /// A value has the shape that its operation makes.
    Type,
    /// Parameters exist, under one name each, in the shape that their operation or recipe wants.
    Params,
    /// Stages are a chain that ends in depthwise and projection, and make the node's value.
    Stages,
    /// Element types agree, and quantized values say what they stand for.
    Quantization,
    /// A value lies as its readers accept it.
    Layout,
    /// A place is aligned, holds its value, and is shared with no other value that lives at the same time.
    Place,
    /// No thread reads or writes what another thread writes between the same two barriers.
    Accesses,
    /// What a pass has brought about still holds.
    Postcondition(Postcondition),
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acyclic => "acyclic",
            Self::Inputs => "inputs",
            Self::Ends => "ends",
            Self::Steps => "steps",
            Self::Layers => "layers",
            Self::Type => "type",
            Self::Params => "params",
            Self::Stages => "stages",
            Self::Quantization => "quantization",
            Self::Layout => "layout",
            Self::Place => "place",
            Self::Accesses => "accesses",
            Self::Postcondition(postcondition) => return write!(f, "after {}", postcondition.pass()),
        })
    }
}

/// A broken rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub invariant: Invariant,
    /// Name of the node or stage; that of the parameter where a parameter is at fault.
    pub node: String,
    /// Line of the spec that made the node, from 1.
    pub line: Option<usize>,
    /// What is wrong, in words that follow the node's name.
    pub message: String,
}

/// Everything that is wrong with a graph after a pass. An internal error of the compiler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct VerifyErrors {
    /// The pass after which the graph was found broken.
    pub pass: String,
    /// At least one.
    pub violations: Vec<Violation>,
}

impl fmt::Display for VerifyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the graph is broken after `{}`:", self.pass)?;
        for Violation { invariant, node, line, message } in &self.violations {
            write!(f, "\n  {node}")?;
            if let Some(line) = line {
                write!(f, " (spec line {line})")?;
            }
            write!(f, " {message} [{invariant}]")?;
        }
        Ok(())
    }
}

/// Checks `graph` as `pass` left it, `since` being the passes that have run.
///
/// # Errors
/// Every violation that there is.
pub fn verify(graph: &Graph, pass: &str, since: &[Postcondition]) -> Result<(), VerifyErrors> {
    let mut found = Findings::default();
    let order = structure::check(graph, &mut found);
    quant::check(graph, &mut found);
    layout::check(graph, since.contains(&Postcondition::LayoutsAssigned), &mut found);
    if let Some(order) = order {
        place::check(graph, &order, &mut found);
    }
    for postcondition in since {
        postcondition.check(graph, &mut found);
    }
    if found.0.is_empty() { Ok(()) } else { Err(VerifyErrors { pass: pass.to_owned(), violations: found.0 }) }
}

#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn at(&mut self, invariant: Invariant, graph: &Graph, id: NodeId, message: impl Into<String>) {
        let Node { origin, .. } = graph.node(id);
        self.named(invariant, &origin.name, Some(origin.line), message);
    }

    fn named(&mut self, invariant: Invariant, node: &str, line: Option<usize>, message: impl Into<String>) {
        self.0.push(Violation { invariant, node: node.to_owned(), line, message: message.into() });
    }
}

//! Invariants of every graph and postconditions of passes, checked after every pass.
//!
//! A violation is a bug of the compiler, not of the user. All violations are reported, each with its node.

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
    /// The input slots are 0 to the arity of the operation, each used once.
    Inputs,
    /// The graph has one input and one result, and every other value has a reader.
    Ends,
    /// No operation reads a value of a later step.
    Steps,
    /// Layers are numbered consecutively from 1.
    Layers,
    /// A value has the inferred shape of its operation.
    Type,
    /// Parameters exist, have unique names, and have the shape that their operation or recipe expects.
    Params,
    /// Stages are a chain that ends in depthwise and projection, whose value is the node's.
    Stages,
    /// Element types agree, and quantized values have a scale and a zero point.
    Quantization,
    /// A value has a layout that its readers accept.
    Layout,
    /// A place is aligned, large enough, and overlaps no other live value.
    Place,
    /// No thread reads or writes what another thread writes between the same two barriers.
    Accesses,
    /// The postcondition of a pass holds.
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

/// A violated rule and its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub invariant: Invariant,
    /// Name of the node, stage or parameter.
    pub node: String,
    /// Line of the node in the spec, from 1.
    pub line: Option<usize>,
    /// The violation, as a predicate of the node.
    pub message: String,
}

/// All violations of a graph after a pass. An internal error of the compiler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct VerifyErrors {
    /// The last pass.
    pub pass: String,
    /// At least one.
    pub violations: Vec<Violation>,
}

impl fmt::Display for VerifyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid graph after `{}`:", self.pass)?;
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

/// Checks `graph` after `pass`, and the postconditions `since` of the passes so far.
///
/// # Errors
/// If the graph violates an invariant. The error lists every violation.
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

//! The compiler's passes. The order is fixed, each pass runs once, and the verifier runs after each one.
//!
//! ```text
//! fold_batch_norm         every fusion level        weights and bias absorb batch normalization
//! fuse_activation         relu6, block, deep        before the residual: no activation follows the add
//! fuse_residual_add       relu6, block, deep        the projection must be complete when it is streamed
//! fuse_inverted_residual  block, deep
//! fuse_pool               block, deep               before layouts: the averaged image is never a value
//! choose_products         per instruction set       part of assign_layouts: before any choice of layout or tile
//! assign_layouts          per instruction set       layouts determine the kernel shapes; deep chains blocks here
//! assign_tiles            per instruction set
//! plan_scratch            per instruction set       needs the sizes of all layouts
//! ```
//!
//! Quantized epilogues include the activation and the residual add at every level, since they clamp what they round,
//! and the head includes the average. For quantized networks, `none` equals `relu6`, and `fuse_pool` runs at every
//! level.
//!
//! A rewrite matches, then rewrites. Each missed fusion is recorded as a [`Remark`].

mod assign_layouts;
mod assign_tiles;
mod border;
mod chain_blocks;
mod choose_products;
mod fold_batch_norm;
mod fuse_activation;
mod fuse_inverted_residual;
mod fuse_pool;
mod fuse_residual_add;
mod plan_scratch;
mod store_quads;
mod stream_quads;

pub use choose_products::choose_products;
pub use fold_batch_norm::fold_batch_norm;
pub use fuse_activation::fuse_activation;
pub use fuse_inverted_residual::fuse_inverted_residual;
pub use fuse_pool::fuse_pool;
pub use fuse_residual_add::fuse_residual_add;

use std::fmt;

use crate::ir::verify::{Invariant, Postcondition, VerifyErrors, Violation, verify};
use crate::ir::{Graph, NodeId};
use crate::schedule::accesses::{Race, races};
use crate::spec::{Fusion, Isa, NetworkSpec, Numerics};

/// Name of the graph before any pass.
pub const LOWERED: &str = "lower";

/// All passes, in order.
pub const PASSES: [&str; 8] = [
    "fold_batch_norm",
    "fuse_activation",
    "fuse_residual_add",
    "fuse_inverted_residual",
    "fuse_pool",
    "assign_layouts",
    "assign_tiles",
    "plan_scratch",
];

/// A missed fusion and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// One of [`PASSES`].
    pub pass: &'static str,
    /// Name of the node that was not fused.
    pub node: String,
    /// Line of the spec that the node comes from, from 1.
    pub line: usize,
    /// What was not done, and why: `not fused: ...`.
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (spec line {}): {} [{}]", self.node, self.line, self.message, self.pass)
    }
}

/// A pass that rewrites the graph independently of the instruction set.
struct Rewrite {
    postcondition: Postcondition,
    /// Minimum fusion level that runs the pass, for float and for quantized.
    from: Fusion,
    from_of_integers: Fusion,
    apply: fn(&mut Graph) -> Vec<Remark>,
}

const REWRITES: [Rewrite; 5] = {
    use Fusion::{Block, None, Relu6};
    use Postcondition::{ActivationFused, BatchNormFolded, InvertedResidualFused, PoolFused, ResidualFused};
    const fn rewrite(
        [from, from_of_integers]: [Fusion; 2],
        postcondition: Postcondition,
        apply: fn(&mut Graph) -> Vec<Remark>,
    ) -> Rewrite {
        Rewrite { postcondition, from, from_of_integers, apply }
    }
    [
        rewrite([None, None], BatchNormFolded, fold_batch_norm),
        rewrite([Relu6, None], ActivationFused, fuse_activation),
        rewrite([Relu6, None], ResidualFused, fuse_residual_add),
        rewrite([Block, Block], InvertedResidualFused, fuse_inverted_residual),
        rewrite([Block, None], PoolFused, fuse_pool),
    ]
};

/// Returns the rewrites of a fusion level for the number type of the graph.
fn rewrites(graph: &Graph, fusion: Fusion) -> impl Iterator<Item = &'static Rewrite> + use<> {
    let integers = graph.ids().any(|id| graph.node(id).tensor.element.is_quantized());
    REWRITES.iter().filter(move |rewrite| fusion >= if integers { rewrite.from_of_integers } else { rewrite.from })
}

/// Runs the rewriting passes of a fusion level on a lowered graph.
///
/// Stops after the pass named `up_to`, or after the last. Calls `observe` with the lowered graph (under the name
/// [`LOWERED`]) and with the graph after each pass.
///
/// # Errors
/// If a pass produced an invalid graph.
pub fn run(
    graph: &mut Graph,
    fusion: Fusion,
    up_to: Option<&str>,
    observe: &mut dyn FnMut(&str, &Graph),
) -> Result<Vec<Remark>, VerifyErrors> {
    let mut since = Vec::new();
    let mut remarks = Vec::new();
    verify(graph, LOWERED, &since)?;
    observe(LOWERED, graph);
    if up_to == Some(LOWERED) {
        return Ok(remarks);
    }
    for rewrite in rewrites(graph, fusion) {
        let pass = rewrite.postcondition.pass();
        remarks.extend((rewrite.apply)(graph));
        since.push(rewrite.postcondition);
        verify(graph, pass, &since)?;
        observe(pass, graph);
        if up_to == Some(pass) {
            break;
        }
    }
    Ok(remarks)
}

/// The target that code is generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Selects the rewrites, and whether blocks are chained.
    pub fusion: Fusion,
    /// Whether convolutions may use the fast inner product.
    pub numerics: Numerics,
    /// Selects layouts and tiles.
    pub isa: Isa,
    /// Maximum threads of a team that runs the network.
    pub threads: usize,
    /// Images that the classifier processes together.
    pub batch: usize,
}

impl Target {
    /// Returns the target that `spec` describes, for one of its instruction sets.
    pub fn new(spec: &NetworkSpec, isa: Isa) -> Self {
        Self { fusion: spec.fusion, numerics: spec.effective_numerics(), isa, threads: spec.threads, batch: spec.batch }
    }
}

/// Runs the passes for one instruction set on a graph that [`run`] has rewritten for its fusion level. Returns the
/// bytes of the scratch.
///
/// Stops after the pass named `up_to` (with a scratch of 0 bytes), or after the last.
///
/// # Errors
/// If a pass produced an invalid graph.
pub fn schedule(
    graph: &mut Graph,
    target: Target,
    up_to: Option<&str>,
    observe: &mut dyn FnMut(&str, &Graph),
) -> Result<usize, VerifyErrors> {
    let Target { fusion, numerics, isa, threads, batch } = target;
    let mut since: Vec<Postcondition> = rewrites(graph, fusion).map(|rewrite| rewrite.postcondition).collect();
    let mut scratch = 0;
    for postcondition in [Postcondition::LayoutsAssigned, Postcondition::TilesAssigned, Postcondition::ScratchPlanned] {
        match postcondition {
            Postcondition::LayoutsAssigned => {
                choose_products(graph, numerics, isa);
                assign_layouts::assign_layouts(graph, isa, threads);
                if fusion == Fusion::Deep {
                    chain_blocks::chain_blocks(graph);
                }
            }
            Postcondition::TilesAssigned => assign_tiles::assign_tiles(graph, [batch, threads], isa),
            _ => scratch = plan_scratch::plan_scratch(graph, threads),
        }
        let pass = postcondition.pass();
        since.push(postcondition);
        verify(graph, pass, &since)?;
        if postcondition == Postcondition::ScratchPlanned {
            verify_accesses(graph, isa, threads)?;
        }
        observe(pass, graph);
        if up_to == Some(pass) {
            break;
        }
    }
    Ok(scratch)
}

/// Checks that no thread of a team accesses bytes that another thread writes between the same two barriers.
fn verify_accesses(graph: &Graph, isa: Isa, threads: usize) -> Result<(), VerifyErrors> {
    let violation = |race: Race| {
        let origin = &graph.node(race.node).origin;
        Violation {
            invariant: Invariant::Accesses,
            node: origin.name.clone(),
            line: Some(origin.line),
            message: format!("of step {} has a data race: {}", origin.step, race.conflict),
        }
    };
    let violations: Vec<_> = races(graph, isa, threads).into_iter().map(violation).collect();
    let pass = Postcondition::ScratchPlanned.pass().to_owned();
    if violations.is_empty() { Ok(()) } else { Err(VerifyErrors { pass, violations }) }
}

/// Returns the value that `reader` reads at `slot` if it has no other reader. Otherwise returns the reason.
fn sole_input(graph: &Graph, reader: NodeId, slot: usize) -> Result<NodeId, String> {
    let input = graph.inputs(reader).get(slot).copied().ok_or("it has no input")?;
    let others: Vec<&str> = graph
        .readers(input)
        .into_iter()
        .filter(|other| *other != reader)
        .map(|other| &*graph.node(other).origin.name)
        .collect();
    let name = &graph.node(input).origin.name;
    match &*others {
        [] if graph.readers(input).len() == 1 => Ok(input),
        [] => Err(format!("it reads {name} twice")),
        others => Err(format!("{name} is also read by {}", others.join(" and "))),
    }
}

/// Returns the remark of `pass` that node `id` was not fused.
fn remark(graph: &Graph, pass: Postcondition, id: NodeId, message: String) -> Remark {
    let origin = &graph.node(id).origin;
    Remark { pass: pass.pass(), node: origin.name.clone(), line: origin.line, message }
}

//! The passes: fixed order, each once, the verifier between all of them.
//!
//! ```text
//! fold_batch_norm         every fusion level        bias and weights take over what batch normalization does
//! fuse_activation         relu6, block, deep        before the residual: nothing may follow the add
//! fuse_residual_add       relu6, block, deep        the projection must be complete when it is streamed
//! fuse_inverted_residual  block, deep
//! fuse_pool               block, deep               before layouts: the image that it averages is never a value
//! choose_products         per instruction set       part of assign_layouts: before any choice of layout or tile
//! assign_layouts          per instruction set       layouts decide which shapes the kernels see; deep chains blocks here
//! assign_tiles            per instruction set
//! plan_scratch            per instruction set       sizes are known only now
//! ```
//!
//! Epilogues of integers activate and add whatever the level is, since they limit what they round anyway, and the head
//! averages: for these, `none` is as `relu6`, and `fuse_pool` runs at every level.
//!
//! A rewrite is "match, then rewrite"; what could have been rewritten and was not leaves a [`Remark`].

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

/// The name under which the graph is shown before any pass.
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

/// What could have been fused and was not, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// One of [`PASSES`].
    pub pass: &'static str,
    /// Name of the node that stayed.
    pub node: String,
    /// Line of the spec that made it, from 1.
    pub line: usize,
    /// What did not happen, and why: `not fused: ...`.
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (spec line {}): {} [{}]", self.node, self.line, self.message, self.pass)
    }
}

/// A pass that rewrites the graph the same for every instruction set.
struct Rewrite {
    postcondition: Postcondition,
    /// The least fusion level that runs it, on floats and on integers.
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

/// The rewrites of a fusion level, for the kind of numbers that the graph is of.
fn rewrites(graph: &Graph, fusion: Fusion) -> impl Iterator<Item = &'static Rewrite> + use<> {
    let integers = graph.ids().any(|id| graph.node(id).tensor.element.is_quantized());
    REWRITES.iter().filter(move |rewrite| fusion >= if integers { rewrite.from_of_integers } else { rewrite.from })
}

/// Runs the rewriting passes of a fusion level on a lowered graph.
///
/// Stops after the pass named `up_to`, or after the last. `observe` sees the graph as lowered (under the name
/// [`LOWERED`]) and after each pass.
///
/// # Errors
/// If the compiler broke the graph.
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

/// What a network's code is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Which rewrites have run, and whether blocks are chained.
    pub fusion: Fusion,
    /// Whether convolutions may take the fast inner product.
    pub numerics: Numerics,
    /// Decides layouts and tiles.
    pub isa: Isa,
    /// Most threads of a team that runs it.
    pub threads: usize,
    /// Images that go through the classifier together.
    pub batch: usize,
}

impl Target {
    /// What `spec` says of it, for one of its instruction sets.
    pub fn new(spec: &NetworkSpec, isa: Isa) -> Self {
        Self { fusion: spec.fusion, numerics: spec.numerics, isa, threads: spec.threads, batch: spec.batch }
    }
}

/// Runs the passes for one instruction set on a graph that [`run`] has rewritten for its fusion; the bytes of the
/// scratch.
///
/// Stops after the pass named `up_to` (with a scratch of 0 bytes), or after the last.
///
/// # Errors
/// If the compiler broke the graph.
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
                choose_products::choose_products(graph, numerics, isa);
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

/// Checks that no thread of a team touches what another one writes between the same two barriers.
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

/// The value that `reader` reads at `slot`, if nobody else does; otherwise why not.
fn sole_input(graph: &Graph, reader: NodeId, slot: usize) -> Result<NodeId, String> {
    let input = graph.inputs(reader).get(slot).copied().ok_or("it reads nothing")?;
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

/// The remark of `pass` that node `id` stayed.
fn remark(graph: &Graph, pass: Postcondition, id: NodeId, message: String) -> Remark {
    let origin = &graph.node(id).origin;
    Remark { pass: pass.pass(), node: origin.name.clone(), line: origin.line, message }
}

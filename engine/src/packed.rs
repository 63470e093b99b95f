//! Weights in the layout of a network's kernels, packed without running it.

use mbvc_compiler::target::IsaFacts;
use mbvc_compiler::{Compiled, Program};
use mbvc_runtime::{Isa, Numerics, Packing, Weights, packed_in_memory};

use crate::error::{Error, Result};

/// Packs weights for one of a network's programs, in `numerics` if its instruction set has kernels for them. Returns
/// the packed file and its numerics.
///
/// # Errors
/// If the weights do not fit the network, or have values that cannot be packed.
pub fn pack(
    compiled: &Compiled,
    program: &Program,
    numerics: Numerics,
    weights: &Weights,
) -> Result<(Vec<u8>, Numerics)> {
    let name = program.isa.name();
    let isa = Isa::from_name(name).ok_or_else(|| Error::new(format!("the runtime has no instruction set {name}")))?;
    let numerics = if program.isa.has_fast_product() { numerics } else { Numerics::Strict };
    let parameters = compiled.parameters();
    let needs = compiled.needs(&parameters);
    let container = weights.container();
    program.with_plan(|plan| {
        let packing = Packing { network: &compiled.spec.name, needs, plan, isa, numerics };
        let pack = |file: &mut [u8]| packing.pack(&container, file);
        let file = packed_in_memory(packing.file_bytes(&container), pack).map_err(|cause| {
            Error::new(format!("{} cannot be packed: {cause}", weights.source().unwrap_or("the weights file")))
        })?;
        Ok((file, numerics))
    })
}

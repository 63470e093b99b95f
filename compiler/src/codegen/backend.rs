//! What code generation needs of a number type: the statements of steps, and the plan that packs weights.

use std::fmt::Debug;

use mbvc_runtime as runtime;
use proc_macro2::TokenStream;

use super::step::{Code, Context};
use crate::ir::NodeId;

/// Names a layer: a node, or a stage of a fused one.
pub type LayerKey = (NodeId, usize);

/// Code of one number type. What it returns of a node counts stages from `stage` in step `step`.
pub trait Backend: Debug {
    /// The statements of the fused node `id`.
    fn block(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code;

    /// The statements of any other node.
    fn layer(&self, context: &Context<'_>, id: NodeId, step: usize, stage: usize) -> Code;

    /// Cache lines of the packed block.
    fn lines(&self) -> usize;

    /// The runtime's plan as a constant expression.
    fn tokens(&self) -> TokenStream;

    /// The same as a value, for commands that pack themselves: for any instruction set, since nothing of it runs. Names
    /// and lists live as long as the process, some kilobytes a network.
    fn leaked(&self) -> StaticPlan;
}

/// A plan of the runtime, of floats or of bytes.
#[derive(Debug, Clone, Copy)]
pub enum StaticPlan {
    /// Of a network of float32.
    Floats(runtime::PackPlan),
    /// Of a quantized network.
    Bytes(runtime::quantized::QuantPlan),
}

impl StaticPlan {
    fn plan(&self) -> &dyn runtime::Plan {
        match self {
            Self::Floats(plan) => plan,
            Self::Bytes(plan) => plan,
        }
    }
}

impl runtime::Plan for StaticPlan {
    fn lines(&self) -> usize {
        self.plan().lines()
    }

    fn pack(
        &self,
        weights: &runtime::Container<'_>,
        preprocess: &runtime::Preprocess,
        numerics: runtime::Numerics,
        block: &mut [runtime::Line],
    ) -> Result<(), runtime::PackError> {
        self.plan().pack(weights, preprocess, numerics, block)
    }

    fn is_sound(&self, block: &[runtime::Line]) -> bool {
        self.plan().is_sound(block)
    }

    fn identify(&self, add: &mut dyn FnMut(&[u8])) {
        self.plan().identify(add);
    }
}

/// A text that lives as long as the process.
pub fn leak(text: &str) -> &'static str {
    text.to_owned().leak()
}

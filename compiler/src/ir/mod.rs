//! The graph that passes rewrite: closed-enum operations over typed values.

mod display;
pub mod dot;
mod element;
mod graph;
pub mod infer;
mod layout;
mod op;
mod param;
mod peak;
mod quant;
mod shape;
pub mod verify;
mod workspace;

pub use mbvc_runtime::{Activation, Factors};

pub use element::ElementType;
pub use graph::{Graph, NodeId};
pub use layout::{Arenas, Layout, Order, Place, Tensor};
pub use op::{
    BatchNorm, Conv2d, Dense, DepthwiseConv2d, DepthwiseTile, Epilogue, Fused, GemmTile, Node, Op, Origin, Product,
    Stage, Tile,
};
pub use param::{Param, ParamId, ParamSource};
pub use peak::Peak;
pub use quant::{Quant, Requantize};
pub use shape::{Padding, Shape, Window};
pub use workspace::{Widened, WidenedForm};

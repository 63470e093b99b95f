//! The closed set of operations, and the nodes that carry them.

use super::{ParamId, Place, Requantize, Shape, Tensor, Window};

/// A node of the graph; it makes exactly one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub op: Op,
    pub origin: Origin,
    /// The value that the node makes.
    pub tensor: Tensor,
    /// Set by `assign_tiles`.
    pub tile: Option<Tile>,
    /// Set by `plan_scratch`; the network's input and output have none.
    pub place: Option<Place>,
    /// What the operation needs beside its value; set by `plan_scratch`.
    pub workspace: Option<Place>,
}

/// Where a node comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Line of the spec, from 1.
    pub line: usize,
    /// Index of the step (stem, block, head, classifier) that the node belongs to.
    pub step: usize,
    /// Number in the published layer table, from 1, for the 53 convolutions.
    pub layer: Option<usize>,
    /// `block2.expand`, `block2.expand.bn`, `block2.expand.relu6`, `block2.add`, `head.pool`.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The image, `[height, width, 3]`.
    Input,
    /// Inputs: image, and the residual if the epilogue adds one.
    Conv2d(Conv2d),
    DepthwiseConv2d(DepthwiseConv2d),
    BatchNorm(BatchNorm),
    Activation(Activation),
    /// Inputs: the convolution's result, the residual.
    Add,
    GlobalAvgPool,
    Dense(Dense),
    /// Copies a value into the layout of the node's tensor.
    Repack,
    /// Streamed stages; inputs: image, and the residual if the last stage adds one.
    Fused(Fused),
}

impl Op {
    /// The operation's name in dumps.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv2d(_) => "conv2d",
            Self::DepthwiseConv2d(_) => "depthwise",
            Self::BatchNorm(_) => "batch_norm",
            Self::Activation(activation) => activation.name(),
            Self::Add => "add",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Dense(_) => "dense",
            Self::Repack => "repack",
            Self::Fused(_) => "fused",
        }
    }

    /// The sliding window of a convolution; `None` for all else, fused nodes included.
    pub const fn window(&self) -> Option<Window> {
        match self {
            Self::Conv2d(conv) => Some(conv.window),
            Self::DepthwiseConv2d(conv) => Some(conv.window),
            _ => None,
        }
    }

    /// How the sums of a layer become quantised values; `None` for float32, and for fused nodes, whose stages tell.
    pub const fn requantize(&self) -> Option<Requantize> {
        match self {
            Self::Conv2d(conv) => conv.requantize,
            Self::DepthwiseConv2d(conv) => conv.requantize,
            Self::Dense(dense) => dense.requantize,
            _ => None,
        }
    }

    /// What is done to the accumulators; for a fused node, those of its last stage.
    pub fn epilogue(&self) -> Epilogue {
        match self {
            Self::Conv2d(conv) => conv.epilogue,
            Self::DepthwiseConv2d(conv) => conv.epilogue,
            Self::Fused(fused) => fused.stages.last().map_or(Epilogue::default(), |stage| stage.op.epilogue()),
            _ => Epilogue::default(),
        }
    }

    /// Whether each element of the result depends on the same element of the inputs alone.
    pub const fn is_elementwise(&self) -> bool {
        matches!(self, Self::BatchNorm(_) | Self::Activation(_) | Self::Add)
    }

    /// The parameters that the operation reads, those of stages included, in order of execution.
    pub fn params(&self) -> Vec<ParamId> {
        let with = |weight, bias: Option<ParamId>, requantize: Option<Requantize>| {
            let requantize = requantize.into_iter().flat_map(Requantize::params);
            std::iter::once(weight).chain(bias).chain(requantize).collect()
        };
        match self {
            Self::Conv2d(conv) => with(conv.weight, conv.bias, conv.requantize),
            Self::DepthwiseConv2d(conv) => with(conv.weight, conv.bias, conv.requantize),
            Self::Dense(dense) => with(dense.weight, Some(dense.bias), dense.requantize),
            Self::BatchNorm(norm) => vec![norm.gamma, norm.beta, norm.mean, norm.variance],
            Self::Fused(fused) => fused.stages.iter().flat_map(|stage| stage.op.params()).collect(),
            Self::Input | Self::Activation(_) | Self::Add | Self::GlobalAvgPool | Self::Repack => Vec::new(),
        }
    }
}

impl Activation {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    pub window: Window,
    pub weight: ParamId,
    pub bias: Option<ParamId>,
    /// What precedes the epilogue where values are quantised.
    pub requantize: Option<Requantize>,
    pub epilogue: Epilogue,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DepthwiseConv2d {
    pub window: Window,
    pub weight: ParamId,
    pub bias: Option<ParamId>,
    /// What precedes the epilogue where values are quantised.
    pub requantize: Option<Requantize>,
    pub epilogue: Epilogue,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    pub gamma: ParamId,
    pub beta: ParamId,
    pub mean: ParamId,
    pub variance: ParamId,
    pub epsilon: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    Relu,
    Relu6,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    pub weight: ParamId,
    pub bias: ParamId,
    pub requantize: Option<Requantize>,
}

/// What a convolution does with its accumulators before storing them: activation, then residual add, or the average of
/// all pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Epilogue {
    pub activation: Option<Activation>,
    pub residual: bool,
    /// Height and width of what is averaged to one pixel.
    pub pool: Option<[usize; 2]>,
}

impl Epilogue {
    /// The shape of what is computed, if `output` is left of it.
    pub fn unpooled(&self, output: Shape) -> Shape {
        self.pool.map_or(output, |[height, width]| Shape { height, width, ..output })
    }
}

/// A chain of stages streamed over tiles of output rows: an optional producer of the depthwise
/// input (convolution or repack), the depthwise, the projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    pub stages: Vec<Stage>,
    /// Output rows per tile; set by `assign_layouts`, 0 before.
    pub rows: usize,
}

/// One operation inside a fused node; it reads the stage before it, the first reads the node's input.
/// The last stage's value is the node's.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    pub op: Op,
    pub origin: Origin,
    pub tensor: Tensor,
    pub tile: Option<Tile>,
    pub place: Option<Place>,
    pub workspace: Option<Place>,
}

impl Stage {
    /// A node as a stage, without a place.
    pub fn of(node: &Node) -> Self {
        Self {
            op: node.op.clone(),
            origin: node.origin.clone(),
            tensor: node.tensor,
            tile: node.tile,
            place: None,
            workspace: None,
        }
    }
}

/// Register tile of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tile {
    Gemm(GemmTile),
    Depthwise(DepthwiseTile),
}

/// `mr` pixels by `nv` vectors of output channels; `chunk` pixel rows, or those of `images` in a batch, share one pass
/// over the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GemmTile {
    pub mr: usize,
    pub nv: usize,
    pub chunk: usize,
    pub images: usize,
    pub product: Product,
}

/// How the products of a convolution are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// A multiply-add for each.
    Plain,
    /// The fast inner product, or the plain one: the packed weights say which.
    Fast,
}

/// `rows` by `cols` output pixels of one vector of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DepthwiseTile {
    pub rows: usize,
    pub cols: usize,
}

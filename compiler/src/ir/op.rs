//! The closed set of operations, and the nodes that hold them.

use mbvc_runtime::{Activation, Factors};

use super::{ParamId, Place, Requantize, Shape, Tensor, Window};

/// A node of the graph. It produces exactly one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// The part of the spec it comes from.
    pub origin: Origin,
    /// The type of its value.
    pub tensor: Tensor,
    /// Set by `assign_tiles`.
    pub tile: Option<Tile>,
    /// Set by `plan_scratch`; the network's input and output have none.
    pub place: Option<Place>,
    /// Memory of the operation besides its value; set by `plan_scratch`.
    pub workspace: Option<Place>,
}

/// The part of the spec that a node comes from.
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

/// An operation. Several inputs are in the order of the node's input slots.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The image, `[height, width, channels]`.
    Input,
    /// Inputs: image, and the residual if the epilogue adds one.
    Conv2d(Conv2d),
    /// Input: image. Each channel has its own kernel.
    DepthwiseConv2d(DepthwiseConv2d),
    /// Input: a convolution's result. Removed by `fold_batch_norm`.
    BatchNorm(BatchNorm),
    /// Input: any value.
    Activation(Activation),
    /// Inputs: the convolution's result, the residual.
    Add,
    /// Input: image. The mean of all pixels of each channel, as an image of one pixel.
    GlobalAvgPool,
    /// Input: an image of one pixel. The classifier.
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
            Self::Activation(activation) => activation.word(),
            Self::Add => "add",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Dense(_) => "dense",
            Self::Repack => "repack",
            Self::Fused(_) => "fused",
        }
    }

    /// The sliding window of a convolution; `None` for other operations and fused nodes.
    pub const fn window(&self) -> Option<Window> {
        match self {
            Self::Conv2d(conv) => Some(conv.window),
            Self::DepthwiseConv2d(conv) => Some(conv.window),
            _ => None,
        }
    }

    /// The requantization of a layer; `None` for float32 and for fused nodes, whose stages have it.
    pub const fn requantize(&self) -> Option<Requantize> {
        match self {
            Self::Conv2d(conv) => conv.requantize,
            Self::DepthwiseConv2d(conv) => conv.requantize,
            Self::Dense(dense) => dense.requantize,
            _ => None,
        }
    }

    /// Summation of the products of a dense operation; plain for all others, including fused nodes.
    pub const fn product(&self) -> Product {
        match self {
            Self::Conv2d(conv) => conv.product,
            _ => Product::Plain,
        }
    }

    /// Number types of the factors of the products of a dense operation; exact for all others.
    pub const fn factors(&self) -> Factors {
        match self {
            Self::Conv2d(conv) => conv.factors,
            Self::Dense(dense) => dense.factors,
            _ => Factors::Exact,
        }
    }

    /// The epilogue; for a fused node, that of its last stage.
    pub fn epilogue(&self) -> Epilogue {
        match self {
            Self::Conv2d(conv) => conv.epilogue,
            Self::DepthwiseConv2d(conv) => conv.epilogue,
            Self::Fused(fused) => fused.stages.last().map_or(Epilogue::default(), |stage| stage.op.epilogue()),
            _ => Epilogue::default(),
        }
    }

    /// Whether this is a global average pool, or has one in its epilogue.
    pub fn pools(&self) -> bool {
        matches!(self, Self::GlobalAvgPool) || self.epilogue().pool.is_some()
    }

    /// Whether each element of the result depends only on the same element of the inputs.
    pub const fn is_elementwise(&self) -> bool {
        matches!(self, Self::BatchNorm(_) | Self::Activation(_) | Self::Add)
    }

    /// The parameters that the operation reads, including those of stages, in order of execution.
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

/// A convolution over all channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    /// Kernel, stride and padding.
    pub window: Window,
    /// `[kh, kw, in, out]`.
    pub weight: ParamId,
    /// `[out]`; `None` before batch normalization.
    pub bias: Option<ParamId>,
    /// Requantization of quantized sums, before the epilogue.
    pub requantize: Option<Requantize>,
    /// Applied to the sums before they are stored.
    pub epilogue: Epilogue,
    /// How its products are summed; set by `choose_products`, [`Product::Plain`] before.
    pub product: Product,
    /// Number types of the factors of its products.
    pub factors: Factors,
}

/// A convolution of each channel separately.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthwiseConv2d {
    /// Kernel, stride and padding.
    pub window: Window,
    /// `[kh, kw, channels]`.
    pub weight: ParamId,
    /// `[channels]`; `None` before batch normalization.
    pub bias: Option<ParamId>,
    /// Requantization of quantized sums, before the epilogue.
    pub requantize: Option<Requantize>,
    /// Applied to the sums before they are stored; never a residual.
    pub epilogue: Epilogue,
}

/// `(x - mean) * gamma / sqrt(variance + epsilon) + beta`, by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// Scale, `[channels]` like the others.
    pub gamma: ParamId,
    /// Offset.
    pub beta: ParamId,
    /// Mean of the training set.
    pub mean: ParamId,
    /// Variance of the training set.
    pub variance: ParamId,
    /// Added to the variance.
    pub epsilon: f64,
}

/// A matrix product and a bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// `[in, out]`.
    pub weight: ParamId,
    /// `[out]`.
    pub bias: ParamId,
    /// Requantization of quantized sums.
    pub requantize: Option<Requantize>,
    /// Number types of the factors of its products.
    pub factors: Factors,
}

/// Applied to the accumulators of a convolution before they are stored: activation, then residual add or global average
/// pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Epilogue {
    /// Applied first.
    pub activation: Option<Activation>,
    /// Whether the second input of the node is added.
    pub residual: bool,
    /// Height and width that the pool averages to one pixel.
    pub pool: Option<[usize; 2]>,
}

impl Epilogue {
    /// The shape before the pool of an epilogue with the result `output`.
    pub fn unpooled(&self, output: Shape) -> Shape {
        self.pool.map_or(output, |[height, width]| Shape { height, width, ..output })
    }
}

/// A chain of stages streamed over tiles of output rows: an optional producer of the depthwise
/// input (convolution or repack), the depthwise, the projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    /// The stages in order of execution.
    pub stages: Vec<Stage>,
    /// Output rows per tile; set by `assign_layouts`, 0 before.
    pub rows: usize,
}

impl Fused {
    /// Whether one tile is the whole image.
    pub fn is_whole(&self) -> bool {
        self.stages.last().is_some_and(|last| last.tensor.shape.height == self.rows)
    }
}

/// One operation inside a fused node. It reads the previous stage; the first stage reads the node's input. The value of the
/// last stage is the node's value.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// A convolution, a depthwise convolution or a repack.
    pub op: Op,
    /// Origin of the node it replaces.
    pub origin: Origin,
    /// The type of its value: a ring or buffer, or the node's value for the last stage.
    pub tensor: Tensor,
    /// Set by `assign_tiles`.
    pub tile: Option<Tile>,
    /// Set by `plan_scratch`; the last stage has none, because its value is the node's.
    pub place: Option<Place>,
    /// Memory of the operation besides its value; set by `plan_scratch`.
    pub workspace: Option<Place>,
}

impl Stage {
    /// Converts a node to a stage, without a place.
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
    /// Tile of a convolution over all channels or of the classifier.
    Gemm(GemmTile),
    /// Tile of a depthwise convolution.
    Depthwise(DepthwiseTile),
}

/// `mr` pixels by `nv` vectors of output channels; `chunk` pixel rows, or those of `images` in a batch, share one pass
/// over the weights.
/// The fast inner product computes the vectors one by one, in tiles of a fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GemmTile {
    /// Maximum number of pixels in a tile; in a block product, the number of pixels per block.
    pub mr: usize,
    /// Most vectors of output channels of a tile.
    pub nv: usize,
    /// Output rows that share a pass over the weights.
    pub chunk: usize,
    /// Images of a batch that share a pass in the classifier; 1 elsewhere.
    pub images: usize,
}

/// Summation of the products of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// One multiply-add per product.
    Plain,
    /// The fast inner product if the weights of the layer allow it, which packing decides; the plain one otherwise. Bytes
    /// always allow it: it is exact.
    Fast,
    /// Sums of pairs of bytes that are gathered as 16-bit numbers, the windows of all pixels of a few rows at a time.
    Pairs,
    /// Block products: each instruction multiplies a block of pixels by a block of channels and sums `depth` products per
    /// output.
    Blocks {
        /// Number of products that one instruction sums per output. It is even and divides the number of products per
        /// output. Products with even and odd indices are summed separately.
        depth: usize,
    },
}

impl Product {
    /// Returns the depth of a block product, or `None` for the others.
    pub const fn depth(self) -> Option<usize> {
        match self {
            Self::Blocks { depth } => Some(depth),
            Self::Plain | Self::Fast | Self::Pairs => None,
        }
    }
}

/// `rows` by `cols` output pixels of one vector of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DepthwiseTile {
    /// Most output rows of a tile.
    pub rows: usize,
    /// Most output columns of a tile.
    pub cols: usize,
}

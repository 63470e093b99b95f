//! The closed set of operations, and the nodes that carry them.

use mbvc_runtime::Activation;

use super::{ParamId, Place, Requantize, Shape, Tensor, Window};

/// A node of the graph; it makes exactly one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Where it comes from.
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

/// An operation. Where several values are read, their order is that of the node's input slots.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The image, `[height, width, 3]`.
    Input,
    /// Inputs: image, and the residual if the epilogue adds one.
    Conv2d(Conv2d),
    /// Input: image. Each channel has a kernel of its own.
    DepthwiseConv2d(DepthwiseConv2d),
    /// Input: a convolution's result. Gone after `fold_batch_norm`.
    BatchNorm(BatchNorm),
    /// Input: what is activated.
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

    /// The sliding window of a convolution; `None` for all else, fused nodes included.
    pub const fn window(&self) -> Option<Window> {
        match self {
            Self::Conv2d(conv) => Some(conv.window),
            Self::DepthwiseConv2d(conv) => Some(conv.window),
            _ => None,
        }
    }

    /// How the sums of a layer become quantized values; `None` for float32, and for fused nodes, whose stages tell.
    pub const fn requantize(&self) -> Option<Requantize> {
        match self {
            Self::Conv2d(conv) => conv.requantize,
            Self::DepthwiseConv2d(conv) => conv.requantize,
            Self::Dense(dense) => dense.requantize,
            _ => None,
        }
    }

    /// How the products of a dense operation are summed; plain for all else, fused nodes included.
    pub const fn product(&self) -> Product {
        match self {
            Self::Conv2d(conv) => conv.product,
            _ => Product::Plain,
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

/// A convolution over all channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    /// Kernel, stride and padding.
    pub window: Window,
    /// `[kh, kw, in, out]`.
    pub weight: ParamId,
    /// `[out]`; `None` where batch normalization follows.
    pub bias: Option<ParamId>,
    /// What precedes the epilogue where values are quantized.
    pub requantize: Option<Requantize>,
    /// What is done to its sums before they are stored.
    pub epilogue: Epilogue,
    /// How its products are summed; set by `choose_products`, [`Product::Plain`] before.
    pub product: Product,
}

/// A convolution of each channel by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthwiseConv2d {
    /// Kernel, stride and padding.
    pub window: Window,
    /// `[kh, kw, channels]`.
    pub weight: ParamId,
    /// `[channels]`; `None` where batch normalization follows.
    pub bias: Option<ParamId>,
    /// What precedes the epilogue where values are quantized.
    pub requantize: Option<Requantize>,
    /// What is done to its sums before they are stored; never a residual.
    pub epilogue: Epilogue,
}

/// `(x - mean) * gamma / sqrt(variance + epsilon) + beta`, by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm {
    /// `[channels]`, as are the others.
    pub gamma: ParamId,
    /// What is added last.
    pub beta: ParamId,
    /// Of the training set.
    pub mean: ParamId,
    /// Of the training set.
    pub variance: ParamId,
    /// Keeps the root from 0.
    pub epsilon: f64,
}

/// A matrix product and a bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// `[in, out]`.
    pub weight: ParamId,
    /// `[out]`.
    pub bias: ParamId,
    /// What becomes of the sums where values are quantized.
    pub requantize: Option<Requantize>,
}

/// What a convolution does with its accumulators before storing them: activation, then residual add, or the average of
/// all pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Epilogue {
    /// What is applied to the sums first.
    pub activation: Option<Activation>,
    /// Whether the node's second input is added to that.
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
    /// In order of execution.
    pub stages: Vec<Stage>,
    /// Output rows per tile; set by `assign_layouts`, 0 before.
    pub rows: usize,
}

/// One operation inside a fused node; it reads the stage before it, the first reads the node's input.
/// The last stage's value is the node's.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What it does: a convolution, a depthwise one or a repack.
    pub op: Op,
    /// That of the node it was made of.
    pub origin: Origin,
    /// The value that it makes, in a ring or buffer of its own but for the last.
    pub tensor: Tensor,
    /// Set by `assign_tiles`.
    pub tile: Option<Tile>,
    /// Set by `plan_scratch`; the last stage has none, since its value lies in the node's.
    pub place: Option<Place>,
    /// What the operation needs beside its value; set by `plan_scratch`.
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
    /// Of a convolution over all channels, and of the classifier.
    Gemm(GemmTile),
    /// Of a depthwise convolution.
    Depthwise(DepthwiseTile),
}

/// `mr` pixels by `nv` vectors of output channels; `chunk` pixel rows, or those of `images` in a batch, share one pass
/// over the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GemmTile {
    /// Most pixels of a tile.
    pub mr: usize,
    /// Most vectors of output channels of a tile.
    pub nv: usize,
    /// Output rows that share a pass over the weights.
    pub chunk: usize,
    /// Images of a batch that do so in the classifier; 1 elsewhere.
    pub images: usize,
}

/// How the products of a convolution are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// A multiply-add for each.
    Plain,
    /// The fast inner product if the weights allow it, which packing decides for the whole layer; else the plain one.
    Fast,
}

/// `rows` by `cols` output pixels of one vector of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DepthwiseTile {
    /// Most output rows of a tile.
    pub rows: usize,
    /// Most output columns of a tile.
    pub cols: usize,
}

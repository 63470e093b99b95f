//! Memory layouts of values.

use super::{ElementType, Padding, Quant, Shape};

/// `[group][row][column][channel in group]`, where rows and columns include a zero border.
///
/// Plain NHWC is one group of all channels without a border. A ring holds `rows` rows at a time: row `y` of the bordered
/// image is in slot `y % rows`. A ring that holds every row of the image holds one channel group at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Channels per pixel and group; channels beyond those of the shape are zero.
    pub group: usize,
    /// Zero pixels stored around the image.
    pub border: Padding,
    /// `Some(rows)` for a ring, `None` if every row is stored.
    pub ring: Option<usize>,
    /// Order of the elements of a group.
    pub order: Order,
}

/// Order of the elements of a channel group. Orders other than `Pixels` are for quantized values: the four operands of a
/// dot product of the reader are adjacent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// `[row][column][channel]`.
    Pixels,
    /// `[row / 4][vector of channels][column][lane][row % 4]`, including the rows of the border; for a depthwise convolution.
    RowQuads {
        /// Lanes of a vector.
        lanes: usize,
        /// Channel groups stored at a time.
        groups: usize,
    },
    /// `[channel / 4][row][column][channel % 4]`, padded by three pixels; for a pointwise convolution.
    ChannelQuads,
    /// `[channel / 2][row][column][channel % 2]` of 16-bit numbers; for a pointwise convolution that multiplies pairs. Their
    /// bytes count as elements.
    ChannelPairs,
    /// `[vector of channels][pixel / 4][channel / 4 in the vector][pixel % 4][channel % 4]`: for a pointwise convolution whose
    /// rows are whole quads of pixels, so that planes need no padding.
    PixelQuads {
        /// Lanes of a vector.
        lanes: usize,
    },
}

/// Adjacent elements in the orders of quads.
const QUAD: usize = 4;
/// Adjacent 16-bit elements in the orders of pairs.
const PAIR: usize = 2;

impl Layout {
    /// `[row][column][channel]`: one group of all `channels`, without border, every row stored.
    pub const fn nhwc(channels: usize) -> Self {
        let border = Padding { top: 0, left: 0, bottom: 0, right: 0 };
        Self { group: channels, border, ring: None, order: Order::Pixels }
    }

    /// Whether the layout is [`nhwc`](Self::nhwc) for values of `shape`.
    pub fn is_nhwc(&self, shape: Shape) -> bool {
        *self == Self::nhwc(shape.channels)
    }

    /// Channel groups of a value; the last may be partly filled.
    pub fn groups(&self, shape: Shape) -> usize {
        shape.channels.div_ceil(self.group)
    }

    /// Elements from one pixel to the next.
    pub fn pixel_stride(&self) -> usize {
        self.group
    }

    /// Elements from one row to the next.
    pub fn row_stride(&self, shape: Shape) -> usize {
        (self.border.left + shape.width + self.border.right) * self.group
    }

    /// Rows stored at a time.
    pub fn stored_rows(&self, shape: Shape) -> usize {
        self.ring.unwrap_or(self.border.top + shape.height + self.border.bottom)
    }

    /// Elements from one channel group to the next.
    pub fn group_stride(&self, shape: Shape) -> usize {
        match self.order {
            Order::Pixels | Order::RowQuads { .. } | Order::PixelQuads { .. } => {
                self.row_stride(shape) * self.stored_rows(shape)
            }
            Order::ChannelQuads => self.plane(shape) * self.group / QUAD,
            Order::ChannelPairs => self.plane(shape) * self.group / PAIR,
        }
    }

    /// Elements from one quad or pair of channels to the next, in the orders of channel quads and pairs.
    pub fn plane(&self, shape: Shape) -> usize {
        let over = if self.order == Order::ChannelQuads { (QUAD - 1) * QUAD } else { 0 };
        self.row_stride(shape) / self.group.max(1) * self.stored_rows(shape) * QUAD + over
    }

    /// Elements from one column to the next, and from one vector of channels to the next, in the order of row quads.
    pub fn column_strides(&self, shape: Shape, lanes: usize) -> [usize; 2] {
        [lanes * QUAD, (self.border.left + shape.width + self.border.right) * lanes * QUAD]
    }

    /// Channel groups stored at a time.
    pub fn held_groups(&self, shape: Shape) -> usize {
        match self.order {
            Order::RowQuads { groups, .. } => groups,
            _ if self.ring.is_some_and(|rows| rows >= shape.height) => 1,
            _ => self.groups(shape),
        }
    }

    /// Elements that the value occupies.
    pub fn elements(&self, shape: Shape) -> usize {
        self.group_stride(shape) * self.held_groups(shape)
    }

    /// Element offset of `(y, x, c)`.
    pub fn offset(&self, shape: Shape, y: usize, x: usize, c: usize) -> usize {
        let row = (y + self.border.top) % self.stored_rows(shape);
        let (column, channel) = (x + self.border.left, c % self.group);
        c / self.group * self.group_stride(shape)
            + match self.order {
                Order::Pixels => row * self.row_stride(shape) + column * self.group + channel,
                Order::RowQuads { lanes, .. } => {
                    let [next, vector] = self.column_strides(shape, lanes);
                    row / QUAD * QUAD * self.row_stride(shape)
                        + channel / lanes * vector
                        + column * next
                        + channel % lanes * QUAD
                        + row % QUAD
                }
                Order::PixelQuads { lanes } => {
                    let pixel = row * (self.row_stride(shape) / self.group) + column;
                    let pixels = self.row_stride(shape) / self.group * self.stored_rows(shape);
                    let quads = pixel / QUAD * QUAD * lanes + channel % lanes / QUAD * QUAD * QUAD;
                    channel / lanes * pixels * lanes + quads + pixel % QUAD * QUAD + channel % QUAD
                }
                Order::ChannelQuads => {
                    let pixel = row * (self.row_stride(shape) / self.group) + column;
                    channel / QUAD * self.plane(shape) + pixel * QUAD + channel % QUAD
                }
                Order::ChannelPairs => {
                    let pixel = row * (self.row_stride(shape) / self.group) + column;
                    channel / PAIR * self.plane(shape) + pixel * QUAD + channel % PAIR * size_of::<u16>()
                }
            }
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tensor {
    /// Shape of the image, without border.
    pub shape: Shape,
    /// Memory layout.
    pub layout: Layout,
    /// Element type.
    pub element: ElementType,
    /// Scale and zero point of a quantized value.
    pub quant: Option<Quant>,
}

impl Tensor {
    /// A float32 value.
    pub fn nhwc(shape: Shape) -> Self {
        Self { shape, layout: Layout::nhwc(shape.channels), element: ElementType::F32, quant: None }
    }

    /// A quantized value, in plain NHWC.
    pub fn quantized(shape: Shape, element: ElementType, quant: Quant) -> Self {
        Self { element, quant: Some(quant), ..Self::nhwc(shape) }
    }

    /// Elements that the value occupies, including border and unused channels.
    pub fn elements(&self) -> usize {
        self.layout.elements(self.shape)
    }

    /// Bytes that the value occupies.
    pub fn bytes(&self) -> usize {
        self.elements() * self.element.bytes()
    }
}

/// A byte range of the scratch, assigned by `plan_scratch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// First byte.
    pub offset: usize,
    /// Number of bytes.
    pub bytes: usize,
    /// The arenas, if each thread of a team has its own copy; `offset` is in the first arena.
    pub arenas: Option<Arenas>,
}

/// Memory of one thread each, for all threads of a team. It stays in the caches of the thread's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arenas {
    /// First byte of the first arena; the others follow.
    pub offset: usize,
    /// Bytes of one arena.
    pub bytes: usize,
    /// Threads of the team.
    pub count: usize,
}

impl Place {
    /// An empty place.
    pub const NONE: Self = Self { offset: 0, bytes: 0, arenas: None };
}

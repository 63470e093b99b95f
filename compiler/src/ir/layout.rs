//! Where the elements of a value lie in memory.

use super::{ElementType, Padding, Quant, Shape};

/// `[group][row][column][channel in group]`, rows and columns counting a zero border.
///
/// Plain NHWC is one group of all the channels without a border. A ring holds `rows` rows at a time:
/// row `y` of the bordered image lies in slot `y % rows`. A ring that holds every row of the image serves
/// one channel group after the other, and so holds a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Channels stored per pixel and group; channels past the shape's are zero.
    pub group: usize,
    /// Zero pixels stored around each image row and column.
    pub border: Padding,
    /// `Some(rows)` for a ring, `None` where every row is held.
    pub ring: Option<usize>,
    /// How the elements of a group lie.
    pub order: Order,
}

/// How the elements of a channel group lie. What is not in the order of pixels is quantized, and lies as the dot
/// products of its reader take it: four numbers that are multiplied and summed are neighbors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// `[row][column][channel]`.
    Pixels,
    /// `[row / 4][vector of channels][column][lane][row % 4]`, rows of the border counted; for a depthwise convolution.
    RowQuads {
        /// Channels of a vector.
        lanes: usize,
        /// Channel groups that are held at a time.
        groups: usize,
    },
    /// `[channel / 4][row][column][channel % 4]`, with room for three more pixels; for a pointwise convolution.
    ChannelQuads,
    /// `[vector of channels][pixel / 4][channel / 4 in the vector][pixel % 4][channel % 4]`: the same, where the rows that
    /// are made at once are of whole quads of pixels and so need no room between planes.
    PixelQuads {
        /// Channels of a vector.
        lanes: usize,
    },
}

/// Neighbors in the orders of quads.
const QUAD: usize = 4;

impl Layout {
    /// `[row][column][channel]`: one group of all `channels`, without border, every row held.
    pub const fn nhwc(channels: usize) -> Self {
        let border = Padding { top: 0, left: 0, bottom: 0, right: 0 };
        Self { group: channels, border, ring: None, order: Order::Pixels }
    }

    /// Whether it is [`nhwc`](Self::nhwc) for values of that shape.
    pub fn is_nhwc(&self, shape: Shape) -> bool {
        *self == Self::nhwc(shape.channels)
    }

    /// Channel groups of a value; the last may be only partly filled.
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

    /// Rows that are held at a time.
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
        }
    }

    /// Elements from four channels to the next four, in the order of channel quads.
    pub fn plane(&self, shape: Shape) -> usize {
        self.row_stride(shape) / self.group.max(1) * self.stored_rows(shape) * QUAD + (QUAD - 1) * QUAD
    }

    /// Elements from one column to the next, and from one vector of channels to the next, in the order of row quads.
    pub fn column_strides(&self, shape: Shape, lanes: usize) -> [usize; 2] {
        [lanes * QUAD, (self.border.left + shape.width + self.border.right) * lanes * QUAD]
    }

    /// Channel groups that are held at a time.
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
            }
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tensor {
    /// Of the image, without border.
    pub shape: Shape,
    /// Where its elements lie.
    pub layout: Layout,
    /// The type of each.
    pub element: ElementType,
    /// What its numbers stand for, where they are quantized.
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

    /// Elements that the value occupies, border and unused channels included.
    pub fn elements(&self) -> usize {
        self.layout.elements(self.shape)
    }

    /// Bytes that the value occupies.
    pub fn bytes(&self) -> usize {
        self.elements() * self.element.bytes()
    }
}

/// A byte range of the scratch, given by `plan_scratch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// First byte.
    pub offset: usize,
    /// How many bytes.
    pub bytes: usize,
    /// Where each member of a team has a copy of its own; the offset is the first one's.
    pub arenas: Option<Arenas>,
}

/// Memory that is one member's alone, for each member of a team: it stays in the caches of that member's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arenas {
    /// Where the first begins; the others follow it.
    pub offset: usize,
    /// Of one.
    pub bytes: usize,
    /// Members of the team.
    pub count: usize,
}

impl Place {
    /// The place of what needs none.
    pub const NONE: Self = Self { offset: 0, bytes: 0, arenas: None };
}

//! Shapes and sliding windows. Every value is one image, `[height, width, channels]`.

use std::fmt;

/// The shape of an image; a vector is an image of one pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// Elements per pixel.
    pub channels: usize,
}

impl Shape {
    /// `[height, width, channels]`.
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels }
    }

    /// Height times width.
    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Height times width times channels.
    pub const fn elements(&self) -> usize {
        self.height * self.width * self.channels
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}

/// Zero pixels around an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns on the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns on the right.
    pub right: usize,
}

/// A sliding window: `[vertical, horizontal]` kernel and stride, and four literal paddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Zero pixels around the input.
    pub padding: Padding,
}

impl Window {
    /// The window of a pointwise convolution.
    pub const POINT: Self =
        Self { kernel: [1, 1], stride: [1, 1], padding: Padding { top: 0, left: 0, bottom: 0, right: 0 } };

    /// Whether the window is [`POINT`](Self::POINT).
    pub fn is_point(&self) -> bool {
        *self == Self::POINT
    }

    /// `[height, width]` of the output; `None` if the window does not fit the padded input.
    pub fn output(&self, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
        let along = |size: usize, pads: usize, axis: usize| {
            Some((size + pads).checked_sub(self.kernel[axis])? / self.stride[axis] + 1)
        };
        let p = self.padding;
        Some([along(height, p.top + p.bottom, 0)?, along(width, p.left + p.right, 1)?])
    }
}

//! Tensors of a file that contain the model's values, for comparison with another engine.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ops::Value;

/// Order of the axes of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[image, channel, row, column]`.
    Nchw,
    /// `[image, row, column, channel]`.
    Nhwc,
    /// A vector in any shape: the image has one pixel.
    Flat,
}

/// A tensor that contains a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder<'a> {
    pub name: Cow<'a, str>,
    /// Index in the file, if tensors have one.
    pub index: Option<usize>,
    pub layout: Layout,
}

/// The first tensor of each value, as floats and as quantized integers.
#[derive(Debug, Default)]
pub struct Holders<'a> {
    floats: HashMap<Value, Holder<'a>>,
    integers: HashMap<Value, Holder<'a>>,
}

impl<'a> Holders<'a> {
    /// Adds a tensor of `value`; the first one is kept.
    pub fn add(&mut self, value: Value, is_integers: bool, holder: Holder<'a>) {
        let holders = if is_integers { &mut self.integers } else { &mut self.floats };
        holders.entry(value).or_insert(holder);
    }

    /// Changes the axis order of the tensors of `value`.
    pub fn set_layout(&mut self, value: Value, layout: Layout) {
        for holders in [&mut self.floats, &mut self.integers] {
            if let Some(holder) = holders.get_mut(&value) {
                holder.layout = layout;
            }
        }
    }

    pub fn get(&self, value: Value, is_integers: bool) -> Option<&Holder<'a>> {
        if is_integers { self.integers.get(&value) } else { self.floats.get(&value) }
    }
}

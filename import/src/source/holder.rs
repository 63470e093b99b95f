//! Which tensors of a file hold a value while the model runs: what a comparison with another engine asks for.

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
    /// A vector, in whatever shape: the image has one pixel.
    Flat,
}

/// A tensor that holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder<'a> {
    pub name: Cow<'a, str>,
    /// Its index in the file, where tensors have one.
    pub index: Option<usize>,
    pub layout: Layout,
}

/// The first tensor that holds each value, as floats and as integers that stand for them.
#[derive(Debug, Default)]
pub struct Holders<'a> {
    floats: HashMap<Value, Holder<'a>>,
    integers: HashMap<Value, Holder<'a>>,
}

impl<'a> Holders<'a> {
    /// Says that a tensor holds `value`; of several the first counts.
    pub fn add(&mut self, value: Value, is_integers: bool, holder: Holder<'a>) {
        let holders = if is_integers { &mut self.integers } else { &mut self.floats };
        holders.entry(value).or_insert(holder);
    }

    /// Says that the tensors of `value` have another order of axes than was thought.
    pub fn lay_out(&mut self, value: Value, layout: Layout) {
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

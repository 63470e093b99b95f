//! Tensors of a quantized network for the interpreter, by name.

use std::collections::BTreeMap;

use mbvc_interpreter::{QuantBindings, Values};
use mbvc_runtime::quantized::arithmetic::PoolKind;

/// The numbers of a tensor.
pub enum Stored {
    F32(Vec<f32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I32(Vec<i32>),
}

pub struct Bound(pub BTreeMap<String, Stored>);

impl QuantBindings for Bound {
    fn values(&self, name: &str) -> Option<Values<'_>> {
        Some(match self.0.get(name)? {
            Stored::F32(values) => Values::F32(values),
            Stored::I8(values) => Values::I8(values),
            Stored::U8(values) => Values::U8(values),
            Stored::I32(values) => Values::I32(values),
        })
    }

    fn pool(&self) -> PoolKind {
        PoolKind::Mean
    }
}

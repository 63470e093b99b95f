//! Quantized values: what the integers of a file stand for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::constant::DType;
use super::ops::Value;

/// Type, scale and zero point of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueQuant {
    pub dtype: DType,
    pub scale: f32,
    pub zero_point: i64,
}

impl ValueQuant {
    /// The least number of its type; `None` where that is none of 8 or 16 bits.
    fn least(self) -> Option<i64> {
        match self.dtype {
            DType::I8 => Some(-128),
            DType::I16 => Some(-32768),
            DType::U8 | DType::U16 => Some(0),
            _ => None,
        }
    }

    /// Whether its type is int8 or uint8.
    pub fn is_byte(self) -> bool {
        matches!(self.dtype, DType::I8 | DType::U8)
    }

    /// Whether it holds no number below 0, and how many steps above 0.
    pub fn steps_above_zero(self) -> Option<u32> {
        let steps = if self.is_byte() { 255 } else { 65535 };
        (self.above_least() == Some(0)).then_some(steps)
    }

    /// How far the zero point lies above the least number, which is the same for int8 and uint8 that stand for the same:
    /// one becomes the other by adding 128 to numbers and zero point.
    pub fn above_least(self) -> Option<i64> {
        self.zero_point.checked_sub(self.least()?)
    }

    /// Whether numbers of both, read as one type, stand for the same.
    pub fn is_same(self, other: Self) -> bool {
        let bytes = self.is_byte() && other.is_byte();
        self == other || (bytes && self.scale == other.scale && self.above_least() == other.above_least())
    }
}

/// How a value is quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantized {
    Once(ValueQuant),
    /// In different ways, one after the other or for different readers.
    Differently,
    /// With a scale for each channel.
    PerChannel,
}

/// The quantized values of a graph.
#[derive(Debug, Default)]
pub struct Quants(HashMap<Value, Quantized>);

impl Quants {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, value: Value) -> Option<Quantized> {
        self.0.get(&value).copied()
    }

    /// The quantization of a value that has one.
    pub fn once(&self, value: Value) -> Option<ValueQuant> {
        match self.get(value) {
            Some(Quantized::Once(quant)) => Some(quant),
            _ => None,
        }
    }

    /// Quantizes `value`, once more if it was; of types that stand for the same the last is kept, for it is the one
    /// that is computed with.
    pub fn add(&mut self, value: Value, quantized: Quantized) {
        match self.0.entry(value) {
            Entry::Vacant(entry) => drop(entry.insert(quantized)),
            Entry::Occupied(mut entry) => {
                let same = match (*entry.get(), quantized) {
                    (Quantized::Once(before), Quantized::Once(after)) => before.is_same(after),
                    _ => false,
                };
                entry.insert(if same { quantized } else { Quantized::Differently });
            }
        }
    }

    /// Gives `to`, which holds the numbers of `from` in another shape, the same quantization.
    pub fn inherit(&mut self, to: Value, from: Value) {
        if let Some(quantized) = self.get(from) {
            self.0.insert(to, quantized);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn quant(dtype: DType, zero_point: i64) -> Quantized {
        Quantized::Once(ValueQuant { dtype, scale: 0.5, zero_point })
    }

    #[test]
    fn types_that_stand_for_the_same_are_one_quantization() {
        let mut quants = Quants::default();
        quants.add(0, quant(DType::U8, 127));
        quants.add(0, quant(DType::I8, -1));
        assert_eq!(quants.get(0), Some(quant(DType::I8, -1)));
        quants.add(0, quant(DType::I8, 0));
        assert_eq!(quants.get(0), Some(Quantized::Differently));
        quants.add(0, quant(DType::I8, 0));
        assert_eq!((quants.get(0), quants.once(0)), (Some(Quantized::Differently), None));
        quants.add(1, quant(DType::I16, 0));
        quants.add(1, quant(DType::I16, 0));
        assert_eq!(quants.get(1), Some(quant(DType::I16, 0)));
        quants.add(1, quant(DType::U16, 0));
        assert_eq!(quants.get(1), Some(Quantized::Differently));
    }
}

//! Quantization of the values of a graph.

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
    /// Returns the least integer of its type; `None` for types other than 8 and 16 bits.
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

    /// Returns the number of steps above 0 if the range starts at 0.
    pub fn steps_above_zero(self) -> Option<u32> {
        let steps = if self.is_byte() { 255 } else { 65535 };
        (self.above_least() == Some(0)).then_some(steps)
    }

    /// Returns the distance from the least integer to the zero point, which is equal for equivalent int8 and uint8: adding 128
    /// to integers and zero point converts one to the other.
    pub fn above_least(self) -> Option<i64> {
        self.zero_point.checked_sub(self.least()?)
    }

    /// Returns the values of the least and the greatest integer; `None` for types other than 8 and 16 bits.
    pub fn range(self) -> Option<[f64; 2]> {
        let steps = if self.is_byte() { 255.0 } else { 65535.0 };
        let low = -(self.above_least()? as f64);
        Some([low, low + steps].map(|step| step * f64::from(self.scale)))
    }

    /// Whether both are equal after conversion to one type.
    pub fn is_same(self, other: Self) -> bool {
        let bytes = self.is_byte() && other.is_byte();
        self == other || (bytes && self.scale == other.scale && self.above_least() == other.above_least())
    }
}

/// Quantization of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantized {
    Once(ValueQuant),
    /// Several quantizations, in sequence or for different readers.
    Differently,
    /// Scales per channel.
    PerChannel,
}

/// The quantized values of a graph.
#[derive(Debug, Default)]
pub struct Quants {
    values: HashMap<Value, Quantized>,
    /// The first operation that reads a value before its quantization.
    float_readers: HashMap<Value, String>,
    /// Outputs of the model that return a value before its quantization.
    float_outputs: HashMap<Value, String>,
}

impl Quants {
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn get(&self, value: Value) -> Option<Quantized> {
        self.values.get(&value).copied()
    }

    /// Returns the quantization of a value that has exactly one, which all operations read.
    pub fn once(&self, value: Value) -> Option<ValueQuant> {
        match self.get(value) {
            Some(Quantized::Once(quant)) if !self.float_readers.contains_key(&value) => Some(quant),
            _ => None,
        }
    }

    /// Records that the operation at `place` reads `value` before its quantization, if it has one.
    pub fn read_as_float(&mut self, value: Value, place: impl FnOnce() -> String) {
        self.float_readers.entry(value).or_insert_with(place);
    }

    /// Records that an output of the model is `value` before its quantization, if it has one.
    pub fn return_as_float(&mut self, value: Value, output: String) {
        self.float_outputs.entry(value).or_insert(output);
    }

    /// Returns the first operation that reads `value` before its quantization.
    pub fn float_reader(&self, value: Value) -> Option<&str> {
        self.float_readers.get(&value).map(String::as_str)
    }

    /// Returns the first output that is `value` before its quantization.
    pub fn float_output(&self, value: Value) -> Option<&str> {
        self.float_outputs.get(&value).map(String::as_str)
    }

    /// Adds a quantization of `value`. Of equivalent ones the last is kept, which the computation uses.
    pub fn add(&mut self, value: Value, quantized: Quantized) {
        match self.values.entry(value) {
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

    /// Copies the quantization of `from` to `to`, a reshape of it.
    pub fn inherit(&mut self, to: Value, from: Value) {
        if let Some(quantized) = self.get(from) {
            self.values.insert(to, quantized);
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
    fn a_value_that_is_also_read_as_floats_has_no_single_quantization() {
        let mut quants = Quants::default();
        quants.add(0, quant(DType::U8, 0));
        assert!(quants.once(0).is_some() && quants.float_reader(0).is_none());
        for place in ["first", "second"] {
            quants.read_as_float(0, || place.into());
        }
        assert_eq!((quants.once(0), quants.float_reader(0)), (None, Some("first")));
        assert_eq!(quants.get(0), Some(quant(DType::U8, 0)));
    }

    #[test]
    fn equivalent_types_are_one_quantization() {
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

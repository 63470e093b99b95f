//! Tensors of the file as constants, and attributes of nodes.

use std::borrow::Cow;

use super::{external, proto};
use crate::error::{ImportError, Result};
use crate::source::{Constant, DType, Values};
use crate::text::shorten;

/// `TensorProto.DataType` names, by number, for messages.
const TYPE_NAMES: [&str; 17] = [
    "undefined",
    "float",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "double",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
];

/// Returns the name and number of a `TensorProto.DataType`.
pub fn type_name(kind: i32) -> String {
    let name = usize::try_from(kind).ok().and_then(|at| TYPE_NAMES.get(at)).copied().unwrap_or("unknown");
    format!("{name} ({kind})")
}

/// Returns a tensor as a constant that borrows its data.
pub fn constant(tensor: &proto::Tensor) -> Result<Constant<'_>> {
    read(tensor).map_err(|error| error.at(format!("tensor '{}'", shorten(&tensor.name))))
}

fn read(tensor: &proto::Tensor) -> Result<Constant<'_>> {
    if tensor.data_location == external::EXTERNAL {
        let file = external::entry(tensor, "location").map_or("?".into(), shorten);
        return Err(ImportError::unsupported(format!("the data is in another file, '{file}'"))
            .help("save the model as one file: `onnx.save(onnx.load(path), path, save_as_external_data=False)`"));
    }
    let shape = tensor
        .dims
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| ImportError::malformed(format!("invalid dimension {size}"))))
        .collect::<Result<Vec<_>>>()?;
    Constant::new(shape, values(tensor)?)
}

fn values(tensor: &proto::Tensor) -> Result<Values<'_>> {
    let dtype = match tensor.data_type {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::U8,
        10 => DType::F16,
        11 => DType::F64,
        16 => DType::Bf16,
        other => {
            return Err(ImportError::unsupported(format!("unsupported element type {}", type_name(other)))
                .expected("float, double, float16, bfloat16, int8, uint8, int16, uint16, int32 or int64"));
        }
    };
    if !tensor.raw_data.is_empty() {
        return Ok(Values::Bytes(dtype, Cow::Borrowed(&tensor.raw_data)));
    }
    // Without raw data the elements are in the field of their type; small types share `int32_data`.
    Ok(match dtype {
        DType::F32 => Values::F32(Cow::Borrowed(&tensor.float_data)),
        DType::F64 => Values::F64(Cow::Borrowed(&tensor.double_data)),
        DType::I64 => Values::I64(Cow::Borrowed(&tensor.int64_data)),
        DType::F16 | DType::Bf16 | DType::I16 | DType::U16 => {
            Values::Bytes(dtype, tensor.int32_data.iter().flat_map(|&value| (value as u16).to_le_bytes()).collect())
        }
        DType::I8 | DType::U8 => Values::Bytes(dtype, tensor.int32_data.iter().map(|&value| value as u8).collect()),
        DType::I32 => Values::Bytes(dtype, tensor.int32_data.iter().flat_map(|&value| value.to_le_bytes()).collect()),
    })
}

/// The attributes of a node, by name.
#[derive(Clone, Copy)]
pub struct Attributes<'a>(pub &'a [proto::Attribute]);

impl<'a> Attributes<'a> {
    pub fn get(self, name: &str) -> Option<&'a proto::Attribute> {
        self.0.iter().find(|attribute| attribute.name == name)
    }

    pub fn int(self, name: &str, default: i64) -> i64 {
        self.get(name).map_or(default, |attribute| attribute.i)
    }

    pub fn float(self, name: &str, default: f32) -> f32 {
        self.get(name).map_or(default, |attribute| attribute.f)
    }

    pub fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.get(name).map(|attribute| attribute.ints.as_slice())
    }

    pub fn string(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).map(|attribute| String::from_utf8_lossy(&attribute.s))
    }

    /// Returns two positive sizes, such as strides; `[1, 1]` if absent.
    pub fn pair(self, name: &str) -> Result<[usize; 2]> {
        let Some(values) = self.ints(name) else { return Ok([1, 1]) };
        let [first, second] = non_negative(values, name)?;
        if first == 0 || second == 0 {
            return Err(ImportError::malformed(format!("attribute {name} contains a zero")));
        }
        Ok([first, second])
    }

    /// Returns paddings in the order top, left, bottom, right; zeros if absent.
    pub fn pads(self) -> Result<[usize; 4]> {
        self.ints("pads").map_or(Ok([0; 4]), |values| non_negative(values, "pads"))
    }
}

/// Checks for exactly `N` non-negative values.
pub fn non_negative<const N: usize>(values: &[i64], name: &str) -> Result<[usize; N]> {
    let bad = || ImportError::unsupported(format!("unsupported {name}")).found(display(values));
    let sizes: Vec<usize> = values.iter().filter_map(|&value| usize::try_from(value).ok()).collect();
    <[usize; N]>::try_from(sizes)
        .ok()
        .filter(|_| values.len() == N)
        .ok_or_else(|| bad().expected(format!("{N} non-negative values")))
}

/// Formats a list as `[1, 2, 3]`, shortened if long.
pub fn display(values: &[i64]) -> String {
    const SHOWN: usize = 12;
    let dots = if values.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<_> = values.iter().take(SHOWN).map(ToString::to_string).collect();
    format!("[{}{dots}]", shown.join(", "))
}

/// Resolves an axis, which counts from the end if negative.
pub fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

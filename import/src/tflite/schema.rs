//! The required tables and fields of the TFLite schema
//! (<https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs>, schema version 3).
//!
//! A field's number is its vtable offset: 4 + 2 * (position in the schema).

use super::table::{Table, Vector};
use crate::error::{ImportError, Result};

#[derive(Clone, Copy)]
pub struct Model<'a>(Table<'a>);

impl<'a> Model<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        Table::root(bytes).map(Self)
    }

    pub fn version(self) -> Result<u32> {
        self.0.u32(4)
    }

    pub fn operator_codes(self) -> Result<Vector<'a>> {
        self.0.vector(6, 4, "the operator codes")
    }

    pub fn subgraphs(self) -> Result<Vector<'a>> {
        self.0.vector(8, 4, "the subgraphs")
    }

    pub fn description(self) -> Result<&'a [u8]> {
        self.0.string(10, "the description")
    }

    pub fn buffers(self) -> Result<Vector<'a>> {
        self.0.vector(12, 4, "the buffers")
    }

    /// Returns the bytes of a buffer; `None` for an empty one. `bytes` is the whole file.
    pub fn buffer(self, bytes: &'a [u8], index: u32) -> Result<Option<&'a [u8]>> {
        let buffer = self.buffers()?.table(index as usize, "buffer")?;
        let data = buffer.string(4, "a buffer's data")?;
        // Files over 2 GB store the data after the flatbuffer: offset and size, above 1 if used.
        let (offset, size) = (buffer.u64(6)?, buffer.u64(8)?);
        if data.is_empty() && offset > 1 {
            let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
            let bytes = range.and_then(|(start, size)| bytes.get(start..start.checked_add(size)?));
            return bytes
                .map(Some)
                .ok_or_else(|| ImportError::malformed("a buffer extends beyond the end of the file"));
        }
        Ok(Some(data).filter(|data| !data.is_empty()))
    }

    /// Entries with a name and the index of a buffer.
    pub fn metadata(self) -> Result<Vector<'a>> {
        self.0.vector(16, 4, "the metadata")
    }
}

/// Returns the code of an operator. Old files store only a byte, later ones also 32 bits.
pub fn operator_code(table: Table<'_>) -> Result<i32> {
    Ok(table.i32(10, 0)?.max(i32::from(table.i8(4, 0)?)))
}

/// Returns the name of a custom operator; empty for a builtin one.
pub fn custom_code(table: Table<'_>) -> Result<&[u8]> {
    table.string(6, "the name of a custom operator")
}

#[derive(Clone, Copy)]
pub struct Subgraph<'a>(pub Table<'a>);

impl<'a> Subgraph<'a> {
    pub fn tensors(self) -> Result<Vector<'a>> {
        self.0.vector(4, 4, "the tensors")
    }

    pub fn inputs(self) -> Result<Vector<'a>> {
        self.0.vector(6, 4, "the inputs")
    }

    pub fn outputs(self) -> Result<Vector<'a>> {
        self.0.vector(8, 4, "the outputs")
    }

    pub fn operators(self) -> Result<Vector<'a>> {
        self.0.vector(10, 4, "the operators")
    }
}

#[derive(Clone, Copy)]
pub struct Tensor<'a>(pub Table<'a>);

impl<'a> Tensor<'a> {
    pub fn shape(self) -> Result<Vector<'a>> {
        self.0.vector(4, 4, "a tensor's shape")
    }

    /// `TensorType`.
    pub fn element_type(self) -> Result<i8> {
        self.0.i8(6, 0)
    }

    pub fn buffer(self) -> Result<u32> {
        self.0.u32(8)
    }

    pub fn name(self) -> Result<&'a [u8]> {
        self.0.string(10, "a tensor's name")
    }

    pub fn quantization(self) -> Result<Option<QuantizationParameters<'a>>> {
        Ok(self.0.table(12, "quantization parameters")?.map(QuantizationParameters))
    }

    /// The shape with -1 for sizes that are set at run time; empty if there are none.
    pub fn signature(self) -> Result<Vector<'a>> {
        self.0.vector(18, 4, "a tensor's shape signature")
    }

    pub fn is_sparse(self) -> Result<bool> {
        Ok(self.0.table(16, "sparsity parameters")?.is_some())
    }
}

#[derive(Clone, Copy)]
pub struct QuantizationParameters<'a>(Table<'a>);

impl<'a> QuantizationParameters<'a> {
    pub fn scale(self) -> Result<Vector<'a>> {
        self.0.vector(8, 4, "quantization scales")
    }

    pub fn zero_point(self) -> Result<Vector<'a>> {
        self.0.vector(10, 8, "quantization zero points")
    }

    pub fn dimension(self) -> Result<i32> {
        self.0.i32(16, 0)
    }
}

#[derive(Clone, Copy)]
pub struct Operator<'a>(pub Table<'a>);

impl<'a> Operator<'a> {
    pub fn code_index(self) -> Result<u32> {
        self.0.u32(4)
    }

    pub fn inputs(self) -> Result<Vector<'a>> {
        self.0.vector(6, 4, "an operator's inputs")
    }

    pub fn outputs(self) -> Result<Vector<'a>> {
        self.0.vector(8, 4, "an operator's outputs")
    }

    /// Returns the options table if it has the expected type; absent options are defaults.
    pub fn options(self, r#type: i8) -> Result<Options<'a>> {
        let table = self.0.table(12, "an operator's options")?;
        Ok(Options(table.filter(|_| matches!(self.0.i8(10, 0), Ok(found) if found == r#type))))
    }
}

/// Types of option tables.
pub const CONV_OPTIONS: i8 = 1;
pub const DEPTHWISE_OPTIONS: i8 = 2;
pub const POOL_OPTIONS: i8 = 5;
pub const FULLY_CONNECTED_OPTIONS: i8 = 8;
pub const SOFTMAX_OPTIONS: i8 = 9;
pub const CONCATENATION_OPTIONS: i8 = 10;
pub const ADD_OPTIONS: i8 = 11;
pub const MUL_OPTIONS: i8 = 21;
pub const SUB_OPTIONS: i8 = 28;
pub const DIV_OPTIONS: i8 = 29;
pub const STRIDED_SLICE_OPTIONS: i8 = 32;
pub const PACK_OPTIONS: i8 = 59;

#[derive(Clone, Copy)]
pub struct Options<'a>(Option<Table<'a>>);

impl Options<'_> {
    pub fn i8(self, slot: usize) -> Result<i8> {
        self.0.map_or(Ok(0), |table| table.i8(slot, 0))
    }

    pub fn i32(self, slot: usize, default: i32) -> Result<i32> {
        self.0.map_or(Ok(default), |table| table.i32(slot, default))
    }

    pub fn f32(self, slot: usize, default: f32) -> Result<f32> {
        self.0.map_or(Ok(default), |table| table.f32(slot, default))
    }
}

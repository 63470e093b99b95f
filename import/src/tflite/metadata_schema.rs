//! The required tables and fields of TFLite metadata
//! (<https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs>).
//!
//! Field numbers are those of `schema.rs`.

use super::table::{Table, Vector};
use crate::error::Result;

/// `AssociatedFileType` of labels along the axis of the classes.
pub const LABELS_OF_AXIS: i8 = 2;

/// The root table.
#[derive(Clone, Copy)]
pub struct ModelMetadata<'a>(Table<'a>);

impl<'a> ModelMetadata<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        Table::root(bytes).map(Self)
    }

    /// Returns the metadata of the first subgraph.
    pub fn subgraph(self) -> Result<Option<SubgraphMetadata<'a>>> {
        Ok(first(self.0.vector(10, 4, "the metadata of subgraphs")?)?.map(SubgraphMetadata))
    }
}

#[derive(Clone, Copy)]
pub struct SubgraphMetadata<'a>(Table<'a>);

impl<'a> SubgraphMetadata<'a> {
    /// Returns the metadata of the first input.
    pub fn input(self) -> Result<Option<TensorMetadata<'a>>> {
        Ok(first(self.0.vector(8, 4, "the metadata of inputs")?)?.map(TensorMetadata))
    }

    /// Returns the metadata of the first output.
    pub fn output(self) -> Result<Option<TensorMetadata<'a>>> {
        Ok(first(self.0.vector(10, 4, "the metadata of outputs")?)?.map(TensorMetadata))
    }

    /// Steps that process several inputs.
    pub fn input_process_units(self) -> Result<Vector<'a>> {
        self.0.vector(14, 4, "the processing steps of inputs")
    }
}

#[derive(Clone, Copy)]
pub struct TensorMetadata<'a>(Table<'a>);

impl<'a> TensorMetadata<'a> {
    /// Whether the tensor is declared as a gray image.
    pub fn is_gray(self) -> Result<bool> {
        const IMAGE_PROPERTIES: i8 = 2;
        const GRAYSCALE: i8 = 2;
        let Some(content) = self.0.table(10, "a tensor's content")? else { return Ok(false) };
        if content.i8(4, 0)? != IMAGE_PROPERTIES {
            return Ok(false);
        }
        let properties = content.table(6, "properties of an image")?;
        properties.map_or(Ok(false), |properties| Ok(properties.i8(4, 0)? == GRAYSCALE))
    }

    pub fn process_units(self) -> Result<Vector<'a>> {
        self.0.vector(12, 4, "a tensor's processing steps")
    }

    pub fn associated_files(self) -> Result<Vector<'a>> {
        self.0.vector(16, 4, "a tensor's files")
    }
}

/// A step that processes a tensor.
#[derive(Clone, Copy)]
pub struct ProcessUnit<'a>(pub Table<'a>);

/// Options of a step: `ProcessUnitOptions`.
pub enum Unit<'a> {
    Normalization(Normalization<'a>),
    ScoreThreshold,
    Nothing,
    Other,
}

impl<'a> ProcessUnit<'a> {
    pub fn kind(self) -> Result<Unit<'a>> {
        Ok(match (self.0.i8(4, 0)?, self.0.table(6, "options of a processing step")?) {
            (1, Some(options)) => Unit::Normalization(Normalization(options)),
            (3, _) => Unit::ScoreThreshold,
            (0, _) => Unit::Nothing,
            _ => Unit::Other,
        })
    }
}

/// `(x - mean) / std`.
#[derive(Clone, Copy)]
pub struct Normalization<'a>(Table<'a>);

impl<'a> Normalization<'a> {
    pub fn mean(self) -> Result<Vector<'a>> {
        self.0.vector(4, 4, "means")
    }

    /// `std`.
    pub fn deviation(self) -> Result<Vector<'a>> {
        self.0.vector(6, 4, "standard deviations")
    }
}

#[derive(Clone, Copy)]
pub struct AssociatedFile<'a>(pub Table<'a>);

impl<'a> AssociatedFile<'a> {
    pub fn name(self) -> Result<&'a [u8]> {
        self.0.string(4, "the name of a file")
    }

    /// `AssociatedFileType`.
    pub fn kind(self) -> Result<i8> {
        self.0.i8(8, 0)
    }
}

fn first(vector: Vector<'_>) -> Result<Option<Table<'_>>> {
    (vector.len > 0).then(|| vector.table(0, "metadata")).transpose()
}

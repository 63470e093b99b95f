//! Arrays of classes with their scores.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float32Builder, Int32Builder, StringBuilder, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::arrow::error::ArrowError;

/// Fields of the struct. All are nullable, because DataFusion's access to a field returns the field's array without the nulls
/// of the struct: they have to be in the fields, too.
pub fn fields() -> Fields {
    Fields::from(vec![
        Field::new("label", DataType::Utf8, true),
        Field::new("score", DataType::Float32, true),
        Field::new("index", DataType::Int32, true),
    ])
}

/// Builds an array of structs.
#[derive(Default)]
pub struct Guesses {
    labels: StringBuilder,
    scores: Float32Builder,
    indices: Int32Builder,
    valid: Vec<bool>,
}

impl Guesses {
    /// Appends a class with its score. Its label is null if `labels` has none.
    pub fn push(&mut self, labels: &[String], (index, score): (usize, f32)) {
        self.labels.append_option(labels.get(index));
        self.scores.append_value(score);
        self.indices.append_option(i32::try_from(index).ok());
        self.valid.push(true);
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        self.labels.append_null();
        self.scores.append_null();
        self.indices.append_null();
        self.valid.push(false);
    }

    /// Returns the array.
    pub fn finish(mut self) -> Result<StructArray, ArrowError> {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(self.labels.finish()), Arc::new(self.scores.finish()), Arc::new(self.indices.finish())];
        StructArray::try_new(fields(), columns, Some(NullBuffer::from(self.valid)))
    }
}

//! The function `embed`.

use std::sync::Arc;

use datafusion::arrow::array::{FixedSizeListArray, Float32Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::arguments::{array, check_image, images, like};
use crate::model::Model;

/// `embed(image)`.
///
/// The result is a list of fixed size, because all vectors have the same length. Vector stores such as Lance require this type,
/// and the values of a batch are one matrix without offsets. DataFusion's vector functions (`cosine_distance`,
/// `inner_product`, `array_distance`) cast lists of both types to lists of Float64.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Embed {
    name: String,
    model: Arc<Model>,
    signature: Signature,
}

impl Embed {
    pub fn new(name: String, model: Arc<Model>) -> Self {
        Self { name, model, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    /// Length of a vector.
    fn length(&self) -> usize {
        self.model.classifier.network.info().embedding
    }
}

impl ScalarUDFImpl for Embed {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [image] = types else {
            return plan_err!("{}: expected one argument (image), found {}", self.name, types.len());
        };
        check_image(&self.name, image)?;
        let length = i32::try_from(self.length());
        let length = length.or_else(|_| internal_err!("vectors of {} elements", self.length()))?;
        Ok(DataType::new_fixed_size_list(DataType::Float32, length, true))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ([image], DataType::FixedSizeList(item, size)) = (&*args.args, args.return_field.data_type()) else {
            return internal_err!("arguments of {} that were not planned", self.name);
        };
        let array = array(image)?;
        let images = images(&array)?;
        let length = self.length();
        let mut values = Vec::with_capacity(images.len() * length);
        let mut valid = Vec::with_capacity(images.len());
        self.model.map(
            &self.name,
            &images,
            |classifier, caller, pixels| classifier.embedding(caller, pixels),
            |vector| {
                valid.push(vector.is_some());
                values.extend(vector.unwrap_or_default());
                // A null has elements, too.
                values.resize(valid.len() * length, 0.0);
            },
        )?;
        let (values, nulls) = (Arc::new(Float32Array::from(values)), NullBuffer::from(valid));
        like(image, Arc::new(FixedSizeListArray::try_new(item.clone(), *size, values, Some(nulls))?))
    }
}

//! The function `classify`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use mbvc_engine::{Caller, Classifier, best};

use crate::arguments::{array, check_image, images, like, parse_k, planned_k};
use crate::guesses::{Guesses, fields};
use crate::model::Model;

/// `classify(image [, k])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Classify {
    name: String,
    model: Arc<Model>,
    signature: Signature,
}

impl Classify {
    pub fn new(name: String, model: Arc<Model>) -> Self {
        // `return_field_from_args` checks the arguments: DataFusion shows its errors unchanged.
        Self { name, model, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    /// Computes the `k` largest scores for the pixels of an image, with the indices of their classes.
    fn best(classifier: &Classifier, caller: &mut Caller, pixels: &[u8], k: usize) -> Vec<(usize, f32)> {
        best(&classifier.scores(caller, pixels), k)
    }

    /// Returns an array of structs.
    fn one(&self, images: &[Option<&[u8]>]) -> Result<ArrayRef> {
        let mut guesses = Guesses::default();
        self.model.map(
            &self.name,
            images,
            |classifier, caller, pixels| Self::best(classifier, caller, pixels, 1).first().copied(),
            |best| match best.flatten() {
                Some(best) => guesses.push(&self.model.classifier.labels, best),
                None => guesses.push_null(),
            },
        )?;
        Ok(Arc::new(guesses.finish()?))
    }

    /// Checks that the offsets of an array of lists cannot overflow: those of the lists and those of the labels.
    fn check_length(&self, rows: usize, k: usize) -> Result<()> {
        let classifier = &self.model.classifier;
        let longest = classifier.labels.iter().map(String::len).max().unwrap_or_default().max(1);
        let bytes = rows.saturating_mul(k.min(classifier.classes())).saturating_mul(longest);
        if i32::try_from(bytes).is_err() {
            return exec_err!(
                "{}: the labels of a batch of {rows} rows may exceed 2 GiB\nhelp: set datafusion.execution.batch_size to 64",
                self.name
            );
        }
        Ok(())
    }

    /// Returns an array of lists, whose elements are `item`.
    fn several(&self, images: &[Option<&[u8]>], k: usize, item: &FieldRef) -> Result<ArrayRef> {
        self.check_length(images.len(), k)?;
        let (mut guesses, mut lengths, mut valid) = (Guesses::default(), Vec::new(), Vec::new());
        self.model.map(
            &self.name,
            images,
            |classifier, caller, pixels| Self::best(classifier, caller, pixels, k),
            |best| {
                valid.push(best.is_some());
                let best = best.unwrap_or_default();
                lengths.push(best.len());
                best.into_iter().for_each(|guess| guesses.push(&self.model.classifier.labels, guess));
            },
        )?;
        let (offsets, nulls) = (OffsetBuffer::from_lengths(lengths), NullBuffer::from(valid));
        Ok(Arc::new(ListArray::try_new(item.clone(), offsets, Arc::new(guesses.finish()?), Some(nulls))?))
    }
}

impl ScalarUDFImpl for Classify {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type of {} depends on its arguments", self.name)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let name = &self.name;
        let guess = DataType::Struct(fields());
        let result = match args.arg_fields {
            [image] => {
                check_image(name, image.data_type())?;
                guess
            }
            [image, _] => {
                check_image(name, image.data_type())?;
                parse_k(name, args.scalar_arguments.get(1).copied().flatten())?;
                DataType::new_list(guess, true)
            }
            other => return plan_err!("{name}: expected arguments (image) or (image, k), found {}", other.len()),
        };
        Ok(Arc::new(Field::new(name, result, true)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (image, k) = match &*args.args {
            [image] => (image, None),
            [image, k] => (image, Some(planned_k(&self.name, k)?)),
            _ => return internal_err!("arguments of {} that were not planned", self.name),
        };
        let array = array(image)?;
        if let Some(result) = self.model.memo.get(&array, k) {
            return like(image, result);
        }
        let images = images(&array)?;
        let result = match (k, args.return_field.data_type()) {
            (None, _) => self.one(&images)?,
            (Some(k), DataType::List(item)) => self.several(&images, k, item)?,
            (Some(_), other) => return internal_err!("{} with a result of type {other}", self.name),
        };
        self.model.memo.put(&array, k, result.clone());
        like(image, result)
    }
}

//! Tables of images, and what the classifier computes for them without SQL.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Float32Type, Int32Type};
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use image::ImageFormat;
use mbvc_datafusion::Functions;
use mbvc_engine::Classifier;
use mbvc_networks::demo::{SAMPLES, Variant, build, quantized_weights, weights};
use mbvc_pictures::Photo;
use mbvc_runtime::top_k;

/// A label, a score and the index of a class.
pub type Guess = (Option<String>, f32, i32);

/// Returns the demo's classifier.
pub fn demo() -> Arc<Classifier> {
    let weights = weights().unwrap();
    Arc::new(Classifier::new(build(&Variant::Fused, &weights).unwrap(), &weights))
}

/// Returns the demo's classifier of int8.
pub fn quantized() -> Arc<Classifier> {
    let weights = quantized_weights().unwrap();
    Arc::new(Classifier::new(build(&Variant::Quantized, &weights).unwrap(), &weights))
}

/// Returns the samples, each in one of the formats that are decoded, and a null after every fourth.
pub fn pictures() -> Vec<Option<Vec<u8>>> {
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::WebP];
    let mut pictures = Vec::new();
    for (number, (_, file)) in SAMPLES.iter().enumerate() {
        let mut encoded = Cursor::new(Vec::new());
        let rgb = image::load_from_memory(file).unwrap().into_rgb8();
        rgb.write_to(&mut encoded, formats[number % 4]).unwrap();
        pictures.push(Some(encoded.into_inner()));
        if number % 4 == 3 {
            pictures.push(None);
        }
    }
    pictures
}

/// Returns the bytes of a framed image.
fn pixels(classifier: &Classifier, image: &[u8]) -> Vec<u8> {
    classifier.frame(Photo::from_bytes(image, Path::new("image")).unwrap().rgb())
}

/// Computes the `k` best classes.
pub fn best(classifier: &Classifier, image: &[u8], k: usize) -> Vec<Guess> {
    let scores = classifier.scores(&mut classifier.caller(), &pixels(classifier, image));
    let mut best = vec![(0, 0.0); k.min(scores.len())];
    top_k(&scores, &mut best);
    best.into_iter().map(|(index, score)| (classifier.labels.get(index).cloned(), score, index as i32)).collect()
}

/// Computes the pooled vector.
pub fn vector(classifier: &Classifier, image: &[u8]) -> Vec<f32> {
    classifier.embedding(&mut classifier.caller(), &pixels(classifier, image))
}

/// Returns a context with the functions and a table `t` with the column `image`.
pub fn context(functions: &Functions, images: ArrayRef) -> SessionContext {
    let context = SessionContext::new();
    functions.register(&context);
    context.register_batch("t", RecordBatch::try_from_iter([("image", images)]).unwrap()).unwrap();
    context
}

/// Runs a query and returns all rows in one batch.
pub async fn query(context: &SessionContext, sql: &str) -> Result<RecordBatch> {
    let frame = context.sql(sql).await?;
    let schema = frame.schema().inner().clone();
    Ok(concat_batches(&schema, &frame.collect().await?).unwrap())
}

/// Reads an array of structs; nulls are left out of the fields, too.
pub fn guesses(array: &dyn Array) -> Vec<Option<Guess>> {
    let guesses = array.as_struct();
    let labels = guesses.column_by_name("label").unwrap().as_string::<i32>();
    let scores = guesses.column_by_name("score").unwrap().as_primitive::<Float32Type>();
    let indices = guesses.column_by_name("index").unwrap().as_primitive::<Int32Type>();
    let guess = |row| {
        assert_eq!(guesses.is_null(row), scores.is_null(row));
        assert_eq!(guesses.is_null(row), indices.is_null(row));
        let label = labels.is_valid(row).then(|| labels.value(row).to_owned());
        guesses.is_valid(row).then(|| (label, scores.value(row), indices.value(row)))
    };
    (0..guesses.len()).map(guess).collect()
}

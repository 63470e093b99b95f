//! `embed` returns what the classifier computes.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BinaryArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use mbvc_datafusion::Functions;

use crate::tables::{context, demo, pictures, quantized, query, vector};

#[tokio::test]
async fn vectors_are_those_of_direct_calls() {
    for classifier in [demo(), quantized()] {
        let pictures = pictures();
        for threads in [1, 3] {
            let functions = Functions::new(classifier.clone()).threads(threads);
            let context = context(&functions, Arc::new(BinaryArray::from_iter(&pictures)));
            let result = query(&context, "select embed(image) from t").await.unwrap();
            let vectors = result.column(0).as_fixed_size_list();
            assert_eq!(vectors.value_length() as usize, classifier.network.info().embedding);
            for (row, image) in pictures.iter().enumerate() {
                let found = vectors.is_valid(row).then(|| vectors.value(row));
                let found = found.as_ref().map(|found| found.as_primitive::<Float32Type>().values().to_vec());
                assert_eq!(found, image.as_ref().map(|image| vector(&classifier, image)));
            }
        }
    }
}

#[tokio::test]
async fn functions_of_vectors_accept_the_result() {
    let (classifier, pictures) = (demo(), pictures());
    let context = context(&Functions::new(classifier.clone()), Arc::new(BinaryArray::from_iter(&pictures)));
    let sql = "select array_distance(a, a), cosine_distance(a, a), inner_product(a, a), array_length(a), a[1]
        from (select embed(image) as a from t where image is not null)";
    let result = query(&context, sql).await.unwrap();
    let column = |number: usize| result.column(number).as_primitive::<Float64Type>().values().to_vec();
    assert!(column(0).iter().all(|distance| *distance == 0.0));
    assert!(column(1).iter().all(|distance| distance.abs() < 1e-6));
    let firsts = result.column(4).as_primitive::<Float32Type>();
    for (row, image) in pictures.iter().flatten().enumerate() {
        let vector = vector(&classifier, image);
        let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        assert!((column(2)[row] - square).abs() <= 1e-6 * square);
        assert_eq!(firsts.value(row), vector[0]);
    }
}

#[tokio::test]
async fn a_null_literal_gives_a_null() {
    let context = context(&Functions::new(demo()), Arc::new(BinaryArray::from_iter(&pictures())));
    let result = query(&context, "select embed(null)").await.unwrap();
    assert!(matches!(result.column(0).data_type(), DataType::FixedSizeList(..)));
    assert!(result.column(0).is_null(0));
}

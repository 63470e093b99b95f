//! `classify` returns what the classifier computes.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::{Array, AsArray, BinaryArray};
use datafusion::arrow::datatypes::{DataType, Float32Type};
use image::ImageFormat;
use image::imageops::FilterType;
use mbvc_datafusion::Functions;
use mbvc_networks::demo::SAMPLES;
use mbvc_pictures::{Photo, Target};

use crate::counting::counted;
use crate::tables::{best, context, demo, guesses, pictures, quantized, query};

#[tokio::test]
async fn the_best_class_is_that_of_direct_calls() {
    for classifier in [demo(), quantized()] {
        let pictures = pictures();
        let expected: Vec<_> =
            pictures.iter().map(|image| image.as_ref().map(|image| best(&classifier, image, 1).remove(0))).collect();
        assert!(expected.iter().flatten().all(|guess| guess.0.is_some()));
        for threads in [0, 1, 3, 100] {
            let functions = Functions::new(classifier.clone()).threads(threads);
            let context = context(&functions, Arc::new(BinaryArray::from_iter(&pictures)));
            let result = query(&context, "select classify(image) from t").await.unwrap();
            assert_eq!(guesses(result.column(0)), expected, "{threads} threads");
        }
    }
}

#[tokio::test]
async fn the_best_classes_are_those_of_direct_calls() {
    let (classifier, pictures) = (demo(), pictures());
    let context = context(&Functions::new(classifier.clone()), Arc::new(BinaryArray::from_iter(&pictures)));
    // The last one is larger than the number of classes.
    for k in [1, 3, 1_000_000] {
        let result = query(&context, &format!("select classify(image, {k}) from t")).await.unwrap();
        let lists = result.column(0).as_list::<i32>();
        for (row, image) in pictures.iter().enumerate() {
            assert_eq!(lists.is_null(row), image.is_none());
            let Some(image) = image else { continue };
            let expected: Vec<_> = best(&classifier, image, k).into_iter().map(Some).collect();
            assert_eq!(expected.len(), k.min(classifier.classes()));
            assert_eq!(guesses(&lists.value(row)), expected);
        }
    }
}

#[tokio::test]
async fn fields_of_nulls_are_null() {
    let pictures = pictures();
    let nulls = pictures.iter().filter(|image| image.is_none()).count();
    let context = context(&Functions::new(demo()), Arc::new(BinaryArray::from_iter(&pictures)));
    for field in ["label", "score", "index"] {
        for call in ["classify(image)", "classify(image, 2)[1]"] {
            let sql = format!("select 1 from t where {call}['{field}'] is null");
            assert_eq!(query(&context, &sql).await.unwrap().num_rows(), nulls, "{sql}");
        }
    }
}

#[tokio::test]
async fn equal_calls_are_computed_once() {
    let (classifier, calls) = counted();
    let pictures: Vec<_> = pictures().into_iter().flatten().collect();
    let functions = Functions::new(classifier);
    let fresh = || context(&functions, Arc::new(BinaryArray::from_iter_values(&pictures)));
    for sql in [
        "select classify(image)['label'], classify(image)['score'], classify(image)['index'] from t",
        "select classify(image), classify(image)['score'] from t",
        "select c['label'], c['score'] from (select classify(image) as c from t)",
        "select classify(image, 2)[1]['label'], classify(image, 2)[2]['label'] from t",
        "select classify(image)['label'], count(*), avg(classify(image)['score']) from t group by 1",
        "select embed(image)[1], embed(image)[2] from t",
    ] {
        let context = fresh();
        query(&context, sql).await.unwrap();
        assert_eq!(calls.swap(0, Ordering::Relaxed), pictures.len(), "{sql}");
    }
}

#[tokio::test]
async fn filters_compute_what_the_documentation_says() {
    let (classifier, calls) = counted();
    let functions = Functions::new(classifier);
    let pictures: Vec<_> = pictures().into_iter().flatten().collect();
    let filter = "from (select image, classify(image) as c, embed(image) as e from t) where";
    for (sql, again) in [
        (format!("select c['label'], c['score'] {filter} c['label'] <> 'cactus'"), false),
        (format!("select image {filter} c['label'] <> 'cactus'"), false),
        (format!("select c {filter} c['label'] <> 'cactus'"), true),
        (format!("select e {filter} e[1] > 0.02"), true),
    ] {
        let context = context(&functions, Arc::new(BinaryArray::from_iter_values(&pictures)));
        let selected = query(&context, &sql).await.unwrap().num_rows();
        assert!(selected > 0 && selected < pictures.len(), "{sql}: {selected}");
        let expected = pictures.len() + if again { selected } else { 0 };
        assert_eq!(calls.swap(0, Ordering::Relaxed), expected, "{sql}");
    }
}

#[tokio::test]
async fn a_literal_is_classified_at_planning() {
    let classifier = demo();
    let picture = pictures().swap_remove(0).unwrap();
    let hex: String = picture.iter().map(|byte| format!("{byte:02x}")).collect();
    let context = context(&Functions::new(classifier.clone()), Arc::new(BinaryArray::from_iter_values([&*picture])));
    let sql = format!("select classify(X'{hex}'), classify(X'{hex}', 2)[1], classify(null), classify(null, 2) from t");
    let result = query(&context, &sql).await.unwrap();
    let expected = [best(&classifier, &picture, 1).pop()];
    assert_eq!(guesses(result.column(0)), expected);
    assert_eq!(guesses(result.column(1)), expected);
    assert_eq!(guesses(result.column(2)), [None]);
    assert!(matches!(result.column(3).data_type(), DataType::List(_)));
    assert!(result.column(3).is_null(0));
}

#[tokio::test]
async fn an_empty_table_has_no_results() {
    let context = context(&Functions::new(demo()), Arc::new(BinaryArray::from_iter_values::<&[u8], _>([])));
    let result = query(&context, "select classify(image), classify(image, 2), embed(image) from t").await.unwrap();
    assert_eq!((result.num_rows(), result.num_columns()), (0, 3));
}

#[tokio::test]
async fn labels_are_null_if_there_are_none() {
    let picture = pictures().swap_remove(0).unwrap();
    let (mut classifier, _) = counted();
    classifier.labels.clear();
    let expected = best(&classifier, &picture, 1);
    let context = context(&Functions::new(classifier), Arc::new(BinaryArray::from_iter_values([&*picture])));
    let result = query(&context, "select classify(image) from t").await.unwrap();
    assert_eq!(expected[0].0, None);
    assert_eq!(guesses(result.column(0)), expected.into_iter().map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_networks_have_functions_with_prefixes() {
    let picture = pictures().swap_remove(0).unwrap();
    let (float, bytes) = (demo(), quantized());
    let context = context(&Functions::new(float.clone()), Arc::new(BinaryArray::from_iter_values([&*picture])));
    Functions::new(bytes.clone()).prefix("small_").register(&context);
    let sql = "select classify(image)['score'], small_classify(image)['score'] from t";
    let result = query(&context, sql).await.unwrap();
    for (column, classifier) in result.columns().iter().zip([&float, &bytes]) {
        assert_eq!(column.as_primitive::<Float32Type>().value(0), best(classifier, &picture, 1)[0].1);
    }
}

#[tokio::test]
async fn large_jpeg_images_are_decoded_at_a_reduced_size() {
    let classifier = demo();
    let picture = image::load_from_memory(SAMPLES[0].1).unwrap().into_rgb8();
    let picture = image::imageops::resize(&picture, 1600, 1600, FilterType::Triangle);
    let mut jpeg = Cursor::new(Vec::new());
    picture.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let target = Target { framing: classifier.framing, input: classifier.input() };
    let reduced = Photo::from_bytes_reduced(&jpeg, Path::new("image"), target).unwrap();
    let whole = Photo::from_bytes(&jpeg, Path::new("image")).unwrap();
    assert_ne!(classifier.frame(reduced.rgb()), classifier.frame(whole.rgb()));
    for (fast_decode, photo) in [(true, reduced), (false, whole)] {
        let functions = Functions::new(classifier.clone()).fast_decode(fast_decode);
        let context = context(&functions, Arc::new(BinaryArray::from_iter_values([&jpeg])));
        let result = query(&context, "select classify(image) from t").await.unwrap();
        let scores = classifier.scores(&mut classifier.caller(), &classifier.frame(photo.rgb()));
        let (_, score, index) = guesses(result.column(0)).remove(0).unwrap();
        assert_eq!(score, scores[index as usize]);
    }
}

#[tokio::test]
async fn labels_that_may_exceed_the_offsets_are_an_error() {
    let (mut classifier, calls) = counted();
    classifier.labels[0] = "x".repeat(1 << 26);
    let pictures = pictures();
    let context = context(&Functions::new(classifier), Arc::new(BinaryArray::from_iter(&pictures)));
    let error = query(&context, "select classify(image, 1000) from t").await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "Execution error: classify: the labels of a batch of {} rows may exceed 2 GiB\nhelp: set \
             datafusion.execution.batch_size to 64",
            pictures.len()
        )
    );
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

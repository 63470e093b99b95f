//! Queries over Parquet files.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StructArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use mbvc_datafusion::Functions;

use crate::counting::counted;
use crate::tables::{best, demo, pictures, query};

/// Number of files.
const FILES: usize = 3;

/// Writes files of several row groups. Returns all images.
fn write(folder: &Path) -> Vec<Option<Vec<u8>>> {
    let mut all = Vec::new();
    for number in 0..FILES {
        let mut images = pictures();
        images.rotate_left(number);
        images.truncate(images.len() - number);
        let array: ArrayRef = Arc::new(BinaryArray::from_iter(&images));
        // As in datasets of Hugging Face.
        let file: ArrayRef = Arc::new(StructArray::try_from(vec![("bytes", array.clone())]).unwrap());
        let batch = RecordBatch::try_from_iter([("image", array), ("file", file)]).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(4)).build();
        let file = File::create(folder.join(format!("{number}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        all.extend(images);
    }
    all
}

/// Returns a context with the table `photos` of the files in a folder.
async fn photos(folder: &Path, functions: &Functions) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(FILES).with_batch_size(5);
    let context = SessionContext::new_with_config(config);
    functions.register(&context);
    let folder = folder.to_str().unwrap();
    context.register_parquet("photos", folder, ParquetReadOptions::default()).await.unwrap();
    context
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_several_partitions_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (classifier, images) = (demo(), write(folder.path()));
    let mut expected = BTreeMap::<_, i64>::new();
    for image in &images {
        let label = image.as_ref().and_then(|image| best(&classifier, image, 1).remove(0).0);
        *expected.entry(label).or_default() += 1;
    }
    let context = photos(folder.path(), &Functions::new(classifier.clone()).threads(2)).await;

    let plan = context.sql("select classify(image) from photos").await.unwrap().create_physical_plan().await.unwrap();
    assert_eq!(plan.output_partitioning().partition_count(), FILES);

    let sql = "select label, count(*) from (select classify(image)['label'] as label from photos)
        group by label order by count(*) desc, label";
    let result = query(&context, sql).await.unwrap();
    let (labels, counts) = (result.column(0).as_string::<i32>(), result.column(1).as_primitive::<Int64Type>());
    let found: Vec<_> =
        labels.iter().map(|label| label.map(str::to_owned)).zip(counts.values().iter().copied()).collect();
    assert!(found.is_sorted_by_key(|(_, count)| -count));
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let context = photos(folder.path(), &Functions::new(demo())).await;
    let sql = "select classify(image) as c, classify(image, 2) as cs, embed(image) as e from photos";
    let file = folder.path().join("results.parquet");
    let file = file.to_str().unwrap();
    query(&context, &format!("copy ({sql}) to '{file}'")).await.unwrap();
    context.register_parquet("results", file, ParquetReadOptions::default()).await.unwrap();
    let (computed, read) =
        (query(&context, sql).await.unwrap(), query(&context, "select * from results").await.unwrap());
    assert!(matches!(read.column(2).data_type(), DataType::FixedSizeList(..)));
    assert_eq!(computed.num_rows(), read.num_rows());
    // Views in place of text, and the order of partitions, may differ: the counts of labels do not.
    let count = "select c['label'] as label, count(*) as a, count(cs[2]['label']) as b, round(sum(e[1]), 3) as d from";
    let computed = query(&context, &format!("{count} ({sql}) group by 1 order by 1")).await.unwrap();
    let read = query(&context, &format!("{count} results group by 1 order by 1")).await.unwrap();
    let text = |batch| datafusion::arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
    assert_eq!(text(computed), text(read));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_images_in_files_are_computed_once() {
    let folder = tempfile::tempdir().unwrap();
    let images = write(folder.path()).into_iter().flatten().count();
    for image in ["image", "file['bytes']"] {
        let (classifier, calls) = counted();
        let context = photos(folder.path(), &Functions::new(classifier)).await;
        let sql = format!("select classify({image})['label'], classify({image})['score'] from photos");
        query(&context, &sql).await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), images, "{image}");
    }
}

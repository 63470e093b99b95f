//! Images that cannot be decoded.

use std::sync::Arc;

use datafusion::arrow::array::{Array, BinaryArray};
use mbvc_datafusion::{Functions, OnError};

use crate::tables::{context, demo, guesses, pictures, query};

/// Returns the pictures, of which the ones in these rows are damaged: cut off, replaced by text, empty.
fn damaged() -> (Vec<Option<Vec<u8>>>, [usize; 3]) {
    let mut pictures = pictures();
    let cut = pictures[1].as_ref().unwrap().len() / 2;
    pictures[1].as_mut().unwrap().truncate(cut);
    pictures[3] = Some(b"no image".to_vec());
    pictures[6] = Some(Vec::new());
    (pictures, [1, 3, 6])
}

#[tokio::test]
async fn damaged_images_give_nulls() {
    let (pictures, bad) = damaged();
    for threads in [1, 2] {
        let functions = Functions::new(demo()).threads(threads);
        let context = context(&functions, Arc::new(BinaryArray::from_iter(&pictures)));
        let result = query(&context, "select classify(image), classify(image, 2), embed(image) from t").await.unwrap();
        let found = guesses(result.column(0));
        for (row, image) in pictures.iter().enumerate() {
            let is_null = image.is_none() || bad.contains(&row);
            assert_eq!(found[row].is_none(), is_null);
            assert_eq!(result.column(1).is_null(row), is_null);
            assert_eq!(result.column(2).is_null(row), is_null);
        }
        // The remedy in the documentation.
        let sql = "select 1 from t where image is not null and classify(image) is null";
        assert_eq!(query(&context, sql).await.unwrap().num_rows(), bad.len());
    }
}

#[tokio::test]
async fn damaged_images_end_the_query() {
    let (pictures, _) = damaged();
    for threads in [1, 2] {
        let functions = Functions::new(demo()).threads(threads).on_error(OnError::Fail);
        let context = context(&functions, Arc::new(BinaryArray::from_iter(&pictures)));
        for call in ["classify(image)", "classify(image, 3)", "embed(image)"] {
            let error = query(&context, &format!("select {call} from t")).await.unwrap_err().to_string();
            let function = call.split('(').next().unwrap();
            let expected = format!(
                "Execution error: {function}: cannot decode the image in row 1: the JPEG data has no end marker\nnote: rows are \
                 counted from 0 in their batch of {} rows\nhelp: the file is truncated; copy or download it again\nhelp: \
                 `OnError::Null` returns null for such images",
                pictures.len()
            );
            assert_eq!(error, expected);
        }
    }
}

#[tokio::test]
async fn undamaged_images_do_not_end_the_query() {
    let functions = Functions::new(demo()).on_error(OnError::Fail);
    let context = context(&functions, Arc::new(BinaryArray::from_iter(&pictures())));
    assert_eq!(query(&context, "select classify(image) from t").await.unwrap().num_rows(), pictures().len());
}

//! All binary types, with and without offsets.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, LargeBinaryArray};
use datafusion::arrow::datatypes::Float32Type;
use mbvc_datafusion::Functions;

use crate::tables::{best, context, demo, guesses, pictures, query, vector};

#[tokio::test]
async fn every_binary_type_gives_the_same_results() {
    let (classifier, pictures) = (demo(), pictures());
    let arrays: [ArrayRef; 3] = [
        Arc::new(BinaryArray::from_iter(&pictures)),
        Arc::new(LargeBinaryArray::from_iter(&pictures)),
        Arc::new(BinaryViewArray::from_iter(&pictures)),
    ];
    for array in arrays {
        for (start, length) in [(0, pictures.len()), (3, 6), (pictures.len() - 1, 1), (5, 0)] {
            let context = context(&Functions::new(classifier.clone()), array.slice(start, length));
            let result = query(&context, "select classify(image), embed(image) from t").await.unwrap();
            let (found, vectors) = (guesses(result.column(0)), result.column(1).as_fixed_size_list());
            assert_eq!(found.len(), length);
            for (row, image) in pictures[start..][..length].iter().enumerate() {
                let expected = image.as_ref().map(|image| best(&classifier, image, 1).remove(0));
                assert_eq!(found[row], expected, "{} from {start}", array.data_type());
                assert_eq!(vectors.is_valid(row), image.is_some());
                if let Some(image) = image {
                    let found = vectors.value(row);
                    assert_eq!(found.as_primitive::<Float32Type>().values(), &*vector(&classifier, image));
                }
            }
        }
    }
}

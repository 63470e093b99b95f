//! Arguments that are errors at planning.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
};
use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};
use datafusion::prelude::{SessionContext, col, lit};
use mbvc_datafusion::Functions;

use crate::tables::{best, context, demo, guesses, pictures, query};

/// Returns a context with a table `u` that has columns of other types.
fn others() -> SessionContext {
    let picture = pictures().swap_remove(0).unwrap();
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values([&*picture]));
    let context = context(&Functions::new(demo()), images.clone());
    let name: ArrayRef = Arc::new(StringArray::from(vec!["cat.png"]));
    let file = StructArray::try_from(vec![("bytes", images.clone()), ("path", name.clone())]).unwrap();
    let columns: [(&str, ArrayRef); 4] =
        [("image", images), ("name", name), ("count", Arc::new(Int64Array::from(vec![3]))), ("file", Arc::new(file))];
    context.register_batch("u", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    context
}

/// Returns the message of the error that planning a query ends with.
async fn planning_error(call: &str) -> String {
    let error = others().sql(&format!("select {call} from u")).await.unwrap_err().strip_backtrace();
    error.strip_prefix("Error during planning: ").unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[tokio::test]
async fn a_column_of_text_is_an_error() {
    for function in ["classify", "embed"] {
        for (text, found) in [
            ("name", "Utf8"),
            ("arrow_cast(name, 'LargeUtf8')", "LargeUtf8"),
            ("arrow_cast(name, 'Utf8View')", "Utf8View"),
        ] {
            assert_eq!(
                planning_error(&format!("{function}({text})")).await,
                format!(
                    "{function}: expected an image of type Binary, LargeBinary or BinaryView, found {found}\nhelp: store the \
                     contents of the image files in a binary column; paths and encoded text are not supported"
                )
            );
        }
    }
}

#[tokio::test]
async fn columns_of_other_types_are_errors() {
    let expected = "help: pass the contents of image files; if the column contains them, cast it: embed(arrow_cast(image, 'Binary'))";
    assert!(planning_error("embed(count)").await.ends_with(expected));
    let error = planning_error("classify(file, 2)").await;
    assert!(error.ends_with("help: pass the field that contains the image files: classify(image['bytes'])"), "{error}");
    // The remedy.
    let result = query(&others(), "select classify(file['bytes']), classify(image) from u").await.unwrap();
    assert_eq!(guesses(result.column(0)), guesses(result.column(1)));
}

#[tokio::test]
async fn a_k_that_is_no_positive_literal_is_an_error() {
    let help = "help: write the number of classes as a literal: classify(image, 5)";
    for (k, message) in [
        ("0", "expected a k of at least 1, found 0"),
        ("-1", "expected a k of at least 1, found -1"),
        ("count", "expected an integer literal as k, found an expression"),
        ("1.5", "expected an integer literal as k, found 1.5"),
        ("'3'", "expected an integer literal as k, found 3"),
        ("null", "expected an integer literal as k, found NULL"),
    ] {
        assert_eq!(planning_error(&format!("classify(image, {k})")).await, format!("classify: {message}\n{help}"));
    }
}

#[tokio::test]
async fn a_wrong_number_of_arguments_is_an_error() {
    assert_eq!(
        planning_error("classify(image, 1, 2)").await,
        "classify: expected arguments (image) or (image, k), found 3"
    );
    assert_eq!(planning_error("embed(image, 1)").await, "embed: expected one argument (image), found 2");
    assert!(planning_error("embed()").await.contains("does not support zero arguments"));
}

#[tokio::test]
async fn k_has_any_type_of_integer() {
    let context = others();
    let [classify, _] = Functions::new(demo()).udfs();
    for k in [lit(2_i8), lit(2_u8), lit(2_i32), lit(u64::MAX)] {
        let call = classify.call(vec![col("image"), k]);
        let frame = context.table("u").await.unwrap().select(vec![call]).unwrap();
        assert_eq!(frame.count().await.unwrap(), 1);
    }
}

#[test]
fn k_is_an_array_in_calls_from_other_libraries() {
    let classifier = demo();
    let pictures: Vec<_> = pictures().into_iter().flatten().collect();
    let [classify, _] = Functions::new(classifier.clone()).udfs();
    for rows in [0, 2] {
        let images = BinaryArray::from_iter_values(&pictures[..rows]);
        let arrays: [ArrayRef; 2] = [Arc::new(images), Arc::new(Int64Array::from(vec![3; rows]))];
        let arg_fields: Vec<FieldRef> =
            arrays.iter().map(|array| Arc::new(Field::new("a", array.data_type().clone(), true))).collect();
        let k = ScalarValue::Int64(Some(3));
        let args = ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &[None, Some(&k)] };
        let return_field = classify.return_field_from_args(args).unwrap();
        let args = arrays.into_iter().map(ColumnarValue::Array).collect();
        let config_options = Arc::default();
        let args = ScalarFunctionArgs { args, arg_fields, number_rows: rows, return_field, config_options };
        let result = classify.invoke_with_args(args).unwrap().into_array(rows).unwrap();
        let lists = result.as_list::<i32>();
        assert_eq!(lists.len(), rows);
        for (row, image) in pictures[..rows].iter().enumerate() {
            let expected: Vec<_> = best(&classifier, image, 3).into_iter().map(Some).collect();
            assert_eq!(guesses(&lists.value(row)), expected);
        }
    }
}

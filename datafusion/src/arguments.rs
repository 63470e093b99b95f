//! Checks and reads the arguments of the functions.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::ColumnarValue;

/// Checks the type of the argument `image`.
///
/// # Errors
/// If it is not a binary type.
pub fn check_image(function: &str, found: &DataType) -> Result<()> {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Null, Struct, Utf8, Utf8View};
    let help = match found {
        Binary | LargeBinary | BinaryView | Null => return Ok(()),
        Utf8 | LargeUtf8 | Utf8View => {
            "store the contents of the image files in a binary column; paths and encoded text are not supported"
                .to_owned()
        }
        // Datasets of Hugging Face: `{bytes: binary, path: text}`.
        Struct(fields) => match fields.iter().find(|field| check_image(function, field.data_type()).is_ok()) {
            Some(field) => {
                format!("pass the field that contains the image files: {function}(image['{}'])", field.name())
            }
            None => "pass a field that contains image files".to_owned(),
        },
        _ => format!(
            "pass the contents of image files; if the column contains them, cast it: {function}(arrow_cast(image, 'Binary'))"
        ),
    };
    plan_err!("{function}: expected an image of type Binary, LargeBinary or BinaryView, found {found}\nhelp: {help}")
}

/// Returns the value of the argument `k`; `value` is `None` if it is not a literal.
///
/// # Errors
/// If it is not an integer literal of at least 1.
pub fn parse_k(function: &str, value: Option<&ScalarValue>) -> Result<usize> {
    let help = format!("write the number of classes as a literal: {function}(image, 5)");
    let Some(value) = value else {
        return plan_err!("{function}: expected an integer literal as k, found an expression\nhelp: {help}");
    };
    if value.is_null() || !value.data_type().is_integer() {
        return plan_err!("{function}: expected an integer literal as k, found {value}\nhelp: {help}");
    }
    // Negative numbers cannot be cast.
    match value.cast_to(&DataType::UInt64) {
        Ok(ScalarValue::UInt64(Some(number))) if number > 0 => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        _ => plan_err!("{function}: expected a k of at least 1, found {value}\nhelp: {help}"),
    }
}

/// Returns the value of the argument `k` of a planned call. The literal is an array of equal values if the call comes from
/// another library, through `datafusion-ffi`.
///
/// # Errors
/// As [`parse_k`].
pub fn planned_k(function: &str, value: &ColumnarValue) -> Result<usize> {
    match value {
        ColumnarValue::Scalar(scalar) => parse_k(function, Some(scalar)),
        // No row needs it.
        ColumnarValue::Array(array) if array.is_empty() => Ok(1),
        ColumnarValue::Array(array) => parse_k(function, Some(&ScalarValue::try_from_array(array, 0)?)),
    }
}

/// Returns the argument as an array, of one element for a scalar.
pub fn array(value: &ColumnarValue) -> Result<ArrayRef> {
    match value {
        ColumnarValue::Array(array) => Ok(array.clone()),
        ColumnarValue::Scalar(scalar) => scalar.to_array(),
    }
}

/// Returns a result in the form of the argument: a scalar for a scalar.
pub fn like(argument: &ColumnarValue, result: ArrayRef) -> Result<ColumnarValue> {
    match argument {
        ColumnarValue::Array(_) => Ok(ColumnarValue::Array(result)),
        ColumnarValue::Scalar(_) => ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar),
    }
}

/// Borrows the bytes of each row; `None` for nulls.
///
/// # Errors
/// If the type of the array is not one that [`check_image`] accepts.
pub fn images(array: &dyn Array) -> Result<Vec<Option<&[u8]>>> {
    Ok(match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().iter().collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().collect(),
        DataType::BinaryView => array.as_binary_view().iter().collect(),
        DataType::Null => vec![None; array.len()],
        other => return internal_err!("images of type {other}"),
    })
}

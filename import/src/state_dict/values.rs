//! Values of configuration files in JSON; `None` for values of another form.

use serde_json::Value;

/// Reads a number of pixels.
pub fn whole(number: f64) -> Option<usize> {
    (number.fract() == 0.0 && (1.0..=65536.0).contains(&number)).then_some(number as usize)
}

/// `224`, `[224, 192]` or `{"height": 224, "width": 192}`, as height and width.
pub fn size(value: &Value) -> Option<[usize; 2]> {
    let of = |value: &Value| value.as_f64().and_then(whole);
    match value {
        Value::Array(pair) => match pair.as_slice() {
            [height, width] => Some([of(height)?, of(width)?]),
            _ => None,
        },
        Value::Object(_) => Some([of(&value["height"])?, of(&value["width"])?]),
        _ => of(value).map(|edge| [edge; 2]),
    }
}

/// Reads a list of `N` numbers.
pub fn numbers<const N: usize>(value: &Value) -> Option<[f64; N]> {
    let values: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
    values?.try_into().ok()
}

/// Reads a number for red, green and blue, or one number for all, in a list or not.
pub fn colors(value: &Value) -> Option<[f64; 3]> {
    let one = || value.as_f64().or_else(|| numbers::<1>(value).map(|[all]| all));
    numbers::<3>(value).or_else(|| one().map(|all| [all; 3]))
}

/// Reads standard deviations, which are above 0: see [`colors`].
pub fn deviations(value: &Value) -> Option<[f64; 3]> {
    colors(value).filter(|std| std.iter().all(|std| *std > 0.0))
}

/// Reads `{"0": "tench", "1": "goldfish"}`, with consecutive numbers from 0.
pub fn by_index(value: &Value) -> Option<Vec<String>> {
    let map = value.as_object()?;
    (0..map.len()).map(|at| Some(map.get(&at.to_string())?.as_str()?.to_owned())).collect()
}

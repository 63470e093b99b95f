//! The resolution of a network: that of the file, or a default that its padding allows.

use crate::error::{ImportError, Result};
use crate::recognize::Chain;
use crate::source::SourceGraph;

/// Height or width if the file fixes neither.
const DEFAULT: usize = 224;

/// Returns height and width in pixels, and where they are from.
///
/// # Errors
/// If the input size is dynamic, and the padding is not that of a convention at this resolution.
pub fn of(chain: &Chain<'_>, graph: &SourceGraph<'_>, notes: &mut Vec<String>) -> Result<([usize; 2], String)> {
    let [rows, columns, _] = graph.input_shape;
    let resolution = chain.resolution.unwrap_or([rows, columns].map(|fixed| fixed.unwrap_or(DEFAULT)));
    let [height, width] = resolution;
    let how = match chain.resolution {
        Some(_) if graph.input_shape.starts_with(&[None, None]) => {
            notes.push(format!("the input size is dynamic; the average pool covers the image at {height}x{width}"));
            "window of the average pool".into()
        }
        Some(_) => "shape of the input".into(),
        None => {
            let reason = if graph.hints.is_weights_only() {
                "the file does not record its input size"
            } else {
                "the input size is dynamic"
            };
            notes.push(format!("{reason}; the resolution is assumed to be {height}x{width}"));
            format!("default; {reason}")
        }
    };
    check(resolution, chain.size_multiple)?;
    if chain.size_multiple > 1 {
        notes.push(format!(
            "the model pads images of any size below and on the right only, as `same` does for even sizes: the weights \
             require a height and a width that are multiples of {}",
            chain.size_multiple
        ));
    }
    Ok((resolution, how))
}

fn check([height, width]: [usize; 2], multiple: usize) -> Result<()> {
    if height.is_multiple_of(multiple) && width.is_multiple_of(multiple) {
        return Ok(());
    }
    Err(ImportError::unsupported(
        "the model pads images of any size below and on the right only, also those of odd size",
    )
    .expected(format!("padding as in TensorFlow, or height and width that are multiples of {multiple}"))
    .found(format!("an input of dynamic size, with the default {height}x{width}"))
    .help("save the model with a fixed input size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolution_must_be_a_multiple() {
        for (size, multiple) in [([224, 192], 32), ([225, 1], 1), ([64, 128], 64)] {
            check(size, multiple).unwrap();
        }
        for (size, multiple) in [([224, 192], 64), ([36, 32], 8), ([32, 36], 8)] {
            let error = check(size, multiple).unwrap_err().to_string();
            assert!(error.contains(&format!("multiples of {multiple}")), "{error}");
        }
    }
}

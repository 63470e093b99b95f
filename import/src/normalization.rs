//! The mapping from pixels to the input of the stem, for files that record the range of their input: by a normalization in
//! their metadata or by the type of the input. Arithmetic in the graph follows it.

use mbvc_compiler::spec::Preprocessing;

use crate::error::{ImportError, Result};
use crate::recognize::{Chain, Front};
use crate::source::SourceGraph;

const HOW: &str = "normalization in the metadata of the file";
const HELP: &str = "correct the mean and the standard deviation in the metadata";

/// A factor and an offset per channel of an RGB image.
type Mapping = [[f64; 2]; 3];

/// Returns the preprocessing of a network whose file records the range of its input, and its evidence. `None` if it records
/// none, or the quantization of the input alone determines the preprocessing.
///
/// # Errors
/// If the metadata contradicts the quantization of the input or the arithmetic in the graph, or the arithmetic does not
/// show the range of the input.
pub fn recorded(chain: &Chain<'_>, graph: &SourceGraph<'_>) -> Result<Option<(Preprocessing, String)>> {
    let metadata = graph.hints.preprocessing.filter(|(_, is_recorded)| *is_recorded).map(|(recorded, _)| of(&recorded));
    let front = chain.front.filter(Front::is_arithmetic);
    // Engines pass pixels as they are.
    let quantized = graph.input_quantization.map(|(scale, zero)| [[scale, -(zero as f64) * scale]; 3]);
    if let (Some(metadata), Some(quantized), Some((step, _))) = (metadata, quantized, graph.input_quantization)
        && !agree(&metadata, &[[1.0, 0.0]; 3], 1e-3)
        && !agree(&metadata, &quantized, 1.01 * step)
    {
        return Err(contradiction(&metadata, &quantized, "the 8-bit input"));
    }
    let how = "arithmetic before the stem";
    match (front, quantized, metadata) {
        (Some(front), Some(quantized), _) => {
            Ok(Some((after(&quantized, &front), format!("{how}, for pixels of 8 bits"))))
        }
        (Some(front), None, Some(metadata)) => {
            let takes = if front.takes_bytes() { 1.0 } else { 1.0 / 255.0 };
            if !agree(&metadata, &[[takes, 0.0]; 3], takes * 1e-3) {
                return Err(contradiction(&metadata, &[[takes, 0.0]; 3], "the arithmetic on the input"));
            }
            Ok(Some((after(&metadata, &front), format!("{how}, after the normalization in the metadata"))))
        }
        (Some(front), None, None) if front.white().is_none() => {
            let last = graph.nodes.iter().find(|node| node.output == front.output);
            Err(ImportError::unsupported("the arithmetic on the input is not a normalization of pixels")
                .role("input")
                .at(last.map_or_else(|| "the graph".to_owned(), |node| node.place.text()))
                .expected("factors and offsets that map pixels from 0 to 1, or from 0 to 255, to a range around 0")
                .found(format!("factors {:?}, offsets {:?}", front.scale, front.offset))
                .help("remove this arithmetic from the model and export it again"))
        }
        (None, None, Some(metadata)) => Ok(Some((rounded(&metadata), HOW.into()))),
        (Some(_), None, None) | (None, ..) => Ok(None),
    }
}

fn of(preprocessing: &Preprocessing) -> Mapping {
    [0, 1, 2].map(|channel| [preprocessing.scale[channel], preprocessing.offset[channel]].map(f64::from))
}

/// Returns `first`, followed by the arithmetic of `front`.
fn after(first: &Mapping, front: &Front) -> Preprocessing {
    let channels = [0, 1, 2].map(|channel| {
        let ([scale, offset], by) = (first[channel], front.scale[channel]);
        [scale * by, offset * by + front.offset[channel]]
    });
    rounded(&channels)
}

fn rounded(mapping: &Mapping) -> Preprocessing {
    Preprocessing { scale: mapping.map(|[scale, _]| scale as f32), offset: mapping.map(|[_, offset]| offset as f32) }
}

/// Whether both map 0 and 255 to the same numbers.
fn agree(one: &Mapping, other: &Mapping, tolerance: f64) -> bool {
    [0.0, 255.0].into_iter().all(|pixel| {
        let pairs = ends(one, pixel).into_iter().zip(ends(other, pixel));
        pairs.into_iter().all(|(one, other)| (one - other).abs() <= tolerance)
    })
}

fn ends(mapping: &Mapping, pixel: f64) -> [f64; 3] {
    mapping.map(|[scale, offset]| scale * pixel + offset)
}

fn contradiction(found: &Mapping, expected: &Mapping, what: &str) -> Box<ImportError> {
    let range = |mapping: &Mapping| {
        let [[low, ..], [high, ..]] = [0.0, 255.0].map(|pixel| ends(mapping, pixel));
        format!("pixels normalized to {low:.4}..{high:.4}")
    };
    ImportError::unsupported(format!("the normalization in the metadata contradicts {what}"))
        .role("input")
        .expected(range(expected))
        .found(range(found))
        .help(HELP)
}

//! What a network reads: the colors of its image, the preprocessing of the pixels, and how pictures are resized.

use mbvc_compiler::spec::{Color, Padding, Preprocessing};
use mbvc_runtime::{Filter, Fit, Framing};

use crate::error::{ImportError, Result};
use crate::normalization;
use crate::published::{IMAGENET_MEAN, IMAGENET_STD};
use crate::recognize::{Chain, Front};
use crate::source::{Format, SourceGraph, ValueQuant};

/// Returns the colors of the image, and their evidence.
pub fn input(chain: &Chain<'_>) -> Result<(Color, String)> {
    let stem = &chain.stem;
    let color = Color::of_stem(&stem.shape).ok_or_else(|| {
        ImportError::unsupported("unexpected channels of the image")
            .at(stem.place.clone())
            .role(stem.role.clone())
            .expected("3 channels (red, green and blue), or 1 (gray)")
            .found(format!("{} channels", stem.shape.get(2).copied().unwrap_or(0)))
    })?;
    let how = match stem.copies {
        Some(_) => "one channel, copied to three; the weights of the stem are summed over the copies".into(),
        None => format!("input channels of {}", stem.place),
    };
    Ok((color, how))
}

/// Returns the preprocessing and its evidence. That of gray pixels is one scale and offset.
pub fn preprocessing(
    chain: &Chain<'_>,
    graph: &SourceGraph<'_>,
    padding: Padding,
    input: Color,
    notes: &mut Vec<String>,
) -> Result<(Preprocessing, String)> {
    let (found, how) = match normalization::recorded(chain, graph)? {
        Some(recorded) => recorded,
        None => unrecorded(chain, graph, padding, notes),
    };
    if input == Color::Rgb || found.is_gray() {
        return Ok((found, how));
    }
    notes.push(
        "the preprocessing of gray pixels is unknown and assumed to be -1 to 1; pass --range, or --mean and --std"
            .into(),
    );
    Ok((Preprocessing::from_range(-1.0, 1.0), "default for gray pixels; not recorded in the file".into()))
}

fn unrecorded(
    chain: &Chain<'_>,
    graph: &SourceGraph<'_>,
    padding: Padding,
    notes: &mut Vec<String>,
) -> (Preprocessing, String) {
    if let Some(front @ Front { scale, offset, .. }) = chain.front.filter(Front::is_arithmetic) {
        let takes_bytes = front.takes_bytes();
        let per_pixel = scale.map(|scale| if takes_bytes { scale } else { scale / 255.0 } as f32);
        let range = if takes_bytes { "0..255" } else { "0..1" };
        notes.push(format!("the graph scales its input, assumed to be {range}; this is imported as preprocessing"));
        return (
            Preprocessing { scale: per_pixel, offset: offset.map(|offset| offset as f32) },
            format!("arithmetic before the stem, for an input of {range}"),
        );
    }
    let symmetric_range = Preprocessing::from_range(-1.0, 1.0);
    if let Some((scale, zero)) = graph.input_quantization {
        let ends = [0.0, 255.0].map(|pixel| (pixel - zero as f64) * scale);
        if (ends[0] + 1.0).abs() > 1.01 * scale || (ends[1] - 1.0).abs() > 1.01 * scale {
            let [low, high] = ends;
            return (Preprocessing::from_range(low, high), "quantization of the input".into());
        }
        return (symmetric_range, "quantization of the input, which is nearest to -1 to 1".into());
    }
    if let Some((preprocessing, _)) = graph.hints.preprocessing {
        return (preprocessing, "convention of the source".into());
    }
    let convention = match (graph.format, padding) {
        (Format::Onnx | Format::PyTorch, Padding::Symmetric) => (
            Preprocessing::from_mean_and_std(IMAGENET_MEAN, IMAGENET_STD),
            "PyTorch's convention; not recorded in the file",
        ),
        _ => (symmetric_range, "TensorFlow's convention; not recorded in the file"),
    };
    let quant = graph.quants.once(graph.input);
    let (preprocessing, how) = match quant.and_then(|quant| calibrated(quant, &convention.0, notes)) {
        Some(calibrated) => (calibrated, "range of the input's quantization"),
        None => convention,
    };
    // Shown with the convention, which may have another range.
    let evidence = quant
        .and_then(ValueQuant::range)
        .map(|[low, high]| format!("; the input is quantized for {low:.4} to {high:.4}"));
    (preprocessing, format!("{how}{}", evidence.unwrap_or_default()))
}

/// Returns the preprocessing whose range is that of an input with this quantization; `None` if the convention has this range,
/// or it is -1 to 1. Quantizers set the range to that of the preprocessed images with which they calibrate.
fn calibrated(quant: ValueQuant, convention: &Preprocessing, notes: &mut Vec<String>) -> Option<Preprocessing> {
    let [low, high] = quant.range()?;
    // Types of 16 bits are symmetric around 0.
    let fits = |known: &Preprocessing| {
        let [least, most] = ends(known);
        if quant.is_byte() {
            is_near([low, high], [least, most])
        } else {
            let limit = most.max(-least);
            is_near([low, high], [-limit, limit])
        }
    };
    // Also the range of calibration with noise, so that it does not replace ImageNet's.
    if fits(convention) || fits(&Preprocessing::from_range(-1.0, 1.0)) {
        return None;
    }
    let imagenet = Preprocessing::from_mean_and_std(IMAGENET_MEAN, IMAGENET_STD);
    let usual = [Preprocessing::from_range(0.0, 1.0), Preprocessing::from_range(0.0, 255.0), imagenet];
    let found = usual.into_iter().find(fits);
    let assumed = if found.is_some() { "the nearest usual one" } else { "this range" };
    notes.push(format!(
        "the input is quantized for {low:.4} to {high:.4}; its preprocessing is assumed to be {assumed}; to change it, pass \
         --range, or --mean and --std"
    ));
    Some(found.unwrap_or_else(|| Preprocessing::from_range(low, high)))
}

/// Returns the least and the greatest value of a preprocessed pixel.
fn ends(Preprocessing { scale, offset }: &Preprocessing) -> [f64; 2] {
    let ends = scale.iter().zip(offset).flat_map(|(scale, offset)| [*offset, 255.0 * scale + offset]).map(f64::from);
    ends.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], end| [low.min(end), high.max(end)])
}

/// Whether both ends are equal up to a tenth of the range, which calibration may not reach.
fn is_near(found: [f64; 2], known: [f64; 2]) -> bool {
    let tolerance = (known[1] - known[0]) * 0.1;
    found.into_iter().zip(known).all(|(found, known)| (found - known).abs() <= tolerance)
}

/// Returns the recorded framing, or the framework's convention.
pub fn framing(graph: &SourceGraph<'_>, padding: Padding) -> (Framing, String) {
    if let Some((framing, how)) = &graph.hints.framing {
        return (*framing, how.clone());
    }
    if matches!(graph.format, Format::Onnx | Format::PyTorch) && padding == Padding::Symmetric {
        let framing = Framing { fit: Fit::Crop { scaled: 256, kept: 224 }, filter: Filter::Bilinear };
        return (framing, "PyTorch's convention; not recorded in the file".into());
    }
    (Framing::default(), "Keras' convention; not recorded in the file".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::DType;

    #[test]
    fn the_range_of_a_quantized_input_determines_its_preprocessing() {
        let [signed, unit, bytes] =
            [[-1.0, 1.0], [0.0, 1.0], [0.0, 255.0]].map(|[l, h]| Preprocessing::from_range(l, h));
        let imagenet = Preprocessing::from_mean_and_std(IMAGENET_MEAN, IMAGENET_STD);
        for (dtype, scale, zero_point, convention, expected) in [
            (DType::I8, 1.0, -128, signed, Some(bytes)),
            (DType::I8, 0.98, -128, imagenet, Some(bytes)),
            (DType::U8, 1.0 / 255.0, 0, imagenet, Some(unit)),
            (DType::I8, 1.0 / 255.0, -128, signed, Some(unit)),
            (DType::I8, 1.0 / 127.5, -1, signed, None),
            (DType::I8, 0.0077, 0, signed, None),
            (DType::I8, 1.0 / 127.5, -1, imagenet, None),
            (DType::U8, 0.0187, 114, imagenet, None),
            (DType::U8, 0.0187, 114, signed, Some(imagenet)),
            (DType::I16, 255.0 / 32767.0, 0, signed, Some(bytes)),
            (DType::I16, 1.0 / 32767.0, 0, signed, None),
            (DType::I8, 0.5, 0, signed, Some(Preprocessing::from_range(-64.0, 63.5))),
            (DType::I32, 1.0, 0, signed, None),
        ] {
            let mut notes = Vec::new();
            let found = calibrated(ValueQuant { dtype, scale, zero_point }, &convention, &mut notes);
            assert_eq!(found, expected, "{dtype:?} {scale} {zero_point}");
            assert_eq!(notes.len(), usize::from(found.is_some()));
        }
    }
}

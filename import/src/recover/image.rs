//! What a network reads: the colors of its image, the preprocessing of the pixels, and how pictures are resized.

use mbvc_compiler::spec::{Color, Padding, Preprocessing};
use mbvc_runtime::{Filter, Fit, Framing};

use crate::error::{ImportError, Result};
use crate::normalization;
use crate::published::{IMAGENET_MEAN, IMAGENET_STD};
use crate::recognize::{Chain, Front};
use crate::source::{Format, SourceGraph};

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
    match (graph.format, padding) {
        (Format::Onnx | Format::PyTorch, Padding::Symmetric) => (
            Preprocessing::from_mean_and_std(IMAGENET_MEAN, IMAGENET_STD),
            "PyTorch's convention; not recorded in the file".into(),
        ),
        _ => (symmetric_range, "TensorFlow's convention; not recorded in the file".into()),
    }
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

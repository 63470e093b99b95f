//! `metadata.json` of Teachable Machine (`@teachablemachine/image`, custom-mobilenet.ts): labels, and the size and the
//! channels of the images.

use mbvc_compiler::spec::Preprocessing;
use mbvc_runtime::{Filter, Fit, Framing};
use serde::Deserialize;

use crate::error::{ImportError, Result};
use crate::source::{Op, SourceGraph};
use crate::text::shorten;

pub const FILE: &str = "metadata.json";
/// Size limit in bytes; a file with thousands of labels has less.
const MAX_BYTES: usize = 1 << 20;
/// Size of images without a recorded one.
const USUAL_SIZE: usize = 224;
const MAX_LABELS: usize = 1 << 12;

/// The entries that matter.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    package_name: String,
    labels: Vec<String>,
    image_size: Option<usize>,
    #[serde(default)]
    grayscale: bool,
}

impl Metadata {
    /// Parses the file.
    ///
    /// # Errors
    /// If it is not the metadata of an image model of Teachable Machine. Returns the reason.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        if bytes.len() > MAX_BYTES {
            return Err(format!("it has {} bytes, expected at most {MAX_BYTES}", bytes.len()));
        }
        let metadata: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if metadata.package_name != "@teachablemachine/image" {
            return Err(format!("it is of the package '{}'", shorten(&metadata.package_name)));
        }
        if metadata.labels.len() > MAX_LABELS {
            return Err(format!("it has {} labels", metadata.labels.len()));
        }
        if metadata.labels.iter().any(|label| label.trim().is_empty() || label.contains(['\n', '\r'])) {
            return Err("a label is empty or contains a line break".into());
        }
        Ok(metadata)
    }

    /// Adds labels, preprocessing and framing to the hints of the model.
    ///
    /// # Errors
    /// If Teachable Machine converts images to gray, or the model preprocesses them again.
    pub fn apply(&self, graph: &mut SourceGraph<'_>) -> Result<()> {
        const OPERATIONS: &str = "Teachable Machine divides pixels by 127 and subtracts 1";
        let wrong = |problem: &str| ImportError::unsupported(format!("{FILE}: {problem}"));
        if self.grayscale {
            return Err(wrong("the model classifies gray images")
                .expected("`grayscale: false`")
                .help("train the model on color images"));
        }
        let size = self.image_size.unwrap_or(USUAL_SIZE);
        if let [Some(height), Some(width), _] = graph.input_shape
            && [height, width] != [size; 2]
        {
            return Err(wrong("the size of the images differs from the input of the model")
                .expected(format!("imageSize {height}, the size of a {height}x{width} input"))
                .found(format!("imageSize {size}"))
                .help("remove the file if it belongs to another model"));
        }
        let is_arithmetic = |op: &Op<'_>| matches!(op, Op::Affine(_) | Op::BatchNorm(_));
        if graph.nodes.iter().any(|node| node.inputs.contains(&graph.input) && is_arithmetic(&node.op)) {
            return Err(wrong("the model contains preprocessing, and Teachable Machine preprocesses images too")
                .help("remove the file if it belongs to another model"));
        }
        let hints = &mut graph.hints;
        hints.preprocessing = Some((Preprocessing { scale: [1.0 / 127.0; 3], offset: [-1.0; 3] }, true));
        hints.explain("preprocessing", format!("{FILE}: {OPERATIONS}"));
        // The center square, in the size of the input.
        let kept = u16::try_from(size).unwrap_or(u16::MAX).max(1);
        let framing = Framing { fit: Fit::Crop { scaled: kept, kept }, filter: Filter::Bilinear };
        hints.framing = Some((framing, format!("{FILE}: Teachable Machine crops the center square")));
        let labels = self.labels.iter().map(|label| label.trim().to_owned()).collect();
        hints.labels = Some((labels, FILE.to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metadata_of_image_models_is_used() {
        let text = r#"{"tfjsVersion": "1.3.1", "tmVersion": "2.4.5", "packageVersion": "0.8.4", "userMetadata": {},
            "packageName": "@teachablemachine/image", "modelName": "m", "labels": ["a", "b c"], "imageSize": 96}"#;
        let metadata = Metadata::parse(text.as_bytes()).unwrap();
        assert_eq!(
            (metadata.labels.as_slice(), metadata.image_size),
            (&["a".to_owned(), "b c".to_owned()][..], Some(96))
        );
        for (from, to, problem) in [
            ("@teachablemachine/image", "@teachablemachine/pose", "of the package"),
            ("\"b c\"", "\" \"", "a label is empty"),
            ("\"b c\"", "\"b\\nc\"", "a line break"),
            ("\"b c\"", "2", "invalid type"),
            ("labels", "names", "missing field `labels`"),
            ("96", "-1", "invalid value"),
        ] {
            assert!(Metadata::parse(text.replace(from, to).as_bytes()).unwrap_err().contains(problem), "{to}");
        }
        assert!(Metadata::parse(&[b' '; MAX_BYTES + 1]).unwrap_err().contains("bytes"));
    }
}

//! TFLite metadata: the labels and the normalization of a model. The buffer `TFLITE_METADATA` has a FlatBuffer that refers
//! to files of a zip archive, which is appended to the model.

use mbvc_compiler::spec::Preprocessing;

use super::metadata_schema::{AssociatedFile, LABELS_OF_AXIS, ModelMetadata, ProcessUnit, TensorMetadata, Unit};
use super::schema::Model;
use super::table::Vector;
use crate::archive::{self, Archive};
use crate::error::{ImportError, Result};
use crate::labels::{Labels, MAX_BYTES};
use crate::text::shorten;

/// Name of the entry of the model that refers to the buffer.
const ENTRY: &[u8] = b"TFLITE_METADATA";
const IDENTIFIER: &[u8] = b"M001";
/// Where messages place errors.
const PLACE: &str = "buffer 'TFLITE_METADATA'";
/// Most elements of a list to read; bounds the work on a hostile file.
const MOST: usize = 64;

/// The parts of the metadata that a network needs.
#[derive(Debug, Default)]
pub struct Metadata {
    /// `(pixel - mean) / std`, for pixels of 0 to 255.
    pub normalization: Option<Preprocessing>,
    /// Class names and the file that has them.
    pub labels: Option<(Vec<String>, String)>,
    pub notes: Vec<String>,
}

/// Reads the metadata of the first subgraph, which has one input with this number of channels.
///
/// # Errors
/// If the FlatBuffer or the archive is damaged, or its image has a processing step other than one normalization.
pub fn read(bytes: &[u8], model: Model<'_>, channels: usize) -> Result<Metadata> {
    let Some(buffer) = buffer(bytes, model)? else { return Ok(Metadata::default()) };
    parts(bytes, buffer, channels).map_err(|error| error.at(PLACE))
}

fn buffer<'a>(bytes: &'a [u8], model: Model<'a>) -> Result<Option<&'a [u8]>> {
    let entries = model.metadata()?;
    for index in 0..entries.len.min(MOST) {
        let entry = entries.table(index, "metadata entry")?;
        if entry.string(4, "the name of a metadata entry")? == ENTRY {
            return model.buffer(bytes, entry.u32(6)?);
        }
    }
    Ok(None)
}

fn parts(bytes: &[u8], buffer: &[u8], channels: usize) -> Result<Metadata> {
    if buffer.get(4..8) != Some(IDENTIFIER) {
        return Err(ImportError::malformed("the metadata has no identifier").expected("`M001` at byte 4"));
    }
    let mut metadata = Metadata::default();
    let Some(subgraph) = ModelMetadata::new(buffer)?.subgraph()? else { return Ok(metadata) };
    if subgraph.input_process_units()?.len > 0 {
        return Err(ImportError::unsupported("the metadata processes several inputs together"));
    }
    if let Some(image) = subgraph.input()? {
        metadata.normalization = normalization(image, channels)?;
    }
    if let Some(scores) = subgraph.output()? {
        for unit in units(scores)? {
            match unit.kind()? {
                Unit::ScoreThreshold | Unit::Nothing => {}
                _ => metadata.notes.push(
                    "a postprocessing step in the TFLite metadata, such as score calibration, is not part of the \
                     model and is not imported"
                        .into(),
                ),
            }
        }
        labels(bytes, scores, &mut metadata)?;
    }
    Ok(metadata)
}

fn units(tensor: TensorMetadata<'_>) -> Result<impl Iterator<Item = ProcessUnit<'_>>> {
    let units = tensor.process_units()?;
    if units.len > MOST {
        return Err(ImportError::unsupported(format!("the tensor has {} processing steps", units.len))
            .expected(format!("at most {MOST}")));
    }
    let units = (0..units.len).map(|index| units.table(index, "processing step").map(ProcessUnit));
    Ok(units.collect::<Result<Vec<_>>>()?.into_iter())
}

fn normalization(image: TensorMetadata<'_>, channels: usize) -> Result<Option<Preprocessing>> {
    if channels == 3 && image.is_gray()? {
        return Err(ImportError::unsupported("the metadata declares a gray image, but the input has 3 channels"));
    }
    let mut found = None;
    for unit in units(image)? {
        let options = match unit.kind()? {
            Unit::Normalization(options) => options,
            Unit::Nothing => continue,
            Unit::ScoreThreshold | Unit::Other => {
                return Err(ImportError::unsupported("unsupported processing step of the input")
                    .expected("a normalization (mean and standard deviation)"));
            }
        };
        let (mean, deviation) = (options.mean()?, options.deviation()?);
        let mean = per_channel(mean, channels, "means")?;
        let deviation = per_channel(deviation, channels, "standard deviations")?;
        if deviation.iter().any(|deviation| !deviation.is_normal()) || mean.iter().any(|mean| !mean.is_finite()) {
            return Err(ImportError::malformed("the normalization has invalid numbers")
                .expected("finite means, and standard deviations other than 0"));
        }
        let each = [0, 1, 2].map(|channel| (mean[channel], deviation[channel]));
        let normalization = Preprocessing {
            scale: each.map(|(_, deviation)| (1.0 / deviation) as f32),
            offset: each.map(|(mean, deviation)| (-mean / deviation) as f32),
        };
        if found.replace(normalization).is_some() {
            return Err(ImportError::unsupported("the metadata normalizes the input twice"));
        }
    }
    Ok(found)
}

/// Returns one number per channel from a vector with one number, or one per channel.
fn per_channel(numbers: Vector<'_>, channels: usize, what: &str) -> Result<[f64; 3]> {
    let mut found = numbers.f32s().take(3).map(f64::from);
    match (found.next(), found.next(), found.next()) {
        (Some(all), None, None) => Ok([all; 3]),
        (Some(red), Some(green), Some(blue)) if numbers.len == channels => Ok([red, green, blue]),
        _ => Err(ImportError::malformed(format!("the normalization has {} {what}", numbers.len))
            .expected(format!("1, or {channels}, one per channel"))),
    }
}

/// Reads the file that labels the classes: the first one, as other files of the same type are translations.
fn labels(bytes: &[u8], scores: TensorMetadata<'_>, metadata: &mut Metadata) -> Result<()> {
    let files = scores.associated_files()?;
    for index in 0..files.len.min(MOST) {
        let file = AssociatedFile(files.table(index, "associated file")?);
        if file.kind()? != LABELS_OF_AXIS {
            continue;
        }
        let name = String::from_utf8_lossy(file.name()?);
        match content(bytes, &name)? {
            Ok(labels) => metadata.labels = Some((labels, format!("'{}' in the TFLite file", shorten(&name)))),
            Err(problem) => metadata.notes.push(format!(
                "the labels '{}' of the TFLite metadata are ignored: {problem}; pass --labels FILE",
                shorten(&name)
            )),
        }
        break;
    }
    Ok(())
}

/// Returns the labels of a file in the archive, or why there are none: tools that rewrite a model may omit the archive.
///
/// # Errors
/// If the archive is damaged.
fn content(bytes: &[u8], name: &str) -> Result<std::result::Result<Vec<String>, String>> {
    if !bytes.windows(archive::MAGIC.len()).any(|window| window == archive::MAGIC) {
        return Ok(Err("no archive follows the model".into()));
    }
    let mut archive = Archive::open(bytes)?;
    if !archive.has(name) {
        return Ok(Err("the archive after the model has no such file".into()));
    }
    let text = archive.read(name, MAX_BYTES)?;
    Ok(Labels::parse(&text, name).map(|labels| labels.names().to_vec()).map_err(|error| error.problem))
}

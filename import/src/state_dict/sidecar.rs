//! Configuration files that accompany weights: `config.json` of timm or transformers, and the latter's
//! `preprocessor_config.json`.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use mbvc_compiler::spec::{Activation, Padding, Preprocessing};
use mbvc_runtime::{Filter, Fit, Framing, HeadActivation};
use serde_json::Value;

use super::family::{Family, Sidecars};
use super::values::{by_index, colors, deviations, numbers, size, whole};
use crate::error::{ErrorKind, ImportError, Result};
use crate::options::ConfigFiles;
use crate::source::Hints;
use crate::text::shorten;

pub const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
/// Size limit; a file with 21 841 labels has 2 MB.
const MAX_BYTES: u64 = 1 << 22;

/// Content of the files; each part is optional.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidecar {
    pub owner: Sidecars,
    pub padding: Option<Padding>,
    pub epsilon: Option<f64>,
    pub activation: Option<Activation>,
    /// Height and width.
    pub resolution: Option<[usize; 2]>,
    preprocessing: Option<(Preprocessing, &'static str)>,
    framing: Option<(Framing, &'static str)>,
    head_activation: Option<HeadActivation>,
    labels: Option<Vec<String>>,
    pub notes: Vec<String>,
    /// Why a network with the recorded conventions is not of the family.
    pub refusal: Option<Box<ImportError>>,
}

impl Sidecar {
    const fn none() -> Self {
        Self {
            owner: Sidecars::None,
            padding: None,
            epsilon: None,
            activation: None,
            resolution: None,
            preprocessing: None,
            framing: None,
            head_activation: None,
            labels: None,
            notes: Vec::new(),
            refusal: None,
        }
    }

    /// Reads the files in the folder of `weights`, if they exist.
    pub fn in_folder_of(weights: &Path) -> Self {
        let folder = weights.parent().unwrap_or(Path::new(""));
        let [config, preprocessor] = [CONFIG, PREPROCESSOR].map(|name| read(&folder.join(name)));
        Self::readable(config, preprocessor)
    }

    /// Reads files in memory: see [`Sidecar::in_folder_of`].
    pub fn of(files: ConfigFiles<'_>) -> Self {
        let [config, preprocessor] = [files.config, files.preprocessor].map(|file| file.map(parsed).transpose());
        Self::readable(config, preprocessor)
    }

    /// Ignores unreadable files, with a note.
    fn readable(config: Read, preprocessor: Read) -> Self {
        let mut notes = Vec::new();
        let mut readable = |name: &str, read: Read| {
            read.unwrap_or_else(|problem| {
                notes.push(format!("{name} is ignored: {problem}"));
                None
            })
        };
        let (config, preprocessor) = (readable(CONFIG, config), readable(PREPROCESSOR, preprocessor));
        let mut found = Self::parse(config.as_ref(), preprocessor.as_ref());
        found.notes.splice(0..0, notes);
        found
    }

    fn parse(config: Option<&Value>, preprocessor: Option<&Value>) -> Self {
        let mut found = Self::none();
        let architecture = config.and_then(|config| config["architecture"].as_str());
        match config {
            Some(config) if config["model_type"] == "mobilenet_v2" => found.transformers(config),
            Some(config) if architecture.is_some_and(|name| name.starts_with("mobilenetv2")) => found.timm(config),
            // Of another framework.
            Some(_) => return found,
            None if preprocessor.is_some() => found.owner = Sidecars::Transformers,
            None => return found,
        }
        if let (Sidecars::Transformers, Some(preprocessor)) = (found.owner, preprocessor) {
            found.preprocessor(preprocessor);
        }
        found
    }

    /// Whether the files belong to `family`.
    pub fn is_of(&self, family: &Family) -> bool {
        self.owner != Sidecars::None && self.owner == family.sidecars
    }

    /// Adds preprocessing, framing, labels and evidence to `hints`. Conventions and resolution are used in the graph.
    pub fn explain(&self, hints: &mut Hints) {
        let source = if self.owner == Sidecars::Timm { CONFIG } else { "configuration" };
        hints.explain("resolution", source.to_owned());
        if let Some((preprocessing, name)) = self.preprocessing {
            hints.preprocessing = Some((preprocessing, true));
            hints.explain("preprocessing", name.to_owned());
        }
        if let Some((framing, name)) = self.framing {
            hints.framing = Some((framing, name.to_owned()));
        }
        hints.head_activation = self.head_activation.map(|activation| (activation, CONFIG.to_owned()));
        hints.labels = self.labels.clone().map(|labels| (labels, CONFIG.to_owned()));
    }

    fn transformers(&mut self, config: &Value) {
        self.owner = Sidecars::Transformers;
        self.resolution = size(&config["image_size"]);
        self.labels = self.valid_labels(by_index(&config["id2label"]));
        // As in the pipeline for image classification. The outputs of a regression are not scores of classes.
        self.head_activation = match config["problem_type"].as_str() {
            Some("multi_label_classification") => Some(HeadActivation::Sigmoid),
            Some("regression") => Some(HeadActivation::None),
            _ => None,
        };
        self.refusal = self.configuration(config).err();
    }

    /// Reads the conventions of transformers' configuration.
    ///
    /// # Errors
    /// If one is unsupported.
    fn configuration(&mut self, config: &Value) -> Result<()> {
        let padding = |value: &Value| value.as_bool().map(|tf| if tf { Padding::Same } else { Padding::Symmetric });
        self.padding = recorded(config, "tf_padding", "true or false", padding)?;
        self.epsilon = recorded(config, "layer_norm_eps", EPSILON, epsilon)?;
        self.activation = recorded(config, "hidden_act", "relu6 or relu", activation)?;
        // A smaller output stride dilates the last blocks.
        recorded(config, "output_stride", "32, that of a classifier", |stride| (*stride == 32).then_some(()))?;
        Ok(())
    }

    fn timm(&mut self, config: &Value) {
        self.owner = Sidecars::Timm;
        let pool = recorded(config, "global_pool", AVERAGE, is_average);
        self.refusal = self.arguments(&config["model_args"]).and(pool).err();
        // Older files have no nested configuration.
        let get = |key: &str| match &config["pretrained_cfg"][key] {
            Value::Null => &config[key],
            value => value,
        };
        self.resolution = match numbers::<3>(get("input_size")) {
            Some([_, height, width]) => whole(height).zip(whole(width)).map(|(height, width)| [height, width]),
            None => None,
        };
        if let (Some(mean), Some(std)) = (colors(get("mean")), deviations(get("std"))) {
            self.preprocessing = Some((Preprocessing::from_mean_and_std(mean, std), CONFIG));
        }
        let crop = get("crop_pct").as_f64().filter(|crop| *crop > 0.0 && *crop <= 1.0);
        let filter = self.filter(get("interpolation").as_str());
        let fit = match (get("crop_mode").as_str(), crop, self.resolution) {
            (Some("squash"), ..) => Some(Fit::Squash),
            // timm resizes the shorter side and crops the center.
            (_, Some(crop), Some([height, width])) => {
                let shorter = height.min(width);
                fit((shorter as f64 / crop).floor() as u64, shorter as u64)
            }
            _ => None,
        };
        self.framing = fit.map(|fit| (Framing { fit, filter }, CONFIG));
        self.labels = self.valid_labels(match get("label_names") {
            Value::Array(names) => names.iter().map(|name| Some(name.as_str()?.to_owned())).collect(),
            names => by_index(names),
        });
    }

    /// Reads the arguments of timm's `create_model`.
    ///
    /// # Errors
    /// If one changes what the network computes in an unsupported way.
    fn arguments(&mut self, arguments: &Value) -> Result<()> {
        let padding = |value: &Value| match value.as_str()? {
            "" => Some(Padding::Symmetric),
            "same" => Some(Padding::Same),
            _ => None,
        };
        self.activation = recorded(arguments, "act_layer", "relu6 or relu", activation)?;
        self.epsilon = recorded(arguments, "bn_eps", EPSILON, epsilon)?;
        self.padding = recorded(arguments, "pad_type", "an empty string or `same`", padding)?;
        recorded(arguments, "global_pool", AVERAGE, is_average)?;
        let known = ["act_layer", "bn_eps", "pad_type", "global_pool"];
        let given = arguments.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        match given.map(|(name, _)| name.as_str()).find(|name| !known.contains(name) && !IN_THE_WEIGHTS.contains(name))
        {
            Some(name) => Err(unsupported(arguments, name)),
            None => Ok(()),
        }
    }

    fn preprocessor(&mut self, config: &Value) {
        let does = |key: &str| config[key].as_bool().unwrap_or(true);
        let factor = match does("do_rescale") {
            true => config["rescale_factor"].as_f64().unwrap_or(1.0 / 255.0),
            false => 1.0,
        };
        let norm = match does("do_normalize") {
            true => {
                let (mean, std) = (&config["image_mean"], &config["image_std"]);
                let read = colors(mean).zip(deviations(std));
                if read.is_none() && !(mean.is_null() && std.is_null()) {
                    self.notes
                        .push(format!("`image_mean` and `image_std` of {PREPROCESSOR} are ignored: expected one or three numbers each, with deviations above 0"));
                }
                read
            }
            false => Some(([0.0; 3], [1.0; 3])),
        };
        if let Some((mean, std)) = norm {
            // The same floats as from other sources.
            let preprocessing = if (factor * 255.0 - 1.0).abs() < 1e-6 {
                Preprocessing::from_mean_and_std(mean, std)
            } else {
                let scale = std.map(|std| (factor / std) as f32);
                let offset = std::array::from_fn(|channel| (-mean[channel] / std[channel]) as f32);
                Preprocessing { scale, offset }
            };
            self.preprocessing = Some((preprocessing, PREPROCESSOR));
        }
        let (resized, cropped) = (&config["size"], size(&config["crop_size"]).filter(|_| does("do_center_crop")));
        // Pillow's enumeration.
        let filters = ["nearest", "lanczos", "bilinear", "bicubic"];
        let filter = config["resample"].as_u64().and_then(|filter| filters.get(usize::try_from(filter).ok()?));
        let filter = self.filter(filter.copied());
        let fit = match (resized["shortest_edge"].as_u64().or(resized.as_u64()), cropped) {
            (Some(edge), Some([height, width])) => fit(edge, height.min(width) as u64),
            (Some(_), None) => fit(1, 1),
            (None, None) => size(resized).map(|_| Fit::Squash),
            (None, Some(_)) => None,
        };
        if !does("do_resize") {
            self.notes.push(format!(
                "`do_resize` is false in {PREPROCESSOR}, but mbvc resizes every picture; pass pictures of the network's size to avoid this"
            ));
        }
        // Squashing keeps a picture of the size of the network.
        let fit = if does("do_resize") { fit } else { Some(Fit::Squash) };
        self.framing = fit.map(|fit| (Framing { fit, filter }, PREPROCESSOR));
        self.resolution = cropped.or(self.resolution);
    }

    /// Returns the filter with this name, or bicubic with a note.
    fn filter(&mut self, name: Option<&str>) -> Filter {
        match name {
            Some("nearest") => Filter::Nearest,
            Some("bicubic") => Filter::Bicubic,
            Some("bilinear") | None => Filter::Bilinear,
            Some(other) => {
                self.notes.push(format!("unsupported interpolation `{}`; bicubic is used", shorten(other)));
                Filter::Bicubic
            }
        }
    }

    /// Returns labels of one line each; `None` for placeholders such as `LABEL_0`.
    fn valid_labels(&mut self, labels: Option<Vec<String>>) -> Option<Vec<String>> {
        let labels: Vec<String> = labels?.into_iter().map(|label| label.trim().to_owned()).collect();
        let counts = labels.iter().enumerate().all(|(at, label)| *label == format!("LABEL_{at}"));
        if labels.is_empty() || counts {
            return None;
        }
        if labels.iter().any(|label| label.is_empty() || label.contains(['\n', '\r'])) {
            self.notes.push(format!("the labels of {CONFIG} are ignored: one is empty or spans lines"));
            return None;
        }
        Some(labels)
    }
}

/// Arguments of timm's `create_model` whose effect is in the weights, or that apply to training only.
const IN_THE_WEIGHTS: [&str; 11] = [
    "num_classes",
    "in_chans",
    "num_features",
    "stem_size",
    "fix_stem_head",
    "channel_multiplier",
    "drop_rate",
    "drop_path_rate",
    "bn_momentum",
    "scriptable",
    "exportable",
];

const AVERAGE: &str = "avg";
const EPSILON: &str = "a number of at least 0";

/// Accepts the names of timm's average pool.
fn is_average(value: &Value) -> Option<()> {
    matches!(value.as_str()?, "avg" | "fast" | "fastavg").then_some(())
}

fn activation(value: &Value) -> Option<Activation> {
    match value.as_str()? {
        "relu6" => Some(Activation::Relu6),
        "relu" => Some(Activation::Relu),
        _ => None,
    }
}

fn epsilon(value: &Value) -> Option<f64> {
    value.as_f64().filter(|epsilon| epsilon.is_finite() && *epsilon >= 0.0)
}

/// Reads a key that changes what the network computes; `None` if it is absent.
///
/// # Errors
/// If it has a value that `read` does not know.
fn recorded<T>(config: &Value, key: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
    match &config[key] {
        Value::Null => Ok(None),
        value => read(value).map(Some).ok_or_else(|| unsupported(config, key).expected(expected)),
    }
}

fn unsupported(config: &Value, key: &str) -> Box<ImportError> {
    let value = shorten(&config[key].to_string());
    ImportError::new(ErrorKind::Unsupported, format!("unsupported value of `{key}`: {value}"))
        .at(CONFIG)
        .help(super::dict::EXPORT)
}

/// The JSON of a file, `None` if it does not exist, or the reason why it cannot be read.
type Read = std::result::Result<Option<Value>, String>;

fn read(path: &Path) -> Read {
    if !path.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    parsed(&bytes).map(Some)
}

fn parsed(bytes: &[u8]) -> std::result::Result<Value, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("more than {MAX_BYTES} bytes"));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Returns a center crop of `kept` pixels after resizing the shorter side to `scaled`; `None` if `kept` exceeds it.
fn fit(scaled: u64, kept: u64) -> Option<Fit> {
    let (scaled, kept) = (u16::try_from(scaled).ok()?, u16::try_from(kept).ok()?);
    (kept > 0 && scaled >= kept).then_some(Fit::Crop { scaled, kept })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn transformers_files_have_conventions_labels_and_preprocessing() {
        let config = json!({
            "model_type": "mobilenet_v2", "tf_padding": false, "layer_norm_eps": 1e-4, "hidden_act": "relu",
            "image_size": 96, "output_stride": 32, "id2label": {"1": "dog", "0": "cat"},
        });
        let preprocessor = json!({
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098,
            "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 192}, "resample": 2,
        });
        let found = Sidecar::parse(Some(&config), Some(&preprocessor));
        assert_eq!(found.padding, Some(Padding::Symmetric));
        assert_eq!((found.epsilon, found.activation), (Some(1e-4), Some(Activation::Relu)));
        assert_eq!(found.resolution, Some([224, 192]));
        assert_eq!(found.preprocessing, Some((Preprocessing::from_range(-1.0, 1.0), PREPROCESSOR)));
        assert_eq!(found.framing.unwrap().0.to_string(), "crop 256/192 bilinear");
        assert_eq!(found.labels.unwrap(), ["cat", "dog"]);
    }

    #[test]
    fn timm_files_have_preprocessing_and_labels() {
        let config = json!({
            "architecture": "mobilenetv2_100", "num_classes": 2, "label_names": ["cat", "dog"],
            "pretrained_cfg": {
                "input_size": [3, 192, 160], "mean": [0.1, 0.2, 0.3], "std": [1, 0.5, 0.25],
                "interpolation": "bicubic", "crop_pct": 0.875,
            },
        });
        let found = Sidecar::parse(Some(&config), None);
        assert_eq!(found.resolution, Some([192, 160]));
        let expected = Preprocessing::from_mean_and_std([0.1, 0.2, 0.3], [1.0, 0.5, 0.25]);
        assert_eq!(found.preprocessing, Some((expected, CONFIG)));
        assert_eq!(found.framing.unwrap().0.to_string(), "crop 182/160 bicubic");
        assert_eq!(found.labels.unwrap(), ["cat", "dog"]);
    }

    #[test]
    fn other_files_and_invalid_values_are_ignored() {
        for config in [
            json!({"model_type": "bert", "hidden_act": "gelu"}),
            json!({"architecture": "resnet50"}),
            json!([1]),
            json!({"model_type": "mobilenet_v2", "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "image_size": -1}),
            json!({"architecture": "mobilenetv2_100", "pretrained_cfg": {"mean": [1], "std": [0, 0, 0], "input_size": "x"}}),
        ] {
            let found = Sidecar::parse(Some(&config), None);
            assert_eq!((found.labels, found.resolution, found.preprocessing), (None, None, None), "{config}");
        }
    }

    #[test]
    fn rejects_features_outside_the_family() {
        let values = [
            ("hidden_act", json!("gelu")),
            ("hidden_act", json!(1)),
            ("output_stride", json!(8)),
            ("layer_norm_eps", json!("1e-3")),
        ];
        for (key, value) in values {
            let config = json!({"model_type": "mobilenet_v2", key: value});
            let error = Sidecar::parse(Some(&config), None).refusal.unwrap().to_string();
            assert!(error.contains(key), "{error}");
        }
        let arguments = [("act_layer", json!("silu")), ("global_pool", json!("max")), ("se_layer", json!("se"))];
        for (key, value) in arguments {
            let config = json!({"architecture": "mobilenetv2_100", "model_args": {key: value}});
            let error = Sidecar::parse(Some(&config), None).refusal.unwrap().to_string();
            assert!(error.contains(key), "{error}");
        }
        let config = json!({"architecture": "mobilenetv2_100", "global_pool": "max"});
        assert!(Sidecar::parse(Some(&config), None).refusal.is_some());
    }

    #[test]
    fn arguments_of_timm_are_conventions() {
        let arguments =
            json!({"act_layer": "relu", "bn_eps": 0.01, "pad_type": "same", "num_classes": 10, "drop_rate": 0.2});
        let config = json!({"architecture": "mobilenetv2_100", "global_pool": "avg", "model_args": arguments});
        let found = Sidecar::parse(Some(&config), None);
        assert_eq!((found.activation, found.epsilon), (Some(Activation::Relu), Some(0.01)));
        assert_eq!(found.padding, Some(Padding::Same));
    }

    #[test]
    fn transformers_files_have_scalars_and_a_problem_type() {
        let config = json!({"model_type": "mobilenet_v2", "problem_type": "multi_label_classification"});
        let preprocessor = json!({"image_mean": 0.0, "image_std": 1.0, "do_resize": false});
        let found = Sidecar::parse(Some(&config), Some(&preprocessor));
        assert_eq!(found.head_activation, Some(HeadActivation::Sigmoid));
        assert_eq!(found.preprocessing, Some((Preprocessing::from_range(0.0, 1.0), PREPROCESSOR)));
        assert_eq!(found.framing.unwrap().0.to_string(), "squash bilinear");
        assert!(found.notes.iter().any(|note| note.contains("do_resize")), "{:?}", found.notes);
        let preprocessor = json!({"image_mean": 0.5, "image_std": 0});
        let found = Sidecar::parse(
            Some(&json!({"model_type": "mobilenet_v2", "problem_type": "regression"})),
            Some(&preprocessor),
        );
        assert_eq!((found.head_activation, found.preprocessing), (Some(HeadActivation::None), None));
        assert!(found.notes.iter().any(|note| note.contains("image_std")), "{:?}", found.notes);
    }
}

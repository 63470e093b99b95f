//! The configuration of one layer.

use serde_json::Value as Json;

use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Most constants of an operation, above its channels; bounds the memory for a hostile file.
pub const MAX_NUMBERS: usize = 1 << 10;

/// Root modules of Keras in its versions.
const KERAS: [&str; 6] = ["keras", "keras_core", "tf_keras", "keras_cv", "tensorflow", "builtins"];

/// A layer, an operation, or a whole network used as a layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    pub class: &'a str,
    pub name: &'a str,
    /// Settings of the layer.
    pub config: &'a Json,
    pub inbound: &'a Json,
    /// Package or module of a class that is not Keras' own.
    pub foreign: Option<&'a str>,
}

impl<'a> Layer<'a> {
    pub fn new(entry: &'a Json) -> Result<Self> {
        let text = |value: Option<&'a Json>| value.and_then(Json::as_str);
        let class = text(entry.get("class_name")).ok_or_else(|| {
            ImportError::malformed("a layer in the configuration has no `class_name`").help("save the model with Keras")
        })?;
        let config = entry.get("config").unwrap_or(&Json::Null);
        let name = text(entry.get("name")).or_else(|| text(config.get("name"))).unwrap_or(class);
        let inbound = entry.get("inbound_nodes").unwrap_or(&Json::Null);
        Ok(Self { class, name, config, inbound, foreign: foreign(entry) })
    }

    /// Whether a call of the layer, or of a network, sets `training`, so that dropout and normalization work as in training.
    /// Python takes any value but `None`, `False` and zero as true.
    pub fn is_called_in_training(&self) -> bool {
        let calls = self.inbound.as_array().into_iter().flatten();
        let is_set = |value: &Json| !value.is_null() && *value != false && value.as_f64() != Some(0.0);
        calls.flat_map(keywords).any(|keywords| keywords.get("training").is_some_and(is_set))
    }

    /// Returns the layers of a network. In old Sequential models the configuration is their list.
    pub fn members(&self) -> Option<&'a Vec<Json>> {
        let sequential = || self.config.as_array().filter(|_| self.class == "Sequential");
        self.config.get("layers").and_then(Json::as_array).or_else(sequential)
    }

    /// Reads a setting; `None` if it is absent or null.
    ///
    /// # Errors
    /// If `read` returns `None` for its value.
    fn setting<T>(&self, key: &str, expected: &str, read: impl FnOnce(&'a Json) -> Option<T>) -> Result<Option<T>> {
        let value = self.config.get(key).map(plain).filter(|value| !value.is_null());
        value.map(|value| read(value).ok_or_else(|| self.wrong(key, expected))).transpose()
    }

    /// Returns a string; `None` if it is absent or null.
    ///
    /// # Errors
    /// If the setting has another type.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.setting(key, "a string", Json::as_str)
    }

    /// Returns a truth value, which may be stored as 0 or 1.
    ///
    /// # Errors
    /// If the setting has another type.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let read = |value: &Json| match value.as_u64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => value.as_bool(),
        };
        Ok(self.setting(key, "true or false", read)?.unwrap_or(default))
    }

    /// Returns a number, or that of an array with one element; `None` if it is absent or null.
    ///
    /// # Errors
    /// If the setting has another type.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.setting(key, "a number", |value| match numbers(value)?.as_slice() {
            &[number] => Some(number),
            _ => None,
        })
    }

    /// Returns two sizes, or one size twice.
    pub fn pair(&self, key: &str, default: usize) -> Result<[usize; 2]> {
        let value = self.config.get(key).unwrap_or(&Json::Null);
        let pair = match sizes(value).as_deref() {
            Some(&[both]) => Some([both; 2]),
            Some(&[first, second]) => Some([first, second]),
            _ if value.is_null() => Some([default; 2]),
            _ => None,
        };
        pair.ok_or_else(|| self.wrong(key, "one or two whole numbers"))
    }

    /// Returns the name of a function, such as an activation, plain or serialized with its module; `package>name` for a
    /// registered function of the user, and `None` for one of another module.
    pub fn function(&self, key: &str) -> Option<&'a str> {
        let value = self.config.get(key)?;
        let named = || {
            let value = Some(value).filter(|value| foreign(value).is_none())?;
            value.get("config")?.as_str().or_else(|| value.get("class_name")?.as_str())
        };
        let registered = value.get("registered_name").and_then(Json::as_str).filter(|name| name.contains('>'));
        registered.or_else(|| value.as_str()).or_else(named)
    }

    /// Returns the name of an activation; `None` if there is none.
    pub fn activation(&self) -> Result<Option<&'a str>> {
        match self.config.get("activation") {
            None | Some(Json::Null) => Ok(None),
            Some(_) => {
                self.function("activation").map(Some).ok_or_else(|| self.wrong("activation", "the name of a function"))
            }
        }
    }

    /// Returns a built-in layer that is the activation, as in `Dense(activation=ReLU())`.
    pub fn activation_layer(&self) -> Result<Option<Layer<'a>>> {
        let entry = self.config.get("activation").filter(|entry| entry.get("config").is_some_and(Json::is_object));
        Ok(entry.map(Layer::new).transpose()?.filter(|layer| layer.foreign.is_none()))
    }

    /// Returns a number or nested lists of numbers, flattened; `None` if it is absent or null.
    ///
    /// # Errors
    /// If the setting has another type.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.setting(key, "numbers", numbers)
    }

    /// Returns one number, or one per channel, the last axis; `None` if it is absent or null.
    ///
    /// # Errors
    /// If the setting has another type, or differs along another axis.
    pub fn per_channel(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.setting(key, "one number, or one per channel", row)
    }

    /// Returns the dtype policy, such as `mixed_float16`, or the mode of a quantized one, such as `int8`; `None` if it is
    /// absent or null.
    ///
    /// # Errors
    /// If it is in another notation, or one policy per layer of a network.
    pub fn policy(&self) -> Result<Option<&'a str>> {
        self.setting("dtype", "the name of a dtype policy", |dtype| {
            let class = dtype.get("class_name").and_then(Json::as_str);
            let of_config = || {
                let config = dtype.get("config").filter(|_| class.is_some_and(|class| !class.ends_with("Map")))?;
                config.get("mode").or_else(|| config.get("name"))?.as_str()
            };
            dtype.as_str().or_else(of_config)
        })
    }

    /// Returns height, width and channels of a batch of images, under the key of any version of Keras.
    pub fn image(&self) -> Option<[Option<usize>; 3]> {
        const KEYS: [&str; 3] = ["batch_shape", "batch_input_shape", "build_input_shape"];
        let shape = KEYS.iter().find_map(|key| self.config.get(key)?.as_array())?;
        let [_, height, width, channels] = shape.as_slice() else { return None };
        Some([height, width, channels].map(size))
    }

    pub fn wrong(&self, key: &str, expected: &str) -> Box<ImportError> {
        let value = self.config.get(key).map_or("nothing".into(), |value| shorten(&value.to_string()));
        ImportError::unsupported(format!("unsupported `{key}` of the layer")).expected(expected).found(value)
    }
}

/// Returns the package or module of a class that is not Keras' own. Keras stores `"module": null` and the name of the class
/// for one that is defined in the main script.
fn foreign(entry: &Json) -> Option<&str> {
    let text = |key: &str| entry.get(key).and_then(Json::as_str);
    // Registered classes have the form `package>Class`.
    let names = [text("registered_name"), text("class_name")];
    let package = names.into_iter().flatten().find_map(|name| name.split_once('>')).map(|(package, _)| package);
    let module = text("module").filter(|module| !KERAS.contains(&module.split('.').next().unwrap_or_default()));
    let is_of_script = entry.get("module").is_some_and(Json::is_null) && text("registered_name").is_some();
    package.or(module).or(is_of_script.then_some("__main__"))
}

/// Returns the keyword arguments of a call, in the notations of both versions: see `inbound.rs`.
fn keywords(call: &Json) -> impl Iterator<Item = &Json> {
    let nested = call.as_array().into_iter().flatten().filter_map(|tensor| tensor.get(3));
    call.get("kwargs").into_iter().chain(call.get(3)).chain(nested)
}

/// Returns the value of a setting that Keras 3 stores as an array or a tensor:
/// `{"class_name": "__numpy__", "config": {"value": [-1.0], "dtype": "float32"}}`.
fn plain(value: &Json) -> &Json {
    match value.get("class_name").and_then(Json::as_str) {
        Some("__numpy__" | "__tensor__") => value.pointer("/config/value").unwrap_or(value),
        _ => value,
    }
}

fn size(value: &Json) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}

/// Returns one whole number, or a list of them.
fn sizes(value: &Json) -> Option<Vec<usize>> {
    match value {
        Json::Array(items) => items.iter().map(size).collect(),
        one => size(one).map(|size| vec![size]),
    }
}

/// Flattens a number or nested lists of numbers.
pub fn numbers(value: &Json) -> Option<Vec<f64>> {
    fn gather(value: &Json, found: &mut Vec<f64>) -> Option<()> {
        match value {
            Json::Array(items) => items.iter().try_for_each(|item| gather(item, found)),
            one if found.len() < MAX_NUMBERS => one.as_f64().map(|number| found.push(number)),
            _ => None,
        }
    }
    let mut found = Vec::new();
    gather(value, &mut found)?;
    Some(found).filter(|found| !found.is_empty())
}

/// Returns a number, or the numbers of the last axis of nested lists whose other axes have size 1.
pub fn row(value: &Json) -> Option<Vec<f64>> {
    let mut inner = value;
    while let Some([only]) = inner.as_array().map(Vec::as_slice) {
        inner = only;
    }
    let is_row = inner.as_array().is_none_or(|items| items.iter().all(Json::is_number));
    numbers(value).filter(|_| is_row)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn notations_of_all_versions_are_read() {
        let entry = json!({"class_name": "Conv2D", "module": "keras.layers", "registered_name": null, "config": {
            "name": "c", "strides": 2, "kernel_size": [3, 1], "batch_shape": [null, 96, null, 3],
            "activation": {"module": "builtins", "class_name": "function", "config": "relu6", "registered_name": "relu6"},
            "dtype": {"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}, "padding": [[1]],
        }});
        let layer = Layer::new(&entry).unwrap();
        assert_eq!((layer.class, layer.name, layer.foreign), ("Conv2D", "c", None));
        for (entry, package) in [
            (json!({"class_name": "mine>Conv2D"}), "mine"),
            (json!({"class_name": "Conv2D", "module": null, "registered_name": "mine>Conv2D"}), "mine"),
            (json!({"class_name": "Conv2D", "module": "__main__", "registered_name": "Conv2D"}), "__main__"),
            (json!({"class_name": "Conv2D", "module": null, "registered_name": "Conv2D"}), "__main__"),
        ] {
            assert_eq!(Layer::new(&entry).unwrap().foreign, Some(package));
        }
        for call in [json!({"args": [{}], "kwargs": {"training": true}}), json!([["a", 0, 0, {"training": true}]])] {
            let called = json!({"class_name": "Dropout", "inbound_nodes": [call]});
            assert!(Layer::new(&called).unwrap().is_called_in_training(), "{called}");
        }
        assert!(!layer.is_called_in_training());
        for (training, is_set) in [(json!(1), true), (json!("yes"), true), (json!(0), false), (json!(null), false)] {
            let called = json!({"class_name": "Dropout", "inbound_nodes": [[["a", 0, 0, {"training": training}]]]});
            assert_eq!(Layer::new(&called).unwrap().is_called_in_training(), is_set, "{called}");
        }
        let registered = json!({"class_name": "Dense", "config": {"activation": {"registered_name": "mine>relu", "config": "relu"}}});
        assert_eq!(Layer::new(&registered).unwrap().function("activation"), Some("mine>relu"));
        let other = json!({"class_name": "Dense", "config": {"activation": {"module": "mine", "class_name": "function", "config": "relu"}}});
        let error = Layer::new(&other).unwrap().activation().unwrap_err().to_string();
        assert!(error.contains("unsupported `activation` of the layer") && error.contains("mine"), "{error}");
        assert_eq!([layer.pair("strides", 1).unwrap(), layer.pair("kernel_size", 1).unwrap()], [[2, 2], [3, 1]]);
        assert_eq!(layer.pair("dilation_rate", 1).unwrap(), [1, 1]);
        assert!(layer.pair("padding", 1).is_err());
        assert_eq!(layer.function("activation"), Some("relu6"));
        assert_eq!(layer.policy().unwrap(), Some("mixed_float16"));
        assert_eq!(layer.image(), Some([Some(96), None, Some(3)]));
        assert_eq!(numbers(&json!([[1, 2.5], 3])), Some(vec![1.0, 2.5, 3.0]));
        assert_eq!(numbers(&json!(["a"])), None);
        assert!(Layer::new(&json!({"config": {}})).is_err());
    }

    #[test]
    fn arrays_and_tensors_are_read() {
        let wrapped =
            |class: &str, value: Json| json!({"class_name": class, "config": {"value": value, "dtype": "float32"}});
        let entry = json!({"class_name": "ReLU", "config": {
            "array": wrapped("__numpy__", json!([1.0, 2.0])), "one": wrapped("__numpy__", json!([3.0])),
            "scalar": wrapped("__tensor__", json!(4.0)), "list": [5.0], "null": null,
        }});
        let layer = Layer::new(&entry).unwrap();
        assert_eq!(layer.numbers("array").unwrap(), Some(vec![1.0, 2.0]));
        for (key, number) in
            [("one", Some(3.0)), ("scalar", Some(4.0)), ("list", Some(5.0)), ("null", None), ("no", None)]
        {
            assert_eq!(layer.number(key).unwrap(), number, "{key}");
        }
    }

    #[test]
    fn policies_of_all_kinds_are_read_or_refused() {
        let policy = |dtype: Json| {
            let entry = json!({"class_name": "Dense", "config": {"dtype": dtype}});
            Layer::new(&entry)
                .unwrap()
                .policy()
                .map(|policy| policy.map(str::to_owned))
                .map_err(|error| error.to_string())
        };
        let of = |class: &str, config: Json| json!({"module": "keras", "class_name": class, "config": config});
        let quantized = of("QuantizedDTypePolicy", json!({"mode": "int8", "source_name": "float32"}));
        for (dtype, expected) in [
            (json!(null), None),
            (json!("float64"), Some("float64")),
            (of("Policy", json!({"name": "float32"})), Some("float32")),
            (of("PolicyV1", json!({"name": "mixed_float16", "loss_scale": null})), Some("mixed_float16")),
            (quantized, Some("int8")),
        ] {
            assert_eq!(policy(dtype.clone()).unwrap().as_deref(), expected, "{dtype}");
        }
        let map = of("DTypePolicyMap", json!({"name": "map_float32", "default_policy": null, "policy_map": {}}));
        for dtype in [json!(1), json!({"name": "float32"}), json!({"class_name": "DTypePolicy", "config": {}}), map] {
            let error = policy(dtype.clone()).unwrap_err();
            assert!(error.contains("unsupported `dtype` of the layer"), "{dtype}: {error}");
        }
    }

    #[test]
    fn unreadable_settings_are_errors() {
        let entry = json!({"class_name": "ReLU", "config": {
            "two": [1.0, 2.0], "text": "1", "object": {"class_name": "__bytes__", "config": {"value": 1.0}}, "flag": 2,
        }});
        let layer = Layer::new(&entry).unwrap();
        for key in ["two", "text", "object"] {
            let error = layer.number(key).unwrap_err().to_string();
            assert!(error.contains(&format!("unsupported `{key}` of the layer")), "{error}");
        }
        assert!(layer.numbers("object").is_err() && layer.text("flag").is_err() && layer.flag("flag", true).is_err());
        assert!(layer.flag("absent", true).unwrap());
    }

    #[test]
    fn numbers_per_channel_are_along_the_last_axis() {
        for (value, numbers) in [
            (json!(1), Some(vec![1.0])),
            (json!([[[1]]]), Some(vec![1.0])),
            (json!([[1, 2, 3]]), Some(vec![1.0, 2.0, 3.0])),
            (json!([[1], [2], [3]]), None),
            (json!([[[1, 2, 3], [4, 5, 6]]]), None),
            (json!("a"), None),
        ] {
            assert_eq!(row(&value), numbers, "{value}");
        }
    }
}

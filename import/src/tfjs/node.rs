//! Nodes of a graph model: TensorFlow's `NodeDef` in the JSON form of protocol buffers.
//!
//! ```text
//! {"name": "conv", "op": "Conv2D", "input": ["image", "kernel:0", "^control"],
//!  "attr": {"padding": {"s": "U0FNRQ=="}, "strides": {"list": {"i": ["1", "2", "2", "1"]}}}}
//! ```
//! Strings are base64 or lists of bytes, and 64-bit integers are strings or numbers.

use serde_json::{Map, Value as Json};

use crate::error::{ImportError, Result};
use crate::source::Place;
use crate::text::shorten;

/// Most inputs of a node; bounds the work on a hostile file.
const MAX_INPUTS: usize = 64;
/// Most elements of a list, and most characters of a string: paddings of 4 dimensions, names of operators.
const MAX_LIST: usize = 16;
const MAX_STRING: usize = 64;

/// An operation and its attributes.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    pub name: &'a str,
    pub operator: &'a str,
    inputs: &'a [Json],
    attributes: Option<&'a Map<String, Json>>,
}

/// Output `index` of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input<'a> {
    pub node: &'a str,
    pub index: usize,
}

impl<'a> Node<'a> {
    pub fn new(json: &'a Json) -> Result<Self> {
        let text = |key: &str| json.get(key).and_then(Json::as_str);
        let (Some(name), Some(operator)) = (text("name"), text("op")) else {
            return Err(ImportError::malformed("a node of the graph has no `name` or no `op`"));
        };
        let inputs = match json.get("input") {
            None | Some(Json::Null) => &[][..],
            Some(Json::Array(inputs)) => inputs,
            Some(_) => {
                return Err(ImportError::malformed(format!("the inputs of node '{}' are no list", shorten(name))));
            }
        };
        Ok(Self { name, operator, inputs, attributes: json.get("attr").and_then(Json::as_object) })
    }

    pub fn place(&self) -> Place<'a> {
        Place { name: self.name.into(), operator: self.operator.into() }
    }

    /// Returns the inputs without control dependencies (`^name`), which only order the execution.
    pub fn inputs(&self) -> Result<Vec<Input<'a>>> {
        let mut inputs = Vec::new();
        for input in self.inputs {
            let name = input.as_str().ok_or_else(|| ImportError::malformed("an input is not a name"))?;
            if name.starts_with('^') {
                continue;
            }
            if inputs.len() == MAX_INPUTS {
                return Err(ImportError::unsupported("the operator has too many inputs")
                    .expected(format!("at most {MAX_INPUTS}")));
            }
            inputs.push(Input::new(name));
        }
        Ok(inputs)
    }

    fn attribute(&self, key: &str, kind: &str) -> Result<Option<&'a Json>> {
        let Some(value) = self.attributes.and_then(|attributes| attributes.get(key)) else { return Ok(None) };
        value.get(kind).map(Some).ok_or_else(|| {
            ImportError::malformed(format!("attribute {key} has another type"))
                .expected(format!("`{kind}`"))
                .found(shorten(&value.to_string()))
        })
    }

    /// Returns a string in lower case; `None` if it is absent.
    pub fn text(&self, key: &str) -> Result<Option<String>> {
        self.attribute(key, "s")?.map(|value| string(value).ok_or_else(|| wrong(key, value))).transpose()
    }

    /// Returns a name such as `DT_FLOAT`.
    pub fn element_type(&self, key: &str) -> Result<Option<&'a str>> {
        // TensorFlow's `DataType`.
        let name = |value: &'a Json| match value.as_u64() {
            Some(1) => Some("DT_FLOAT"),
            Some(3) => Some("DT_INT32"),
            Some(4) => Some("DT_UINT8"),
            _ => value.as_str(),
        };
        self.attribute(key, "type")?.map(|value| name(value).ok_or_else(|| wrong(key, value))).transpose()
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.attribute(key, "b")?.map(|value| value.as_bool().ok_or_else(|| wrong(key, value))).transpose()
    }

    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        self.attribute(key, "f")?.map(|value| value.as_f64().ok_or_else(|| wrong(key, value))).transpose()
    }

    pub fn integer(&self, key: &str) -> Result<Option<i64>> {
        self.attribute(key, "i")?.map(|value| integer(value).ok_or_else(|| wrong(key, value))).transpose()
    }

    fn list<T>(&self, key: &str, kind: &str, read: impl Fn(&Json) -> Option<T>) -> Result<Option<Vec<T>>> {
        let Some(list) = self.attribute(key, "list")? else { return Ok(None) };
        // An empty list has no type.
        let Some(items) = list.get(kind) else { return Ok(Some(Vec::new())) };
        let items = items.as_array().filter(|items| items.len() <= MAX_LIST).ok_or_else(|| wrong(key, list))?;
        let items: Option<Vec<T>> = items.iter().map(read).collect();
        items.map(Some).ok_or_else(|| wrong(key, list))
    }

    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>> {
        self.list(key, "i", integer)
    }

    /// Returns strings in lower case.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.list(key, "s", string)
    }

    /// Returns the sizes of a shape; `None` for an unknown one, and for an absent shape or one of unknown rank.
    pub fn shape(&self, key: &str) -> Result<Option<Vec<Option<usize>>>> {
        let Some(shape) = self.attribute(key, "shape")? else { return Ok(None) };
        let Some(sizes) = shape.get("dim").and_then(Json::as_array) else { return Ok(None) };
        if sizes.len() > MAX_LIST {
            return Err(wrong(key, shape));
        }
        let size = |size: &Json| size.get("size").and_then(integer).and_then(|size| usize::try_from(size).ok());
        Ok(Some(sizes.iter().map(|one| size(one).filter(|size| *size > 0)).collect()))
    }

    /// Checks that all attributes are among `known`, or have no effect on the results.
    pub fn check_attributes(&self, known: &[&str]) -> Result<()> {
        let known = |name: &str| name.starts_with('_') || IRRELEVANT.contains(&name) || known.contains(&name);
        match self.attributes.into_iter().flat_map(Map::keys).find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => Err(ImportError::unsupported(format!("unknown attribute '{}'", shorten(name)))
                .help("convert the model again with the current version of `tensorflowjs_converter`")),
        }
    }
}

/// Attributes without effect on the results: element types, and those of kernels or of training. Names that start with `_`
/// are annotations.
const IRRELEVANT: [&str; 23] = [
    "T",
    "Taxis",
    "Tdim",
    "Tidx",
    "Tpaddings",
    "Tshape",
    "Tk",
    "TArgs",
    "Targs",
    "U",
    "dtype",
    "out_type",
    "output_type",
    "index_type",
    "use_cudnn_on_gpu",
    "filter_format",
    "exponential_avg_factor",
    "num_args",
    "num_host_args",
    "host_args",
    "leakyrelu_alpha",
    "grad_a",
    "grad_b",
];

impl<'a> Input<'a> {
    /// Parses `name` or `name:index`.
    pub fn new(name: &'a str) -> Self {
        let parts = name.rsplit_once(':').and_then(|(node, index)| Some((node, index.parse().ok()?)));
        let (node, index) = parts.unwrap_or((name, 0));
        Self { node, index }
    }
}

fn wrong(key: &str, value: &Json) -> Box<ImportError> {
    ImportError::malformed(format!("invalid attribute {key}")).found(shorten(&value.to_string()))
}

fn integer(value: &Json) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Decodes a string, in lower case.
fn string(value: &Json) -> Option<String> {
    let bytes = match value {
        Json::String(text) if text.len() <= MAX_STRING => base64(text)?,
        Json::Array(bytes) if bytes.len() <= MAX_STRING => {
            bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Option<_>>()?
        }
        _ => return None,
    };
    String::from_utf8(bytes).ok().map(|text| text.to_ascii_lowercase())
}

/// Decodes base64 of either alphabet (RFC 4648), with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xfff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decodes_base64() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("U0FNRQ==", b"SAME"),
            ("VkFMSUQ", b"VALID"),
            ("SFdJTw==", b"HWIO"),
            ("-_+/", b"\xfb\xff\xbf"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64("a b"), None);
    }

    #[test]
    fn reads_attributes_of_all_kinds() {
        let json = json!({"name": "n", "op": "Conv2D", "input": ["a", "b:0", "^c", "d/e:2"], "attr": {
            "padding": {"s": "U0FNRQ=="}, "bytes": {"s": [86, 65]}, "strides": {"list": {"i": ["1", 2, "2", "1"]}},
            "fused_ops": {"list": {"s": ["Qmlhc0FkZA=="]}}, "empty": {"list": {}}, "T": {"type": "DT_FLOAT"},
            "flag": {"b": true}, "epsilon": {"f": 0.5}, "_note": {"i": "1"},
            "U": {"type": 4}, "dtype": {"type": 99},
            "shape": {"shape": {"dim": [{"size": "-1"}, {"size": 32}, {}]}}, "scalar": {"shape": {}},
        }});
        let node = Node::new(&json).unwrap();
        let inputs: Vec<_> = node.inputs().unwrap().into_iter().map(|input| (input.node, input.index)).collect();
        assert_eq!(inputs, [("a", 0), ("b", 0), ("d/e", 2)]);
        assert_eq!(node.text("padding").unwrap().as_deref(), Some("same"));
        assert_eq!(node.text("bytes").unwrap().as_deref(), Some("va"));
        assert_eq!(node.text("absent").unwrap(), None);
        assert_eq!(node.integers("strides").unwrap(), Some(vec![1, 2, 2, 1]));
        assert_eq!(node.texts("fused_ops").unwrap(), Some(vec!["biasadd".to_owned()]));
        assert_eq!(node.integers("empty").unwrap(), Some(vec![]));
        assert_eq!((node.flag("flag").unwrap(), node.float("epsilon").unwrap()), (Some(true), Some(0.5)));
        assert_eq!(
            ["T", "U", "absent"].map(|key| node.element_type(key).unwrap()),
            [Some("DT_FLOAT"), Some("DT_UINT8"), None]
        );
        assert!(node.element_type("dtype").is_err());
        assert_eq!(node.shape("shape").unwrap(), Some(vec![None, Some(32), None]));
        assert_eq!(node.shape("scalar").unwrap(), None);
        assert!(node.text("strides").unwrap_err().to_string().contains("attribute strides has another type"));
        let known = ["padding", "bytes", "strides", "fused_ops", "empty", "flag", "epsilon", "shape", "scalar"];
        node.check_attributes(&known).unwrap();
        assert!(node.check_attributes(&known[1..]).unwrap_err().to_string().contains("unknown attribute 'padding'"));
    }

    #[test]
    fn rejects_invalid_nodes() {
        assert!(Node::new(&json!({"name": "n"})).is_err());
        assert!(Node::new(&json!({"name": "n", "op": "Add", "input": "a"})).is_err());
        let inputs =
            |inputs: Json| Node::new(&json!({"name": "n", "op": "Add", "input": inputs})).unwrap().inputs().is_err();
        assert!(inputs(json!([1])));
        assert!(inputs(json!(vec!["a"; MAX_INPUTS + 1])));
        let long =
            json!({"name": "n", "op": "Add", "attr": {"l": {"list": {"i": vec![1; 17]}}, "s": {"s": "A".repeat(65)}}});
        let long = Node::new(&long).unwrap();
        assert!(long.integers("l").is_err() && long.text("s").is_err());
    }
}

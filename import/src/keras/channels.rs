//! The order of an image's channels: slices that reverse them or select one, and the stack of single channels. They are part
//! of `preprocess_input` in the mode `caffe`.
//!
//! ```text
//! Keras 2  SlicingOpLambda, {"slice_spec": [{"class_name": "__ellipsis__"}, {"start": null, "stop": null, "step": -1}]}
//! Keras 3  GetItem, {"args": [TENSOR, [{"class_name": "__ellipsis__", ...}, 2]]}, then Stack
//!          GetItem, {"args": [TENSOR, [..., {"class_name": "__slice__", "config": {"step": -1, ...}}]]}, or Flip
//! ```

use serde_json::Value as Json;

use super::builder::Builder;
use super::config::Layer;
use crate::source::{Selected, Value, reversed};

/// Returns the channels that `layer` selects; `None` for other layers and slices.
pub fn selected(layer: &Layer<'_>) -> Option<Selected> {
    // A layer that is called several times may be called with different arguments.
    let [call] = layer.inbound.as_array()?.as_slice() else { return None };
    match layer.class {
        "GetItem" => last_axis(call.get("args")?.get(1)?),
        "SlicingOpLambda" if layer.text("function").is_ok_and(|name| name == Some("__operators__.getitem")) => {
            let call = if call.get(0)?.is_array() { call.get(0)? } else { call };
            last_axis(call.get(3)?.get("slice_spec")?)
        }
        "Flip" => is_last_axis(layer).then_some(Selected::Reversed),
        _ => None,
    }
}

/// Whether the layer works along the last axis of a batch of images.
fn is_last_axis(layer: &Layer<'_>) -> bool {
    layer.numbers("axis").is_ok_and(|axis| matches!(axis.as_deref(), Some([-1.0 | 3.0])))
}

/// Returns the image whose channels a layer stacks in reverse order.
pub fn stacked(graph: &Builder<'_>, layer: &Layer<'_>, inputs: &[Value]) -> Option<Value> {
    let &[first, second, third] = inputs else { return None };
    if layer.class != "Stack" || !is_last_axis(layer) {
        return None;
    }
    reversed([graph.channel(first)?, graph.channel(second)?, graph.channel(third)?])
}

/// Reads an index that selects along the last of four axes only.
fn last_axis(index: &Json) -> Option<Selected> {
    let (last, before) = index.as_array()?.split_last()?;
    let whole = match before {
        [only] if is_class(only, "__ellipsis__") => true,
        [_, _, _] => before.iter().all(|axis| is_slice(axis, 1)),
        _ => false,
    };
    if !whole {
        return None;
    }
    match last.as_i64() {
        Some(channel @ 0..3) => usize::try_from(channel).ok().map(Selected::Channel),
        Some(_) => None,
        None => is_slice(last, -1).then_some(Selected::Reversed),
    }
}

fn is_class(value: &Json, class: &str) -> bool {
    value.get("class_name").and_then(Json::as_str) == Some(class)
}

/// Whether `value` is a slice of a whole axis with this step. A step that is null is 1.
fn is_slice(value: &Json, step: i64) -> bool {
    let slice = if is_class(value, "__slice__") { value.get("config") } else { Some(value) };
    let Some(Json::Object(slice)) = slice else { return false };
    let part = |key| slice.get(key);
    let found = match part("step") {
        Some(Json::Null) => Some(1),
        other => other.and_then(Json::as_i64),
    };
    part("start") == Some(&Json::Null) && part("stop") == Some(&Json::Null) && found == Some(step)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(entry: &Json) -> Option<Selected> {
        selected(&Layer::new(entry).unwrap())
    }

    fn item(index: &Json) -> Option<Selected> {
        read(&json!({"class_name": "GetItem", "config": {}, "inbound_nodes": [{"args": [{}, index], "kwargs": {}}]}))
    }

    #[test]
    fn selections_of_the_last_axis_are_read() {
        let all = json!({"class_name": "__slice__", "config": {"start": null, "stop": null, "step": null}});
        let turned = json!({"class_name": "__slice__", "config": {"start": null, "stop": null, "step": -1}});
        let dots = json!({"class_name": "__ellipsis__", "config": {}});
        assert_eq!(item(&json!([dots, 2])), Some(Selected::Channel(2)));
        assert_eq!(item(&json!([all, all, all, 0])), Some(Selected::Channel(0)));
        assert_eq!(item(&json!([dots, turned])), Some(Selected::Reversed));
        for other in [json!([dots, 3]), json!([2]), json!([all, 2]), json!([all, turned, all, all]), json!([dots, all])]
        {
            assert_eq!(item(&other), None, "{other}");
        }
        let part = json!({"class_name": "__slice__", "config": {"start": 1, "stop": null, "step": -1}});
        assert_eq!(item(&json!([dots, part])), None);
    }

    #[test]
    fn both_versions_of_keras_reverse_channels() {
        let spec = json!([{"class_name": "__ellipsis__"}, {"start": null, "stop": null, "step": -1}]);
        let old = json!({"class_name": "SlicingOpLambda", "config": {"function": "__operators__.getitem"},
                         "inbound_nodes": [["input", 0, 0, {"slice_spec": spec}]]});
        assert_eq!(read(&old), Some(Selected::Reversed));
        let flip = |axis| json!({"class_name": "Flip", "config": {"axis": axis}, "inbound_nodes": [{"args": [{}]}]});
        assert_eq!(read(&flip(-1)), Some(Selected::Reversed));
        assert_eq!(read(&flip(2)), None);
    }
}

//! Small networks, written as configurations.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::*;
use crate::limits::MAX_PARAMETERS;
use crate::recognize::{Chain, recognize};
use crate::source::{Constant, Values};

/// Shapes of the weights of each layer.
const WEIGHTS: [(&str, &[&[usize]]); 10] = [
    ("stem", &[&[3, 3, 3, 8]]),
    ("depthwise", &[&[3, 3, 8, 1]]),
    ("project", &[&[1, 1, 8, 8]]),
    ("depthwise2", &[&[3, 3, 8, 1]]),
    ("project2", &[&[1, 1, 8, 8]]),
    ("head", &[&[1, 1, 8, 16]]),
    ("fc", &[&[16, 3], &[3]]),
    ("fc2", &[&[3, 5], &[5]]),
    ("hidden", &[&[16, 16], &[16]]),
    ("hidden2", &[&[16, 16], &[16]]),
];

/// Weights of these shapes, whose key has the layer and the number of the weight.
struct Filled;

impl<'a> Weights<'a> for Filled {
    fn root(&self, _: &[Layer<'a>]) -> Result<Scope<'a>> {
        Ok(Scope::Numbered(HashMap::new()))
    }

    fn nested(&self, _: &Scope<'a>, _: &Layer<'a>, _: &[Layer<'a>]) -> Result<Scope<'a>> {
        Ok(Scope::Numbered(HashMap::new()))
    }

    fn variables(&self, _: &Scope<'a>, name: &str) -> Result<Variables> {
        let found = WEIGHTS.iter().position(|(layer, _)| *layer == name);
        let keys = found.into_iter().flat_map(|layer| (0..WEIGHTS[layer].1.len()).map(move |at| (at, layer * 2 + at)));
        Ok(Variables::Numbered(keys.collect()))
    }

    fn constant(&self, key: Key) -> Result<Constant<'a>> {
        let shape = WEIGHTS[key / 2].1[key % 2].to_vec();
        Constant::new(shape.clone(), Values::F32(Cow::Owned(vec![0.5; shape.iter().product()])))
    }

    fn charge(&self, _: usize) -> Result<()> {
        Ok(())
    }
}

/// Reference to a call of a layer.
fn tensor(layer: &str, call: usize, index: usize) -> Json {
    json!([layer, call, index, {}])
}

/// A layer with one call for each list of tensors.
fn called(class: &str, name: &str, config: Json, calls: &[&[Json]]) -> Json {
    json!({"class_name": class, "name": name, "config": config, "inbound_nodes": calls})
}

/// A layer that is called once, on the first call of `input`.
fn layer(class: &str, name: &str, config: Json, input: &str) -> Json {
    called(class, name, config, &[&[tensor(input, 0, 0)]])
}

fn convolution(class: &str, name: &str, stride: usize, input: &str) -> Json {
    let config = json!({"strides": stride, "padding": "same", "use_bias": false});
    layer(class, name, config, input)
}

fn relu6(name: &str, input: &str) -> Json {
    layer("ReLU", name, json!({"max_value": 6.0}), input)
}

fn input() -> Json {
    called("InputLayer", "image", json!({"batch_input_shape": [null, 32, 32, 3]}), &[])
}

/// The layers of the network up to the pool, whose name is `pool`.
fn features() -> Vec<Json> {
    vec![
        input(),
        convolution("Conv2D", "stem", 2, "image"),
        relu6("stem_relu", "stem"),
        convolution("DepthwiseConv2D", "depthwise", 1, "stem_relu"),
        relu6("depthwise_relu", "depthwise"),
        convolution("Conv2D", "project", 1, "depthwise_relu"),
        convolution("Conv2D", "head", 1, "project"),
        relu6("head_relu", "head"),
        layer("GlobalAveragePooling2D", "pool", json!({}), "head_relu"),
    ]
}

fn functional(name: &str, layers: Vec<Json>, inputs: Json, outputs: Json) -> Json {
    json!({"class_name": "Functional", "name": name,
           "config": {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}})
}

/// The network with more layers after the pool, of which the last one is the output.
fn model(more: Vec<Json>) -> Json {
    let last = more.last().expect("a layer")["name"].clone();
    functional("model", [features(), more].concat(), json!([["image", 0, 0]]), json!([[last, 0, 0]]))
}

fn import<T>(config: &Json, test: impl FnOnce(Chain<'_>) -> T) -> std::result::Result<T, String> {
    let graph = translate(config, Box::new(Filled)).map_err(|error| error.to_string())?;
    recognize(&graph, MAX_PARAMETERS).map(test).map_err(|error| error.to_string())
}

/// Returns the number of classes and the activation of an imported model.
fn scores(config: &Json) -> std::result::Result<(usize, Option<&'static str>), String> {
    import(config, |chain| {
        (chain.classifier.out_channels(), chain.head_activation.as_ref().map(|(activation, _)| activation.word()))
    })
}

#[test]
fn a_network_is_imported() {
    let with_activation =
        |activation: &str| model(vec![layer("Dense", "fc", json!({"activation": activation}), "pool")]);
    assert_eq!(scores(&with_activation("softmax")), Ok((3, Some("softmax"))));
    assert_eq!(scores(&with_activation("linear")), Ok((3, None)));
}

/// A network whose outputs are the logits and what `after` computes, of which the outer one returns `index`.
fn with_two_outputs(after: Json, index: usize) -> Json {
    let name = after["name"].clone();
    let layers = [features(), vec![layer("Dense", "fc", json!({}), "pool"), after]].concat();
    let inner = functional("inner", layers, json!([["image", 0, 0]]), json!([["fc", 0, 0], [name, 0, 0]]));
    let mut call = inner;
    call["inbound_nodes"] = json!([[tensor("image", 0, 0)]]);
    functional("outer", vec![input(), call], json!([["image", 0, 0]]), json!([["inner", 1, index]]))
}

#[test]
fn the_output_of_the_model_is_that_of_the_network() {
    let softmax = || layer("Softmax", "softmax", json!({"axis": -1}), "fc");
    assert_eq!(scores(&with_two_outputs(softmax(), 1)), Ok((3, Some("softmax"))));
    for after in [
        softmax(),
        layer("Dense", "fc2", json!({"activation": "softmax"}), "fc"),
        layer("Dense", "fc2", json!({}), "fc"),
    ] {
        let error = scores(&with_two_outputs(after.clone(), 0)).unwrap_err();
        assert!(error.contains("the scores are not an output of the model"), "{after}: {error}");
    }
}

#[test]
fn a_layer_may_be_called_several_times() {
    let shared = |calls: &[&[Json]]| called("Identity", "same", json!({}), calls);
    let dense = || layer("Dense", "fc", json!({}), "pool");
    let softmax = |name: &str, of: Json| called("Softmax", name, json!({"axis": -1}), &[&[of]]);
    // The second call of `same` reads what depends on its first call.
    let twice = model(vec![
        shared(&[&[tensor("first", 0, 0)], &[tensor("fc", 0, 0)]]),
        dense(),
        softmax("first", tensor("same", 1, 0)),
        softmax("last", tensor("same", 0, 0)),
    ]);
    assert!(scores(&twice).unwrap_err().contains("the logits have two activations"));
    // One activation for the whole network.
    let mut layers = features();
    layers.retain(|layer| layer["class_name"] != "ReLU");
    for (at, (name, call)) in [("depthwise", 0), ("project", 1), ("pool", 2)].into_iter().enumerate() {
        let layer = layers.iter_mut().find(|layer| layer["name"] == name).unwrap();
        layer["inbound_nodes"] = json!([[tensor("relu", call, 0)]]);
        assert_eq!(at, call);
    }
    let calls: Vec<Json> = ["stem", "depthwise", "head"].iter().map(|name| json!([tensor(name, 0, 0)])).collect();
    layers
        .insert(2, json!({"class_name": "ReLU", "name": "relu", "config": {"max_value": 6.0}, "inbound_nodes": calls}));
    layers.push(dense());
    let once = functional("model", layers.clone(), json!([["image", 0, 0]]), json!([["fc", 0, 0]]));
    assert_eq!(scores(&once), Ok((3, None)));
    layers.push(relu6("stem", "fc"));
    let duplicate = functional("model", layers, json!([["image", 0, 0]]), json!([["fc", 0, 0]]));
    assert!(scores(&duplicate).unwrap_err().contains("two layers of the model have the same name"));
}

#[test]
fn models_of_other_classes_are_refused() {
    let mut top = model(vec![layer("Dense", "fc", json!({}), "pool")]);
    top["registered_name"] = json!("Functional");
    top["module"] = json!("keras.src.models.functional");
    assert!(scores(&top).is_ok());
    top["module"] = json!(null);
    let error = scores(&top).unwrap_err();
    assert!(error.contains("the model class is not a Keras class") && error.contains("'__main__'"), "{error}");
    let mut nested = with_two_outputs(layer("Softmax", "softmax", json!({}), "fc"), 1);
    nested["config"]["layers"][1]["module"] = json!(null);
    nested["config"]["layers"][1]["registered_name"] = json!("Functional");
    let error = scores(&nested).unwrap_err();
    assert!(error.contains("node 'inner'") && error.contains("not a Keras class"), "{error}");
}

/// A network whose image is the result of `front`.
fn with_front(front: Json) -> Json {
    let mut layers = features();
    layers[1]["inbound_nodes"] = json!([[tensor("front", 0, 0)]]);
    layers.insert(1, front);
    layers.push(layer("Dense", "fc", json!({}), "pool"));
    functional("model", layers, json!({"image": ["image", 0, 0]}), json!({"scores": ["fc", 0, 0]}))
}

#[test]
fn rescaling_has_one_number_or_one_per_channel() {
    let rescaled = |scale: Json, offset: Json| {
        let front = layer("Rescaling", "front", json!({"scale": scale, "offset": offset}), "image");
        import(&with_front(front), |chain| chain.front.map(|front| (front.scale, front.offset)))
    };
    let row = Some(([0.5, 0.25, 0.125], [-1.0; 3]));
    assert_eq!(rescaled(json!([0.5, 0.25, 0.125]), json!(-1)), Ok(row));
    assert_eq!(rescaled(json!([[[0.5, 0.25, 0.125]]]), json!([[-1]])), Ok(row));
    let column = json!(vec![[[-1.0]]; 32]);
    assert!(rescaled(json!(0.5), column).unwrap_err().contains("expected: one number, or one per channel"));
    assert!(rescaled(json!([[0.5], [0.5], [0.5]]), json!(-1)).unwrap_err().contains("unsupported `scale`"));
    assert!(
        rescaled(json!(vec![0.5; 32]), json!(-1)).unwrap_err().contains("expected: one number, or one per channel")
    );
}

#[test]
fn a_softmax_is_over_the_last_axis() {
    let softmax = |arguments: Json| {
        let config = json!({"function": "nn.softmax"});
        let mut softmax = layer("TFOpLambda", "softmax", config, "fc");
        softmax["inbound_nodes"] = json!([["fc", 0, 0, arguments]]);
        scores(&model(vec![layer("Dense", "fc", json!({}), "pool"), softmax]))
    };
    for arguments in [json!({}), json!({"axis": -1}), json!({"axis": 1, "name": null})] {
        assert_eq!(softmax(arguments), Ok((3, Some("softmax"))));
    }
    let error = softmax(json!({"axis": 0})).unwrap_err();
    assert!(error.contains("not over the last axis") && error.contains("found: 0"), "{error}");
}

#[test]
fn an_activation_may_be_a_layer() {
    let activation =
        |class: &str, config: Json| json!({"module": "keras.layers", "class_name": class, "config": config});
    let dense =
        |name: &str, activation: Json, input: &str| layer("Dense", name, json!({"activation": activation}), input);
    let network = |hidden: Json| {
        let softmax = activation("Softmax", json!({"axis": -1}));
        scores(&model(vec![dense("hidden", hidden, "pool"), dense("fc", softmax, "hidden")]))
    };
    assert_eq!(network(activation("ReLU", json!({"max_value": null}))), Ok((3, Some("softmax"))));
    assert!(network(activation("ReLU", json!({"negative_slope": 0.1}))).unwrap_err().contains("`negative_slope`"));
    assert!(network(activation("LeakyReLU", json!({}))).unwrap_err().contains("LeakyReLU"));
    let own = json!({"module": null, "registered_name": "ReLU", "class_name": "ReLU", "config": {}});
    assert!(network(own).unwrap_err().contains("unsupported `activation`"));
}

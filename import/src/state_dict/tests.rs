//! What happens to a tensor or a module before, inside and after the network.

use super::*;
use crate::options::ConfigFiles;
use crate::source::{Constant, Format, Op, SourceGraph, Values};

/// torchvision's names, with the shape of each weight and the class of each module; one block.
const NETWORK: [(&str, &[usize], &str); 13] = [
    ("features.0.0", &[8, 3, 3, 3], "conv.Conv2d"),
    ("features.0.1", &[8], "batchnorm.BatchNorm2d"),
    ("features.0.2", &[], "activation.ReLU6"),
    ("features.1.conv.0.0", &[8, 1, 3, 3], "conv.Conv2d"),
    ("features.1.conv.0.1", &[8], "batchnorm.BatchNorm2d"),
    ("features.1.conv.0.2", &[], "activation.ReLU6"),
    ("features.1.conv.1", &[8, 8, 1, 1], "conv.Conv2d"),
    ("features.1.conv.2", &[8], "batchnorm.BatchNorm2d"),
    ("features.2.0", &[8, 8, 1, 1], "conv.Conv2d"),
    ("features.2.1", &[8], "batchnorm.BatchNorm2d"),
    ("features.2.2", &[], "activation.ReLU6"),
    ("classifier.0", &[], "dropout.Dropout"),
    ("classifier.1", &[3, 8], "linear.Linear"),
];

fn ones(shape: &[usize]) -> Result<Stored<'static>, Box<crate::error::ImportError>> {
    let values = vec![1.0; shape.iter().product()];
    Constant::new(shape.to_vec(), Values::F64(values.into())).map(|constant| Stored::computed(&constant))
}

/// The network; `has_modules` as a whole module, else as a state dict.
fn dict(has_modules: bool) -> StateDict<'static> {
    let mut dict = StateDict::default();
    for (name, shape, class) in NETWORK {
        if !shape.is_empty() {
            dict.tensors.insert(format!("{name}.weight"), ones(shape));
        }
        if class.starts_with("batchnorm") {
            for kind in ["bias", "running_mean", "running_var"] {
                dict.tensors.insert(format!("{name}.{kind}"), ones(shape));
            }
        }
        if has_modules {
            add(&mut dict, name, &format!("torch.nn.modules.{class}"));
            let module = dict.modules.get_mut(name).unwrap();
            module.stride = Some(if name == "features.0.0" { [2; 2] } else { [1; 2] });
            module.padding = class.starts_with("conv").then(|| [shape[2] / 2; 2]);
        }
    }
    if has_modules {
        for module in ["features", "features.0", "features.1.conv", "features.1.conv.0", "features.2", "classifier"] {
            add(&mut dict, module, "torch.nn.modules.container.Sequential");
        }
        add(&mut dict, "features.1", "torchvision.models.mobilenetv2.InvertedResidual");
        add(&mut dict, "", "torchvision.models.mobilenetv2.MobileNetV2");
    }
    dict
}

/// Adds a module after those of the same `Sequential`.
fn add(dict: &mut StateDict<'_>, name: &str, class: &str) {
    dict.modules.insert(name.to_owned(), Module { class: Some(class.to_owned()), ..Module::default() });
}

fn graph<'a>(dict: &StateDict<'a>) -> Result<SourceGraph<'a>, Box<crate::error::ImportError>> {
    let sidecar = Sidecar::of(ConfigFiles { config: None, preprocessor: None });
    let text = "resolution: 32\nclasses: 3\nstem: { channels: 8, stride: 2 }\nblocks:\n  - { t: 1, c: 8, n: 1, s: 1 }\nhead: { channels: 8 }\n";
    let source = mbvc_compiler::diagnostic::SourceFile::new("s.yaml", text);
    let spec = mbvc_compiler::spec::parse(&source).unwrap_or_else(|error| panic!("{error}"));
    read(dict, Format::PyTorch, "", &sidecar, Some(&spec), 1 << 20)
}

/// The number of operations, which is 14 for the network alone.
fn operations(dict: &StateDict<'_>) -> Result<usize, String> {
    graph(dict)
        .map(|graph| graph.nodes.iter().filter(|node| !matches!(node.op, Op::Other)).count())
        .map_err(|error| error.to_string())
}

const PLACES: [&str; 6] = ["before", "features.0.3", "features.1.conv.3", "features.3", "classifier.2", "after"];

#[test]
fn an_extra_tensor_is_an_error_unless_it_has_no_effect() {
    for has_modules in [false, true] {
        assert_eq!(operations(&dict(has_modules)), Ok(14));
        for place in PLACES {
            for (kind, shape) in
                [("scale", &[8][..]), ("gate", &[1]), ("weight", &[8]), ("weight_orig", &[8]), ("running_mean", &[8])]
            {
                let mut dict = dict(has_modules);
                let name = format!("{place}.{kind}");
                dict.tensors.insert(name.clone(), ones(shape));
                let error = operations(&dict).unwrap_err();
                assert!(error.contains(&format!("'{place}.")), "{name}: {error}");
            }
            let mut dict = dict(has_modules);
            dict.tensors.insert(format!("{place}.num_batches_tracked"), ones(&[1]));
            dict.tensors.insert("criterion.weight".into(), ones(&[3]));
            assert_eq!(operations(&dict), Ok(14), "{place}");
        }
    }
}

#[test]
fn an_extra_module_is_an_error_unless_it_has_no_effect() {
    for place in PLACES {
        for class in [
            "torch.nn.modules.activation.Tanh",
            "torch.nn.modules.activation.SiLU",
            "torch.nn.modules.activation.Hardtanh",
            "torch.nn.modules.pooling.AdaptiveMaxPool2d",
            "torch.nn.modules.normalization.LayerNorm",
            "torch.nn.modules.flatten.Unflatten",
            "torchvision.transforms.transforms.Normalize",
            "mine.Module",
            "mine.ReLU6",
        ] {
            let mut dict = dict(true);
            add(&mut dict, place, class);
            let error = operations(&dict).unwrap_err();
            assert!(error.contains(&format!("module '{place}' ({class})")), "{place}: {error}");
        }
        for class in ["dropout.Dropout", "linear.Identity", "flatten.Flatten", "loss.CrossEntropyLoss"] {
            let mut dict = dict(true);
            add(&mut dict, place, &format!("torch.nn.modules.{class}"));
            assert_eq!(operations(&dict), Ok(14), "{place} {class}");
        }
        let mut dict = dict(true);
        add(&mut dict, place, "torch.nn.modules.activation.ReLU6");
        assert!(operations(&dict).unwrap_err().contains(place), "{place}");
        let mut scored = self::dict(true);
        add(&mut scored, place, "torch.nn.modules.activation.Softmax");
        // A Sequential runs its modules; the class of torchvision does not run one that is added to it.
        assert_eq!(operations(&scored).is_ok(), place == "classifier.2", "{place}");
    }
}

/// Records the modules of each `Sequential`, in the order of their names.
fn with_children(dict: &mut StateDict<'_>) {
    let names: Vec<String> = dict.modules.keys().cloned().collect();
    for name in names.iter().filter(|name| !name.is_empty()) {
        let (parent, child) = name.rsplit_once('.').unwrap_or(("", name));
        dict.modules.get_mut(parent).unwrap().children.push(child.to_owned());
    }
}

#[test]
fn an_average_pool_is_global_and_after_the_body() {
    for (place, is_expected) in [
        ("features.3", true),
        ("pool", true),
        ("features.0.3", false),
        ("features.1.conv.3", false),
        ("features.1.pool", false),
        ("features.2.3", true),
    ] {
        for output in [[1, 1], [2, 2], [0, 0], [1, 2]] {
            let mut dict = dict(true);
            add(&mut dict, place, "torch.nn.modules.pooling.AdaptiveAvgPool2d");
            dict.modules.get_mut(place).unwrap().output = Some(output);
            with_children(&mut dict);
            let result = operations(&dict);
            assert_eq!(result.is_ok(), is_expected && output == [1, 1], "{place} {output:?}: {result:?}");
            assert!(result.is_ok() || result.unwrap_err().contains(&format!("module '{place}'")), "{place}");
        }
    }
    // Before the last activation.
    let mut dict = dict(true);
    add(&mut dict, "features.2.10", "torch.nn.modules.pooling.AdaptiveAvgPool2d");
    with_children(&mut dict);
    dict.modules.get_mut("features.2").unwrap().children = ["0", "1", "10", "2"].map(str::to_owned).to_vec();
    assert!(operations(&dict).unwrap_err().contains("features.2"));
}

#[test]
fn modules_of_the_body_are_in_the_order_of_their_numbers() {
    for (module, children) in [("features", ["0", "2", "1"]), ("features.0", ["0", "2", "1"])] {
        let mut dict = dict(true);
        with_children(&mut dict);
        assert_eq!(operations(&dict), Ok(14));
        dict.modules.get_mut(module).unwrap().children = children.map(str::to_owned).to_vec();
        let error = operations(&dict).unwrap_err();
        assert!(error.contains(&format!("module '{module}'")) && error.contains("0, 2, 1"), "{error}");
    }
}

#[test]
fn a_module_with_a_forward_of_its_own_is_an_error() {
    for name in ["features.0.2", "features.1", "classifier.0", ""] {
        let mut dict = dict(true);
        dict.modules.get_mut(name).unwrap().has_forward = true;
        let error = operations(&dict).unwrap_err();
        assert!(error.contains(&format!("module '{name}'")) && error.contains("`forward`"), "{error}");
    }
}

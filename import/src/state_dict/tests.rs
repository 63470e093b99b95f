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

/// The error of the whole module after a change.
fn refused(change: impl Fn(&mut StateDict<'static>)) -> String {
    let mut dict = dict(true);
    change(&mut dict);
    operations(&dict).unwrap_err()
}

#[test]
fn a_module_with_a_function_of_its_own_is_an_error() {
    for (name, method) in
        [("features.0.2", "forward"), ("features.1", "_call_impl"), ("classifier.0", "forward"), ("", "_forward_impl")]
    {
        let error = refused(|dict| dict.modules.get_mut(name).unwrap().own_method = Some(method.into()));
        assert!(error.contains(&format!("module '{name}'")) && error.contains(&format!("`{method}`")), "{error}");
    }
}

#[test]
fn a_function_is_an_error_only_in_a_known_class() {
    let functional = |name: &str, class: Option<&str>| {
        let mut dict = dict(true);
        if let Some(class) = class {
            add(&mut dict, name, class);
        }
        dict.modules.get_mut(name).unwrap().own_function = Some("loss_fn".into());
        operations(&dict)
    };
    for name in ["features.0.0", "features.1", "classifier.0"] {
        let error = functional(name, None).unwrap_err();
        assert!(error.contains(&format!("module '{name}'")), "{error}");
        assert!(
            error.contains("the attribute `loss_fn` is a function") && error.contains("torch.onnx.export"),
            "{error}"
        );
        assert!(error.contains("if the module does not use it (`del module.loss_fn`)"), "{error}");
    }
    for class in ["mine.Net", "torch.optim.swa_utils.AveragedModel"] {
        assert_eq!(functional("", Some(class)), Ok(14), "{class}");
    }
}

#[test]
fn an_attribute_of_an_unexpected_type_is_an_error() {
    let unread = |name: &str, attribute: &str| {
        let mut dict = dict(true);
        let module = dict.modules.get_mut(name).unwrap();
        module.unread.insert(attribute.to_owned(), "numpy.float64".to_owned());
        operations(&dict)
    };
    for (name, attribute) in [
        ("features.0.1", "eps"),
        ("features.0.0", "stride"),
        ("features.1.conv.1", "padding"),
        ("features.0.2", "max_val"),
        ("features.1", "use_res_connect"),
    ] {
        let error = unread(name, attribute).unwrap_err();
        assert!(error.contains(&format!("module '{name}'")), "{error}");
        assert!(error.contains(&format!("`{attribute}`")) && error.contains("found: numpy.float64"), "{error}");
        assert!(error.contains(&format!("`module.{attribute} = ")), "{error}");
    }
    for (found, expected, remedy) in [
        ("numpy.int64", "a Python int", "int(module.stride)"),
        ("a list of numpy.int64", "a pair of Python ints", "tuple(map(int, module.stride))"),
    ] {
        let error = refused(|dict| {
            dict.modules.get_mut("features.0.0").unwrap().unread.insert("stride".into(), found.into());
        });
        assert!(error.contains(&format!("expected: {expected}\n")) && error.contains(remedy), "{error}");
    }
    let error = refused(|dict| {
        add(dict, "features.0.2", "torch.nn.modules.activation.Hardtanh");
        dict.modules.get_mut("features.0.2").unwrap().unread.insert("max_val".into(), "numpy.float64".into());
    });
    assert!(error.contains("`max_val`"), "{error}");
    // The classes of these modules do not read them.
    for (name, attribute) in [("features", "eps"), ("classifier.0", "dim"), ("features.0.2", "stride")] {
        assert_eq!(unread(name, attribute), Ok(14), "{name} {attribute}");
    }
}

#[test]
fn a_batch_normalization_has_running_statistics() {
    // One in place of that of a convolution with a bias, after an activation, and after the classifier.
    for (name, class) in [
        ("features.0.1", "BatchNorm2d"),
        ("features.0.3", "BatchNorm2d"),
        ("features.1.conv.0.3", "SyncBatchNorm"),
        ("classifier.2", "BatchNorm1d"),
        ("0", "BatchNorm2d"),
    ] {
        let error = refused(|dict| {
            for kind in ["weight", "bias", "running_mean", "running_var"] {
                dict.tensors.remove(&format!("{name}.{kind}"));
            }
            dict.tensors.insert("features.0.0.bias".into(), ones(&[8]));
            add(dict, name, &format!("torch.nn.modules.batchnorm.{class}"));
        });
        assert!(error.contains(&format!("module '{name}'")) && error.contains("no running statistics"), "{error}");
    }
}

#[test]
fn a_batch_normalization_without_weight_and_bias_only_normalizes() {
    for has_modules in [true, false] {
        let mut dict = dict(has_modules);
        dict.tensors.remove("features.0.1.weight");
        dict.tensors.remove("features.0.1.bias");
        if !has_modules {
            let error = operations(&dict).unwrap_err();
            assert!(error.contains("module 'features.0.1'") && error.contains("no weight and no bias"), "{error}");
            continue;
        }
        let graph = graph(&dict).unwrap();
        let norm =
            graph.nodes.iter().find_map(|node| if let Op::BatchNorm(norm) = &node.op { Some(norm) } else { None });
        let norm = norm.unwrap();
        assert_eq!((norm.gamma.to_f64(), norm.beta.to_f64()), (vec![1.0; 8], vec![0.0; 8]));
        dict.tensors.insert("features.0.1.bias".into(), ones(&[8]));
        assert!(operations(&dict).unwrap_err().contains("missing tensor 'features.0.1.weight'"));
    }
}

#[test]
fn a_classifier_of_a_convolution_does_not_move_its_window() {
    type Change = fn(&mut Module);
    let changes: [(&str, Change); 4] = [
        ("", |_| {}),
        ("unexpected stride", |module| module.stride = Some([2; 2])),
        ("unexpected padding", |module| module.padding = Some([1; 2])),
        ("unsupported dilation", |module| module.dilation = Some([2; 2])),
    ];
    for (problem, change) in changes {
        let mut dict = dict(true);
        dict.tensors.insert("classifier.1.weight".into(), ones(&[3, 8, 1, 1]));
        add(&mut dict, "classifier.1", "torch.nn.modules.conv.Conv2d");
        add(&mut dict, "classifier.2", "torch.nn.modules.pooling.AdaptiveAvgPool2d");
        with_children(&mut dict);
        change(dict.modules.get_mut("classifier.1").unwrap());
        match operations(&dict) {
            Ok(count) => assert_eq!((count, problem), (14, "")),
            Err(error) => {
                assert!(!problem.is_empty() && error.contains(problem), "{error}");
                assert!(error.contains("module 'classifier.1'"), "{error}");
            }
        }
    }
}

#[test]
fn a_relu6_has_the_limits_0_and_6() {
    for (name, bounds) in [
        ("features.0.2", [Some(0.0), Some(1.5)]),
        ("features.1.conv.0.2", [Some(-1.0), Some(6.0)]),
        ("classifier.0", [Some(0.0), Some(3.0)]),
    ] {
        let error = refused(|dict| {
            add(dict, name, "torch.nn.modules.activation.ReLU6");
            dict.modules.get_mut(name).unwrap().bounds = bounds;
        });
        assert!(error.contains(&format!("module '{name}'")) && error.contains("unexpected ReLU6 limits"), "{error}");
    }
    let mut dict = dict(true);
    dict.modules.get_mut("features.0.2").unwrap().bounds = [Some(0.0), Some(6.0)];
    assert_eq!(operations(&dict), Ok(14));
}

#[test]
fn a_relu6_after_the_pool_of_a_network_with_relu_is_an_error() {
    for (body, head) in [("ReLU6", "ReLU6"), ("ReLU6", "ReLU"), ("ReLU", "ReLU"), ("ReLU", "ReLU6")] {
        let mut dict = dict(true);
        for name in ["features.0.2", "features.1.conv.0.2", "features.2.2"] {
            add(&mut dict, name, &format!("torch.nn.modules.activation.{body}"));
        }
        add(&mut dict, "classifier.0", &format!("torch.nn.modules.activation.{head}"));
        match operations(&dict) {
            Ok(count) => assert!(count == 14 && (body, head) != ("ReLU", "ReLU6")),
            Err(error) => assert!(error.contains("module 'classifier.0'") && body == "ReLU", "{error}"),
        }
    }
}

#[test]
fn a_loss_that_the_network_executes_is_an_error() {
    for (name, class) in [
        ("classifier.1", "mine.losses.ArcMarginProduct"),
        ("classifier.1", "mine.losses.MarginLoss"),
        ("classifier.1", "timm.loss.Margin"),
        ("features.0.3", "mine.losses.ScaleLoss"),
        ("features.1.scale", "mine.losses.ScaleLoss"),
        ("classifier.2", "mine.losses.ScaleLoss"),
        ("arc", "mine.losses.ArcMarginProduct"),
    ] {
        let error = refused(|dict| add(dict, name, class));
        assert!(error.contains(&format!("module '{name}' ({class})")), "{error}");
    }
    for (name, class) in [("focal", "mine.losses.FocalLoss"), ("criterion", "mine.losses.ArcMarginProduct")] {
        let mut dict = dict(true);
        add(&mut dict, name, class);
        assert_eq!(operations(&dict), Ok(14), "{name}");
    }
    // A class that contains the network may have any name.
    let mut dict = dict(true);
    add(&mut dict, "", "mine.losses.NetworkWithLoss");
    let graph = graph(&dict).unwrap();
    assert!(graph.notes.iter().any(|note| note.contains("mine.losses.NetworkWithLoss")), "{:?}", graph.notes);
}

#[test]
fn the_reason_why_a_weight_is_not_read_is_reported() {
    for name in ["classifier.1.weight", "features.0.0.weight", "features.1.conv.0.0.weight", "classifier.1.bias"] {
        for has_modules in [false, true] {
            let mut dict = dict(has_modules);
            dict.tensors.insert(name.into(), Err(crate::error::ImportError::unsupported("a sparse tensor")));
            let error = operations(&dict).unwrap_err();
            assert!(error.contains(&format!("tensor '{name}': a sparse tensor")), "{error}");
        }
    }
    let error = refused(|dict| {
        dict.tensors.remove("classifier.1.weight");
        add(dict, "classifier.1", "torch.ao.nn.quantized.dynamic.modules.linear.Linear");
    });
    assert!(error.contains("module 'classifier.1'") && error.contains("quantized by PyTorch"), "{error}");
}

#[test]
fn adapters_are_merged_before_the_import() {
    for name in ["classifier.1.lora_A.default.weight", "classifier.1.base_layer.weight"] {
        let mut dict = dict(false);
        dict.tensors.insert(name.into(), ones(&[3, 8]));
        let error = operations(&dict).unwrap_err();
        assert!(error.contains(&format!("tensor '{name}'")) && error.contains("merge_and_unload()"), "{error}");
    }
}

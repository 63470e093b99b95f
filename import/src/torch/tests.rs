//! Hand-written pickles: hostile ones, and rare ones of PyTorch.

use super::value::Value;
use super::{names, pickle, read};
use crate::error::Result;
use crate::source::Constant;
use crate::state_dict::StateDict;

/// Four floats: 1, 2, 3, 4.
fn storage() -> Vec<u8> {
    [1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn collected(program: &[u8]) -> Result<StateDict<'static>> {
    let storage: &'static [u8] = storage().leak();
    let (pickled, _) = pickle::read(program)?;
    names::collect(&pickled, &|_| Ok(storage)).map(|(dict, _)| dict)
}

fn constant(dict: &StateDict<'_>, name: &str) -> Vec<f64> {
    let stored = dict.tensors[name].clone().unwrap();
    stored.constant(&mut 100).as_ref().map(Constant::to_f64).unwrap()
}

/// Pushes the tensor of all four floats.
const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQK\0K\x04\x85K\x01\x85\x89)tR";

fn program(pieces: &[&[u8]]) -> Vec<u8> {
    [&b"\x80\x02"[..], &pieces.concat(), b"."].concat()
}

#[test]
fn calls_are_recorded_but_not_executed() {
    let marker = std::env::temp_dir().join(format!("mbvc-pickle-{}", std::process::id()));
    let command = format!("touch {}", marker.display());
    let text = [&[b'U', command.len() as u8], command.as_bytes()].concat();
    // {"a": os.system(command), "weight": tensor}
    let bytes = program(&[b"}(U\x01acposix\nsystem\n", &text, b"\x85RU\x06weight", TENSOR, b"u"]);
    let (pickled, length) = pickle::read(&bytes).unwrap();
    assert_eq!(length, bytes.len());
    let call = pickled.values.iter().find_map(|value| match value {
        Value::Object(object) => pickled.global(object.callable).filter(|name| *name == ("posix", "system")),
        _ => None,
    });
    assert!(call.is_some());
    let dict = collected(&bytes).unwrap();
    assert_eq!(dict.tensors.keys().collect::<Vec<_>>(), ["weight"]);
    assert_eq!(constant(&dict, "weight"), [1.0, 2.0, 3.0, 4.0]);
    assert!(!marker.exists());
}

#[test]
fn parameters_and_ordered_dicts_are_unwrapped() {
    // OrderedDict(), filled; then as Python 2 wrote it, with its pairs as an argument.
    let parameter = [b"ctorch._utils\n_rebuild_parameter\n", TENSOR, b"\x88)\x87R"].concat();
    let filled = program(&[b"ccollections\nOrderedDict\n)R(U\x01w", &parameter, b"u}b"]);
    let paired = program(&[b"ccollections\nOrderedDict\n](](U\x01w", &parameter, b"ee\x85R"]);
    for bytes in [filled, paired] {
        let dict = collected(&bytes).unwrap();
        assert_eq!(constant(&dict, "w"), [1.0, 2.0, 3.0, 4.0]);
    }
}

#[test]
fn modules_have_their_parameters_by_name() {
    // Outer(_modules={"layer": Inner(_parameters={"weight": tensor}, stride=(2, 1), eps=0.5)})
    let inner = [
        b"cmine\nInner\n)\x81}(U\x0b_parameters}U\x06weight",
        TENSOR,
        b"sU\x06strideK\x02K\x01\x86U\x03epsG\x3f\xe0\0\0\0\0\0\0ub",
    ]
    .concat();
    let bytes = program(&[b"cmine\nOuter\n)\x81}U\x08_modules}U\x05layer", &inner, b"ssb"]);
    let dict = collected(&bytes).unwrap();
    assert_eq!(constant(&dict, "layer.weight"), [1.0, 2.0, 3.0, 4.0]);
    let module = &dict.modules["layer"];
    assert_eq!((module.stride, module.epsilon, module.padding), (Some([2, 1]), Some(0.5), None));
}

/// A module `layer` with the attribute `key`.
fn module(key: &str, value: &[u8]) -> crate::state_dict::Module {
    let key = [&[b'U', key.len() as u8], key.as_bytes()].concat();
    let inner = [b"cmine\nInner\n)\x81}(U\x08_modules}", &key[..], value, b"ub"].concat();
    let bytes = program(&[b"cmine\nOuter\n)\x81}U\x08_modules}U\x05layer", &inner, b"ssb"]);
    collected(&bytes).unwrap().modules.remove("layer").unwrap()
}

#[test]
fn attributes_of_unexpected_types_are_recorded() {
    const SCALAR: &[u8] = b"cnumpy.core.multiarray\nscalar\n)R";
    let pair = [b"(", SCALAR, SCALAR, b"t"].concat();
    for (key, value, found) in [
        ("eps", SCALAR, "numpy.core.multiarray.scalar"),
        ("max_val", SCALAR, "numpy.core.multiarray.scalar"),
        ("stride", &pair, "a list of numpy.core.multiarray.scalar"),
        ("padding", b"U\x04full", "'full'"),
        ("dilation", b"K\x02\x85", "a list of 1 value"),
        ("use_res_connect", b"K\0", "0"),
        ("has_skip", b"N", "None"),
        ("padding_mode", b"N", "None"),
        ("output_size", SCALAR, "numpy.core.multiarray.scalar"),
        ("output_size", &pair, "a list of numpy.core.multiarray.scalar"),
        ("output_size", b"U\x01a", "'a'"),
    ] {
        let module = module(key, value);
        assert_eq!(module.unread.get(key).map(String::as_str), Some(found), "{key}");
    }
    let size = module("stride", b"ctorch\nSize\nK\x02K\x01\x86\x85R");
    assert_eq!((size.stride, size.unread.len()), (Some([2, 1]), 0));
    assert!(module("padding", b"U\x04same").unread.is_empty());
    for (size, output) in [(&b"K\x01"[..], [1; 2]), (b"K\x01K\x01\x86", [1; 2]), (b"NN\x86", [0; 2]), (b"N", [0; 2])] {
        assert_eq!(module("output_size", size).output, Some(output));
    }
    assert!(module("divisor_override", SCALAR).has_divisor);
}

#[test]
fn functions_of_objects_are_recorded() {
    for (key, value) in [
        ("forward", &b"cmine\nforward\n"[..]),
        ("_conv_forward", b"cfunctools\npartial\n)R"),
        ("_call_impl", b"cmine\nCallable\n)\x81"),
    ] {
        assert_eq!(module(key, value).own_method.as_deref(), Some(key));
    }
    for (key, value) in [
        ("act", &b"ctorch.nn.functional\nrelu\n"[..]),
        ("loss_fn", b"ctorch.nn.functional\ncross_entropy\n"),
        ("act", b"cfunctools\npartial\nctorch.nn.functional\nhardtanh\n\x85R"),
        ("pool", b"c__builtin__\ngetattr\n)R"),
        ("pool", b"cbuiltins\ngetattr\ncmine\nNet\nU\x04pool\x86R"),
        ("pool", b"cnumpy\nmean\n"),
        ("pool", b"ctorch\nmean\n"),
        ("pool", b"ctorch\ncomplex\n"),
        ("pool", b"cbuiltins\nsum\n"),
    ] {
        let module = module(key, value);
        assert_eq!((module.own_function.as_deref(), module.own_method), (Some(key), None), "{value:?}");
    }
    for (key, value) in [
        ("norm_layer", &b"ctorch.nn.modules.batchnorm\nBatchNorm2d\n"[..]),
        ("norm_layer", b"cfunctools\npartial\nctorch.nn.modules.batchnorm\nBatchNorm2d\n\x85R"),
        ("mode", b"cbuiltins\ngetattr\nctorchvision.transforms.functional\nInterpolationMode\nU\x08BILINEAR\x86R"),
        ("hidden", b"cmine\n_Config\n"),
        ("dtype", b"ctorch\nfloat32\n"),
        ("dtype", b"ctorch\ncomplex64\n"),
        ("dtype", b"ctorch\nqint8\n"),
        ("dtype", b"ctorch\nfloat8_e4m3fn\n"),
        ("scheme", b"ctorch\nper_channel_affine\n"),
        ("format", b"ctorch.serialization\ntorch.channels_last\n"),
        ("dtype", b"cnumpy\nfloat32\n"),
        ("dtype", b"cnumpy\nbool_\n"),
        ("kind", b"cnumpy\nndarray\n"),
        ("kind", b"cbuiltins\nlist\n"),
        ("kind", b"ccollections\ndefaultdict\n"),
        ("config", b"cmine\nConfig\n)\x81"),
        ("training", b"\x89"),
    ] {
        let module = module(key, value);
        assert_eq!((module.own_method, module.own_function), (None, None), "{key} {value:?}");
    }
}

/// A dictionary of one entry.
fn entry(key: &[u8], value: &[u8]) -> StateDict<'static> {
    collected(&program(&[b"}", key, value, b"s"])).unwrap()
}

#[test]
fn entries_with_unusual_keys_are_named() {
    let long = [&b"X\xc9\0\0\0"[..], &[b'g'; 201]].concat();
    for (key, name) in [
        (&b"N"[..], "<None as key of entry 0>"),
        (b"U\x01a\x85", "<tuple as key of entry 0>"),
        (b"\x88", "<bool as key of entry 0>"),
        (b"G\x3f\xe0\0\0\0\0\0\0", "<float as key of entry 0>"),
        (b"K\x07", "7"),
        (&long, &format!("{}… (entry 0)", "g".repeat(50))),
    ] {
        let dict = entry(key, TENSOR);
        assert_eq!(dict.tensors.keys().collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn entries_that_are_no_dense_tensors_are_errors() {
    let array = |dtype: &[u8]| {
        let dtype = [b"cnumpy\ndtype\nU\x02", dtype, b"\x85R"].concat();
        [&b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01)"[..], &dtype, b"\x89U\0tb"].concat()
    };
    let numbers = array(b"f4");
    let buffer = b"cnumpy._core.numeric\n_frombuffer\n(U\x04abcdcnumpy\ndtype\nU\x02f4\x85RK\x01\x85U\x01CtR";
    let single = b"cnumpy.core.multiarray\nscalar\n)R";
    for (value, problem) in [
        (&b"ctorch._utils\n_rebuild_sparse_tensor\n)R"[..], "a sparse tensor"),
        (b"ctorch._utils\n_rebuild_nested_tensor\n)R", "_rebuild_nested_tensor"),
        (&numbers, "unsupported NumPy array"),
        (buffer, "unsupported NumPy array"),
        (b"](G\x3f\xe0\0\0\0\0\0\0e", "a list of 1 value"),
        (b"cmine\nArray\n)R", "found: mine.Array"),
        (single, "found: numpy.core.multiarray.scalar"),
        (b"K\x01", "found: 1"),
        (b"C\x01a", "found: bytes"),
    ] {
        // {"a.weight": tensor, "a.bias": value}, and in a dictionary of the layer.
        let flat = program(&[b"}(U\x08a.weight", TENSOR, b"U\x06a.bias", value, b"u"]);
        let nested = program(&[b"}U\x01a}(U\x06weight", TENSOR, b"U\x04bias", value, b"us"]);
        for program in [flat, nested] {
            let dict = collected(&program).unwrap();
            let error = dict.tensors["a.bias"].as_ref().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("help: "), "{error}");
            assert_eq!(error.contains("to_dense()"), problem == "a sparse tensor", "{error}");
            assert_eq!(dict.arrays.contains("a.bias"), problem == "unsupported NumPy array");
        }
    }
    // The shape of a parameter beside a tensor.
    let size = program(&[b"}(U\x08a.weight", TENSOR, b"U\x06a.biasctorch\nSize\nK\x03\x85\x85Ru"]);
    assert_eq!(collected(&size).unwrap().tensors.len(), 1);
    for (key, value) in [
        (&b"U\x05names"[..], &array(b"U5")[..]),
        (b"U\x06a.bias", b"N"),
        // Shapes and histories of parameters, without tensors.
        (b"U\x06a.bias", b"ctorch\nSize\nK\x03\x85\x85R"),
        (b"U\x06a.bias", b"](K\x01e"),
        (b"U\x08best_acc", single),
        (b"U\x06a.bias", b"\x88"),
        (b"U\x04rows", b"](K\x01e"),
    ] {
        assert!(entry(key, value).tensors.is_empty());
    }
    // A parameter of a module.
    let module = program(&[b"cmine\nInner\n)\x81}(U\x08_modules}U\x0b_parameters}(U\x01wcmine\nLazy\n)RU\x01bNuub"]);
    let dict = collected(&module).unwrap();
    assert!(dict.tensors["w"].is_err() && dict.tensors.len() == 1);
}

#[test]
fn the_dictionary_of_each_tensor_is_recorded() {
    // {"net": {"a.weight": tensor}, "module": Inner(_parameters={"bias": tensor})}
    let bytes = program(&[
        b"}(U\x03net}U\x08a.weight",
        TENSOR,
        b"sU\x06modulecmine\nInner\n)\x81}(U\x08_modules}U\x0b_parameters}U\x04bias",
        TENSOR,
        b"subu",
    ]);
    let holders = collected(&bytes).unwrap().holders;
    assert_eq!(
        holders.into_iter().collect::<Vec<_>>(),
        [("module.bias".to_owned(), 6), ("net.a.weight".to_owned(), 3)]
    );
}

#[test]
fn what_checkpoints_record_beside_the_network_is_accepted() {
    // {"net": {"a.weight": tensor}, "best": numpy scalar, "weights": array, "shapes": {"a.bias": torch.Size([3])}}
    let bytes = program(&[
        b"}(U\x03net}U\x08a.weight",
        TENSOR,
        b"sU\x04bestcnumpy.core.multiarray\nscalar\n)RU\x07weightscnumpy.core.multiarray\n_reconstruct\n)R",
        b"U\x06shapes}U\x06a.biasctorch\nSize\nK\x03\x85\x85Rsu",
    ]);
    let dict = collected(&bytes).unwrap();
    assert_eq!(dict.tensors.keys().collect::<Vec<_>>(), ["net.a.weight", "weights"]);
    assert_eq!((dict.arrays.len(), dict.holders["net.a.weight"], dict.holders["weights"]), (1, 3, 0));
}

#[test]
fn entries_that_are_no_tensors_are_bounded() {
    let mut entries = [b"}(U\x08a.weight", TENSOR].concat();
    for number in 0..20_000 {
        entries.extend(format!("X\x0b\0\0\0{number:06}.biasK\x01").bytes());
    }
    let error = collected(&program(&[&entries, b"u"])).err().unwrap().to_string();
    assert!(error.contains("more than 16384 tensors"), "{error}");
}

#[test]
fn dictionaries_that_modules_share_are_counted() {
    // A thousand modules with one dictionary of a thousand entries.
    for (key, value) in [("_modules", "N"), ("_forward_hooks", "cmine\nWeightNorm\n")] {
        let mut shared = b"}(".to_vec();
        for number in 0..1000 {
            shared.extend(format!("U\x04{number:04}{value}").bytes());
        }
        let mut modules = [&shared[..], b"uq\x000}("].concat();
        for number in 0..1000 {
            modules.extend(format!("X\x04\0\0\0{number:04}cmine\nInner\n)").bytes());
            modules.extend(b"\x81}(U");
            modules.extend([&[key.len() as u8], key.as_bytes()].concat());
            modules.extend(b"h\0ub");
        }
        let error = collected(&program(&[&modules, b"u"])).err().unwrap().to_string();
        assert!(error.contains("modules share too many others"), "{error}");
    }
}

#[test]
fn graphs_of_fx_are_refused() {
    let bytes = program(&[b"ctorch.fx.graph_module\nreduce_graph_module\n)R"]);
    let error = collected(&bytes).err().unwrap().to_string();
    assert!(
        error.contains("torch.fx.graph_module.reduce_graph_module") && error.contains("torch.onnx.export"),
        "{error}"
    );
}

#[test]
fn cycles_and_shared_values_are_visited_once() {
    // a = []; a.append(a); {"x": a, "w": tensor}
    let bytes = program(&[b"}(U\x01x]q\0h\0aU\x01w", TENSOR, b"u"]);
    assert_eq!(collected(&bytes).unwrap().tensors.len(), 1);
    // Thirty lists of twice the one before: a billion paths to one tensor, and thirty values.
    let mut doubling = TENSOR.to_vec();
    doubling.extend(b"q\0");
    for level in 0..30u8 {
        doubling.extend([b'0', b']', b'(', b'h', level, b'h', level, b'e', b'q', level + 1]);
    }
    assert!(collected(&program(&[&doubling])).unwrap().tensors.len() <= 2);
}

#[test]
fn shared_modules_are_visited_under_each_path() {
    // Outer(_modules={"a": inner, "b": inner}), Inner(_parameters={"weight": tensor}, _modules={}).
    let inner = [b"cmine\nInner\n)\x81}(U\x0b_parameters}U\x06weight", TENSOR, b"sU\x08_modules}ubq\0"].concat();
    let bytes = program(&[b"cmine\nOuter\n)\x81}U\x08_modules}(U\x01a", &inner, b"U\x01bh\0usb"]);
    let dict = collected(&bytes).unwrap();
    assert_eq!(dict.tensors.keys().collect::<Vec<_>>(), ["a.weight", "b.weight"]);
    assert_eq!(dict.modules["b"].class.as_deref(), Some("mine.Inner"));
    // Thirty modules that contain the one before twice: a billion paths.
    let mut doubling = inner;
    for level in 0..30u8 {
        doubling.extend(b"0cmine\nOuter\n)\x81}U\x08_modules}(U\x01a");
        doubling.extend([b'h', level, b'U', 1, b'b', b'h', level]);
        doubling.extend([&b"usbq"[..], &[level + 1]].concat());
    }
    let error = collected(&program(&[&doubling])).err().unwrap().to_string();
    assert!(error.contains("modules share too many others"), "{error}");
}

#[test]
fn depth_is_bounded() {
    let deep = [&b"]".repeat(200_000)[..], &b"a".repeat(199_999)].concat();
    assert!(collected(&program(&[&deep])).unwrap().tensors.is_empty());
    let tuples = [&b")"[..], &b"\x85".repeat(200_000)].concat();
    assert!(collected(&program(&[&tuples])).unwrap().tensors.is_empty());
}

#[test]
fn declared_sizes_are_checked() {
    for huge in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"B\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
    ] {
        let error = pickle::read(&program(&[huge])).unwrap_err().to_string();
        assert!(error.contains("is truncated"), "{error}");
    }
    // A memo entry with the largest number is one entry.
    let bytes = program(&[b"Nr\xff\xff\xff\xffj\xff\xff\xff\xff"]);
    assert!(pickle::read(&bytes).is_ok());
}

#[test]
fn rejects_invalid_programs() {
    for bytes in [
        &b""[..],
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x09N.",
        b"\x80\x02h\x07.",
        b"\x80\x02Na.",
        b"\x80\x02NNs.",
        b"\x80\x02}(Nu.",
        b"\x80\x02(\x85.",
        b"\x80\x02N(R.",
        b"\x80\x02t.",
        b"\x80\x02cos\n",
        b"\x80\x02NN\x93.",
        b"\x80\x02\xff.",
        b"\x80\x02I5\n.",
    ] {
        assert!(pickle::read(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn rejects_too_many_instructions() {
    let error = pickle::read(&program(&[&b"N0".repeat(1 << 20)])).unwrap_err().to_string();
    assert!(error.contains("more than 1048576 instructions"), "{error}");
}

#[test]
fn rejects_unsupported_files() {
    let text = |bytes: &[u8]| read(bytes).err().unwrap().to_string();
    assert!(text(b"\x80\x04N.").contains("not a `torch.save` file"));
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(text(&tar).contains("tar format"));
    let next = [super::LEGACY_MAGIC, b"\x80\x02M\xe8\x03.\x80\x02N.\x80\x02N.\x80\x02].", b""].concat();
    assert!(text(&next).contains("expected: 1001"));
    let big =
        [super::LEGACY_MAGIC, b"\x80\x02M\xe9\x03.\x80\x02}U\x0dlittle_endian\x89s.\x80\x02N.\x80\x02].", b""].concat();
    assert!(text(&big).contains("big-endian"));
}

//! The networks of the feature `carry` are found by their spec.
#![cfg(feature = "carry")]

use mbvc::weights::Padding;
use mbvc::{Network, Unobserved};
use mbvc_compiler::spec::{self, Fusion, NetworkSpec, Overrides, Words};
use mbvc_compiler::{SourceFile, compile};
use mbvc_networks::{SPEC, find};

fn overrides(given: &[(&str, &str)]) -> Overrides {
    let mut overrides = Overrides::new(Words::Command);
    for (key, value) in given {
        overrides.set(key, value);
    }
    overrides
}

fn parse(text: &str, given: &[(&str, &str)]) -> NetworkSpec {
    spec::parse_with(&SourceFile::new("other.yaml", text), &overrides(given)).unwrap()
}

fn random_weights(file: &SourceFile, overrides: &Overrides) -> mbvc::Weights {
    let compiled = compile(file, overrides).unwrap();
    let parameters = compiled.parameters();
    let tensors = parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    mbvc::Weights::random(tensors, compiled.conventions(), 1).unwrap()
}

const TORCHVISION: &str = include_str!("../specs/v2_torchvision.yaml");

#[test]
fn networks_are_found_by_what_their_kernels_depend_on() {
    let renamed = SPEC
        .replace("name: MobileNetV2", "# A comment.\nname: Other")
        .replace("range: [-1, 1]", "range: [0, 1]")
        .replace("epsilon: 0.001", "epsilon: 0.0001");
    for precision in ["f32", "bf16", "int8", "uint8"] {
        assert!(find(&parse(&renamed, &[("precision", precision)]), Fusion::Block).is_some(), "{precision}");
    }
    for precision in ["f32", "int8"] {
        assert!(find(&parse(&renamed, &[("classes", "1000"), ("precision", precision)]), Fusion::Block).is_some());
        assert!(find(&parse(TORCHVISION, &[("precision", precision)]), Fusion::Block).is_some());
    }
}

#[test]
fn other_networks_are_not_found() {
    for fusion in [Fusion::None, Fusion::Relu6, Fusion::Deep] {
        assert!(find(&parse(SPEC, &[("precision", "int8")]), fusion).is_none());
    }
    for (key, value) in
        [("width", "0.5"), ("classes", "10"), ("threads", "2"), ("numerics", "strict"), ("resolution", "192")]
    {
        assert!(find(&parse(SPEC, &[(key, value)]), Fusion::Block).is_none(), "{key}");
    }
    assert!(find(&parse(TORCHVISION, &[("classes", "1001")]), Fusion::Block).is_none());
    assert!(find(&parse(TORCHVISION, &[("precision", "bf16")]), Fusion::Block).is_none());
}

#[test]
fn networks_run_on_packed_weights_in_place() {
    for precision in ["f32", "bf16", "int8", "uint8"] {
        let given = overrides(&[("precision", precision)]);
        let file = SourceFile::new("other.yaml", SPEC);
        let network = find(&spec::parse_with(&file, &given).unwrap(), Fusion::Block).unwrap();
        let weights = random_weights(&file, &given);
        let expected = (network.build)(&weights, None).unwrap();

        let (container, isa) = (weights.container(), expected.isa());
        let bytes = (network.packed_bytes_for)(&container, isa).unwrap();
        let memory = Box::leak(vec![0; bytes + 64].into_boxed_slice());
        let start = memory.as_ptr().align_offset(64);
        let packed = &mut memory[start..start + bytes];
        (network.pack)(&container, isa, packed).unwrap();
        let found = (network.from_packed)(packed).unwrap();

        let logits = |network: &dyn Network| {
            let info = network.info();
            let image: Vec<u8> = (0..info.input.iter().product()).map(|at: usize| (at * at % 251) as u8).collect();
            let (mut scratch, mut logits) = (vec![0.0; info.scratch_bytes / 4], vec![f32::NAN; info.classes]);
            network.run_pixels_into(&mut scratch, &image, &mut logits, &mut Unobserved).unwrap();
            logits
        };
        assert_eq!(logits(&*found), logits(&*expected), "{precision}");
    }
}

/// The padding of the found network is that of the spec.
#[test]
fn each_publisher_has_a_network_of_its_own() {
    for (text, given, expected) in [
        (SPEC, ("classes", "1001"), (1001, Padding::Same)),
        (SPEC, ("classes", "1000"), (1000, Padding::Same)),
        (TORCHVISION, ("classes", "1000"), (1000, Padding::Symmetric)),
    ] {
        let spec = parse(text, &[given]);
        let weights = random_weights(&SourceFile::new("other.yaml", text), &overrides(&[given]));
        let network = (find(&spec, Fusion::Block).unwrap().build)(&weights, None).unwrap();
        assert_eq!((network.info().classes, network.info().conventions.padding), expected);
        assert_eq!(network.info().name, "MobileNetV2");
    }
}

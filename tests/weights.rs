//! All mismatches of weights are reported. Packed weights are used in place, and are rejected if they were packed for
//! another network.

mod common;

use common::{bits, isas, leaked, random_image, random_weights, with_metadata};
use mbvc::errors::{IsaError, ModelError, PackError, PackedError};
use mbvc::info::Precision;
use mbvc::weights::{Activation, Conventions, Dtype, Padding};
use mbvc::{Isa, Weights};
use mbvc_test_networks::tiny::{TinyNet, Unfused as OtherFusion};

mbvc::mobilenet_v2!("specs/tiny.yaml", name = OtherClasses, classes = 11, isa = [portable]);
mbvc::mobilenet_v2!("specs/tiny.yaml", name = Narrow, isa = [portable]);

mbvc::mobilenet_v2!("specs/tiny.yaml", name = Uint8, precision = "uint8");

const N: usize = 32 * 32 * 3;

/// The network's tensors, each after `change`; `None` omits a tensor.
fn changed(
    conventions: Conventions,
    change: impl Fn(&'static str, Vec<usize>) -> Option<(&'static str, Vec<usize>)>,
) -> Weights {
    let tensors = TinyNet::INFO.parameters.iter().filter_map(|p| change(p.name, p.shape.to_vec())).collect::<Vec<_>>();
    let tensors = tensors.iter().map(|(name, shape)| (*name, Dtype::F32, &shape[..]));
    Weights::random(tensors, conventions, 1).expect("unique names")
}

fn mismatches(weights: &Weights) -> Vec<(String, String, String)> {
    match TinyNet::new(weights) {
        Err(ModelError::Mismatch { mismatches, .. }) => {
            mismatches.into_iter().map(|one| (one.field, one.expected, one.found)).collect()
        }
        other => panic!("weights that do not fit gave {other:?}"),
    }
}

fn triples(lines: &[[&str; 3]]) -> Vec<(String, String, String)> {
    lines.iter().map(|[field, expected, found]| (field.to_string(), expected.to_string(), found.to_string())).collect()
}

#[test]
fn every_mismatch_is_reported_at_once() {
    let conventions = Conventions { padding: Padding::Symmetric, ..TinyNet::INFO.conventions };
    let weights = changed(conventions, |name, mut shape| match name {
        "stem.bias" => None,
        "block2.expand.weight" => {
            shape[3] += 8;
            Some((name, shape))
        }
        "classifier.bias" => Some(("classifier.offset", shape)),
        _ => Some((name, shape)),
    });
    let expected = triples(&[
        ["padding", "same", "symmetric"],
        ["stem.bias", "F32 [8]", "nothing"],
        ["block2.expand.weight", "F32 [1, 1, 8, 48]", "F32 [1, 1, 8, 56]"],
        ["classifier.bias", "F32 [10]", "nothing"],
        ["classifier.offset", "nothing", "F32 [10]"],
    ]);
    assert_eq!(mismatches(&weights), expected);

    let message = TinyNet::new(&weights).expect_err("they do not fit").to_string();
    for line in [
        "the weights file does not fit the network TinyNet:",
        "  padding: expected same, found symmetric",
        "  stem.bias: expected F32 [8], found nothing",
        "  and 2 more",
        "use the spec that the weights were imported with, or import the weights for this spec",
    ] {
        assert!(message.lines().any(|found| found == line), "no line `{line}` in\n{message}");
    }
}

#[test]
fn rejects_infinite_and_nan_weights() {
    let weights = random_weights(TinyNet::INFO, 3);
    let container = weights.container();
    let bias = container.tensor("classifier.bias").expect("the classifier has a bias");
    let at = bias.data.as_ptr() as usize - weights.as_bytes().as_ptr() as usize;
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = weights.as_bytes().to_vec();
        bytes[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
        let broken = Weights::from_bytes(bytes).expect("the header is unchanged");
        let message = TinyNet::new(&broken).expect_err("not finite").to_string();
        assert!(message.contains("`classifier.bias` has infinite or NaN elements"), "{message}");
    }
}

/// One line with its remedy instead of one line per tensor. Shapes are compared as usual.
#[test]
fn another_precision_is_reported_with_its_remedy() {
    let weights = changed(Conventions { precision: Precision::Int8, ..TinyNet::INFO.conventions }, |name, shape| {
        (name != "stem.bias").then_some((name, shape))
    });
    assert_eq!(mismatches(&weights), triples(&[["precision", "f32", "int8"], ["stem.bias", "[8]", "nothing"]]));
    let message = TinyNet::new(&weights).expect_err("they do not fit").to_string();
    let remedy = "write `precision: int8` into the spec (in the macro: `precision = \"int8\"`), or import the weights again \
                  with `mbvc import --dequantize`";
    assert_eq!(message.lines().last(), Some(remedy), "{message}");
}

#[test]
fn long_lists_are_cut_in_the_message_only() {
    let weights = changed(TinyNet::INFO.conventions, |_, _| None);
    let missing = mismatches(&weights);
    // Biases follow from their weights.
    assert_eq!(missing.len(), TinyNet::INFO.parameters.len() / 2);
    let message = TinyNet::new(&weights).expect_err("they do not fit").to_string();
    assert!(message.contains(&format!("and {} more", missing.len() - 3)), "{message}");
}

#[test]
fn the_class_count_is_a_convention_too() {
    let weights = random_weights(OtherClasses::INFO, 1);
    let expected = triples(&[["classes", "10", "11"], ["classifier.weight", "F32 [64, 10]", "F32 [64, 11]"]]);
    assert_eq!(mismatches(&weights), expected);
}

fn packed(weights: &Weights, isa: Isa) -> &'static mut [u8] {
    let file = leaked(TinyNet::packed_bytes_for(&weights.container(), isa).expect("compiled for all"), 0);
    file.fill(0xa5);
    TinyNet::pack(&weights.container(), isa, file).expect("the weights fit the network");
    file
}

#[test]
fn packed_weights_give_the_same_bits() {
    let weights = random_weights(TinyNet::INFO, 2);
    let (image, mut scratch) = (random_image::<N>(3), TinyNet::scratch());
    for isa in isas(TinyNet::INFO) {
        let expected = TinyNet::with_isa(&weights, isa).expect("they fit").run(&mut scratch, &image);
        let model = TinyNet::from_packed(packed(&weights, isa)).expect("just packed");
        assert_eq!(model.isa(), isa);
        assert_eq!(bits(&model.run(&mut scratch, &image)), bits(&expected), "{isa}");

        let pixels = common::random_bytes::<N>(4);
        let expected = TinyNet::with_isa(&weights, isa).expect("they fit").run_pixels(&mut scratch, &pixels);
        assert_eq!(bits(&model.run_pixels(&mut scratch, &pixels)), bits(&expected), "preprocessing travels, {isa}");
    }
}

/// Packed weights contain the metadata for `classify`, with any JSON escapes resolved.
#[test]
fn names_and_framing_travel_in_packed_files() {
    let labels: Vec<String> = (0..TinyNet::CLASSES).map(|class| format!("\"kind\" {class} \u{e9}")).collect();
    let escaped = labels.join("\\n").replace('"', "\\\"").replace('\u{e9}', "\\u00e9");
    let metadata = [("mbvc.framing", "crop 40/32 bicubic".to_owned()), ("mbvc.labels", escaped)];
    let weights = with_metadata(&random_weights(TinyNet::INFO, 2), &metadata);
    let (new, packed) = (
        TinyNet::with_isa(&weights, Isa::Portable).expect("they fit"),
        TinyNet::from_packed(packed(&weights, Isa::Portable)).expect("just packed"),
    );
    assert_eq!(new.labels(), labels);
    assert_eq!(packed.labels(), labels);
    let pixels = common::random_bytes::<{ 50 * 60 * 3 }>(5);
    let picture = mbvc::Rgb::new(&pixels[..], [50, 60]).expect("three bytes a pixel");
    let shown = |model: &TinyNet| -> Vec<String> {
        model.classify(&picture).expect("it has pixels").iter().map(|guess| format!("{guess:?}")).collect()
    };
    assert_eq!(shown(&packed), shown(&new));
    assert_eq!(packed.clone().labels(), labels);
}

#[test]
fn packing_leaves_no_byte_to_chance() {
    let weights = random_weights(TinyNet::INFO, 2);
    let compiled = |isa: &Isa| TinyNet::packed_bytes_for(&weights.container(), *isa).is_some();
    for isa in [Isa::Portable, Isa::Avx512].into_iter().filter(compiled) {
        let file = packed(&weights, isa).to_vec();
        let again = leaked(file.len(), 0);
        again.fill(0x5a);
        TinyNet::pack(&weights.container(), isa, again).expect("the weights fit the network");
        assert_eq!(file, again, "{isa}");
    }
}

#[test]
fn packing_rejects_what_does_not_fit() {
    let weights = random_weights(TinyNet::INFO, 2);
    let bytes = TinyNet::packed_bytes_for(&weights.container(), Isa::Portable).expect("portable is for every target");
    let pack = |file: &mut [u8]| TinyNet::pack(&weights.container(), Isa::Portable, file);
    assert_eq!(pack(leaked(bytes - 1, 0)), Err(PackError::FileSize { expected: bytes, found: bytes - 1 }));
    assert_eq!(pack(&mut []), Err(PackError::FileSize { expected: bytes, found: 0 }));
    assert_eq!(pack(leaked(bytes, 4)), Err(PackError::Alignment));
    assert_eq!(Narrow::packed_bytes_for(&weights.container(), Isa::Avx2), None);
    let refused = Narrow::pack(&weights.container(), Isa::Avx2, leaked(bytes, 0));
    assert_eq!(refused, Err(PackError::NotCompiled(Isa::Avx2)));

    let incomplete = changed(TinyNet::INFO.conventions, |name, shape| (name != "head.bias").then_some((name, shape)));
    let refused = TinyNet::pack(&incomplete.container(), Isa::Portable, leaked(bytes, 0));
    assert_eq!(refused, Err(PackError::Missing("head.bias")));
    let relu = Conventions { activation: Activation::Relu, ..TinyNet::INFO.conventions };
    let relu = changed(relu, |name, shape| Some((name, shape)));
    let refused = TinyNet::pack(&relu.container(), Isa::Portable, leaked(bytes, 0));
    assert_eq!(refused, Err(PackError::Differs { field: "activation", expected: "relu6", found: "relu" }));
    let sizes = with_metadata(&weights, &[("mbvc.size_multiple", "64".to_owned())]);
    let refused = TinyNet::pack(&sizes.container(), Isa::Portable, leaked(bytes, 0));
    assert_eq!(refused, Err(PackError::Resolution { multiple: 64, found: [32; 2] }));
    let refused = TinyNet::new(&sizes).expect_err("32 is not a multiple").to_string();
    assert!(
        refused.contains("resolution: expected 32x32, found weights for multiples of 64\nset `resolution`"),
        "{refused}"
    );
    let sizes = with_metadata(&weights, &[("mbvc.size_multiple", "16".to_owned())]);
    assert!(TinyNet::new(&sizes).is_ok());
    let other = random_weights(OtherClasses::INFO, 1);
    let refused = TinyNet::pack(&other.container(), Isa::Portable, leaked(bytes, 0));
    assert_eq!(refused, Err(PackError::Size { name: "classifier.weight", expected: 2560, found: 2816 }));
}

#[test]
fn rejects_hostile_packed_files() {
    let weights = random_weights(TinyNet::INFO, 2);
    let good: &'static [u8] = packed(&weights, Isa::Portable);
    assert!(TinyNet::from_packed(good).is_ok());
    let refusal = |file: &'static [u8]| TinyNet::from_packed(file).expect_err("an unusable file");
    let with = |at: usize, bytes: &[u8]| {
        let file = leaked(good.len(), 0);
        file.copy_from_slice(good);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        refusal(file)
    };

    for len in [0, 1, 7] {
        assert_eq!(refusal(&good[..len]), PackedError::NotPacked, "{len} bytes");
    }
    for len in [8, 63, 64, 65, 128, good.len() - 64, good.len() - 1] {
        assert_eq!(refusal(&good[..len]), PackedError::Length, "{len} bytes");
    }
    for more in [1, 64] {
        let longer = leaked(good.len() + more, 0);
        longer[..good.len()].copy_from_slice(good);
        assert_eq!(refusal(longer), PackedError::Length);
    }

    for shift in [1, 4, 16, 32] {
        let moved = leaked(good.len(), shift);
        moved.copy_from_slice(good);
        assert_eq!(refusal(moved), PackedError::Alignment, "{shift} bytes off");
    }

    assert_eq!(with(0, b"mbvcpack"), PackedError::NotPacked);
    assert_eq!(with(8, &200u32.to_le_bytes()), PackedError::Version(200));
    assert_eq!(with(8, &u32::MAX.to_le_bytes()), PackedError::Version(u32::MAX));
    assert_eq!(with(12, &77u32.to_le_bytes()), PackedError::Damaged, "no such instruction set");
    for absent in Isa::FLOAT.into_iter().filter(|isa| isa.detect().is_none()) {
        assert_eq!(with(12, &(absent as u32).to_le_bytes()), PackedError::Isa(IsaError::Absent(absent)));
    }
    for present in isas(TinyNet::INFO).into_iter().filter(|isa| *isa != Isa::Portable) {
        let refused = with(12, &(present as u32).to_le_bytes());
        assert_eq!(refused, PackedError::OtherNetwork, "portable weights under the name of {present}");
    }
    assert_eq!(with(16, &[good[16] ^ 1]), PackedError::OtherNetwork);
    for lines in [0, 1, u64::MAX, u64::MAX / 64 + 1] {
        assert_eq!(with(24, &lines.to_le_bytes()), PackedError::OtherNetwork, "{lines} lines");
    }

    let text = u32::from_le_bytes([good[56], good[57], good[58], good[59]]);
    assert_eq!(text as usize, "TinyNet\nsquash bilinear\nsoftmax\n".len());
    for length in [0, 65, 1 << 20, u32::MAX] {
        assert_eq!(with(56, &length.to_le_bytes()), PackedError::Length, "a text of {length} bytes");
    }
    assert_eq!(with(56, &8u32.to_le_bytes()), PackedError::Damaged, "a shorter text");
    // Every byte that no other check rejects is in the checksum: preprocessing, weights and text.
    for at in (32..56).chain(60..64).chain((64..good.len()).step_by(97)) {
        assert_eq!(with(at, &[good[at] ^ 4]), PackedError::Damaged, "byte {at}");
    }

    assert_eq!(OtherClasses::from_packed(good).expect_err("11 classes"), PackedError::OtherNetwork);
    assert_eq!(OtherFusion::from_packed(good).expect_err("another plan"), PackedError::OtherNetwork);
}

/// `mbvc pack` packs with the plan of the compiler, a program with the plan that was compiled into it.
#[test]
fn the_compiler_packs_as_its_networks_do() {
    use mbvc_runtime::Packing;
    for (info, precision) in [(TinyNet::INFO, "f32"), (Uint8::INFO, "uint8")] {
        let source = mbvc_compiler::SourceFile::new("tiny.yaml", include_str!("../specs/tiny.yaml"));
        let mut overrides = mbvc_compiler::spec::Overrides::none();
        overrides.set("precision", precision);
        let compiled = mbvc_compiler::compile(&source, &overrides).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let weights = random_weights(info, 6);
        let weights = weights.container();
        let parameters = compiled.parameters();
        let mut compared = 0;
        for program in &compiled.programs {
            let isa = program.isa;
            let (bytes, pack): (_, fn(&mbvc::weights::Container<'_>, Isa, &mut [u8]) -> _) = match precision {
                "f32" => (TinyNet::packed_bytes_for(&weights, isa), TinyNet::pack),
                _ => (Uint8::packed_bytes_for(&weights, isa), Uint8::pack),
            };
            let Some(bytes) = bytes else { continue };
            let [ours, theirs] = [leaked(bytes, 0), leaked(bytes, 0)];
            program.with_plan(|plan| {
                let packing = Packing {
                    network: info.name,
                    needs: compiled.needs(&parameters),
                    plan,
                    isa,
                    numerics: info.numerics.choose().expect("MBVC_NUMERICS is unset or valid"),
                };
                assert_eq!(packing.file_bytes(&weights), bytes);
                packing.pack(&weights, ours).expect("they fit");
            });
            pack(&weights, isa, theirs).expect("they fit");
            assert!(ours == theirs, "{precision}, {isa}");
            compared += 1;
        }
        assert!(compared > 1, "portable, and what this target has");
    }
}

/// The lists of outlier weights in a packed file are checked.
#[test]
fn packed_uint8_weights_give_the_same_numbers() {
    let weights = random_weights(Uint8::INFO, 2);
    let container = weights.container();
    let (image, mut scratch) = (common::random_bytes::<N>(3), Uint8::scratch());
    for isa in isas(Uint8::INFO) {
        let file = leaked(Uint8::packed_bytes_for(&container, isa).expect("compiled for all"), 0);
        Uint8::pack(&container, isa, file).expect("the network's own weights");
        let model = Uint8::from_packed(file).expect("just packed");
        let expected = Uint8::with_isa(&weights, isa).expect("they fit").run(&mut scratch, &image);
        assert_eq!(model.run(&mut scratch, &image), expected, "{isa}");
    }
}

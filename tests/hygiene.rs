//! The macro under strict lints, and in every place where items are allowed.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, rust_2018_idioms, unused_qualifications, unused_results)]
#![deny(clippy::all, clippy::pedantic)]

#[allow(unreachable_pub, unused_results, clippy::pedantic)]
mod common;

use common::{isas, random_image, random_weights};

mbvc::mobilenet_v2! {
    /// A network with documentation.
    #[doc(alias = "classifier")]
    pub(crate) "specs/tiny.yaml", isa = [portable, avx2, neon]
}
mbvc::mobilenet_v2!(pub "specs/tiny.yaml", name = Renamed, fusion = none, isa = portable);

/// Names that shadow those of the prelude. Generated code must not rely on them.
mod shadowed {
    #![allow(non_camel_case_types, dead_code, missing_docs, unreachable_pub, clippy::pedantic)]

    pub struct Option;
    pub struct Result;
    pub struct Some;
    pub struct Ok;
    pub struct Err;
    pub struct Vec;
    pub struct Box;
    pub struct usize;
    pub struct f32;
    pub mod core {}
    pub mod std {}
    pub mod rt {}

    mbvc::mobilenet_v2!(pub(super) "specs/tiny.yaml", name = Shadowed,);
}

mod private {
    pub(crate) mod reexported {
        pub(crate) use mbvc as vision;
    }

    mbvc::mobilenet_v2!(pub(super) "specs/tiny.yaml", name = Elsewhere, crate = crate::private::reexported::vision);
}

const TINY: usize = 32 * 32 * 3;

#[test]
fn two_networks_live_in_one_crate() {
    let weights = random_weights(TinyNet::INFO, 1);
    let image = random_image::<TINY>(2);
    let plain = Renamed::new(&weights).expect("the weights fit both").run(&mut Renamed::scratch(), &image);
    assert_eq!((TinyNet::INFO.fusion, Renamed::INFO.fusion), ("block", "none"));
    assert_eq!(Renamed::INFO.isas, [mbvc::Isa::Portable]);
    assert_eq!((TinyNet::INFO.name, Renamed::INFO.name), ("TinyNet", "Renamed"));
    let model = TinyNet::with_isa(&weights, mbvc::Isa::Portable).expect("the weights fit both");
    assert_eq!(model.run(&mut TinyNet::scratch(), &image).map(f32::to_bits), plain.map(f32::to_bits));
    assert!(!isas(TinyNet::INFO).is_empty());
    assert_eq!(shadowed::Shadowed::INFO.isas.len(), mbvc::Isa::FLOAT.len(), "the default is every instruction set");
}

#[test]
fn networks_stand_in_modules_and_functions() {
    mbvc::mobilenet_v2!("specs/tiny.yaml", name = "Inner", classes = 3, resolution = [8, 12]);
    assert_eq!((Inner::INPUT, Inner::CLASSES), ([8, 12, 3], 3));
    let weights = random_weights(shadowed::Shadowed::INFO, 1);
    let image = random_image::<TINY>(2);
    let first = shadowed::Shadowed::new(&weights).expect("they fit").run(&mut shadowed::Shadowed::scratch(), &image);
    let second = private::Elsewhere::new(&weights).expect("they fit").run(&mut private::Elsewhere::scratch(), &image);
    assert_eq!(first.map(f32::to_bits), second.map(f32::to_bits));
}

#[test]
fn models_can_be_shown_and_cloned() {
    let model = Renamed::new(&random_weights(Renamed::INFO, 1)).expect("they fit");
    let image = random_image::<TINY>(2);
    let logits = model.clone().run(&mut Renamed::scratch(), &image);
    assert_eq!(logits.map(f32::to_bits), model.run(&mut Renamed::scratch(), &image).map(f32::to_bits));
    assert!(format!("{model:?}").starts_with("Renamed("));
}

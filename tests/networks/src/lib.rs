//! Networks that several test files run: compiled once, instead of in each of them.
//!
//! A network belongs here if two test files use it with all its instruction sets. Others stay in the file of their test.

/// `specs/tiny.yaml`, 32x32, 10 classes.
pub mod tiny {
    mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml", name = Unfused, fusion = "none");
    mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml", name = Epilogues, fusion = "relu6");
    mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml");
    mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml", name = Int8, precision = "int8");
}

/// `specs/v2.yaml`, MobileNetV2 1.0 at 224x224 as published.
pub mod published {
    mbvc::mobilenet_v2!(pub "../../specs/v2.yaml");
}

//! The type that [`mobilenet_v2!`](crate::mobilenet_v2) generates, with all signatures.
//!
//! It exists in this documentation only. With `weights = "FILE"` in the macro the type also has the constructor `embedded()`.

crate::mobilenet_v2!(
    /// MobileNetV2, as `mobilenet_v2!("specs/v2.yaml")` defines it.
    pub "specs/v2.yaml", crate = crate
);

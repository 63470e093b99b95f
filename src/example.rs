//! What [`mobilenet_v2!`](crate::mobilenet_v2) generates, with all signatures. Only this documentation contains it.

crate::mobilenet_v2!(
    /// MobileNetV2, as `mobilenet_v2!("specs/v2.yaml")` defines it.
    pub "specs/v2.yaml", crate = crate
);

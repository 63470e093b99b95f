//! The filters that scale pictures.

use core::fmt;

use crate::conventions::words;

words! {
    /// A resampling filter. All but the last stretch when a picture is reduced, as in Pillow.
    Filter {
        /// The nearest pixel.
        Nearest = "nearest",
        /// A triangle filter.
        Bilinear = "bilinear",
        /// Keys' cubic filter with a = -1/2.
        Bicubic = "bicubic",
        /// A triangle filter that does not stretch: TensorFlow's `tf.image.resize`.
        BilinearAliased = "bilinear-aliased",
    }
}

impl Filter {
    /// Support of the unstretched filter on either side of its center, in samples.
    pub(super) fn reach(self) -> f64 {
        match self {
            Self::Nearest => 0.5,
            Self::Bilinear | Self::BilinearAliased => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// Weight of a sample at this distance from the center.
    pub(super) fn weight(self, at: f64) -> f64 {
        const A: f64 = -0.5;
        let x = at.abs();
        match self {
            Self::Nearest => 1.0,
            Self::Bilinear | Self::BilinearAliased => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}

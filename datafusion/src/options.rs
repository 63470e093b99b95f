//! Options of the functions.

/// What the functions do with an image that cannot be decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// The result is null. `image is not null and embed(image) is null` selects these rows.
    #[default]
    Null,
    /// The query fails with the decoder's message and its remedy.
    Fail,
}

/// Options of the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    /// What happens with an image that cannot be decoded.
    pub on_error: OnError,
    /// Number of threads that share a batch, at least 1.
    pub threads: usize,
    /// Whether large JPEG images are decoded at a reduced size.
    pub fast_decode: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { on_error: OnError::default(), threads: 1, fast_decode: false }
    }
}

//! A model that the first call builds.

#[cfg(not(feature = "std"))]
use core::marker::PhantomData;
#[cfg(feature = "std")]
use std::sync::OnceLock;

/// A model that the first call of [`get`](Self::get) builds. Later calls clone it; clones share its weights.
///
/// Without `std` a thread cannot wait for another one, so every call builds a model.
pub struct Lazy<T, E> {
    #[cfg(feature = "std")]
    built: OnceLock<Result<T, E>>,
    #[cfg(not(feature = "std"))]
    built: PhantomData<fn() -> Result<T, E>>,
}

impl<T: Clone, E: Clone> Lazy<T, E> {
    /// A model that has not been built.
    #[expect(clippy::new_without_default, reason = "the initial value of a static")]
    pub const fn new() -> Self {
        Self {
            #[cfg(feature = "std")]
            built: OnceLock::new(),
            #[cfg(not(feature = "std"))]
            built: PhantomData,
        }
    }

    /// The model.
    ///
    /// # Errors
    /// If `build` failed in the first call. Later calls return the same error.
    pub fn get(&self, build: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        #[cfg(feature = "std")]
        return self.built.get_or_init(build).clone();
        #[cfg(not(feature = "std"))]
        return build();
    }
}

#[cfg(feature = "std")]
#[cfg(test)]
mod tests {
    use super::Lazy;

    #[test]
    fn the_first_result_stays() {
        static LAZY: Lazy<u8, u8> = Lazy::new();
        assert_eq!(LAZY.get(|| Ok(1)), Ok(1));
        assert_eq!(LAZY.get(|| Err(2)), Ok(1));
        let refused = Lazy::new();
        assert_eq!(refused.get(|| Err::<u8, u8>(3)), Err(3));
        assert_eq!(refused.get(|| Ok(4)), Err(3));
    }
}

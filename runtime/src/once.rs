//! A model that is built at the first call.

#[cfg(not(feature = "std"))]
use core::marker::PhantomData;
#[cfg(feature = "std")]
use std::sync::OnceLock;

/// What [`get`](Self::get) builds at its first call, and then hands out again: clones of a model share its weights.
///
/// Without `std` there is nothing that could wait for another thread, and every call builds.
pub struct Once<T, E> {
    #[cfg(feature = "std")]
    built: OnceLock<Result<T, E>>,
    #[cfg(not(feature = "std"))]
    built: PhantomData<fn() -> Result<T, E>>,
}

impl<T: Clone, E: Clone> Once<T, E> {
    /// Nothing is built yet.
    #[expect(clippy::new_without_default, reason = "made for a static")]
    pub const fn new() -> Self {
        Self {
            #[cfg(feature = "std")]
            built: OnceLock::new(),
            #[cfg(not(feature = "std"))]
            built: PhantomData,
        }
    }

    /// The model, or why there is none: that stays so too.
    ///
    /// # Errors
    /// Those of `build`.
    pub fn get(&self, build: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        #[cfg(feature = "std")]
        return self.built.get_or_init(build).clone();
        #[cfg(not(feature = "std"))]
        return build();
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::Once;

    #[test]
    fn the_first_answer_stays() {
        static ONCE: Once<u8, u8> = Once::new();
        assert_eq!(ONCE.get(|| Ok(1)), Ok(1));
        assert_eq!(ONCE.get(|| Err(2)), Ok(1));
        let refused = Once::new();
        assert_eq!(refused.get(|| Err::<u8, u8>(3)), Err(3));
        assert_eq!(refused.get(|| Ok(4)), Err(3));
    }
}

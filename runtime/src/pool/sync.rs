//! The synchronization primitives of the pool: the standard library's, or loom's where the protocol is model-checked.
//!
//! Only this crate's own unit tests can select loom, so a program that is compiled with `--cfg loom` for other
//! models runs the real pool.

#[cfg(not(all(loom, test)))]
mod real {
    pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
    pub use std::thread::{Thread, park};
    use std::time::{Duration, Instant};

    /// Iterations of a waiting loop before it yields its processor: about 20 µs.
    const SPINS: usize = 1 << 10;

    /// Backoff of a waiting loop: it spins first, and then yields its processor to other threads.
    #[derive(Default)]
    pub struct Backoff(usize);

    impl Backoff {
        /// Waits a moment.
        #[inline]
        pub fn snooze(&mut self) {
            if self.0 < SPINS {
                self.0 += 1;
                core::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }

        /// Whether the loop has spun long enough to yield from now on.
        #[inline]
        pub fn is_yielding(&self) -> bool {
            self.0 >= SPINS
        }
    }

    /// A cell whose accesses are closures, as loom's are.
    pub struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }

    /// Time since the first query.
    #[derive(Default)]
    pub struct Elapsed(Option<Instant>);

    impl Elapsed {
        pub fn exceeds(&mut self, limit: Duration) -> bool {
            self.0.get_or_insert_with(Instant::now).elapsed() > limit
        }
    }
}

#[cfg(all(loom, test))]
mod real {
    pub use loom::cell::UnsafeCell;
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
    pub use loom::thread::{Thread, park};

    /// Iterations of a waiting loop after which other threads are no longer interleaved in every way. An iteration that
    /// finds nothing changes nothing, so fewer iterations show every behavior. Without a limit, two waiting threads
    /// could alternate forever.
    const EXPLORED: usize = 1;

    /// Backoff of a waiting loop: it yields.
    #[derive(Default)]
    pub struct Backoff(usize);

    impl Backoff {
        pub fn snooze(&mut self) {
            self.0 += 1;
            if self.0 > EXPLORED {
                loom::skip_branch();
            }
            loom::thread::yield_now();
        }

        pub fn is_yielding(&self) -> bool {
            true
        }
    }

    /// A model has no clock: every limit is exceeded at once.
    #[derive(Default)]
    pub struct Elapsed;

    impl Elapsed {
        pub fn exceeds(&mut self, _: std::time::Duration) -> bool {
            true
        }
    }
}

pub use real::*;

/// Defines a constructor that is `const`, except in a model: loom's primitives belong to the execution that creates
/// them.
macro_rules! const_unless_modeled {
    ($(#[$attribute:meta])* $visibility:vis fn $($function:tt)*) => {
        #[cfg(not(all(loom, test)))]
        $(#[$attribute])* $visibility const fn $($function)*
        #[cfg(all(loom, test))]
        $(#[$attribute])* $visibility fn $($function)*
    };
}
pub(super) use const_unless_modeled;

/// Keeps a value on cache lines that hold nothing else. Processors fetch lines of 64 bytes in pairs.
#[repr(align(128))]
pub struct CachePadded<T>(pub T);

//! A limit of the memory that several threads take together.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that threads take in turn if they do not fit together.
pub struct Budget {
    limit: u64,
    taken: Mutex<Taken>,
    freed: Condvar,
}

/// Bytes that the threads of a process have taken.
struct Taken {
    process: u32,
    bytes: u64,
}

impl Taken {
    /// Returns the bytes of this process. A child that `fork` created has none of the threads that took those of its parent.
    fn bytes(&mut self) -> &mut u64 {
        let process = std::process::id();
        if self.process != process {
            *self = Self { process, bytes: 0 };
        }
        &mut self.bytes
    }
}

/// Bytes of a budget, which are given back when this is dropped.
pub struct Share {
    budget: &'static Budget,
    bytes: u64,
}

impl Budget {
    pub const fn new(limit: u64) -> Self {
        Self { limit, taken: Mutex::new(Taken { process: 0, bytes: 0 }), freed: Condvar::new() }
    }

    /// Waits until `bytes` fit the limit together with all other shares. A share above the limit waits until it is alone. A
    /// thread that has a share must not take another, which might wait for the first.
    pub fn take(&'static self, bytes: u64) -> Share {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut Taken| {
            let taken = *taken.bytes();
            taken > 0 && taken.saturating_add(bytes) > self.limit
        };
        let mut taken = self.freed.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner);
        let taken = taken.bytes();
        *taken = taken.saturating_add(bytes);
        Share { budget: self, bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = taken.bytes();
        *bytes = bytes.saturating_sub(self.bytes);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn shares_stay_within_the_limit_unless_one_is_alone() {
        static BUDGET: Budget = Budget::new(100);
        static USED: AtomicU64 = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..6 {
                scope.spawn(move || {
                    for turn in 0..200 {
                        let bytes = if turn == 77 { 250 } else { 10 + (thread * 31 + turn * 17) % 60 };
                        let share = BUDGET.take(bytes);
                        let used = USED.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        assert!(used <= 100 || used == bytes, "{used} used");
                        std::thread::yield_now();
                        USED.fetch_sub(bytes, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!(*BUDGET.taken.lock().unwrap().bytes(), 0);
    }
}

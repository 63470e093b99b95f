//! A limit of the memory that several threads take together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Pause of a thread whose bytes do not fit yet.
const PAUSE: Duration = Duration::from_millis(1);

/// Memory that threads take in turn if it does not fit together.
///
/// There is no lock, which a thread could hold while another one forks: the child would wait for it forever.
pub struct Budget {
    /// Limit in KiB.
    limit: u32,
    /// The process, and the KiB that its threads have taken.
    taken: AtomicU64,
}

/// Memory of a budget, which is given back when this is dropped.
pub struct Share {
    budget: &'static Budget,
    /// Size in KiB.
    size: u32,
}

impl Budget {
    /// Creates a budget of `limit` bytes.
    pub const fn new(limit: u64) -> Self {
        Self { limit: kibibytes(limit), taken: AtomicU64::new(0) }
    }

    /// Waits until `bytes` fit the limit together with all other shares. A share above the limit waits until it is alone. A
    /// thread that has a share must not take another, which might wait for the first.
    pub fn take(&'static self, bytes: u64) -> Share {
        let size = kibibytes(bytes);
        while !self.update(|taken| {
            (taken == 0 || taken.saturating_add(size) <= self.limit).then(|| taken.saturating_add(size))
        }) {
            std::thread::sleep(PAUSE);
        }
        Share { budget: self, size }
    }

    /// Replaces the KiB that are taken, unless `change` returns `None`. A child that `fork` created has none of the threads that
    /// took those of its parent.
    fn update(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        let process = u64::from(std::process::id()) << 32;
        let updated = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            let taken = if state & !u64::from(u32::MAX) == process { state as u32 } else { 0 };
            change(taken).map(|taken| process | u64::from(taken))
        });
        updated.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.update(|taken| Some(taken.saturating_sub(self.size)));
    }
}

/// Rounds up to KiB.
const fn kibibytes(bytes: u64) -> u32 {
    let size = bytes.div_ceil(1 << 10);
    if size > u32::MAX as u64 { u32::MAX } else { size as u32 }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn shares_stay_within_the_limit_unless_one_is_alone() {
        static BUDGET: Budget = Budget::new(100 << 10);
        static USED: AtomicU64 = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..6 {
                scope.spawn(move || {
                    for turn in 0..200 {
                        let size = if turn == 77 { 250 } else { 10 + (thread * 31 + turn * 17) % 60 };
                        let share = BUDGET.take(size << 10);
                        let used = USED.fetch_add(size, Ordering::SeqCst) + size;
                        assert!(used <= 100 || used == size, "{used} used");
                        std::thread::yield_now();
                        USED.fetch_sub(size, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!(BUDGET.taken.load(Ordering::SeqCst) as u32, 0);
    }

    #[test]
    fn shares_of_a_parent_do_not_count_in_its_child() {
        static BUDGET: Budget = Budget::new(100 << 10);
        let parent = u64::from(std::process::id() + 1) << 32;
        BUDGET.taken.store(parent | 90, Ordering::SeqCst);
        drop(BUDGET.take(80 << 10));
        assert_eq!(BUDGET.taken.load(Ordering::SeqCst) as u32, 0);
    }
}

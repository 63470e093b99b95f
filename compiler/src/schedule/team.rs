//! How the threads of a team share work. The arithmetic is the runtime's, with numbers that are known at compile time.

use mbvc_runtime::Team;

use super::cover::near_equal;

/// A thread of a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// Index of the thread, from 0. Thread 0 is the caller.
    pub index: usize,
    /// Threads of the team, at most the number that the network was compiled for.
    pub team: usize,
}

/// The runtime's provided methods compute the shares.
impl Team for Thread {
    fn index(self) -> usize {
        self.index
    }

    fn threads(self) -> usize {
        self.team
    }

    fn wait(self) {}
}

/// Splits `total` items among `threads` threads. Returns the parts as `(size, count)`.
pub fn parts(total: usize, threads: usize) -> Vec<(usize, usize)> {
    near_equal(total, total.div_ceil(threads).max(1))
}

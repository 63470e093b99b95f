//! How the threads of a team share work: the runtime's own arithmetic, for numbers that are known at compile time.

use mbvc_runtime::Team;

use super::cover::near_equal;

/// A thread of a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// Its number, from 0; thread 0 is the caller.
    pub index: usize,
    /// Threads of the team: at most as many as the network was compiled for.
    pub team: usize,
}

/// Shares are computed by the runtime's provided methods.
impl Team for Thread {
    fn index(self) -> usize {
        self.index
    }

    fn threads(self) -> usize {
        self.team
    }

    fn wait(self) {}
}

/// Parts of `total` items that the threads of a team share, as `(size, count)`: one for each of `threads`.
pub fn parts(total: usize, threads: usize) -> Vec<(usize, usize)> {
    near_equal(total, total.div_ceil(threads).max(1))
}

//! How evenly work is shared among the threads of a team.

/// Whether `count` equal items keep all of `threads` threads busy for at least nine tenths of the time.
pub fn is_balanced(count: usize, threads: usize) -> bool {
    count.div_ceil(threads) * threads * 9 <= count * 10
}

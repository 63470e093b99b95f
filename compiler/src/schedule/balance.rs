//! Load balance among the threads of a team.

/// Whether `count` equal items keep `threads` threads busy at least nine tenths of the time.
pub fn is_balanced(count: usize, threads: usize) -> bool {
    count.div_ceil(threads) * threads * 9 <= count * 10
}

//! Runs a network on many pictures, on all cores.

use std::num::NonZero;

use mbvc_engine::parallel;
use pyo3::prelude::*;

use crate::errors::Failure;

/// Maximum number of threads of a call.
const MOST: usize = 256;

/// Runs `work` on every item and returns the results in order. `threads` is the number of threads, by default one for
/// each core. A single thread is the calling thread. `KeyboardInterrupt` stops the run.
///
/// # Errors
/// If a signal handler raises an exception, or a thread cannot be started.
pub fn each<I: Sync, T: Send>(
    py: Python<'_>,
    items: &[I],
    threads: Option<NonZero<usize>>,
    work: impl Fn(&I) -> T + Sync,
) -> PyResult<Vec<T>> {
    let threads =
        threads.map_or_else(|| parallel::threads(items.len()), |threads| threads.get().min(items.len()).min(MOST));
    py.detach(|| {
        let mut results = Vec::with_capacity(items.len());
        let mut take = |result| {
            results.push(result);
            Python::attach(|py| py.check_signals())
        };
        // No new thread for a single one: the allocator would keep its memory.
        match threads {
            0 | 1 => items.iter().try_for_each(|item| take(work(item)))?,
            _ => parallel::in_order(items, threads, || (), |(), item| work(item), |_, result| take(result))
                .map_err(Failure::from)??,
        }
        Ok(results)
    })
}

//! Many pictures on all cores.

use std::num::NonZero;

use mbvc_engine::parallel;
use pyo3::prelude::*;

use crate::errors::Failure;

/// Most threads of a call.
const MOST: usize = 256;

/// Runs `work` on every item and returns the results in order. The items run on `threads` threads (by default one for each
/// core); with a single one, on this thread. `KeyboardInterrupt` ends the run.
///
/// # Errors
/// The exception of a signal handler, or that a thread cannot be started.
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
        // Without a thread of its own, whose memory the allocator would keep.
        match threads {
            0 | 1 => items.iter().try_for_each(|item| take(work(item)))?,
            _ => parallel::in_order(items, threads, || (), |(), item| work(item), |_, result| take(result))
                .map_err(Failure::from)??,
        }
        Ok(results)
    })
}

//! Many pictures on all cores.

use std::num::NonZero;
use std::sync::{Mutex, TryLockError};

use mbvc_engine::{Caller, Classifier, parallel};
use pyo3::prelude::*;

/// Buffers of calls that have ended, for the next ones.
#[derive(Default)]
pub struct Callers(Mutex<Vec<Caller>>);

impl Callers {
    /// Runs `work` with buffers for the network.
    pub fn with<T>(&self, classifier: &Classifier, work: impl FnOnce(&mut Caller) -> T) -> T {
        let mut caller = self.take().unwrap_or_else(|| classifier.caller());
        let result = work(&mut caller);
        // Another thread, or after a fork a thread that no longer exists, may hold the lock.
        if let Ok(mut kept) = self.0.try_lock() {
            kept.push(caller);
        }
        result
    }

    fn take(&self) -> Option<Caller> {
        match self.0.try_lock() {
            Ok(mut kept) => kept.pop(),
            Err(TryLockError::Poisoned(kept)) => kept.into_inner().pop(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Runs `work` on every item and returns the results in order. The items run on `threads` threads (by default one for each
/// core); with a single one, on this thread. `KeyboardInterrupt` ends the run.
///
/// # Errors
/// The exception of a signal handler.
pub fn each<I: Sync, T: Send>(
    py: Python<'_>,
    items: &[I],
    threads: Option<NonZero<usize>>,
    work: impl Fn(&I) -> T + Sync,
) -> PyResult<Vec<T>> {
    let threads = threads.map_or_else(|| parallel::threads(items.len()), |threads| threads.get().min(items.len()));
    py.detach(|| {
        let mut results = Vec::with_capacity(items.len());
        let mut take = |result| {
            results.push(result);
            Python::attach(|py| py.check_signals())
        };
        // Without a thread of its own, whose memory the allocator would keep.
        match threads {
            0 | 1 => items.iter().try_for_each(|item| take(work(item)))?,
            _ => parallel::in_order(items, threads, || (), |(), item| work(item), |_, result| take(result))?,
        }
        Ok(results)
    })
}

//! Runs long work that `KeyboardInterrupt` can stop.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

/// Interval at which Python's signal handlers run.
const INTERVAL: Duration = Duration::from_millis(50);

/// Runs `work` on another thread, without the GIL. If a signal handler raises an exception meanwhile, this function
/// returns it, and the work continues in the background. A network that is being compiled is then in the cache.
///
/// # Errors
/// If a signal handler or the work raises an exception, or no thread can be started (`OSError`).
pub fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> PyResult<T> + Send + 'static,
) -> PyResult<T> {
    let (send, receive) = channel();
    std::thread::Builder::new().spawn(move || send.send(work())).map_err(|cause| {
        PyOSError::new_err(format!(
            "cannot start a thread: {cause}; raise the thread and memory limits (`ulimit -u`, `ulimit -v`)"
        ))
    })?;
    py.detach(move || {
        loop {
            match receive.recv_timeout(INTERVAL) {
                Ok(done) => return done,
                Err(RecvTimeoutError::Timeout) => Python::attach(|py| py.check_signals())?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("a thread of mbvc panicked; this is a bug in mbvc"));
                }
            }
        }
    })
}

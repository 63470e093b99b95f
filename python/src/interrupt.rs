//! Long work that `KeyboardInterrupt` ends.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

/// Interval at which Python's signal handlers run.
const INTERVAL: Duration = Duration::from_millis(50);

/// Runs `work` on another thread, without the GIL. If a signal handler raises an exception meanwhile, it is returned and
/// the work goes on in the background; a network that is being compiled is in the cache afterwards.
///
/// # Errors
/// The exception of a signal handler, or that of the work, or `OSError` if no thread can be started.
pub fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> PyResult<T> + Send + 'static,
) -> PyResult<T> {
    let (send, receive) = channel();
    std::thread::Builder::new().spawn(move || send.send(work())).map_err(|cause| {
        PyOSError::new_err(format!("cannot start a thread: {cause}; raise the limits of threads and memory"))
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

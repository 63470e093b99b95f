//! The pool of this process, and the calls that may use it.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::dispatch::{Dispatcher, Exclusive, PoolTeam, Worker};
use super::sync::{AtomicU32, AtomicUsize, Ordering};

/// Most workers of a process: one less than the largest team.
pub const MOST_WORKERS: usize = 63;

/// Number of calls that run without helpers after a call found all processors busy. Between the calls of several threads
/// there are gaps in which only one thread calls. Helping it would overload the processors a moment later.
const COOLDOWN: usize = 16;

struct Pool {
    dispatcher: Dispatcher,
    workers: [Worker; MOST_WORKERS],
    /// Workers that can be called; they are started under the lock `starting`.
    started: AtomicUsize,
    starting: Mutex<()>,
    /// The process that starts the workers; 0 before the first model is built.
    process: AtomicU32,
    /// Processors that calls may use together; 0 before the first model is built.
    processors: AtomicUsize,
    /// Threads inside of calls: callers, and workers that help them.
    working: AtomicUsize,
    /// Calls that still run alone; see [`COOLDOWN`].
    cooldown: AtomicUsize,
    /// Number of calls with helpers.
    helped: AtomicUsize,
}

static POOL: Pool = Pool {
    dispatcher: Dispatcher::new(),
    workers: [const { Worker::new() }; MOST_WORKERS],
    started: AtomicUsize::new(0),
    starting: Mutex::new(()),
    process: AtomicU32::new(0),
    processors: AtomicUsize::new(0),
    working: AtomicUsize::new(0),
    cooldown: AtomicUsize::new(0),
    helped: AtomicUsize::new(0),
};

/// Runs `caller` in this thread, and `helper` in up to `threads - 1` workers if the pool and processors are free.
///
/// A panic of one thread stops all of them at their next barrier, and continues in this thread when they have stopped.
pub fn together(threads: usize, helper: impl Fn(PoolTeam<'_>) + Sync, caller: impl FnOnce(PoolTeam<'_>)) {
    let _active = ActiveCaller::new();
    let Some(mut reservation) = POOL.try_reserve(threads.saturating_sub(1)) else {
        return caller(PoolTeam::ALONE);
    };
    let workers = &POOL.workers[..reservation.workers];
    let done = reservation.dispatcher.run(workers, &helper, caller);
    drop(reservation);
    if let Err(cause) = done {
        resume_unwind(cause);
    }
}

/// Starts workers until there are `count`, limited by the number of processors.
pub fn start_workers(count: usize) {
    POOL.start(count);
}

/// Replaces the number of processors that the system reports, for tests.
pub fn set_processors(processors: usize) {
    POOL.processors.store(processors, Ordering::Relaxed);
}

/// Returns the number of calls of this process with helpers, for tests.
pub fn helped_calls() -> usize {
    POOL.helped.load(Ordering::Relaxed)
}

/// Counts a caller as active until it is dropped.
struct ActiveCaller;

impl ActiveCaller {
    fn new() -> Self {
        POOL.working.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for ActiveCaller {
    fn drop(&mut self) {
        POOL.working.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right of one call to use the pool with a number of workers.
struct Reservation {
    workers: usize,
    dispatcher: Exclusive<'static>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        POOL.working.fetch_sub(self.workers, Ordering::Relaxed);
    }
}

impl Pool {
    /// Acquires the pool if it is free and a processor is free for at least one of the `most` workers.
    fn try_reserve(&'static self, most: usize) -> Option<Reservation> {
        let free = self.processors.load(Ordering::Relaxed).saturating_sub(self.working.load(Ordering::Relaxed));
        if free == 0 {
            self.cooldown.store(COOLDOWN, Ordering::Relaxed);
            return None;
        }
        let cooldown = self.cooldown.load(Ordering::Relaxed);
        if cooldown > 0 {
            // Two callers may count one step together: nothing depends on the exact number.
            self.cooldown.store(cooldown - 1, Ordering::Relaxed);
            return None;
        }
        let workers = most.min(free).min(self.started.load(Ordering::Acquire));
        if workers == 0 || self.process.load(Ordering::Relaxed) != process_id() {
            return None;
        }
        let dispatcher = self.dispatcher.try_acquire()?;
        self.working.fetch_add(workers, Ordering::Relaxed);
        self.helped.fetch_add(1, Ordering::Relaxed);
        Some(Reservation { workers, dispatcher })
    }

    fn start(&'static self, count: usize) {
        let (process, unset) = (process_id(), 0);
        let claimed = self.process.compare_exchange(unset, process, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_err_and(|claimant| claimant != process) {
            // A forked child. The lock below may be held by a thread that only its parent has.
            return;
        }
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.processors.load(Ordering::Relaxed) == 0 {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            self.processors.store(processors, Ordering::Relaxed);
        }
        let count = count.min(self.processors.load(Ordering::Relaxed).saturating_sub(1)).min(MOST_WORKERS);
        for at in self.started.load(Ordering::Relaxed)..count {
            let (worker, index) = (&self.workers[at], at + 1);
            let thread = thread::Builder::new().name(alloc::format!("mbvc-{index}"));
            let serve = move || {
                loop {
                    worker.serve(index, &self.dispatcher);
                }
            };
            // With fewer workers, calls have smaller teams.
            let Ok(handle) = thread.spawn(serve) else { return };
            worker.set_thread(handle.thread().clone());
            self.started.store(index, Ordering::Release);
        }
    }
}

/// Returns the id of this process on systems with `fork`. Only calls with helpers read it: the system call takes 50 to
/// 200 ns, such a call many microseconds.
fn process_id() -> u32 {
    if cfg!(unix) { std::process::id() } else { 1 }
}

#[cfg(test)]
mod tests;

//! Dispatch of jobs to workers.

use alloc::boxed::Box;
use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::barrier::{Barrier, Poisoned};
use super::sync::{
    AtomicBool, AtomicU32, AtomicUsize, Backoff, CachePadded, Elapsed, Ordering, Thread, UnsafeCell,
    const_unless_modeled, park,
};
use crate::team::Team;

/// Time that a worker without work spins before it sleeps. Waking it takes a tenth of that; a call takes a millisecond
/// or more.
pub const AWAKE: Duration = Duration::from_micros(300);

/// Payload of a panic.
type Cause = Box<dyn Any + Send>;

/// One thread's view of a team of pool threads.
#[derive(Clone, Copy)]
pub struct PoolTeam<'a> {
    index: usize,
    threads: usize,
    /// `None` for a team of one.
    barrier: Option<&'a Barrier>,
}

impl PoolTeam<'_> {
    /// A caller without workers.
    pub(super) const ALONE: Self = Self { index: 0, threads: 1, barrier: None };
}

impl Team for PoolTeam<'_> {
    #[inline]
    fn index(self) -> usize {
        self.index
    }

    #[inline]
    fn threads(self) -> usize {
        self.threads
    }

    #[inline]
    fn wait(self) {
        if let Some(barrier) = self.barrier
            && barrier.wait(self.threads).is_err()
        {
            // Unwinds to where this thread's part began, without a message: another thread has reported its panic.
            resume_unwind(Box::new(Poisoned));
        }
    }
}

/// Job of the workers: `run(data, team)`.
#[derive(Clone, Copy)]
struct Job {
    run: unsafe fn(*const (), PoolTeam<'_>),
    data: *const (),
    threads: usize,
}

/// States of a worker.
const IDLE: u32 = 0;
const ASLEEP: u32 = 1;
const CALLED: u32 = 2;

/// A worker, as used by its callers.
pub struct Worker {
    state: CachePadded<AtomicU32>,
    thread: OnceLock<Thread>,
}

impl Worker {
    const_unless_modeled! {
        pub fn new() -> Self {
            Self { state: CachePadded(AtomicU32::new(IDLE)), thread: OnceLock::new() }
        }
    }

    /// Sets the thread that [`serve`](Self::serve)s. The worker must not be called before.
    pub fn set_thread(&self, thread: Thread) {
        self.thread.get_or_init(|| thread);
    }

    /// Waits for one job of `dispatcher` and runs it as thread `index` of the team, from 1.
    pub fn serve(&self, index: usize, dispatcher: &Dispatcher) {
        self.wait();
        // SAFETY: this worker was called and has not finished, so no thread writes the job.
        let job = dispatcher.job.with(|job| unsafe { *job });
        let team = PoolTeam { index, threads: job.threads, barrier: Some(&dispatcher.barrier) };
        // SAFETY: `run` accepts `data`, which the caller keeps until `pending` is 0.
        let done = catch_unwind(AssertUnwindSafe(|| unsafe { (job.run)(job.data, team) }));
        if let Err(cause) = done {
            if !cause.is::<Poisoned>() {
                *dispatcher.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
            }
            dispatcher.barrier.poison();
        }
        dispatcher.pending.0.fetch_sub(1, Ordering::Release);
    }

    /// Returns when this worker is called.
    fn wait(&self) {
        let state = &self.state.0;
        let (mut backoff, mut awake) = (Backoff::default(), Elapsed::default());
        while state.load(Ordering::Acquire) != CALLED {
            backoff.snooze();
            if backoff.is_yielding() && awake.exceeds(AWAKE) {
                let slept = state.compare_exchange(IDLE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
                while slept.is_ok() && state.load(Ordering::Acquire) == ASLEEP {
                    park();
                }
            }
        }
        // No other thread writes the state of a worker that was called.
        state.store(IDLE, Ordering::Relaxed);
    }

    fn call(&self) {
        if self.state.0.swap(CALLED, Ordering::AcqRel) == ASLEEP
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// Hands one job at a time to workers.
pub struct Dispatcher {
    /// Whether a call holds the dispatcher, and with it the fields below.
    busy: AtomicBool,
    job: UnsafeCell<Job>,
    barrier: Barrier,
    /// Workers that have not finished the job.
    pending: CachePadded<AtomicUsize>,
    /// Payload of a worker's panic.
    panic: Mutex<Option<Cause>>,
}

// SAFETY: `job` is the only field that is not `Sync`. It is written by the holder of `busy` before it calls workers,
// and read by these between their call and the end of their work, for which the holder waits.
unsafe impl Sync for Dispatcher {}

// SAFETY: the pointer in `job` is only dereferenced while its call waits, independent of the dispatcher's address.
unsafe impl Send for Dispatcher {}

impl Dispatcher {
    const_unless_modeled! {
        pub fn new() -> Self {
            Self {
                busy: AtomicBool::new(false),
                job: UnsafeCell::new(Job { run: |_, _| {}, data: core::ptr::null(), threads: 0 }),
                barrier: Barrier::new(),
                pending: CachePadded(AtomicUsize::new(0)),
                panic: Mutex::new(None),
            }
        }
    }

    /// Takes the dispatcher for one call, unless another call has it.
    pub fn try_acquire(&self) -> Option<Exclusive<'_>> {
        // Only the holder may construct the guard, because dropping it releases the dispatcher.
        self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok().then(|| Exclusive(self))
    }
}

/// The right to use a dispatcher, until it is dropped.
pub struct Exclusive<'a>(&'a Dispatcher);

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Exclusive<'_> {
    /// Runs `caller` in this thread and `helper` in each of `workers`, and returns when all have finished. Worker `i`
    /// is being served as thread `i + 1` of this dispatcher.
    ///
    /// # Errors
    /// If a thread panics. The error is its payload. The other threads have stopped at a barrier or finished.
    pub fn run<H: Fn(PoolTeam<'_>) + Sync>(
        &mut self,
        workers: &[Worker],
        helper: &H,
        caller: impl FnOnce(PoolTeam<'_>),
    ) -> Result<(), Cause> {
        /// # Safety
        /// `data` points to an `H`.
        unsafe fn run<H: Fn(PoolTeam<'_>)>(data: *const (), team: PoolTeam<'_>) {
            // SAFETY: the caller guarantees that `data` points to an `H`.
            let helper = unsafe { &*data.cast::<H>() };
            helper(team);
        }
        let Self(Dispatcher { job, barrier, pending, panic, .. }) = self;
        let threads = workers.len() + 1;
        let next = Job { run: run::<H>, data: (&raw const *helper).cast(), threads };
        // SAFETY: this call has the dispatcher, and no worker has been called.
        job.with_mut(|job| unsafe { *job = next });
        pending.0.store(workers.len(), Ordering::Relaxed);
        // The swap in `call` releases the job to the worker.
        workers.iter().for_each(Worker::call);
        let team = PoolTeam { index: 0, threads, barrier: Some(barrier) };
        let done = catch_unwind(AssertUnwindSafe(|| caller(team)));
        if done.is_err() {
            barrier.poison();
        }
        // Workers use what `helper` borrows until then, so a panic must not leave this function earlier.
        let mut backoff = Backoff::default();
        while pending.0.load(Ordering::Acquire) > 0 {
            backoff.snooze();
        }
        barrier.reset();
        match (done, panic.lock().unwrap_or_else(PoisonError::into_inner).take()) {
            // The caller only stopped because a worker had panicked.
            (Err(ours), Some(theirs)) if ours.is::<Poisoned>() => Err(theirs),
            (Err(ours), _) => Err(ours),
            (Ok(()), Some(theirs)) => Err(theirs),
            (Ok(()), None) => Ok(()),
        }
    }
}

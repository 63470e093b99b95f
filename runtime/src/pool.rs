//! The threads that help callers: one pool for the process, tried and never waited for.
//!
//! A call that finds the pool free, and processors without work, becomes a [`Crew`]: the caller and some workers, which
//! all run the same function and meet at its barriers. Any other call runs alone. A server that calls from as many
//! threads as there are processors thus never has more threads at work than processors.
//!
//! Workers are started when a model that wants them is built. A call allocates nothing and, as long as calls follow each
//! other, makes no system call: workers look for the next one for a moment before they sleep.

use alloc::boxed::Box;
use core::any::Any;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::team::Team;

/// Most workers of a process, and so one less than the most members of a crew.
pub const MOST_WORKERS: usize = 63;

/// Turns of a waiting loop before it offers its processor to others: some 20 µs.
const SPINS: usize = 1 << 10;

/// How long a worker without work stays awake. Waking it takes a tenth of that; a call takes a millisecond or more.
const AWAKE: Duration = Duration::from_micros(300);

/// Calls that run alone after one that found too many at work. Callers that come one after the other leave gaps in
/// which a single one seems to be there; helping it then would crowd the processors a moment later.
const CALM: usize = 16;

/// Keeps what it holds on cache lines of its own (processors fetch them in pairs).
#[repr(align(128))]
struct Apart<T>(T);

/// Where the members of a crew meet: a barrier that counts its rounds.
struct Meeting {
    arrived: Apart<AtomicUsize>,
    round: Apart<AtomicU32>,
}

/// The round of a meeting that a member left by a panic.
const BROKEN: u32 = u32::MAX;

/// What a member panics with that finds its meeting broken.
struct Left;

impl Meeting {
    const fn new() -> Self {
        Self { arrived: Apart(AtomicUsize::new(0)), round: Apart(AtomicU32::new(0)) }
    }

    /// Returns when `members` have come.
    fn wait(&self, members: usize) {
        // Nobody ends the round before this member has arrived.
        let round = self.round.0.load(Ordering::Relaxed);
        // The chain of these operations hands every member's writes to the last one, which hands them on below.
        let last = round != BROKEN && self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == members;
        if last {
            self.arrived.0.store(0, Ordering::Relaxed);
            self.round.0.store(round + 1, Ordering::Release);
            return;
        }
        let mut patience = Patience::default();
        let mut next = self.round.0.load(Ordering::Acquire);
        while next == round && round != BROKEN {
            patience.spend();
            next = self.round.0.load(Ordering::Acquire);
        }
        if next == BROKEN {
            // To where the member's work began, without the message of a panic: it is another's.
            resume_unwind(Box::new(Left));
        }
    }

    /// Sends everybody home: a member will not come any more. It has not arrived, so that nobody else ends the round.
    fn abandon(&self) {
        self.round.0.store(BROKEN, Ordering::Release);
    }

    /// Makes the meeting as new. Nobody may be there.
    fn reset(&self) {
        self.arrived.0.store(0, Ordering::Relaxed);
        self.round.0.store(0, Ordering::Relaxed);
    }
}

/// A waiting loop's pace: busy first, then letting others run.
#[derive(Default)]
struct Patience(usize);

impl Patience {
    #[inline]
    fn spend(&mut self) {
        if self.0 < SPINS {
            self.0 += 1;
            core::hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

/// A member of a team of threads.
#[derive(Clone, Copy)]
pub struct Crew<'a> {
    index: usize,
    members: usize,
    /// `None` for a crew of one.
    meeting: Option<&'a Meeting>,
}

impl Crew<'_> {
    const ALONE: Self = Self { index: 0, members: 1, meeting: None };
}

impl Team for Crew<'_> {
    #[inline]
    fn index(self) -> usize {
        self.index
    }

    #[inline]
    fn members(self) -> usize {
        self.members
    }

    #[inline]
    fn wait(self) {
        if let Some(meeting) = self.meeting {
            meeting.wait(self.members);
        }
    }
}

/// What workers are to do: `run(data, member)`.
#[derive(Clone, Copy)]
struct Job {
    run: unsafe fn(*const (), Crew<'_>),
    data: *const (),
    members: usize,
}

/// A worker is idle, asleep, or called to work.
const IDLE: u32 = 0;
const ASLEEP: u32 = 1;
const CALLED: u32 = 2;

struct Worker {
    state: Apart<AtomicU32>,
    thread: OnceLock<Thread>,
}

struct Pool {
    /// Whether a crew is at work; its caller owns what stands below.
    busy: AtomicBool,
    job: UnsafeCell<Job>,
    meeting: Meeting,
    /// Workers that have not finished the job.
    pending: Apart<AtomicUsize>,
    /// What a worker panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,

    workers: [Worker; MOST_WORKERS],
    /// Workers that can be called; they are started under this lock.
    started: AtomicUsize,
    starting: Mutex<()>,
    /// Processors that calls may use together; 0 until the first model is built.
    processors: AtomicUsize,
    /// Threads inside of calls: callers, and workers that help them.
    working: AtomicUsize,
    /// Calls that shall run alone; see [`CALM`].
    crowded: AtomicUsize,
    /// Calls that had help.
    helped: AtomicUsize,
}

// SAFETY: `job` is the only part that is not `Sync`. It is written by the holder of `busy` before it calls workers,
// and read by these between their call and the end of their work, for which the holder waits.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    busy: AtomicBool::new(false),
    job: UnsafeCell::new(Job { run: |_, _| {}, data: core::ptr::null(), members: 0 }),
    meeting: Meeting::new(),
    pending: Apart(AtomicUsize::new(0)),
    panic: Mutex::new(None),
    workers: [const { Worker { state: Apart(AtomicU32::new(IDLE)), thread: OnceLock::new() } }; MOST_WORKERS],
    started: AtomicUsize::new(0),
    starting: Mutex::new(()),
    processors: AtomicUsize::new(0),
    working: AtomicUsize::new(0),
    crowded: AtomicUsize::new(0),
    helped: AtomicUsize::new(0),
};

/// Runs `caller` in this thread, and `helper` in up to `threads - 1` others if the pool and processors are free.
///
/// A panic of one of them ends all, and goes on in this thread when the others have stopped.
pub fn together(threads: usize, helper: impl Fn(Crew<'_>) + Sync, caller: impl FnOnce(Crew<'_>)) {
    let _here = Caller::new();
    match POOL.enlist(threads.saturating_sub(1)) {
        None => caller(Crew::ALONE),
        Some(enlisted) => enlisted.run(&helper, caller),
    }
}

/// Starts workers until there are `wanted`, as far as there are processors for them.
pub fn start_workers(wanted: usize) {
    POOL.start(wanted);
}

/// Lets calls use as many processors together, instead of as many as the system says there are: for tests.
pub fn set_processors(processors: usize) {
    POOL.processors.store(processors, Ordering::Relaxed);
}

/// Calls of this process that workers have helped, for tests.
pub fn helped_calls() -> usize {
    POOL.helped.load(Ordering::Relaxed)
}

/// A caller at work, until it is dropped.
struct Caller;

impl Caller {
    fn new() -> Self {
        POOL.working.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        POOL.working.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to use the pool for one call, with so many workers.
struct Enlisted(usize);

impl Drop for Enlisted {
    fn drop(&mut self) {
        POOL.working.fetch_sub(self.0, Ordering::Relaxed);
        POOL.busy.store(false, Ordering::Release);
    }
}

impl Pool {
    /// Takes the pool, if it is free and there is room for at least one worker beside those who work.
    fn enlist(&self, wanted: usize) -> Option<Enlisted> {
        let free = self.processors.load(Ordering::Relaxed).saturating_sub(self.working.load(Ordering::Relaxed));
        if free == 0 {
            self.crowded.store(CALM, Ordering::Relaxed);
            return None;
        }
        let crowded = self.crowded.load(Ordering::Relaxed);
        if crowded > 0 {
            // Two callers that take the same step make one: nothing depends on the exact number.
            self.crowded.store(crowded - 1, Ordering::Relaxed);
            return None;
        }
        let helpers = wanted.min(free).min(self.started.load(Ordering::Acquire));
        if helpers == 0 || self.busy.swap(true, Ordering::Acquire) {
            return None;
        }
        self.working.fetch_add(helpers, Ordering::Relaxed);
        self.helped.fetch_add(1, Ordering::Relaxed);
        Some(Enlisted(helpers))
    }

    fn start(&'static self, wanted: usize) {
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.processors.load(Ordering::Relaxed) == 0 {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            self.processors.store(processors, Ordering::Relaxed);
        }
        let wanted = wanted.min(self.processors.load(Ordering::Relaxed).saturating_sub(1)).min(MOST_WORKERS);
        for at in self.started.load(Ordering::Relaxed)..wanted {
            let name = alloc::format!("mbvc-{}", at + 1);
            // With fewer workers, calls have smaller crews.
            let Ok(handle) = thread::Builder::new().name(name).spawn(move || self.work(at)) else { return };
            let worker = &self.workers[at];
            worker.thread.get_or_init(|| handle.thread().clone());
            self.started.store(at + 1, Ordering::Release);
        }
    }

    /// A worker's life.
    fn work(&self, at: usize) {
        let worker = &self.workers[at];
        loop {
            worker.rest();
            // SAFETY: this worker was called and has not finished, so that nobody writes the job.
            let job = unsafe { *self.job.get() };
            let member = Crew { index: at + 1, members: job.members, meeting: Some(&self.meeting) };
            // SAFETY: `data` is what `run` was made for; the caller keeps it until `pending` is 0.
            let done = catch_unwind(AssertUnwindSafe(|| unsafe { (job.run)(job.data, member) }));
            if let Err(cause) = done {
                if !cause.is::<Left>() {
                    *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
                }
                self.meeting.abandon();
            }
            self.pending.0.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Worker {
    /// Returns when this worker is called.
    fn rest(&self) {
        let state = &self.state.0;
        let mut patience = Patience::default();
        let mut since: Option<Instant> = None;
        while state.load(Ordering::Acquire) != CALLED {
            patience.spend();
            if patience.0 == SPINS && since.get_or_insert_with(Instant::now).elapsed() > AWAKE {
                let slept = state.compare_exchange(IDLE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
                while slept.is_ok() && state.load(Ordering::Acquire) == ASLEEP {
                    thread::park();
                }
            }
        }
        // Nobody else writes the state of a worker that is called.
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

impl Enlisted {
    fn run<H: Fn(Crew<'_>) + Sync>(self, helper: &H, caller: impl FnOnce(Crew<'_>)) {
        /// # Safety
        /// `data` is an `H`.
        unsafe fn run<H: Fn(Crew<'_>)>(data: *const (), member: Crew<'_>) {
            // SAFETY: as above.
            let helper = unsafe { &*data.cast::<H>() };
            helper(member);
        }
        let Self(helpers) = self;
        let members = helpers + 1;
        // SAFETY: the pool is this call's, and no worker has been called.
        unsafe { *POOL.job.get() = Job { run: run::<H>, data: (&raw const *helper).cast(), members } };
        POOL.pending.0.store(helpers, Ordering::Relaxed);
        // The swap in `call` hands the job on.
        POOL.workers[..helpers].iter().for_each(Worker::call);
        let member = Crew { index: 0, members, meeting: Some(&POOL.meeting) };
        let done = catch_unwind(AssertUnwindSafe(|| caller(member)));
        if done.is_err() {
            POOL.meeting.abandon();
        }
        // Until then workers use what `helper` borrows: this function is not left before, by a panic either.
        let mut patience = Patience::default();
        while POOL.pending.0.load(Ordering::Acquire) > 0 {
            patience.spend();
        }
        POOL.meeting.reset();
        let theirs = POOL.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(self);
        match (done, theirs) {
            (Err(ours), None) => resume_unwind(ours),
            (Err(ours), Some(_)) if !ours.is::<Left>() => resume_unwind(ours),
            (_, Some(theirs)) => resume_unwind(theirs),
            (Ok(()), None) => {}
        }
    }
}

#[cfg(test)]
mod tests;

//! A barrier for the threads of a team, which a panic can poison.

use super::sync::{AtomicU32, AtomicUsize, Backoff, CachePadded, Ordering, const_unless_modeled};

/// A centralized barrier that counts its rounds.
///
/// The team's size is an argument of [`wait`](Self::wait), because teams of several sizes use one barrier.
pub struct Barrier {
    arrived: CachePadded<AtomicUsize>,
    round: CachePadded<AtomicU32>,
}

/// The round of a poisoned barrier.
const POISONED: u32 = u32::MAX;

/// The barrier is poisoned: another thread of the team has panicked.
pub struct Poisoned;

impl Barrier {
    const_unless_modeled! {
        pub fn new() -> Self {
            Self { arrived: CachePadded(AtomicUsize::new(0)), round: CachePadded(AtomicU32::new(0)) }
        }
    }

    /// Returns when `threads` threads have arrived. All of them can then read what each wrote before.
    ///
    /// # Errors
    /// If a thread has poisoned the barrier instead of arriving.
    pub fn wait(&self, threads: usize) -> Result<(), Poisoned> {
        // The round cannot end before this thread has arrived.
        let round = self.round.0.load(Ordering::Relaxed);
        if round == POISONED {
            return Err(Poisoned);
        }
        // The chain of these operations hands the writes of every thread to the last one, which releases them below.
        if self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == threads {
            self.arrived.0.store(0, Ordering::Relaxed);
            self.round.0.store(round + 1, Ordering::Release);
            return Ok(());
        }
        let mut backoff = Backoff::default();
        loop {
            match self.round.0.load(Ordering::Acquire) {
                POISONED => return Err(Poisoned),
                now if now != round => return Ok(()),
                _ => backoff.snooze(),
            }
        }
    }

    /// Fails every current and later [`wait`](Self::wait). The caller has not arrived in this round, so no other thread
    /// ends it.
    pub fn poison(&self) {
        self.round.0.store(POISONED, Ordering::Release);
    }

    /// Resets the barrier. No thread may use it at the same time.
    pub fn reset(&self) {
        self.arrived.0.store(0, Ordering::Relaxed);
        self.round.0.store(0, Ordering::Relaxed);
    }
}

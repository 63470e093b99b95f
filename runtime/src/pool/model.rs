//! The protocol of the pool, explored by loom: every interleaving of its operations with up to [`PREEMPTIONS`]
//! preemptions, and every value that the memory model lets a load return. `scripts/loom.sh` runs this.
//!
//! Loom finds data races in [`UnsafeCell`]s, deadlocks such as a lost wake-up, and assertions that fail in any of them.

use std::boxed::Box;
use std::panic::resume_unwind;
use std::vec::Vec;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::barrier::Barrier;
use super::dispatch::{Dispatcher, PoolTeam, Worker};
use crate::team::Team;

/// Preemptions of a runnable thread. Most known bugs show with two (Musuvathi and Qadeer, "Iterative context
/// bounding for systematic testing of multithreaded programs", 2007).
const PREEMPTIONS: usize = 3;

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

/// A number for each thread of a team. Only the barriers prevent data races on it.
struct Cells(Vec<UnsafeCell<usize>>);

// SAFETY: loom checks every access.
unsafe impl Sync for Cells {}

impl Cells {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn write(&self, at: usize, value: usize) {
        // SAFETY: loom panics if another access is possible at the same time.
        self.0[at].with_mut(|cell| unsafe { *cell = value });
    }

    fn read(&self, at: usize) -> usize {
        // SAFETY: as above.
        self.0[at].with(|cell| unsafe { *cell })
    }

    fn are_all(&self, value: usize) -> bool {
        (0..self.0.len()).all(|at| self.read(at) == value)
    }
}

#[test]
fn a_barrier_orders_all_writes_of_its_threads() {
    const THREADS: usize = 3;
    explore(PREEMPTIONS, || {
        let shared = Arc::new((Barrier::new(), Cells::new(THREADS)));
        let run = |index: usize| {
            let shared = Arc::clone(&shared);
            move || {
                let (barrier, cells) = &*shared;
                for round in 1..=2 {
                    cells.write(index, round);
                    assert!(barrier.wait(THREADS).is_ok());
                    assert!(cells.are_all(round));
                    assert!(barrier.wait(THREADS).is_ok());
                }
            }
        };
        let others = [1, 2].map(|index| thread::spawn(run(index)));
        run(0)();
        others.map(|other| other.join().unwrap());
    });
}

#[test]
fn a_poisoned_barrier_keeps_nobody() {
    explore(PREEMPTIONS, || {
        let barrier = Arc::new(Barrier::new());
        let others = [1, 2].map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                // The thread below arrives once, and then never again.
                (barrier.wait(3).is_ok(), barrier.wait(3).is_ok())
            })
        });
        let arrived = barrier.wait(3);
        barrier.poison();
        assert!(arrived.is_ok());
        for other in others {
            let (_, second) = other.join().unwrap();
            assert!(!second, "the second round never ends");
        }
    });
}

/// Workers that serve one dispatcher until a job ends them.
struct Pool {
    dispatcher: Dispatcher,
    workers: Vec<Worker>,
}

/// Runs `model` with this number of workers.
fn with_workers(count: usize, model: impl FnOnce(&Arc<Pool>)) {
    let pool = Arc::new(Pool { dispatcher: Dispatcher::new(), workers: (0..count).map(|_| Worker::new()).collect() });
    let ended = Arc::new(Cells::new(count));
    let threads: Vec<_> = (0..count)
        .map(|at| {
            let (pool, ended) = (Arc::clone(&pool), Arc::clone(&ended));
            thread::spawn(move || {
                while ended.read(at) == 0 {
                    pool.workers[at].serve(at + 1, &pool.dispatcher);
                }
            })
        })
        .collect();
    for (worker, thread) in pool.workers.iter().zip(&threads) {
        worker.set_thread(thread.thread().clone());
    }
    model(&pool);
    let end = |team: PoolTeam<'_>| ended.write(team.index() - 1, 1);
    let mut exclusive = pool.dispatcher.try_acquire().expect("all other calls have ended");
    assert!(exclusive.run(&pool.workers, &end, |_| {}).is_ok());
    drop(exclusive);
    for thread in threads {
        thread.join().unwrap();
    }
}

/// One call: every thread writes, waits and reads what all have written. Returns false if the dispatcher is busy.
fn call(pool: &Pool, cells: &Cells, value: usize) -> bool {
    let threads = pool.workers.len() + 1;
    let work = |team: PoolTeam<'_>| {
        assert_eq!(team.threads(), threads);
        cells.write(team.index(), value);
        team.wait();
        assert!(cells.are_all(value));
    };
    let Some(mut exclusive) = pool.dispatcher.try_acquire() else { return false };
    assert!(exclusive.run(&pool.workers, &work, work).is_ok());
    // The workers have ended their part.
    cells.write(threads - 1, 0);
    true
}

#[test]
fn a_worker_takes_every_job_asleep_or_awake() {
    explore(PREEMPTIONS, || {
        with_workers(1, |pool| {
            let cells = Cells::new(2);
            for value in 1..=2 {
                assert!(call(pool, &cells, value));
            }
        });
    });
}

#[test]
fn two_workers_share_a_job() {
    explore(2, || {
        with_workers(2, |pool| {
            assert!(call(pool, &Cells::new(3), 1));
        });
    });
}

#[test]
fn two_callers_never_have_the_pool_together() {
    explore(2, || {
        with_workers(1, |pool| {
            // Both calls write the same cells, so that loom sees them as a race if they overlap.
            let cells = Arc::new(Cells::new(2));
            let other = thread::spawn({
                let (pool, cells) = (Arc::clone(pool), Arc::clone(&cells));
                // The second attempt fails even if the first one has failed.
                move || [1, 3].map(|value| call(&pool, &cells, value))
            });
            let helped = call(pool, &cells, 2);
            assert!(other.join().unwrap()[0] || helped, "one of them finds the pool free");
        });
    });
}

#[test]
fn a_panic_of_any_thread_ends_the_call_and_the_next_one_works() {
    for culprit in 0..2 {
        explore(2, move || {
            with_workers(1, |pool| {
                let work = |team: PoolTeam<'_>| {
                    if team.index() == culprit {
                        resume_unwind(Box::new("of a kernel"));
                    }
                    team.wait();
                };
                let mut exclusive = pool.dispatcher.try_acquire().expect("there is no other call");
                let cause = exclusive.run(&pool.workers, &work, work).expect_err("the panic reaches the caller");
                assert_eq!(cause.downcast_ref::<&str>(), Some(&"of a kernel"));
                drop(exclusive);
                assert!(call(pool, &Cells::new(2), 1));
            });
        });
    }
}

use core::any::Any;
use core::sync::atomic::AtomicBool;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;
use std::sync::MutexGuard;
use std::vec::Vec;

use super::super::dispatch::AWAKE;
use super::*;
use crate::team::Team;

/// More than this machine has, so that threads are also interrupted while the others wait for them.
const THREADS: usize = 6;

/// The pool is the process's: one test uses it at a time.
fn pool() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    set_processors(THREADS);
    start_workers(THREADS - 1);
    POOL.cooldown.store(0, Ordering::Relaxed);
    guard
}

/// Runs `work` in a team, and returns its size.
fn run(threads: usize, work: impl Fn(PoolTeam<'_>) + Sync) -> usize {
    let mut size = 0;
    together(threads, &work, |team| {
        size = team.threads();
        work(team);
    });
    size
}

fn message(cause: &(dyn Any + Send)) -> &str {
    cause.downcast_ref::<&str>().copied().or(cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

#[test]
fn a_failed_attempt_does_not_release_the_dispatcher() {
    let dispatcher = Dispatcher::new();
    let held = dispatcher.try_acquire();
    assert!(held.is_some());
    for _ in 0..2 {
        assert!(dispatcher.try_acquire().is_none());
    }
    drop(held);
    assert!(dispatcher.try_acquire().is_some());
}

#[test]
fn every_thread_arrives_at_every_barrier() {
    let _pool = pool();
    const ROUNDS: usize = 200;
    for threads in 1..=THREADS {
        let arrived: Vec<AtomicUsize> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
        let size = run(threads, |team| {
            for round in &arrived {
                // The barrier orders these; relaxed operations do not.
                round.fetch_add(1 << team.index(), Ordering::Relaxed);
                team.wait();
                assert_eq!(round.load(Ordering::Relaxed), (1 << team.threads()) - 1);
            }
        });
        assert_eq!(size, threads);
    }
}

#[test]
fn writes_before_a_barrier_can_be_read_after_it() {
    let _pool = pool();
    let mut floats = [0.0; THREADS * 64];
    // SAFETY: every thread writes a separate range of 64 floats, and a barrier separates writes from the other threads' reads.
    let area = unsafe { crate::Area::new(&mut floats) };
    run(THREADS, |team| {
        for round in 1..100 {
            team.arena(area, 64).write(0..64, |floats| floats.fill((round * 10 + team.index()) as f32));
            team.wait();
            for other in 0..team.threads() {
                assert_eq!(area.read(other * 64..(other + 1) * 64), [(round * 10 + other) as f32; 64]);
            }
            team.wait();
        }
    });
}

#[test]
fn calls_are_helped_in_a_row_and_after_pauses() {
    let _pool = pool();
    for call in 0..2000 {
        let arrived = AtomicUsize::new(0);
        let size = run(2, |_| {
            arrived.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!((size, arrived.into_inner()), (2, 2), "call {call}");
        if call % 500 == 0 {
            thread::sleep(AWAKE * 4); // The worker falls asleep.
        }
    }
}

#[test]
fn calls_within_calls_run_alone() {
    let _pool = pool();
    let inner = AtomicUsize::new(0);
    let outer = run(2, |team| {
        if team.index() == 0 {
            inner.store(run(2, |_| {}), Ordering::Relaxed);
        }
    });
    assert_eq!((outer, inner.into_inner()), (2, 1));
}

#[test]
fn no_more_threads_work_than_there_are_processors() {
    let _pool = pool();
    set_processors(2);
    let (working, most, alone) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let started = std::sync::Barrier::new(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Both are inside of a call from here to the end of the test.
                let _active = ActiveCaller::new();
                started.wait();
                for _ in 0..500 {
                    let size = run(2, |_| {
                        most.fetch_max(working.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        thread::yield_now();
                        working.fetch_sub(1, Ordering::Relaxed);
                    });
                    alone.fetch_add(usize::from(size == 1), Ordering::Relaxed);
                }
                started.wait();
            });
        }
    });
    assert!(most.into_inner() <= 2);
    assert_eq!(alone.into_inner(), 1000);
    // After the cooldown a single caller is helped again.
    let sizes: Vec<usize> = (0..=COOLDOWN).map(|_| run(2, |_| {})).collect();
    assert_eq!((sizes[0], sizes[COOLDOWN]), (1, 2));
}

#[test]
fn a_panic_of_the_caller_ends_the_call() {
    let _pool = pool();
    let ended = AtomicBool::new(false);
    let done = catch_unwind(AssertUnwindSafe(|| {
        run(THREADS, |team| {
            team.wait();
            if team.index() == 0 {
                panic!("of the observer");
            }
            team.wait();
            ended.store(true, Ordering::Relaxed);
        });
    }));
    assert_eq!(message(&*done.expect_err("the panic continues")), "of the observer");
    assert!(!ended.into_inner(), "no thread passes a barrier without the caller");
    assert_eq!(run(THREADS, |team| team.wait()), THREADS);
}

#[test]
fn a_panic_of_a_worker_reaches_the_caller() {
    let _pool = pool();
    for culprit in 1..THREADS {
        let done = catch_unwind(AssertUnwindSafe(|| {
            run(THREADS, |team| {
                team.wait();
                assert_ne!(team.index(), culprit, "of a kernel");
                team.wait();
            });
        }));
        assert!(message(&*done.expect_err("the panic continues")).contains("of a kernel"));
    }
    // After the last barrier: the caller learns of it when it waits for the workers to finish.
    let done = catch_unwind(AssertUnwindSafe(|| run(2, |team| assert_eq!(team.index(), 0, "late"))));
    assert!(message(&*done.expect_err("the panic continues")).contains("late"));
    assert_eq!(run(THREADS, |team| team.wait()), THREADS);
}

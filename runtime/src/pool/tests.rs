use super::*;
use core::sync::atomic::AtomicBool;
use std::string::String;
use std::sync::MutexGuard;
use std::vec::Vec;

/// More than this machine has, so that members are also interrupted while the others wait for them.
const THREADS: usize = 6;

/// The pool is the process's: one test uses it at a time.
fn pool() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    set_processors(THREADS);
    start_workers(THREADS - 1);
    POOL.crowded.store(0, Ordering::Relaxed);
    guard
}

/// Runs `work` in a crew, and returns its size.
fn crew(threads: usize, work: impl Fn(Crew<'_>) + Sync) -> usize {
    let mut members = 0;
    together(threads, &work, |member| {
        members = member.members();
        work(member);
    });
    members
}

fn message(cause: &(dyn Any + Send)) -> &str {
    cause.downcast_ref::<&str>().copied().or(cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

#[test]
fn members_meet_in_every_round() {
    let _pool = pool();
    const ROUNDS: usize = 200;
    for threads in 1..=THREADS {
        let came: Vec<AtomicUsize> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
        let members = crew(threads, |member| {
            for round in &came {
                // The meeting orders these, not they themselves.
                round.fetch_add(1 << member.index(), Ordering::Relaxed);
                member.wait();
                assert_eq!(round.load(Ordering::Relaxed), (1 << member.members()) - 1);
            }
        });
        assert_eq!(members, threads);
    }
}

#[test]
fn what_one_writes_another_reads_after_the_meeting() {
    let _pool = pool();
    let mut floats = [0.0; THREADS * 64];
    // SAFETY: every thread writes 64 floats of its own, and a barrier separates writes from the other threads' reads.
    let area = unsafe { crate::Area::new(&mut floats) };
    crew(THREADS, |member| {
        for round in 1..100 {
            member.own(area, 64).write(0..64, |own| own.fill((round * 10 + member.index()) as f32));
            member.wait();
            for other in 0..member.members() {
                assert_eq!(area.read(other * 64..(other + 1) * 64), [(round * 10 + other) as f32; 64]);
            }
            member.wait();
        }
    });
}

#[test]
fn many_calls_follow_each_other_and_pauses() {
    let _pool = pool();
    for call in 0..2000 {
        let came = AtomicUsize::new(0);
        let members = crew(2, |_| {
            came.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!((members, came.into_inner()), (2, 2), "call {call}");
        if call % 500 == 0 {
            thread::sleep(AWAKE * 4); // The worker falls asleep.
        }
    }
}

#[test]
fn calls_within_calls_run_alone() {
    let _pool = pool();
    let inner = AtomicUsize::new(0);
    let outer = crew(2, |member| {
        if member.index() == 0 {
            inner.store(crew(2, |_| {}), Ordering::Relaxed);
        }
    });
    assert_eq!((outer, inner.into_inner()), (2, 1));
}

#[test]
fn there_are_never_more_at_work_than_processors() {
    let _pool = pool();
    set_processors(2);
    let (working, most, alone) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let started = std::sync::Barrier::new(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Both are inside of a call from here on, for the rest of the test.
                let _here = Caller::new();
                started.wait();
                for _ in 0..500 {
                    let members = crew(2, |_| {
                        most.fetch_max(working.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        thread::yield_now();
                        working.fetch_sub(1, Ordering::Relaxed);
                    });
                    alone.fetch_add(usize::from(members == 1), Ordering::Relaxed);
                }
                started.wait();
            });
        }
    });
    assert!(most.into_inner() <= 2);
    assert_eq!(alone.into_inner(), 1000);
    // A moment later a single caller is helped again.
    let members: Vec<usize> = (0..=CALM).map(|_| crew(2, |_| {})).collect();
    assert_eq!((members[0], members[CALM]), (1, 2));
}

#[test]
fn a_panic_of_the_caller_ends_the_call() {
    let _pool = pool();
    let ended = AtomicBool::new(false);
    let done = catch_unwind(AssertUnwindSafe(|| {
        crew(THREADS, |member| {
            member.wait();
            if member.index() == 0 {
                panic!("the observer's");
            }
            member.wait();
            ended.store(true, Ordering::Relaxed);
        });
    }));
    assert_eq!(message(&*done.expect_err("the panic goes on")), "the observer's");
    assert!(!ended.into_inner(), "nobody goes on without the caller");
    assert_eq!(crew(THREADS, |member| member.wait()), THREADS);
}

#[test]
fn a_panic_of_a_worker_reaches_the_caller() {
    let _pool = pool();
    for culprit in 1..THREADS {
        let done = catch_unwind(AssertUnwindSafe(|| {
            crew(THREADS, |member| {
                member.wait();
                assert_ne!(member.index(), culprit, "a kernel's");
                member.wait();
            });
        }));
        assert!(message(&*done.expect_err("the panic goes on")).contains("a kernel's"));
    }
    // The last share may be where the panic is: the others have no meeting left that could tell them.
    let done = catch_unwind(AssertUnwindSafe(|| crew(2, |member| assert_eq!(member.index(), 0, "late"))));
    assert!(message(&*done.expect_err("the panic goes on")).contains("late"));
    assert_eq!(crew(THREADS, |member| member.wait()), THREADS);
}

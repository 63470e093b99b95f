//! Processes items on several threads and hands the results over in the order of the items.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use crate::error::{Error, Result};

/// Results for each thread that may wait for an earlier one, so that a slow item does not stop the other threads at once.
const AHEAD: usize = 4;

/// Number of threads for `items` items: one for each processor, and no more than there are items.
pub fn threads(items: usize) -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(items).max(1)
}

/// Runs `work` on every item and passes the results to `take` on the calling thread, in the order of the items. Each thread
/// takes the next item when it is done with one, and has a state of its own, which `start` creates. The items that have been
/// started but not taken are at most five times as many as `threads`.
///
/// # Errors
/// If a thread cannot be started. The inner error is the first of `take`; items that have not been started by then are left
/// out.
pub fn in_order<'i, I: Sync, S, T: Send, E>(
    items: &'i [I],
    threads: usize,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &'i I) -> T + Sync,
    mut take: impl FnMut(&'i I, T) -> Result<(), E>,
) -> Result<Result<(), E>> {
    let window = threads * (1 + AHEAD);
    let (admit, admitted) = channel();
    // Sending fails only if every thread has panicked, which the scope passes on.
    let admitted = Mutex::new(admitted);
    let (send, results) = channel();
    std::thread::scope(|scope| {
        // Moved into this closure, so that an early return closes the channels, which ends the threads.
        let (admit, results) = (admit, results);
        for number in 1..=threads {
            let send = send.clone();
            let serve = || {
                let send = send;
                let mut state = start();
                let next = || admitted.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok((number, item)) = next() {
                    // The calling thread waits for every result, that of a panic too.
                    let result = catch_unwind(AssertUnwindSafe(|| work(&mut state, item)));
                    let panicked = result.is_err();
                    if send.send((number, result)).is_err() || panicked {
                        return;
                    }
                }
            };
            Builder::new().spawn_scoped(scope, serve).map_err(|cause| {
                Error::new(format!("cannot start thread {number} of {threads}: {cause}"))
                    .help("use fewer threads, or raise the thread and memory limits (`ulimit -u`, `ulimit -v`)")
            })?;
        }
        drop(send);
        let mut waiting = items.iter().enumerate();
        for item in waiting.by_ref().take(window) {
            let _ = admit.send(item);
        }
        let mut early = BTreeMap::new();
        for (at, item) in items.iter().enumerate() {
            let result = loop {
                if let Some(result) = early.remove(&at) {
                    break result;
                }
                match results.recv() {
                    Ok((number, result)) => drop(early.insert(number, result)),
                    Err(_) => return Ok(Ok(())),
                }
            };
            if let Err(error) = take(item, result.unwrap_or_else(|panic| resume_unwind(panic))) {
                return Ok(Err(error));
            }
            if let Some(item) = waiting.next() {
                let _ = admit.send(item);
            }
        }
        Ok(Ok(()))
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};

    use super::*;

    #[test]
    fn results_have_the_order_of_the_items() {
        for threads in [1, 2, 7] {
            for count in [0, 1, 6, 500] {
                let items: Vec<usize> = (0..count).collect();
                let mut taken = Vec::new();
                let work = |state: &mut usize, item: &usize| {
                    *state += 1;
                    // Some items are slower than others.
                    (0..item * 7_919 % 13).for_each(|_| std::thread::yield_now());
                    item * 10
                };
                in_order(
                    &items,
                    threads,
                    || 0,
                    work,
                    |item, result| {
                        taken.push((*item, result));
                        Ok::<_, Infallible>(())
                    },
                )
                .unwrap()
                .unwrap();
                assert_eq!(taken, items.iter().map(|item| (*item, item * 10)).collect::<Vec<_>>(), "{threads} threads");
            }
        }
    }

    #[test]
    fn items_on_several_threads_run_at_the_same_time() {
        // Each of four items waits until all four have been started.
        let (started, all) = (Mutex::new(0), Condvar::new());
        let work = |(): &mut (), _: &usize| {
            let mut count = started.lock().unwrap();
            *count += 1;
            all.notify_all();
            drop(all.wait_while(count, |count| *count < 4).unwrap());
        };
        in_order(&[0, 1, 2, 3], 4, || (), work, |_, ()| Ok::<_, Infallible>(())).unwrap().unwrap();
    }

    #[test]
    fn a_slow_item_bounds_the_results_that_wait() {
        let items: Vec<usize> = (0..100).collect();
        let (threads, window) = (3, 3 * (1 + AHEAD));
        let (started, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (others, done) = (Mutex::new(0), Condvar::new());
        let work = |(): &mut (), item: &usize| {
            let before = started.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(before - taken.load(Ordering::SeqCst) <= window, "{before} started");
            if *item == 0 {
                // The first item ends last: after every other one that may be started before it is taken.
                let others = others.lock().unwrap();
                drop(done.wait_while(others, |others| *others < window - 1).unwrap());
            } else {
                *others.lock().unwrap() += 1;
                done.notify_all();
            }
        };
        in_order(
            &items,
            threads,
            || (),
            work,
            |_, ()| {
                taken.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(())
            },
        )
        .unwrap()
        .unwrap();
        assert_eq!(started.into_inner(), items.len());
    }

    #[test]
    fn a_panic_is_passed_on() {
        let items: Vec<usize> = (0..100).collect();
        let work = |(): &mut (), item: &usize| assert!(*item != 30, "item 30");
        let ran = catch_unwind(|| in_order(&items, 3, || (), work, |_, ()| Ok::<_, Infallible>(())));
        assert_eq!(ran.unwrap_err().downcast_ref::<&str>(), Some(&"item 30"));
    }

    #[test]
    fn an_error_ends_the_run() {
        let items: Vec<usize> = (0..1000).collect();
        let started = AtomicUsize::new(0);
        let work = |(): &mut (), _: &usize| started.fetch_add(1, Ordering::SeqCst);
        let mut taken = 0;
        let failed = in_order(
            &items,
            2,
            || (),
            work,
            |item, _| {
                taken += 1;
                if *item == 20 { Err("full") } else { Ok(()) }
            },
        );
        assert_eq!((failed.unwrap().unwrap_err(), taken), ("full", 21));
        assert!(started.into_inner() <= 21 + 2 * (1 + AHEAD), "items after the error are left out");
    }
}

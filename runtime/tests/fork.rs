//! A forked child has none of its parent's threads: its calls run alone instead of waiting for them.
#![cfg(all(unix, feature = "std"))]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mbvc_runtime::{Team, helped_calls, set_processors, start_workers, together};

/// Runs a call for at most two threads, and returns the size of its team and the number of threads that took part.
fn call() -> [usize; 2] {
    let (took_part, mut size) = (AtomicUsize::new(0), 0);
    let work = || took_part.fetch_add(1, Ordering::Relaxed);
    together(
        2,
        |team| {
            work();
            team.wait();
        },
        |team| {
            size = team.threads();
            work();
            team.wait();
        },
    );
    [size, took_part.into_inner()]
}

/// Whether `check` returns true in a forked child, which is killed after a minute.
fn in_child(check: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `check`, which takes no lock that another thread of its parent may hold, and exits.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let passed = check();
        // SAFETY: ends this process at once, without what other threads of its parent registered for an exit.
        unsafe { libc::_exit(i32::from(!passed)) };
    }
    let (mut status, started) = (0, Instant::now());
    // SAFETY: `child` is a child of this process that has not been waited for, and `status` is writable.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if started.elapsed() > Duration::from_secs(60) {
            // SAFETY: as above.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &raw mut status, 0);
            }
            panic!("the child hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[test]
fn calls_of_a_forked_child_run_alone() {
    set_processors(2);
    start_workers(1);
    assert_eq!(call(), [2, 2]);
    let helped = helped_calls();
    let runs_alone = || (0..40).all(|_| call() == [1, 1]) && helped_calls() == helped;
    assert!(in_child(|| {
        let inherited = runs_alone();
        // As building a model does.
        start_workers(1);
        inherited && runs_alone()
    }));
    assert_eq!(call(), [2, 2], "the parent is helped as before");
}

//! The threads that help callers: one pool for the process, which a call tries and never waits for.
//!
//! A call that finds the pool free, and processors idle, gets a team: the caller and some workers, which all run the
//! same function and meet at its barriers. Any other call runs alone. A server that calls from as many threads as there
//! are processors thus never has more threads at work than processors.
//!
//! Workers start when a model that uses them is built. A call allocates nothing. As long as calls follow each other it
//! wakes nobody: workers look for the next job for a moment before they sleep.
//!
//! A child process has none of its parent's threads: after `fork`, its calls run alone. An observer that forks must not
//! continue the call in the child.

mod barrier;
mod dispatch;
#[cfg(all(loom, test))]
mod model;
#[cfg(not(all(loom, test)))]
mod process;
mod sync;

pub use dispatch::PoolTeam;
#[cfg(not(all(loom, test)))]
pub use process::{MOST_WORKERS, helped_calls, set_processors, start_workers, together};

//! The worker threads: one pool per process. A call tries to get workers and never waits for them.
//!
//! If the pool is free and processors are idle, a call gets a team: the caller and some workers, which all run the same
//! function and wait at its barriers. Any other call runs on the calling thread only. A server with one calling thread
//! per processor therefore never runs more threads than processors.
//!
//! Workers start when a model that uses them is built. A call allocates nothing. Workers spin for a moment before they
//! sleep, so a call that follows another one wakes no thread.
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

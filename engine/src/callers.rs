//! Buffers of calls, which batches reuse.

use std::sync::{Mutex, TryLockError};

use crate::caller::Caller;

/// Buffers that no thread uses. There are about as many in all as threads have called the network at the same time.
#[derive(Default)]
pub struct Callers(Mutex<Vec<Caller>>);

/// The buffers of one thread, which are put back when this is dropped.
pub struct Lease<'a> {
    callers: &'a Callers,
    /// `None` until they are used.
    caller: Option<Caller>,
}

impl Callers {
    /// Returns the buffers of a thread, which are taken when they are used first.
    pub fn lease(&self) -> Lease<'_> {
        Lease { callers: self, caller: None }
    }

    /// Runs `work` on the free buffers. Nothing waits for the lock: after a fork, the thread that holds it may not exist.
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Caller>) -> Option<T>) -> Option<T> {
        match self.0.try_lock() {
            Ok(mut free) => work(&mut free),
            Err(TryLockError::Poisoned(free)) => work(&mut free.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Lease<'_> {
    /// Returns the buffers, which `create` allocates if all are in use.
    pub fn caller(&mut self, create: impl FnOnce() -> Caller) -> &mut Caller {
        let callers = self.callers;
        self.caller.get_or_insert_with(|| callers.with(Vec::pop).unwrap_or_else(create))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take() {
            self.callers.with(|free| {
                free.push(caller);
                Some(())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use mbvc_networks::demo::{Variant, build, weights};

    use super::*;

    #[test]
    fn buffers_are_used_again() {
        let network = build(&Variant::Fused, &weights().unwrap()).unwrap();
        let created = Cell::new(0);
        let create = || {
            created.set(created.get() + 1);
            Caller::new(network.info())
        };
        let callers = Callers::default();
        for _ in 0..3 {
            let (mut one, mut other, _unused) = (callers.lease(), callers.lease(), callers.lease());
            for _ in 0..2 {
                one.caller(create);
                other.caller(create);
            }
        }
        assert_eq!(created.get(), 2);
        assert_eq!(callers.0.lock().unwrap().len(), 2);
    }
}

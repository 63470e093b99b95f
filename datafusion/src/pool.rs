//! Buffers of calls, which batches reuse.

use std::sync::{Mutex, PoisonError};

use mbvc_engine::Caller;

/// Buffers that no thread uses. There are as many in all as threads have called the network at the same time.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Caller>>);

/// The buffers of one thread, which are put back when this is dropped.
pub struct Lease<'a> {
    pool: &'a Pool,
    /// `None` until they are used.
    caller: Option<Caller>,
}

impl Pool {
    pub fn lease(&self) -> Lease<'_> {
        Lease { pool: self, caller: None }
    }

    fn pop(&self) -> Option<Caller> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Lease<'_> {
    /// Returns the buffers, which `create` allocates if all are in use.
    pub fn caller(&mut self, create: impl FnOnce() -> Caller) -> &mut Caller {
        let pool = self.pool;
        self.caller.get_or_insert_with(|| pool.pop().unwrap_or_else(create))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).extend(self.caller.take());
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
        let pool = Pool::default();
        for _ in 0..3 {
            let (mut one, mut other, _unused) = (pool.lease(), pool.lease(), pool.lease());
            for _ in 0..2 {
                one.caller(create);
                other.caller(create);
            }
        }
        assert_eq!(created.get(), 2);
        assert_eq!(pool.0.lock().unwrap().len(), 2);
    }
}

//! Calls with several threads allocate nothing, neither in the caller nor in the workers.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{random_image, random_weights};
use mbvc_runtime::{helped_calls, set_processors};

mbvc::mobilenet_v2!("specs/tiny.yaml", threads = 3, isa = [portable, avx2, neon]);

/// The system's allocator, which counts the allocations of the process: this file has one test.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to the system's allocator; counting accesses no heap memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const CALLS: usize = 50;

#[test]
fn dispatch_allocates_nothing() {
    set_processors(3);
    let weights = random_weights(TinyNet::INFO, 1);
    let model = TinyNet::new(&weights).expect("the weights fit the network");
    let image = random_image::<{ 32 * 32 * 3 }>(2);
    let mut scratch = TinyNet::scratch();
    // Threads allocate when they start; after the first call all of them have started.
    model.run(&mut scratch, &image);
    let (allocations, helped) = (ALLOCATIONS.load(Ordering::Relaxed), helped_calls());
    for call in 0..CALLS {
        std::hint::black_box(model.run(&mut scratch, &image));
        if call % 10 == 0 {
            // Long enough for the workers to fall asleep.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), allocations);
    assert_eq!(helped_calls(), helped + CALLS);
}

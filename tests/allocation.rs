//! Calls of a model allocate nothing, on any fusion level and instruction set.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{isas, random_bytes, random_image, random_weights};
use mbvc_test_networks::tiny::{Epilogues, Unfused};

// A batch is the same code on every instruction set.
mbvc::mobilenet_v2!("specs/tiny.yaml", name = Blocks, fusion = "block", batch = 2, isa = ["portable", "avx2", "neon"]);

/// The system's allocator, with a count of allocations per thread, because tests run in parallel.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call is forwarded to the system's allocator; counting accesses no heap memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

macro_rules! never {
    ($($test:ident: $network:ident;)*) => { $(
        #[test]
        fn $test() {
            const N: usize = 32 * 32 * 3;
            let weights = random_weights($network::INFO, 1);
            let (image, pixels) = (random_image::<N>(2), random_bytes::<N>(3));
            for isa in isas($network::INFO) {
                let model = $network::with_isa(&weights, isa).expect("the weights fit the network");
                let mut scratch = $network::scratch();
                let mut steps = 0;
                let count = allocations(|| {
                    let logits = model.run(&mut scratch, &image);
                    let observed = model.run_with(&mut scratch, &image, |_, _: &[f32]| steps += 1);
                    let sliced = model.run_slice(&mut scratch, &image[..]).is_ok();
                    let seen = model.run_pixels(&mut scratch, &pixels);
                    let vector = model.embed(&mut scratch, &image);
                    let wrong = model.run_slice(&mut scratch, &image[1..]).is_err();
                    let mut batch = [[0.0; $network::CLASSES]; 3];
                    let batched = model.run_batch(&mut scratch, &[&*image; 3], &mut batch).is_ok();
                    std::hint::black_box((logits, observed, sliced, seen, vector, wrong, batch, batched));
                });
                assert_eq!(count, 0, "{isa}");
                assert_eq!(steps, $network::STEPS.len());
            }
        }
    )* };
}

never! {
    layer_by_layer: Unfused;
    with_epilogues: Epilogues;
    in_blocks: Blocks;
}

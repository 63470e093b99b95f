//! The C functions of a library that `mbvc build` writes, with the bytes of its weights file and arguments that callers
//! may get wrong.

use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ptr;

use mbvc_runtime as rt;

use crate::memory::bounded;
use crate::networks::Aligned;

#[path = "../../engine/src/carried/boundary.rs"]
mod boundary;
#[path = "../../engine/src/carried/model.rs"]
#[allow(dead_code, reason = "programs and libraries use different parts")]
mod model;

use boundary::*;

mbvc::mobilenet_v2!("specs/micro.yaml", name = Generated);

thread_local! {
    static WEIGHTS: Cell<&'static [u8]> = const { Cell::new(&[]) };
}

/// Replaces `weights.rs`, which embeds a file.
mod weights {
    pub fn bytes() -> &'static [u8] {
        super::WEIGHTS.get()
    }
}

const INPUT: usize = Generated::INPUT[0] * Generated::INPUT[1] * 3;
const CLASSES: usize = Generated::CLASSES;
/// Statuses of the header: lengths and null pointers are reported, nothing else is wrong with the calls below.
const FAILURES: [i32; 2] = [-1, -2];

/// Creates a model of the bytes and, if it can be created, calls every function with valid and with wrong lengths.
pub fn c_interface(bytes: &[u8]) {
    let mut file = Aligned::new(bytes.len());
    file.bytes().copy_from_slice(bytes);
    file.lend(|file| {
        WEIGHTS.set(file);
        bounded(file.len(), || session(file));
        WEIGHTS.set(&[]);
    });
}

fn session(bytes: &[u8]) {
    let mut reason: *const c_char = ptr::null();
    // SAFETY: a place for a pointer.
    let model = unsafe { NAME_create(&raw mut reason) };
    assert_eq!(model.is_null(), !reason.is_null());
    if model.is_null() {
        assert!(!text(reason).is_empty());
        return;
    }
    let scratch = NAME_scratch_create();
    calls(bytes, model, scratch);
    // SAFETY: both come from the functions that create them, and are not used again.
    unsafe {
        NAME_free(model);
        NAME_scratch_free(scratch);
    }
}

fn calls(bytes: &[u8], model: *const Shared, scratch: *const Scratch) {
    let mut number = Numbers::new(bytes);
    let image: Vec<f32> = (0..INPUT).map(|at| (at * at % 251) as f32 / 125.0 - 1.0).collect();
    let pixels: Vec<u8> = (0..INPUT).map(|at| (at * 31 % 256) as u8).collect();
    let mut logits = [0.0_f32; CLASSES];
    let mut embedding = [0.0_f32; Generated::EMBEDDING];
    for valid in [true, false] {
        let mut length = |right: usize| if valid { right } else { number.below(right) };
        // SAFETY: lengths are those of the memory, or less.
        let statuses = unsafe {
            [
                NAME_run(model, scratch, image.as_ptr(), length(INPUT), logits.as_mut_ptr(), length(CLASSES)),
                NAME_run_pixels(model, scratch, pixels.as_ptr(), length(INPUT), logits.as_mut_ptr(), length(CLASSES)),
                NAME_embed(
                    model,
                    scratch,
                    image.as_ptr(),
                    length(INPUT),
                    embedding.as_mut_ptr(),
                    length(Generated::EMBEDDING),
                ),
            ]
        };
        assert!(statuses.iter().all(|status| if valid { *status == 0 } else { FAILURES.contains(status) }));
    }
    // At most one guess for each class is written, whatever the count.
    let mut guesses: Vec<Guess> = Vec::with_capacity(CLASSES + 1);
    for count in [1, CLASSES, usize::MAX, number.below(CLASSES)] {
        let [width, height] = [number.below(12), number.below(12)];
        for [width, height] in [[width, height], [usize::MAX, height]] {
            let held = width.checked_mul(height).and_then(|area| area.checked_mul(3)).filter(|held| *held <= INPUT);
            let length = held.unwrap_or(INPUT);
            // SAFETY: the lengths are within the memory, which has room for all classes and the second of two.
            let status = unsafe {
                NAME_classify(model, scratch, pixels.as_ptr(), length, width, height, guesses.as_mut_ptr(), count)
            };
            let most = count.min(CLASSES + 1) as i32;
            assert!((0..=most).contains(&status) || FAILURES.contains(&status), "{status}");
        }
    }
    for id in [-1, 0, CLASSES as i32 - 1, CLASSES as i32 + 1, i32::MAX, i32::MIN] {
        // SAFETY: the model is alive.
        let label = unsafe { NAME_label(model, id) };
        if !label.is_null() {
            text(label);
        }
    }
    // SAFETY: the model is alive.
    assert!(!text(unsafe { NAME_isa(model) }).is_empty());
    assert!((-6..2).all(|status| !text(NAME_message(status)).is_empty()));
}

/// A text of the library, which is UTF-8.
fn text<'a>(start: *const c_char) -> &'a str {
    // SAFETY: a text that ends with a zero byte, and that lives as long as the model or until the next failure.
    unsafe { CStr::from_ptr(start) }.to_str().expect("UTF-8")
}

/// Numbers that depend on the input only.
struct Numbers(DefaultHasher);

impl Numbers {
    fn new(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self(hasher)
    }

    /// A number below `limit`, which is above 0.
    fn below(&mut self, limit: usize) -> usize {
        self.0.write_u8(0);
        (self.0.finish() % limit as u64) as usize
    }
}

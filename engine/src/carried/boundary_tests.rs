//! The C functions with valid and invalid arguments. `cli/tests/build_command.rs` calls them from C.

use std::ffi::{CStr, c_char};
use std::ptr;

use super::boundary::*;
use super::{Generated, network};
use mbvc_runtime::Network;

const INPUT: usize = Generated::INPUT[0] * Generated::INPUT[1] * 3;

/// A model and a scratch, freed when dropped.
struct Session {
    model: *mut Shared,
    scratch: *mut Scratch,
}

impl Session {
    fn new() -> Self {
        let mut reason: *const c_char = ptr::dangling();
        // SAFETY: a place for a pointer.
        let model = unsafe { NAME_create(&raw mut reason) };
        assert!(!model.is_null() && reason.is_null());
        Self { model, scratch: NAME_scratch_create() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: both come from the functions that create them.
        unsafe {
            NAME_free(self.model);
            NAME_scratch_free(self.scratch);
        }
    }
}

fn message(status: i32) -> &'static str {
    // SAFETY: a static text.
    unsafe { CStr::from_ptr(NAME_message(status)) }.to_str().unwrap()
}

#[test]
fn c_functions_return_what_rust_returns() {
    let session = Session::new();
    let model = network();
    let image: Vec<f32> = (0..INPUT).map(|at| (at * at % 251) as f32 / 125.0 - 1.0).collect();
    let expected = model.run_slice(&mut Generated::scratch(), &image).unwrap();
    // The logits overwrite the image: overlapping memory is allowed.
    let mut shared = image.clone();
    let start = shared.as_mut_ptr();
    // SAFETY: all lengths are those of the vector, or less.
    let done = unsafe { NAME_run(session.model, session.scratch, start, INPUT, start, Generated::CLASSES) };
    assert_eq!((done, &shared[..Generated::CLASSES]), (0, &expected[..]));

    let mut embedding = [f32::NAN; Generated::EMBEDDING];
    let (to, length) = (embedding.as_mut_ptr(), embedding.len());
    // SAFETY: as above.
    let done = unsafe { NAME_embed(session.model, session.scratch, image.as_ptr(), INPUT, to, length) };
    assert_eq!(done, 0);
    assert_eq!(embedding, model.embed(&mut Generated::scratch(), image.as_slice().try_into().unwrap()));
    // SAFETY: the model is alive.
    let isa = unsafe { CStr::from_ptr(NAME_isa(session.model)) };
    assert_eq!(isa.to_str(), Ok(Network::isa(&model).name()));
}

#[test]
fn mistakes_get_a_status() {
    let session = Session::new();
    let (model, scratch) = (session.model.cast_const(), session.scratch.cast_const());
    let pixels = [128_u8; INPUT];
    let image = vec![0.0_f32; INPUT + 1];
    let mut logits = [0.0; Generated::CLASSES];
    let (pixels, image, to, classes) = (pixels.as_ptr(), image.as_ptr(), logits.as_mut_ptr(), Generated::CLASSES);
    let crooked = image.cast::<u8>().wrapping_add(1).cast();
    // SAFETY: pointers are null, misaligned and therefore rejected, or valid for the length.
    let statuses = unsafe {
        [
            NAME_run(ptr::null(), scratch, image, INPUT, to, classes),
            NAME_run(model, ptr::null(), image, INPUT, to, classes),
            NAME_run(model, scratch, ptr::null(), INPUT, to, classes),
            NAME_run(model, scratch, image, INPUT, ptr::null_mut(), classes),
            NAME_run_pixels(model, scratch, ptr::null(), INPUT, to, classes),
            NAME_run_pixels(model, scratch, pixels, INPUT - 1, to, classes),
            NAME_run(model, scratch, image, INPUT + 1, to, classes),
            NAME_run(model, scratch, image, usize::MAX, to, classes),
            NAME_run(model, scratch, image, INPUT, to, classes - 1),
            NAME_run(model, scratch, crooked, INPUT, to, classes),
            NAME_run(model, scratch, image, INPUT, to.cast::<u8>().wrapping_add(2).cast(), classes),
            NAME_classify(model, scratch, pixels, INPUT, 0, 0, ptr::null_mut(), 1),
            NAME_classify(model, scratch, pixels, INPUT, usize::MAX, usize::MAX, ptr::null_mut(), 1),
            NAME_classify(model, scratch, pixels, 12, 2, 2, ptr::null_mut(), 1),
            NAME_classify(model, scratch, pixels, 12, 2, 2, ptr::null_mut(), 0),
            NAME_run_pixels(model, scratch, pixels, INPUT, to, classes),
        ]
    };
    assert_eq!(statuses, [-1, -1, -1, -1, -1, -2, -2, -2, -2, -3, -3, -2, -2, -1, 0, 0]);
    // SAFETY: the pointer is dangling, but is not accessed.
    unsafe {
        NAME_free(ptr::null_mut());
        NAME_scratch_free(ptr::null_mut());
        assert!(NAME_isa(ptr::null()).is_null() && NAME_label(ptr::null(), 0).is_null());
        assert!(NAME_label(model, 0).is_null() && NAME_label(model, -1).is_null(), "random weights have no labels");
        NAME_free(NAME_create(ptr::null_mut()));
    }
    let texts: Vec<_> = (-5..=1).map(message).collect();
    assert!(texts[1].contains("scratch") && texts[4].contains("null") && texts[5..] == ["done", "done"], "{texts:?}");
}

#[test]
fn one_scratch_serves_one_call() {
    let session = Session::new();
    let (model, scratch) = (session.model as usize, session.scratch as usize);
    let pixels = vec![1_u8; 4000 * 4000 * 3];
    let classify = || {
        let mut guess = std::mem::MaybeUninit::<[Guess; 1]>::uninit();
        let (model, scratch) = (model as *const Shared, scratch as *const Scratch);
        // SAFETY: both are alive, and the lengths are those of the vector and of one guess.
        unsafe {
            NAME_classify(model, scratch, pixels.as_ptr(), pixels.len(), 4000, 4000, guess.as_mut_ptr().cast(), 1)
        }
    };
    // Each call gets its result or the status; at least one succeeds.
    let statuses: Vec<i32> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(classify)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(statuses.contains(&1) && statuses.iter().all(|status| [1, -4].contains(status)), "{statuses:?}");
}

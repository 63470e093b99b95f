//! The C functions of a built library, which its header documents, and all of its `unsafe` code.
//!
//! Null pointers, lengths, alignment and concurrent calls with one scratch are checked. Callers guarantee that
//! pointers are valid for their lengths. `mbvc build` replaces `NAME` by the library's name.
//!
//! A panic, which would be a bug in mbvc, does not unwind into C: functions of this ABI abort the process.

#![allow(non_snake_case)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::Mutex;

use super::model::{Model, Work};
use super::{rt, weights};

/// `NAME_model`, which threads share.
pub struct Shared {
    model: Model,
    labels: Vec<CString>,
    isa: CString,
}

/// `NAME_scratch`: locked while a call works in it.
pub struct Scratch(Mutex<Work>);

/// `NAME_guess`.
#[repr(C)]
pub struct Guess {
    id: i32,
    score: f32,
}

/// Status of a successful call.
const DONE: c_int = 0;

/// Status of a failed call, as in the header.
#[derive(Clone, Copy)]
enum Failure {
    Null = -1,
    Length = -2,
    Alignment = -3,
    Busy = -4,
}

impl From<rt::LengthError> for Failure {
    fn from(_: rt::LengthError) -> Self {
        Self::Length
    }
}

impl From<rt::PictureError> for Failure {
    fn from(_: rt::PictureError) -> Self {
        Self::Length
    }
}

thread_local! {
    /// Reason of the thread's last failure of `NAME_create`.
    static REASON: RefCell<CString> = RefCell::new(CString::default());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_create(reason: *mut *const c_char) -> *mut Shared {
    let (model, message) = match Model::from_container(weights::bytes()) {
        Ok(model) => {
            let labels = model.labels().iter().map(|label| c_text(label)).collect();
            let isa = c_text(model.isa().name());
            (Box::into_raw(Box::new(Shared { model, labels, isa })), ptr::null())
        }
        Err(message) => {
            REASON.set(c_text(&message));
            // The text is valid until the next `set`.
            (ptr::null_mut(), REASON.with_borrow(|reason| reason.as_ptr()))
        }
    };
    if !reason.is_null() && reason.is_aligned() {
        // SAFETY: not null and aligned; the caller guarantees that a pointer can be written there.
        unsafe { reason.write(message) };
    }
    model
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_free(model: *mut Shared) {
    if !model.is_null() {
        // SAFETY: not null; the caller guarantees that it comes from `NAME_create` and is not used again.
        drop(unsafe { Box::from_raw(model) });
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn NAME_scratch_create() -> *mut Scratch {
    Box::into_raw(Box::new(Scratch(Mutex::new(Work::new()))))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_scratch_free(scratch: *mut Scratch) {
    if !scratch.is_null() {
        // SAFETY: not null; the caller guarantees that it comes from `NAME_scratch_create` and is not used again.
        drop(unsafe { Box::from_raw(scratch) });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_run(
    model: *const Shared,
    scratch: *const Scratch,
    image: *const f32,
    image_length: usize,
    logits: *mut f32,
    logits_length: usize,
) -> c_int {
    // SAFETY: the caller guarantees that `model` and `scratch` are null, or come from `NAME_create` and
    // `NAME_scratch_create` and have not been freed, and that the other pointers are valid for their lengths.
    let done = call(unsafe { model.as_ref() }, unsafe { scratch.as_ref() }, |shared, work| unsafe {
        shared.model.run(work, lent(image, image_length)?)?;
        give(&work.logits, logits, logits_length)?;
        Ok(DONE)
    });
    status(done)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_run_pixels(
    model: *const Shared,
    scratch: *const Scratch,
    pixels: *const u8,
    pixels_length: usize,
    logits: *mut f32,
    logits_length: usize,
) -> c_int {
    // SAFETY: as in `NAME_run`.
    let done = call(unsafe { model.as_ref() }, unsafe { scratch.as_ref() }, |shared, work| unsafe {
        shared.model.run_pixels(work, lent(pixels, pixels_length)?)?;
        give(&work.logits, logits, logits_length)?;
        Ok(DONE)
    });
    status(done)
}

#[cfg(not(quantized))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_embed(
    model: *const Shared,
    scratch: *const Scratch,
    image: *const f32,
    image_length: usize,
    embedding: *mut f32,
    embedding_length: usize,
) -> c_int {
    // SAFETY: as in `NAME_run`.
    let done = call(unsafe { model.as_ref() }, unsafe { scratch.as_ref() }, |shared, work| unsafe {
        let values = shared.model.embed(work, lent(image, image_length)?)?;
        give(&values, embedding, embedding_length)?;
        Ok(DONE)
    });
    status(done)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_classify(
    model: *const Shared,
    scratch: *const Scratch,
    pixels: *const u8,
    pixels_length: usize,
    width: usize,
    height: usize,
    guesses: *mut Guess,
    count: usize,
) -> c_int {
    // SAFETY: as in `NAME_run`.
    let done = call(unsafe { model.as_ref() }, unsafe { scratch.as_ref() }, |shared, work| unsafe {
        let picture = rt::Rgb::new(lent(pixels, pixels_length)?, [height, width])?;
        let pixels = shared.model.frame(&picture);
        shared.model.run_pixels(work, &pixels)?;
        // An `i32` can count all classes, because each has weights in memory.
        let guess = |(class, score)| Guess { id: class as i32, score };
        let best: Vec<Guess> = shared.model.best(work, count).into_iter().map(guess).collect();
        give(&best, guesses, best.len())?;
        Ok(best.len() as c_int)
    });
    status(done)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_label(model: *const Shared, id: i32) -> *const c_char {
    // SAFETY: the caller guarantees that `model` is null, or comes from `NAME_create` and has not been freed.
    let labels = unsafe { model.as_ref() }.map_or(&[][..], |shared| &shared.labels);
    usize::try_from(id).ok().and_then(|id| labels.get(id)).map_or(ptr::null(), |label| label.as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_isa(model: *const Shared) -> *const c_char {
    // SAFETY: as in `NAME_label`.
    unsafe { model.as_ref() }.map_or(ptr::null(), |shared| shared.isa.as_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn NAME_message(status: c_int) -> *const c_char {
    let text: &'static CStr = match status {
        0.. => c"done",
        -1 => c"a pointer is null",
        -2 => c"a length does not match the network or the size of the picture",
        -3 => c"a pointer is misaligned",
        -4 => c"another call uses this scratch",
        _ => c"unknown status",
    };
    text.as_ptr()
}

/// Locks the scratch for a call.
fn call(
    shared: Option<&Shared>,
    scratch: Option<&Scratch>,
    run: impl FnOnce(&Shared, &mut Work) -> Result<c_int, Failure>,
) -> Result<c_int, Failure> {
    let (shared, scratch) = (shared.ok_or(Failure::Null)?, scratch.ok_or(Failure::Null)?);
    run(shared, &mut *scratch.0.try_lock().map_err(|_| Failure::Busy)?)
}

fn status(done: Result<c_int, Failure>) -> c_int {
    done.unwrap_or_else(|failure| failure as c_int)
}

/// Returns a slice of the caller's memory, for the duration of a call.
///
/// # Safety
/// `start` is null, or `length` values can be read there as long as the slice is used.
unsafe fn lent<'a, T>(start: *const T, length: usize) -> Result<&'a [T], Failure> {
    if start.is_null() {
        return Err(Failure::Null);
    }
    if !start.is_aligned() {
        return Err(Failure::Alignment);
    }
    if length.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Failure::Length);
    }
    // SAFETY: not null, aligned, and at most `isize::MAX` bytes; the caller guarantees that `length` values can be
    // read there.
    Ok(unsafe { std::slice::from_raw_parts(start, length) })
}

/// Copies values into the caller's memory, which may be uninitialized, or the memory of the image.
///
/// # Safety
/// `to` is null, or `length` values can be written there.
unsafe fn give<T>(values: &[T], to: *mut T, length: usize) -> Result<(), Failure> {
    if length != values.len() {
        return Err(Failure::Length);
    }
    if values.is_empty() {
        return Ok(());
    }
    if to.is_null() {
        return Err(Failure::Null);
    }
    if !to.is_aligned() {
        return Err(Failure::Alignment);
    }
    // SAFETY: not null and aligned; the caller guarantees that `length` values can be written there. `values` are
    // in this library's memory, which `to` does not overlap.
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
    Ok(())
}

/// Converts a text up to its first zero byte.
fn c_text(text: &str) -> CString {
    let until = text.split('\0').next().unwrap_or_default();
    CString::new(until).unwrap_or_default()
}

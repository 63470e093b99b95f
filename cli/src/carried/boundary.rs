//! The C functions of a built library, which its header documents, and all that it has of `unsafe`.
//!
//! What C gives is checked as far as can be: null, lengths, alignment, and two calls on one scratch. That pointers lead to
//! what they are said to lead to is the caller's promise. `mbvc build` puts the library's own name in place of `NAME`.
//!
//! A panic, which would be a mistake of mbvc, does not unwind into C: functions of this ABI end the process.

#![allow(non_snake_case)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::sync::Mutex;

use super::model::{Model, Work};
use super::rt;

/// `NAME_model`: what threads share.
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
    probability: f32,
}

/// The status of a call that did what it was asked for.
const DONE: c_int = 0;

/// Why a call did nothing; the numbers are those of the header.
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
    /// Why the thread's last `NAME_create` made nothing.
    static REASON: RefCell<CString> = RefCell::new(CString::default());
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_create(reason: *mut *const c_char) -> *mut Shared {
    let (made, message) = match Model::new() {
        Ok(model) => {
            let labels = model.labels().iter().map(|label| c_text(label)).collect();
            let isa = c_text(model.isa().name());
            (Box::into_raw(Box::new(Shared { model, labels, isa })), ptr::null())
        }
        Err(message) => {
            REASON.set(c_text(&message));
            // The text stays where it is until the next `set`.
            (ptr::null_mut(), REASON.with_borrow(|reason| reason.as_ptr()))
        }
    };
    if !reason.is_null() && reason.is_aligned() {
        // SAFETY: not null, aligned, and the caller's to write.
        unsafe { reason.write(message) };
    }
    made
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_free(model: *mut Shared) {
    if !model.is_null() {
        // SAFETY: the caller's promise: it comes from `NAME_create` and is not used again.
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
        // SAFETY: the caller's promise: it comes from `NAME_scratch_create` and is not used again.
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
    // SAFETY: the caller's promises are those that `call`, `lent` and `give` ask for.
    let done = call(unsafe { model.as_ref() }, unsafe { scratch.as_ref() }, |shared, work| unsafe {
        shared.model.run(work, lent(image, image_length)?)?;
        give(&work.scores, logits, logits_length)?;
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
        give(&work.scores, logits, logits_length)?;
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
        // There are fewer classes than an `i32` counts: each has its weights in memory.
        let guess = |(class, probability)| Guess { id: class as i32, probability };
        let best: Vec<Guess> = Model::best(work, count).into_iter().map(guess).collect();
        give(&best, guesses, best.len())?;
        Ok(best.len() as c_int)
    });
    status(done)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NAME_label(model: *const Shared, id: i32) -> *const c_char {
    // SAFETY: null, or the caller's promise that it comes from `NAME_create`.
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
        -2 => c"a length is not what the network or the size of the picture asks for",
        -3 => c"a pointer is not aligned for what it should lead to",
        -4 => c"another call works in this scratch",
        _ => c"no status of this library",
    };
    text.as_ptr()
}

/// Takes the scratch for the time of a call.
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

/// What C lends for the time of a call.
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
    // SAFETY: not null, aligned, no longer than a slice may be, and readable by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(start, length) })
}

/// Copies values to where C wants them; it may be memory that was never written, or the image itself.
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
    // SAFETY: not null, aligned, writable for `values.len()` values by the caller's promise, and apart from `values`,
    // which lie in this library's own memory.
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
    Ok(())
}

/// A text up to its first zero byte, if it has one.
fn c_text(text: &str) -> CString {
    let until = text.split('\0').next().unwrap_or_default();
    CString::new(until).unwrap_or_default()
}

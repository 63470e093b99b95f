//! The C functions of a network that is compiled to a dynamic library, for the process that loads it. That process may
//! be built by another compiler, so only C types cross the boundary.

use std::ffi::c_void;

use super::{Generated, facts, rt};

/// Receives bytes.
type Sink = extern "C" fn(context: *mut c_void, bytes: *const u8, length: usize);

/// Passes the facts of the network's type to `sink`, as encoded by `facts.rs`.
#[unsafe(no_mangle)]
pub extern "C" fn mbvc_network(sink: Sink, context: *mut c_void) {
    let facts = facts::of_network(Generated::INFO);
    sink(context, facts.as_ptr(), facts.len());
}

/// Passes the facts of a model to `sink`.
///
/// # Safety
/// `model` must point to a live model of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_model(model: *const Generated, sink: Sink, context: *mut c_void) {
    // SAFETY: the caller guarantees that `model` points to a live model.
    let facts = facts::of_model(unsafe { &*model });
    sink(context, facts.as_ptr(), facts.len());
}

/// Bytes that the caller lends.
#[repr(C)]
pub struct Bytes {
    start: *const u8,
    length: usize,
}

impl Bytes {
    /// # Safety
    /// `start` must be readable for `length` bytes as long as the slice is used.
    unsafe fn get(&self) -> &[u8] {
        // SAFETY: the caller guarantees that `length` bytes from `start` are readable while the slice is used.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

/// Builds a model of the weights file in `weights`. If that fails, passes the reason to `sink` and returns null.
/// `source` is the origin of the weights; `isa` is a name, or empty for the best instruction set.
///
/// # Safety
/// `weights`, `source` and `isa` must be readable for their lengths during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_build(
    weights: Bytes,
    source: Bytes,
    isa: Bytes,
    sink: Sink,
    context: *mut c_void,
) -> *mut Generated {
    // SAFETY: the caller guarantees that each of the three is readable for its length during this call.
    let (weights, source, isa) = unsafe { (weights.get().to_vec(), source.get(), isa.get()) };
    let built = rt::Weights::from_bytes(weights).map_err(|error| error.to_string()).and_then(|weights| {
        let weights = weights.with_source(&String::from_utf8_lossy(source));
        let isa = std::str::from_utf8(isa).ok().and_then(rt::Isa::from_name);
        let built = match isa {
            Some(isa) => Generated::with_isa(&weights, isa),
            None => Generated::new(&weights),
        };
        built.map_err(|error| error.to_string())
    });
    boxed(built, sink, context)
}

/// Packs the weights file in `weights` for the instruction set with the name `isa`, and passes the packed file to `sink`; returns
/// `false` if that fails.
///
/// # Safety
/// `weights` and `isa` must be readable for their lengths during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_pack(weights: Bytes, isa: Bytes, sink: Sink, context: *mut c_void) -> bool {
    // SAFETY: the caller guarantees that both are readable for their lengths during this call.
    let (weights, isa) = unsafe { (weights.get(), isa.get()) };
    let pack = || {
        let isa = rt::Isa::from_name(std::str::from_utf8(isa).ok()?)?;
        let container = rt::Container::parse(weights).ok()?;
        let bytes = Generated::packed_bytes_for(&container, isa)?;
        rt::packed_in_memory(bytes, |file| Generated::pack(&container, isa, file)).ok()
    };
    let packed = pack();
    if let Some(file) = &packed {
        sink(context, file.as_ptr(), file.len());
    }
    packed.is_some()
}

/// Builds a model from packed weights, which it uses in place. If that fails, passes the reason to `sink` and returns null.
///
/// # Safety
/// `packed` must be readable for its length, and unchanged, until the process ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_from_packed(packed: Bytes, sink: Sink, context: *mut c_void) -> *mut Generated {
    // SAFETY: the caller guarantees that the bytes are readable and unchanged until the process ends.
    let packed: &'static [u8] = unsafe { std::slice::from_raw_parts(packed.start, packed.length) };
    boxed(Generated::from_packed(packed).map_err(|error| error.to_string()), sink, context)
}

/// Moves a model to the heap and returns its address. On an error, passes the reason to `sink` and returns null.
fn boxed(built: Result<Generated, String>, sink: Sink, context: *mut c_void) -> *mut Generated {
    match built {
        Ok(model) => Box::into_raw(Box::new(model)),
        Err(reason) => {
            sink(context, reason.as_ptr(), reason.len());
            std::ptr::null_mut()
        }
    }
}

/// Frees a model.
///
/// # Safety
/// `model` must point to a live model of this library, which is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_free(model: *mut Generated) {
    // SAFETY: every model of this library is a `Box`; the caller guarantees that it is live and not used again.
    drop(unsafe { Box::from_raw(model) });
}

/// The caller's observer.
#[repr(C)]
pub struct Watcher {
    context: *mut c_void,
    stage: extern "C" fn(context: *mut c_void, step: usize, stage: usize),
    step: extern "C" fn(context: *mut c_void, step: usize, output: *const f32, length: usize),
    bf16: extern "C" fn(context: *mut c_void, step: usize, output: *const rt::Bf16, length: usize),
    bytes: extern "C" fn(context: *mut c_void, step: usize, output: *const u8, length: usize),
}

impl rt::Observer for &Watcher {
    fn stage(&mut self, step: usize, stage: usize) {
        (self.stage)(self.context, step, stage);
    }

    fn step(&mut self, step: usize, output: &[f32]) {
        (self.step)(self.context, step, output.as_ptr(), output.len());
    }

    fn bf16(&mut self, step: usize, output: &[rt::Bf16]) {
        (self.bf16)(self.context, step, output.as_ptr(), output.len());
    }

    fn bytes(&mut self, step: usize, output: &[u8]) {
        (self.bytes)(self.context, step, output.as_ptr(), output.len());
    }
}

/// Runs one call on an image of floats. The caller has checked the lengths; returns `false` if one is wrong.
///
/// # Safety
/// `model` must point to a live model of this library; the slices must be valid for their lengths and
/// disjoint; `watcher` must be valid, and its functions must take its context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_run(
    model: *const Generated,
    scratch: *mut f32,
    scratch_length: usize,
    input: *const f32,
    input_length: usize,
    logits: *mut f32,
    logits_length: usize,
    watcher: *const Watcher,
) -> bool {
    // SAFETY: the caller guarantees that `model` and `watcher` are valid, that the three slices are valid for their
    // lengths, and that `scratch` and `logits` overlap neither each other nor the input.
    let (model, scratch, input, logits, mut watcher) = unsafe {
        (
            &*model,
            std::slice::from_raw_parts_mut(scratch, scratch_length),
            std::slice::from_raw_parts(input, input_length),
            std::slice::from_raw_parts_mut(logits, logits_length),
            &*watcher,
        )
    };
    rt::Network::run_into(model, scratch, input, logits, &mut watcher).is_ok()
}

/// Like [`mbvc_run`], but for an image of pixels.
///
/// # Safety
/// See `mbvc_run`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_run_pixels(
    model: *const Generated,
    scratch: *mut f32,
    scratch_length: usize,
    pixels: *const u8,
    pixels_length: usize,
    logits: *mut f32,
    logits_length: usize,
    watcher: *const Watcher,
) -> bool {
    // SAFETY: the caller guarantees that `model` and `watcher` are valid, that the three slices are valid for their
    // lengths, and that `scratch` and `logits` overlap neither each other nor the pixels.
    let (model, scratch, pixels, logits, mut watcher) = unsafe {
        (
            &*model,
            std::slice::from_raw_parts_mut(scratch, scratch_length),
            std::slice::from_raw_parts(pixels, pixels_length),
            std::slice::from_raw_parts_mut(logits, logits_length),
            &*watcher,
        )
    };
    rt::Network::run_pixels_into(model, scratch, pixels, logits, &mut watcher).is_ok()
}

/// Computes the pooled vector of an image of pixels. The caller has checked the lengths; returns `false` if one is wrong.
///
/// # Safety
/// `model` must point to a live model of this library; the slices must be valid for their lengths and disjoint.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_embed_pixels(
    model: *const Generated,
    scratch: *mut f32,
    scratch_length: usize,
    pixels: *const u8,
    pixels_length: usize,
    vector: *mut f32,
    vector_length: usize,
) -> bool {
    // SAFETY: the caller guarantees that `model` is valid, that the three slices are valid for their lengths, and that
    // `scratch` and `vector` overlap neither each other nor the pixels.
    let (model, scratch, pixels, vector) = unsafe {
        (
            &*model,
            std::slice::from_raw_parts_mut(scratch, scratch_length),
            std::slice::from_raw_parts(pixels, pixels_length),
            std::slice::from_raw_parts_mut(vector, vector_length),
        )
    };
    rt::Network::embed_pixels_into(model, scratch, pixels, vector).is_ok()
}

// What a compiled network shows to the command: C functions, because a library that another rustc built shares no
// Rust types with it. The command puts this file behind the generated code, which defines `Network` as `Generated`,
// and compiles both to a dynamic library.

use std::ffi::c_void;

use mbvc_runtime as rt;

/// Takes a text in pieces.
type Sink = extern "C" fn(context: *mut c_void, text: *const u8, length: usize);

fn say(sink: Sink, context: *mut c_void, text: &str) {
    sink(context, text.as_ptr(), text.len());
}

/// Facts of a model, a line each; names stand last, so that they may hold anything but a line break.
///
/// # Safety
/// `model` must come from `mbvc_build`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_describe(model: *const Generated, sink: Sink, context: *mut c_void) {
    // SAFETY: the caller's promise.
    let model: &dyn rt::Network = unsafe { &*model };
    let info = model.info();
    let conventions = info.conventions;
    let mut text = format!(
        "network {} {} {} {} {} {} {} {} {} {} {} {}\n",
        info.input[0], info.input[1], info.classes, info.embedding, info.scratch_bytes, info.threads, info.fusion, info.numerics,
        conventions.activation, conventions.padding, conventions.precision, info.name
    );
    text += &format!("runs {} {}\n", model.packed_bytes(), model.isa());
    for isa in info.isas {
        text += &format!("isa {isa}\n");
    }
    for index in 0..info.layers.len() {
        if let Some(fast) = model.is_fast(index) {
            text += &format!("fast {index} {fast}\n");
        }
    }
    let dims = |dims: &[usize]| dims.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    for parameter in info.parameters {
        text += &format!("parameter {} {} {}\n", dims(parameter.shape), parameter.dtype.name(), parameter.name);
    }
    for layer in info.layers {
        let output = dims(&layer.output);
        text += &format!("layer {} {} {} {output} {} {}\n", layer.number, layer.step, layer.line, layer.macs, layer.name);
    }
    for step in info.steps {
        text += &format!("step {} {}\n", dims(&step.output), step.name);
        for stage in step.stages {
            text += &format!("stage {} {} {}\n", stage.macs, stage.bytes, stage.name);
        }
    }
    say(sink, context, &text);
}

/// Bytes that the caller lends for one call.
#[repr(C)]
pub struct Bytes {
    start: *const u8,
    length: usize,
}

impl Bytes {
    /// # Safety
    /// `start` must be readable for `length` bytes as long as the slice is used.
    unsafe fn get(&self) -> &[u8] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

/// A model of the container in `weights`; null, and the reason in `sink`, if there is none. `source` says where the
/// weights come from; `isa` is a name, or empty for the best.
///
/// # Safety
/// All bytes must be readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_build(
    weights: Bytes,
    source: Bytes,
    isa: Bytes,
    sink: Sink,
    context: *mut c_void,
) -> *mut Generated {
    // SAFETY: the caller's promise.
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
    match built {
        Ok(model) => Box::into_raw(Box::new(model)),
        Err(reason) => {
            say(sink, context, &reason);
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// `model` must come from `mbvc_build` and not be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_free(model: *mut Generated) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(model) });
}

type OnStage = extern "C" fn(context: *mut c_void, step: usize, stage: usize);
type OnStep = extern "C" fn(context: *mut c_void, step: usize, output: *const f32, length: usize);

struct Caller {
    context: *mut c_void,
    stage: OnStage,
    step: OnStep,
}

impl rt::Observer for Caller {
    fn stage(&mut self, step: usize, stage: usize) {
        (self.stage)(self.context, step, stage);
    }

    fn step(&mut self, step: usize, output: &[f32]) {
        (self.step)(self.context, step, output.as_ptr(), output.len());
    }
}

/// One call on an image of floats. Whether the lengths are the network's is checked by the caller; `false` if they are
/// not after all.
///
/// # Safety
/// `model` must come from `mbvc_build`; the slices must be valid for their lengths and disjoint.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_run(
    model: *const Generated,
    scratch: *mut f32,
    scratch_length: usize,
    input: *const f32,
    input_length: usize,
    logits: *mut f32,
    logits_length: usize,
    stage: OnStage,
    step: OnStep,
    context: *mut c_void,
) -> bool {
    // SAFETY: the caller's promise.
    let (model, scratch, input, logits) = unsafe {
        (
            &*model,
            std::slice::from_raw_parts_mut(scratch, scratch_length),
            std::slice::from_raw_parts(input, input_length),
            std::slice::from_raw_parts_mut(logits, logits_length),
        )
    };
    rt::Network::run_into(model, scratch, input, logits, &mut Caller { context, stage, step }).is_ok()
}

/// [`mbvc_run`] on an image of pixels.
///
/// # Safety
/// As `mbvc_run`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_run_pixels(
    model: *const Generated,
    scratch: *mut f32,
    scratch_length: usize,
    pixels: *const u8,
    pixels_length: usize,
    logits: *mut f32,
    logits_length: usize,
    stage: OnStage,
    step: OnStep,
    context: *mut c_void,
) -> bool {
    // SAFETY: the caller's promise.
    let (model, scratch, pixels, logits) = unsafe {
        (
            &*model,
            std::slice::from_raw_parts_mut(scratch, scratch_length),
            std::slice::from_raw_parts(pixels, pixels_length),
            std::slice::from_raw_parts_mut(logits, logits_length),
        )
    };
    rt::Network::run_pixels_into(model, scratch, pixels, logits, &mut Caller { context, stage, step }).is_ok()
}

//! Networks in dynamic libraries, behind the runtime's `Network`.
//!
//! They are libraries instead of child processes, so that variants can be measured in alternating calls in one process,
//! as a whole and by stage, like networks that are compiled in. `carried/driver.rs` is the other side of the boundary.

mod facts;
mod loaded;
#[cfg(test)]
mod tests;

use std::ffi::c_void;
use std::ptr::NonNull;

use mbvc_compiler::Compiled;
use mbvc_runtime::{Bf16, Isa, LengthError, Network, NetworkInfo, Observer, Weights};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::source::module;
use facts::ModelFacts;
use loaded::Loaded;

type Context = *mut c_void;
type Sink = extern "C" fn(Context, *const u8, usize);

/// Bytes that are lent to the library.
#[repr(C)]
struct Bytes {
    start: *const u8,
    length: usize,
}

impl Bytes {
    fn new(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr(), length: bytes.len() }
    }
}

/// Callbacks of an observer.
#[repr(C)]
struct Watcher {
    context: Context,
    stage: extern "C" fn(Context, usize, usize),
    step: extern "C" fn(Context, usize, *const f32, usize),
    bf16: extern "C" fn(Context, usize, *const Bf16, usize),
    bytes: extern "C" fn(Context, usize, *const u8, usize),
}

/// A model in the library's memory.
enum Opaque {}

type Describe = unsafe extern "C" fn(Sink, Context);
type DescribeModel = unsafe extern "C" fn(*const Opaque, Sink, Context);
type Build = unsafe extern "C" fn(weights: Bytes, source: Bytes, isa: Bytes, Sink, Context) -> *mut Opaque;
type Pack = unsafe extern "C" fn(weights: Bytes, isa: Bytes, Sink, Context) -> bool;
/// Binds packed weights, which must stay readable and unchanged until the process ends.
type FromPacked = unsafe extern "C" fn(packed: Bytes, Sink, Context) -> *mut Opaque;
type Free = unsafe extern "C" fn(*mut Opaque);
/// Runs on an image of floats, or of pixels.
type Run<T> =
    unsafe extern "C" fn(*const Opaque, *mut f32, usize, *const T, usize, *mut f32, usize, *const Watcher) -> bool;
/// Computes the pooled vector of an image of pixels.
type Embed = unsafe extern "C" fn(*const Opaque, *mut f32, usize, *const u8, usize, *mut f32, usize) -> bool;

/// A compiled network without weights. It stays loaded until the process ends.
#[derive(Clone, Copy)]
pub struct Library(&'static Loaded);

impl Library {
    /// Compiles a network, or finds it in the cache, and loads it. `what` describes it in progress messages.
    ///
    /// # Errors
    /// If there is no Rust compiler, it rejects the code, or the cache cannot be used.
    pub fn open(compiled: &Compiled, what: &str, progress: &dyn Progress) -> Result<Self> {
        Self::open_in(&Cache::open()?, compiled, what, progress)
    }

    /// Like [`open`](Self::open), but uses `cache`.
    ///
    /// # Errors
    /// See `open`.
    pub fn open_in(cache: &Cache, compiled: &Compiled, what: &str, progress: &dyn Progress) -> Result<Self> {
        let path = cache.library(&module(compiled), what, progress)?;
        Loaded::open(&path).map(Self)
    }

    /// Loads a library from memory.
    ///
    /// # Errors
    /// If it cannot be written to a temporary file or loaded.
    ///
    /// # Safety
    /// The bytes must be those of a library that [`open`](Self::open) has compiled with this version's driver.
    pub unsafe fn from_bytes(bytes: &[u8]) -> Result<Self> {
        // SAFETY: the caller's guarantee.
        unsafe { Loaded::from_bytes(bytes) }.map(Self)
    }

    /// Returns an identifier of the code.
    pub(crate) fn key(&self) -> String {
        self.0.key()
    }

    /// Returns the facts of the network.
    pub fn info(&self) -> &'static NetworkInfo {
        self.0.info()
    }

    /// Binds weights to the network; `isa` selects the kernels, `None` the best of this processor.
    ///
    /// # Errors
    /// If the weights do not fit, or the processor does not support the instruction set.
    pub fn build(&self, weights: &Weights, isa: Option<Isa>) -> Result<Model> {
        let lent = [
            weights.as_bytes(),
            weights.source().unwrap_or("the weights file").as_bytes(),
            isa.map_or("", Isa::name).as_bytes(),
        ];
        let [bytes, source, isa] = lent.map(Bytes::new);
        let mut reason = Vec::new();
        // SAFETY: the three slices live through the call; the sink's context is a `Vec<u8>`.
        let model = unsafe { (self.0.functions.build)(bytes, source, isa, collect, (&raw mut reason).cast()) };
        self.model(model, &reason)
    }

    /// Returns the weights packed for an instruction set, or `None` if they cannot be packed.
    pub fn pack(&self, weights: &Weights, isa: Isa) -> Option<Vec<u8>> {
        let [bytes, isa] = [weights.as_bytes(), isa.name().as_bytes()].map(Bytes::new);
        let mut packed = Vec::new();
        // SAFETY: both slices live through the call; the sink's context is a `Vec<u8>`.
        let done = unsafe { (self.0.functions.pack)(bytes, isa, collect, (&raw mut packed).cast()) };
        done.then_some(packed)
    }

    /// Binds packed weights to the network, which uses them in place.
    ///
    /// # Errors
    /// If they are damaged, or were packed for another network or for an instruction set that this processor does not support.
    pub fn bind_packed(&self, packed: &'static [u8]) -> Result<Model> {
        let mut reason = Vec::new();
        // SAFETY: the weights live as long as the process; the sink's context is a `Vec<u8>`.
        let model = unsafe { (self.0.functions.from_packed)(Bytes::new(packed), collect, (&raw mut reason).cast()) };
        self.model(model, &reason)
    }

    /// Wraps a model that the library returned. If there is none, returns an error with the reason.
    fn model(&self, model: *mut Opaque, reason: &[u8]) -> Result<Model> {
        let Some(model) = NonNull::new(model) else {
            return Err(Error::new(String::from_utf8_lossy(reason)));
        };
        let mut encoded = Vec::new();
        // SAFETY: the model is alive; the sink's context is a `Vec<u8>`.
        unsafe { (self.0.functions.model)(model.as_ptr(), collect, (&raw mut encoded).cast()) };
        match ModelFacts::decode(&encoded) {
            Ok(facts) => Ok(Model { library: self.0, model, facts }),
            Err(cause) => {
                // SAFETY: the model comes from this library and is not used afterwards.
                unsafe { (self.0.functions.free)(model.as_ptr()) };
                Err(Error::new(format!("cannot read the description of the compiled model: {cause}")))
            }
        }
    }
}

/// A network of a library with its weights.
pub struct Model {
    library: &'static Loaded,
    model: NonNull<Opaque>,
    facts: ModelFacts,
}

// SAFETY: the library's model is `Send` and `Sync`, like every generated network; running it takes `&self`.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the model comes from this library and is not used afterwards.
        unsafe { (self.library.functions.free)(self.model.as_ptr()) }
    }
}

impl Network for Model {
    fn info(&self) -> &'static NetworkInfo {
        self.library.info()
    }

    fn isa(&self) -> Isa {
        self.facts.isa
    }

    fn packed_bytes(&self) -> usize {
        self.facts.packed_bytes
    }

    fn is_fast(&self, index: usize) -> Option<bool> {
        self.facts.fast.get(index).copied().flatten()
    }

    fn run_into(
        &self,
        scratch: &mut [f32],
        input: &[f32],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError> {
        self.call(self.library.functions.run, scratch, input, logits, observer)
    }

    fn run_pixels_into(
        &self,
        scratch: &mut [f32],
        pixels: &[u8],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError> {
        self.call(self.library.functions.run_pixels, scratch, pixels, logits, observer)
    }

    fn embed_pixels_into(&self, scratch: &mut [f32], pixels: &[u8], vector: &mut [f32]) -> Result<(), LengthError> {
        self.check(scratch, pixels.len())?;
        LengthError::check("vector", self.info().embedding, vector.len())?;
        // SAFETY: the model is alive, and the slices are exclusive or shared as the library uses them.
        let ran = unsafe {
            (self.library.functions.embed_pixels)(
                self.model.as_ptr(),
                scratch.as_mut_ptr(),
                scratch.len(),
                pixels.as_ptr(),
                pixels.len(),
                vector.as_mut_ptr(),
                vector.len(),
            )
        };
        self.check_ran(ran, scratch)
    }
}

impl Model {
    /// Checks the lengths of the scratch and of an input.
    fn check(&self, scratch: &[f32], input: usize) -> Result<(), LengthError> {
        LengthError::check("scratch", self.scratch_floats(), scratch.len())?;
        LengthError::check("input", self.info().input.iter().product(), input)
    }

    fn scratch_floats(&self) -> usize {
        self.info().scratch_bytes / size_of::<f32>()
    }

    /// Returns an error if the library, which checks the lengths again, rejected them.
    fn check_ran(&self, ran: bool, scratch: &[f32]) -> Result<(), LengthError> {
        let error = LengthError { what: "scratch", expected: self.scratch_floats(), found: scratch.len() };
        if ran { Ok(()) } else { Err(error) }
    }

    fn call<T>(
        &self,
        run: Run<T>,
        scratch: &mut [f32],
        input: &[T],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError> {
        self.check(scratch, input.len())?;
        LengthError::check("logits", self.info().classes, logits.len())?;
        let mut observer: &mut dyn Observer = observer;
        let context = (&raw mut observer).cast();
        let watcher = Watcher { context, stage: on_stage, step: on_step, bf16: on_bf16, bytes: on_bytes };
        // SAFETY: the model is alive, the slices are exclusive or shared as the library uses them, and the
        // watcher's context is the observer above, which outlives the call.
        let ran = unsafe {
            run(
                self.model.as_ptr(),
                scratch.as_mut_ptr(),
                scratch.len(),
                input.as_ptr(),
                input.len(),
                logits.as_mut_ptr(),
                logits.len(),
                &raw const watcher,
            )
        };
        self.check_ran(ran, scratch)
    }
}

extern "C" fn collect(context: Context, bytes: *const u8, length: usize) {
    // SAFETY: every caller in this module passes a `Vec<u8>` as context; the library passes valid bytes.
    let (into, bytes) = unsafe { (&mut *context.cast::<Vec<u8>>(), std::slice::from_raw_parts(bytes, length)) };
    into.extend_from_slice(bytes);
}

extern "C" fn on_stage(context: Context, step: usize, stage: usize) {
    // SAFETY: the context that `call` passes.
    unsafe { &mut *context.cast::<&mut dyn Observer>() }.stage(step, stage);
}

extern "C" fn on_step(context: Context, step: usize, output: *const f32, length: usize) {
    // SAFETY: the context that `call` passes; the library passes a valid slice.
    let (observer, output) =
        unsafe { (&mut *context.cast::<&mut dyn Observer>(), std::slice::from_raw_parts(output, length)) };
    observer.step(step, output);
}

extern "C" fn on_bf16(context: Context, step: usize, output: *const Bf16, length: usize) {
    // SAFETY: as in `on_step`; the type is transparent.
    let (observer, output) =
        unsafe { (&mut *context.cast::<&mut dyn Observer>(), std::slice::from_raw_parts(output, length)) };
    observer.bf16(step, output);
}

extern "C" fn on_bytes(context: Context, step: usize, output: *const u8, length: usize) {
    // SAFETY: as in `on_step`.
    let (observer, output) =
        unsafe { (&mut *context.cast::<&mut dyn Observer>(), std::slice::from_raw_parts(output, length)) };
    observer.bytes(step, output);
}

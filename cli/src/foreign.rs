//! Networks that are not built into the command: a dynamic library for each, behind the runtime's `Network`.
//!
//! A library and not a child process, because variants are then measured call by call in one process, whole and stage
//! by stage, exactly as the built-in ones are. It is of the command's own making, from the user's own cache folder.
//! Only C types cross the border; `carried/driver.rs` is the other side.

use std::ffi::c_void;
use std::path::Path;
use std::ptr::NonNull;

use libloading::{Library, Symbol};
use mbvc::errors::LengthError;
use mbvc::info::{Layer, NetworkInfo, Numerics, Parameter, Precision, Stage, Step};
use mbvc::weights::{Activation, Conventions, Dtype, Padding};
use mbvc::{Isa, Network, Observer, Weights};

type Context = *mut c_void;
type Sink = extern "C" fn(Context, *const u8, usize);
type OnStage = extern "C" fn(Context, usize, usize);
type OnStep = extern "C" fn(Context, usize, *const f32, usize);

/// Bytes that are lent to the library for one call.
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

/// A model in the library's memory.
enum Opaque {}

type Describe = unsafe extern "C" fn(*const Opaque, Sink, Context);
type Build = unsafe extern "C" fn(weights: Bytes, source: Bytes, isa: Bytes, Sink, Context) -> *mut Opaque;
type Free = unsafe extern "C" fn(*mut Opaque);
/// Of an image of floats, or of pixels.
#[rustfmt::skip]
type Run<T> = unsafe extern "C" fn(
    *const Opaque, *mut f32, usize, *const T, usize, *mut f32, usize, OnStage, OnStep, Context,
) -> bool;

/// A loaded network without weights. It stays loaded until the process ends.
#[derive(Clone, Copy)]
pub struct Program {
    describe: Describe,
    build: Build,
    free: Free,
    run: Run<f32>,
    run_pixels: Run<u8>,
}

impl Program {
    /// Loads a library that [`crate::cache`] has built.
    ///
    /// # Errors
    /// If it cannot be loaded, or is none of ours.
    pub fn load(path: &Path) -> Result<Self, String> {
        let fail = |cause: libloading::Error| format!("cannot load {}: {cause}", path.display());
        // SAFETY: the command compiled this file itself, from code that has no initializers.
        let library = Box::leak(Box::new(unsafe { Library::new(path) }.map_err(fail)?));
        // SAFETY: the types are those of `carried/driver.rs`; the file's name is a hash of that file too.
        let (describe, build, free, run, run_pixels) = unsafe {
            let describe: Symbol<Describe> = library.get(b"mbvc_describe\0").map_err(fail)?;
            let build: Symbol<Build> = library.get(b"mbvc_build\0").map_err(fail)?;
            let free: Symbol<Free> = library.get(b"mbvc_free\0").map_err(fail)?;
            let run: Symbol<Run<f32>> = library.get(b"mbvc_run\0").map_err(fail)?;
            let run_pixels: Symbol<Run<u8>> = library.get(b"mbvc_run_pixels\0").map_err(fail)?;
            (*describe, *build, *free, *run, *run_pixels)
        };
        Ok(Self { describe, build, free, run, run_pixels })
    }

    /// Binds weights to the network.
    ///
    /// # Errors
    /// If they do not fit, or the instruction set is missing.
    pub fn build(&self, weights: &Weights, isa: Option<Isa>) -> Result<Model, String> {
        let lent = [
            weights.as_bytes(),
            weights.source().unwrap_or("the container").as_bytes(),
            isa.map_or("", Isa::name).as_bytes(),
        ];
        let [bytes, source, isa] = lent.map(Bytes::new);
        let mut text = String::new();
        // SAFETY: the three slices live through the call; the sink's context is a `String`.
        let model = unsafe { (self.build)(bytes, source, isa, collect, (&raw mut text).cast()) };
        let Some(model) = NonNull::new(model) else { return Err(text) };
        let mut text = String::new();
        // SAFETY: the model is alive; the sink's context is a `String`.
        unsafe { (self.describe)(model.as_ptr(), collect, (&raw mut text).cast()) };
        match parse(&text) {
            Some(Facts { info, isa, fast, packed_bytes }) => {
                Ok(Model { program: *self, model, info: Box::leak(Box::new(info)), isa, fast, packed_bytes })
            }
            None => {
                // SAFETY: the model comes from `build` and is not used after.
                unsafe { (self.free)(model.as_ptr()) };
                Err("the compiled network describes itself in an unknown way".to_owned())
            }
        }
    }
}

/// A network with its weights.
pub struct Model {
    program: Program,
    model: NonNull<Opaque>,
    info: &'static NetworkInfo,
    isa: Isa,
    fast: Vec<(usize, bool)>,
    packed_bytes: usize,
}

// SAFETY: the library's model is `Send` and `Sync` as every generated network is; running it takes `&self`.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the model comes from `build` and is not used after.
        unsafe { (self.program.free)(self.model.as_ptr()) }
    }
}

impl Network for Model {
    fn info(&self) -> &'static NetworkInfo {
        self.info
    }

    fn isa(&self) -> Isa {
        self.isa
    }

    fn packed_bytes(&self) -> usize {
        self.packed_bytes
    }

    fn is_fast(&self, index: usize) -> Option<bool> {
        self.fast.iter().find(|(layer, _)| *layer == index).map(|(_, fast)| *fast)
    }

    fn run_into(
        &self,
        scratch: &mut [f32],
        input: &[f32],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError> {
        self.call(self.program.run, scratch, input, logits, observer)
    }

    fn run_pixels_into(
        &self,
        scratch: &mut [f32],
        pixels: &[u8],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError> {
        self.call(self.program.run_pixels, scratch, pixels, logits, observer)
    }
}

impl Model {
    fn call<T>(
        &self,
        run: Run<T>,
        scratch: &mut [f32],
        input: &[T],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError> {
        let info = self.info;
        LengthError::check("scratch", info.scratch_bytes / size_of::<f32>(), scratch.len())?;
        LengthError::check("input", info.input.iter().product(), input.len())?;
        LengthError::check("logits", info.classes, logits.len())?;
        let mut observer: &mut dyn Observer = observer;
        // SAFETY: the model is alive, the slices are exclusive or shared as the other side takes them, and the
        // callbacks' context is the observer above, which outlives the call.
        let ran = unsafe {
            run(
                self.model.as_ptr(),
                scratch.as_mut_ptr(),
                scratch.len(),
                input.as_ptr(),
                input.len(),
                logits.as_mut_ptr(),
                logits.len(),
                on_stage,
                on_step,
                (&raw mut observer).cast(),
            )
        };
        if ran {
            Ok(())
        } else {
            Err(LengthError { what: "scratch", expected: info.scratch_bytes / 4, found: scratch.len() })
        }
    }
}

extern "C" fn collect(context: Context, text: *const u8, length: usize) {
    // SAFETY: every caller in this file gives a `String` as context; the other side gives a valid text.
    let (into, text) = unsafe { (&mut *context.cast::<String>(), std::slice::from_raw_parts(text, length)) };
    into.push_str(&String::from_utf8_lossy(text));
}

extern "C" fn on_stage(context: Context, step: usize, stage: usize) {
    // SAFETY: the context that `run_into` gives.
    unsafe { &mut *context.cast::<&mut dyn Observer>() }.stage(step, stage);
}

extern "C" fn on_step(context: Context, step: usize, output: *const f32, length: usize) {
    // SAFETY: the context that `run_into` gives; the other side gives a valid slice.
    let (observer, output) =
        unsafe { (&mut *context.cast::<&mut dyn Observer>(), std::slice::from_raw_parts(output, length)) };
    observer.step(step, output);
}

struct Facts {
    info: NetworkInfo,
    isa: Isa,
    /// Index of a layer, and whether it takes the fast inner product.
    fast: Vec<(usize, bool)>,
    packed_bytes: usize,
}

/// Reads what `mbvc_describe` writes. Its texts and lists live as long as the process: a few kilobytes a network.
fn parse(text: &str) -> Option<Facts> {
    let (mut network, mut runs) = (None, None);
    let (mut isas, mut fast, mut parameters, mut layers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut steps: Vec<(Step, Vec<Stage>)> = Vec::new();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ')?;
        match kind {
            "network" => network = Some(rest),
            "runs" => runs = Some(rest),
            "fast" => {
                let [layer, is_fast] = fields(rest)?;
                fast.push((layer.parse().ok()?, is_fast.parse().ok()?));
            }
            "isa" => isas.push(Isa::from_name(rest)?),
            "parameter" => {
                let [shape, dtype, name] = fields(rest)?;
                let dtype = Dtype::from_name(dtype)?;
                parameters.push(Parameter { name: leak(name), dtype, shape: dims(shape)?.leak() });
            }
            "layer" => {
                let [number, step, line, output, macs, name] = fields(rest)?;
                layers.push(Layer {
                    number: number.parse().ok()?,
                    name: leak(name),
                    step: step.parse().ok()?,
                    line: line.parse().ok()?,
                    output: dims(output)?.try_into().ok()?,
                    macs: macs.parse().ok()?,
                });
            }
            "step" => {
                let [output, name] = fields(rest)?;
                let output = dims(output)?.try_into().ok()?;
                steps.push((Step { name: leak(name), output, stages: &[] }, Vec::new()));
            }
            "stage" => {
                let [macs, bytes, name] = fields(rest)?;
                let stage = Stage { name: leak(name), macs: macs.parse().ok()?, bytes: bytes.parse().ok()? };
                steps.last_mut()?.1.push(stage);
            }
            _ => return None,
        }
    }
    let [height, width, classes, embedding, scratch, threads, fusion, numerics, activation, padding, precision, name] =
        fields(network?)?;
    let classes = classes.parse().ok()?;
    let [packed_bytes, isa] = fields(runs?)?;
    let info = NetworkInfo {
        name: leak(name),
        input: [height.parse().ok()?, width.parse().ok()?, 3],
        classes,
        embedding: embedding.parse().ok()?,
        fusion: leak(fusion),
        scratch_bytes: scratch.parse().ok()?,
        threads: threads.parse().ok()?,
        conventions: Conventions {
            activation: [Activation::Relu6, Activation::Relu].into_iter().find(|one| one.word() == activation)?,
            padding: [Padding::Same, Padding::Symmetric].into_iter().find(|one| one.word() == padding)?,
            precision: [Precision::F32, Precision::Int8, Precision::Uint8]
                .into_iter()
                .find(|one| one.word() == precision)?,
            classes,
        },
        numerics: Numerics::from_name(numerics)?,
        isas: isas.leak(),
        parameters: parameters.leak(),
        layers: layers.leak(),
        steps: steps
            .into_iter()
            .map(|(step, stages)| Step { stages: stages.leak(), ..step })
            .collect::<Vec<_>>()
            .leak(),
    };
    Some(Facts { info, isa: Isa::from_name(isa)?, fast, packed_bytes: packed_bytes.parse().ok()? })
}

/// Words between single spaces; the last takes the rest of the line.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.splitn(N, ' ').collect::<Vec<_>>().try_into().ok()
}

fn dims(text: &str) -> Option<Vec<usize>> {
    text.split(',').map(|dim| dim.parse().ok()).collect()
}

fn leak(text: &str) -> &'static str {
    text.to_owned().leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "network 96 128 10 1280 4096 2 block fast relu6 same f32 My Net\n\
        runs 640 avx2\nfast 0 true\nisa avx2\nparameter 3,3,3,32 F32 stem.weight\nlayer 1 0 20 48,64,32 123 stem\n\
        step 48,64,32 stem+block1\nstage 5 6 conv\nstage 7 8 project\nstep 1,1,10 classifier\n";

    #[test]
    fn descriptions_are_read() {
        let Facts { info, isa, fast, packed_bytes } = parse(TEXT).unwrap();
        assert_eq!((isa, fast, packed_bytes), (Isa::Avx2, vec![(0, true)], 640));
        assert_eq!((info.name, info.input, info.classes, info.threads), ("My Net", [96, 128, 3], 10, 2));
        assert_eq!(info.parameters[0].shape, [3, 3, 3, 32]);
        assert_eq!(info.layers[0].output, [48, 64, 32]);
        let stages: Vec<_> = info.steps.iter().map(|step| step.stages.len()).collect();
        assert_eq!(stages, [2, 0]);
        assert_eq!(info.steps[0].stages[1].name, "project");
    }

    #[test]
    fn other_texts_are_refused() {
        assert!(parse("").is_none());
        for (from, to) in [("network 96", "network x"), ("isa avx2", "isa avx3"), ("stage 5 6", "phase 5 6")] {
            assert!(parse(&TEXT.replacen(from, to, 1)).is_none(), "{to}");
        }
    }
}

//! The functions of a web package's WebAssembly module, which its `index.js` calls.
//!
//! An instance of the module is one model. Numbers cross the boundary as arguments and results. Pictures, vectors and
//! texts are in the memory of the module, where JavaScript writes and reads them between the calls. A function that
//! fails returns a negative number; the reason is then the text.

use std::cell::RefCell;

use super::model::{Model, Work};
use super::{Generated, rt};

/// Number of values of an image.
const IMAGE: usize = Generated::INPUT[0] * Generated::INPUT[1] * Generated::INPUT[2];
/// Alignment of packed weights.
const LINE: usize = 64;
/// Result of a failed call.
const FAILED: i32 = -1;

/// The model and the memory that both sides use.
#[derive(Default)]
struct State {
    /// Packed weights, until a model uses them.
    weights: Option<&'static mut [u8]>,
    model: Option<(Model, Work)>,
    /// Preprocessed image.
    image: Vec<f32>,
    /// Pixels of an image or of a picture of any size.
    pixels: Vec<u8>,
    /// Numbers of the classes with the highest scores.
    classes: Vec<u32>,
    /// Scores of these classes, logits, the pooled vector, or milliseconds.
    values: Vec<f32>,
    text: String,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Why a call fails.
type Reason = String;

/// Runs a call. Its result is the number of values, or [`FAILED`].
fn call(run: impl FnOnce(&mut State) -> Result<usize, Reason>) -> i32 {
    STATE.with_borrow_mut(|state| {
        let done = run(state).and_then(|count| i32::try_from(count).map_err(|_| "too many values".to_owned()));
        done.unwrap_or_else(|reason| {
            state.text = reason;
            FAILED
        })
    })
}

/// Makes `values` that long, without zeroing what it has. Returns `false` if the memory is exhausted.
fn resize<T: Clone + Default>(values: &mut Vec<T>, length: usize) -> bool {
    let more = length.saturating_sub(values.len());
    let fits = values.try_reserve_exact(more).is_ok();
    if fits {
        values.resize(length, T::default());
    }
    fits
}

/// Address of a slice that JavaScript writes or reads.
fn address<T>(values: &[T]) -> usize {
    values.as_ptr().expose_provenance()
}

/// Address of a slice of `length` values that JavaScript writes; 0 if the memory is exhausted.
fn writable<T: Clone + Default>(values: &mut Vec<T>, length: usize) -> usize {
    if resize(values, length) { values.as_mut_ptr().expose_provenance() } else { 0 }
}

/// Returns the address of memory for packed weights, which [`web_open`] uses; 0 if the memory is exhausted.
#[unsafe(no_mangle)]
pub extern "C" fn web_weights(bytes: usize) -> usize {
    let mut memory: Vec<u8> = Vec::new();
    let Some(whole) = bytes.checked_add(LINE) else { return 0 };
    if !resize(&mut memory, whole) {
        return 0;
    }
    let memory = memory.leak();
    let start = memory.as_ptr().align_offset(LINE);
    let Some(file) = memory.get_mut(start..).and_then(|rest| rest.get_mut(..bytes)) else { return 0 };
    let address = file.as_mut_ptr().expose_provenance();
    STATE.with_borrow_mut(|state| state.weights = Some(file));
    address
}

/// Builds the model.
#[unsafe(no_mangle)]
pub extern "C" fn web_open() -> i32 {
    call(|state| {
        let model = Model::from_packed(packed(state)?).map_err(|error| error.to_string())?;
        state.model = Some((model, Work::new()));
        Ok(0)
    })
}

#[cfg(not(embedded))]
fn packed(state: &mut State) -> Result<&'static [u8], Reason> {
    Ok(state.weights.take().ok_or("no weights were written")?)
}

#[cfg(embedded)]
fn packed(_: &mut State) -> Result<&'static [u8], Reason> {
    Ok(super::weights::bytes())
}

/// Returns the address of memory for a preprocessed image; 0 if the memory is exhausted.
#[unsafe(no_mangle)]
pub extern "C" fn web_image() -> usize {
    STATE.with_borrow_mut(|state| writable(&mut state.image, IMAGE))
}

/// Returns the address of memory for the pixels of a picture; 0 if the memory is exhausted.
#[unsafe(no_mangle)]
pub extern "C" fn web_pixels(bytes: usize) -> usize {
    STATE.with_borrow_mut(|state| writable(&mut state.pixels, bytes))
}

/// Runs the network on the preprocessed image. The values are the logits.
#[unsafe(no_mangle)]
pub extern "C" fn web_run() -> i32 {
    call(|state| {
        let (model, work) = opened(&mut state.model)?;
        model.run(work, &state.image).map_err(|error| error.to_string())?;
        Ok(copy(&mut state.values, &work.logits))
    })
}

/// Runs the network on pixels of its own size. The values are the logits.
#[unsafe(no_mangle)]
pub extern "C" fn web_run_pixels() -> i32 {
    call(|state| {
        let (model, work) = opened(&mut state.model)?;
        model.run_pixels(work, &state.pixels).map_err(|error| error.to_string())?;
        Ok(copy(&mut state.values, &work.logits))
    })
}

/// Classifies the picture. The values are the highest scores, at most `count`.
#[unsafe(no_mangle)]
pub extern "C" fn web_classify(width: usize, height: usize, channels: usize, count: usize) -> i32 {
    call(|state| {
        let (model, work) = opened(&mut state.model)?;
        let pixels = framed(model, &mut state.pixels, [height, width, channels])?;
        model.run_pixels(work, &pixels).map_err(|error| error.to_string())?;
        let best = model.best(work, count);
        state.classes.clear();
        state.classes.extend(best.iter().map(|(class, _)| *class as u32));
        state.values.clear();
        state.values.extend(best.iter().map(|(_, score)| *score));
        Ok(best.len())
    })
}

/// Embeds the picture. The values are the pooled vector.
#[unsafe(no_mangle)]
pub extern "C" fn web_embed(width: usize, height: usize, channels: usize) -> i32 {
    call(|state| {
        let (model, work) = opened(&mut state.model)?;
        let pixels = framed(model, &mut state.pixels, [height, width, channels])?;
        state.values.clear();
        model.observe(work, &pixels, &mut Pooled { model, vector: &mut state.values }).map_err(|e| e.to_string())?;
        Ok(state.values.len())
    })
}

/// Runs the network on the picture. The values are the milliseconds of its steps.
#[unsafe(no_mangle)]
pub extern "C" fn web_profile(width: usize, height: usize, channels: usize) -> i32 {
    call(|state| {
        let (model, work) = opened(&mut state.model)?;
        let pixels = framed(model, &mut state.pixels, [height, width, channels])?;
        state.values.clear();
        let mut clock = Clock { last: now(), times: &mut state.values };
        model.observe(work, &pixels, &mut clock).map_err(|error| error.to_string())?;
        Ok(state.values.len())
    })
}

/// Returns the address of the classes of the last call.
#[unsafe(no_mangle)]
pub extern "C" fn web_classes() -> usize {
    STATE.with_borrow(|state| address(&state.classes))
}

/// Returns the address of the values of the last call.
#[unsafe(no_mangle)]
pub extern "C" fn web_values() -> usize {
    STATE.with_borrow(|state| address(&state.values))
}

/// Returns the address of the text.
#[unsafe(no_mangle)]
pub extern "C" fn web_text() -> usize {
    STATE.with_borrow(|state| address(state.text.as_bytes()))
}

/// Returns the bytes of the text.
#[unsafe(no_mangle)]
pub extern "C" fn web_text_bytes() -> usize {
    STATE.with_borrow(|state| state.text.len())
}

/// Describes the model. The text has a line for each of: the instruction set, the framing of pictures, the activation
/// of the head, the names of the steps, which spaces separate, and each label.
#[unsafe(no_mangle)]
pub extern "C" fn web_describe() -> i32 {
    call(|state| {
        let (model, _) = opened(&mut state.model)?;
        let steps: Vec<_> = Generated::STEPS.iter().map(|step| step.name).collect();
        let head = [
            model.isa().name().to_owned(),
            model.framing().to_string(),
            model.head_activation().to_string(),
            steps.join(" "),
        ];
        let labels = model.labels().iter().map(|label| label.as_str());
        let lines: Vec<_> = head.iter().map(String::as_str).chain(labels).collect();
        state.text = lines.join("\n");
        Ok(lines.len())
    })
}

fn opened(model: &mut Option<(Model, Work)>) -> Result<(&Model, &mut Work), Reason> {
    let (model, work) = model.as_mut().ok_or("the model is not open")?;
    Ok((model, work))
}

fn copy(to: &mut Vec<f32>, from: &[f32]) -> usize {
    to.clear();
    to.extend_from_slice(from);
    from.len()
}

/// Crops and resizes a picture of the shape `[height, width, channels]`. Of four channels the last one is dropped.
fn framed(model: &Model, pixels: &mut [u8], [height, width, channels]: [usize; 3]) -> Result<Vec<u8>, Reason> {
    let bytes = height.checked_mul(width).and_then(|count| count.checked_mul(channels));
    if bytes != Some(pixels.len()) || !matches!(channels, 3 | 4) {
        return Err("the pixels do not have the size of the picture".to_owned());
    }
    let colors: &[u8] = if channels == 4 { without_alpha(pixels) } else { pixels };
    let picture = rt::Rgb::new(colors, [height, width]).map_err(|error| error.to_string())?;
    Ok(model.frame(&picture))
}

/// Moves red, green and blue of every pixel to the start, and returns them.
fn without_alpha(pixels: &mut [u8]) -> &[u8] {
    let count = pixels.len() / 4;
    for at in 0..count {
        pixels.copy_within(at * 4..at * 4 + 3, at * 3);
    }
    pixels.get(..count * 3).unwrap_or_default()
}

/// Keeps the output of the head.
struct Pooled<'a> {
    model: &'a Model,
    vector: &'a mut Vec<f32>,
}

/// Index of the step whose output is the pooled vector.
fn is_head(step: usize) -> bool {
    Generated::STEPS.get(step).is_some_and(|step| step.name.split('+').any(|part| part == "head"))
}

impl rt::Observer for Pooled<'_> {
    fn step(&mut self, step: usize, output: &[f32]) {
        if is_head(step) {
            self.vector.extend_from_slice(output);
        }
    }

    #[cfg(quantized)]
    fn bytes(&mut self, step: usize, output: &[u8]) {
        if is_head(step) {
            self.vector.extend(output.iter().map(|byte| self.model.dequantized(*byte)));
        }
    }
}

/// Measures the steps.
struct Clock<'a> {
    last: f64,
    times: &'a mut Vec<f32>,
}

impl Clock<'_> {
    fn lap(&mut self) {
        let now = now();
        self.times.push((now - self.last) as f32);
        self.last = now;
    }
}

impl rt::Observer for Clock<'_> {
    fn step(&mut self, _: usize, _: &[f32]) {
        self.lap();
    }

    fn bf16(&mut self, _: usize, _: &[rt::Bf16]) {
        self.lap();
    }

    fn bytes(&mut self, _: usize, _: &[u8]) {
        self.lap();
    }
}

/// Milliseconds since some time.
#[cfg(target_arch = "wasm32")]
fn now() -> f64 {
    #[link(wasm_import_module = "mbvc")]
    unsafe extern "C" {
        safe fn now() -> f64;
    }
    now()
}

/// Milliseconds since the first call.
#[cfg(not(target_arch = "wasm32"))]
fn now() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_secs_f64() * 1e3
}

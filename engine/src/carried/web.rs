//! The functions of a web package's WebAssembly module, which its `index.js` calls.
//!
//! An instance of the module is one model. Numbers cross the boundary as arguments and results. Pictures, vectors and
//! texts are in the memory of the module, where JavaScript writes and reads them between the calls. A function that
//! fails returns a negative number; [`web_text`] then returns the reason.

use std::cell::RefCell;

use super::model::{INPUT, Model, Work};
use super::{Generated, rt};

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
    /// Indices of the classes with the highest scores.
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

/// Resizes `values` to `length` elements; existing elements keep their values. Returns `false` if the memory is exhausted.
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
    STATE.with_borrow_mut(|state| writable(&mut state.image, INPUT))
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

/// Runs the network on pixels of its input size. The values are the logits.
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
        let vector = model.embed_pixels(work, &pixels).map_err(|error| error.to_string())?;
        Ok(copy(&mut state.values, &vector))
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

/// Returns the length of the text in bytes.
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

/// Crops and resizes a picture of the shape `[height, width, channels]`. A fourth channel is dropped.
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
    /// Pixels that are moved at once, as three words.
    const BLOCK: usize = 4;
    let count = pixels.len() / 4;
    let whole = count - count % BLOCK;
    for at in (0..whole).step_by(BLOCK) {
        let mut block = [[0; 4]; BLOCK];
        block.as_flattened_mut().copy_from_slice(&pixels[at * 4..(at + BLOCK) * 4]);
        let [first, second, third, fourth] = block.map(u32::from_le_bytes);
        let colors =
            [first & 0xff_ffff | second << 24, second >> 8 & 0xffff | third << 16, third >> 16 & 0xff | fourth << 8];
        pixels[at * 3..(at + BLOCK) * 3].copy_from_slice(colors.map(u32::to_le_bytes).as_flattened());
    }
    for at in whole..count {
        pixels.copy_within(at * 4..at * 4 + 3, at * 3);
    }
    &pixels[..count * 3]
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

/// Milliseconds since an arbitrary origin.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_dropped_in_place() {
        for count in [0, 1, 15, 16, 17, 40, 100] {
            let mut pixels: Vec<u8> = (0..count * 4).map(|at| (at * at % 251) as u8).collect();
            let expected: Vec<u8> = pixels.as_chunks::<4>().0.iter().flat_map(|pixel| pixel[..3].to_vec()).collect();
            assert_eq!(without_alpha(&mut pixels), expected, "{count} pixels");
        }
    }

    /// The functions in the order in which `index.js` calls them.
    #[test]
    fn a_model_is_built_and_called() {
        let text = || STATE.with_borrow(|state| state.text.clone());
        assert_eq!((web_open(), text()), (FAILED, "no weights were written".to_owned()));
        assert_eq!((web_run(), text()), (FAILED, "the model is not open".to_owned()));
        assert_ne!(web_weights(100), 0);
        assert_eq!(web_open(), FAILED);
        assert!(text().contains("not packed weights"), "{}", text());

        let container = rt::Weights::from_static(super::super::weights::bytes()).unwrap();
        let isa = rt::Isa::Portable;
        let bytes = Generated::packed_bytes_for(&container.container(), isa).unwrap();
        assert_ne!(web_weights(bytes), 0);
        STATE.with_borrow_mut(|state| {
            Generated::pack(&container.container(), isa, state.weights.as_mut().unwrap()).unwrap();
        });
        assert_eq!(web_open(), 0, "{}", text());
        assert!(web_describe() >= 4 && text().starts_with("portable\n"), "{}", text());

        let model = Generated::with_isa(&container, isa).unwrap();
        let [height, width, _] = Generated::INPUT;
        let values = || STATE.with_borrow(|state| state.values.clone());
        let count = width * height * 4;
        assert_ne!(web_pixels(count), 0);
        STATE.with_borrow_mut(|state| state.pixels.iter_mut().zip(0..).for_each(|(to, at)| *to = (at % 241) as u8));
        let picture = STATE.with_borrow(|state| state.pixels.clone());
        let colors: Vec<u8> = picture.as_chunks::<4>().0.iter().flat_map(|pixel| pixel[..3].to_vec()).collect();
        let framed = model.frame(&rt::Rgb::new(colors, [height, width]).unwrap()).unwrap();
        assert_eq!(web_embed(width, height, 4) as usize, Generated::EMBEDDING);
        assert_eq!(values(), model.embed_pixels(&mut Generated::scratch(), &framed));
        STATE.with_borrow_mut(|state| state.pixels.copy_from_slice(&picture));
        assert_eq!(web_profile(width, height, 4) as usize, Generated::STEPS.len());
        for (width, height, channels) in
            [(width, height, 3), (0, height, 4), (usize::MAX, usize::MAX, 4), (count, 1, 1)]
        {
            assert_eq!(web_classify(width, height, channels, 5), FAILED);
        }
        assert_eq!((web_run_pixels(), web_pixels(usize::MAX)), (FAILED, 0));
    }
}

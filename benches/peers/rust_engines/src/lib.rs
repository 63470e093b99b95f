//! A C interface to inference engines written in Rust, for `run.py`.

use std::error::Error;
use std::ffi::{CStr, c_char};
use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;

/// A model of RTen with its thread pool.
pub struct Rten {
    model: Model,
    input: NodeId,
    output: NodeId,
    options: RunOptions,
}

impl Rten {
    fn open(path: &str, threads: usize) -> Result<Self, Box<dyn Error>> {
        let mut options = ModelOptions::with_all_ops();
        let model = options.enable_optimization(true).prepack_weights(true).load_file(path)?;
        let [input] = model.input_ids() else { return Err("the model has several inputs".into()) };
        let [output] = model.output_ids() else { return Err("the model has several outputs".into()) };
        let pool = Arc::new(ThreadPool::with_num_threads(threads));
        let options = RunOptions::default().with_thread_pool(Some(pool));
        Ok(Self { input: *input, output: *output, options, model })
    }

    fn run(&self, input: NdTensorView<f32, 4>, output: &mut [f32]) -> Result<(), Box<dyn Error>> {
        let inputs: Vec<(NodeId, ValueOrView)> = vec![(self.input, input.into())];
        let [result] = self.model.run_n(inputs, [self.output], Some(self.options.clone()))?;
        let result: rten_tensor::Tensor<f32> = result.try_into()?;
        if result.len() != output.len() {
            return Err(format!("{} values instead of {}", result.len(), output.len()).into());
        }
        for (to, from) in output.iter_mut().zip(result.iter()) {
            *to = *from;
        }
        Ok(())
    }
}

/// Prints the error to standard error.
fn report<T>(result: Result<T, Box<dyn Error>>) -> Option<T> {
    result.inspect_err(|error| eprintln!("{error}")).ok()
}

/// Loads a model. Returns null if that fails, and prints the reason to standard error.
///
/// # Safety
/// `path` is a null-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rten_open(path: *const c_char, threads: usize) -> *mut Rten {
    // SAFETY: the caller passes a null-terminated string.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
    report(Rten::open(&path, threads)).map_or(std::ptr::null_mut(), |model| Box::into_raw(Box::new(model)))
}

/// Runs the model on an image `[1, 3, size, size]`.
///
/// # Safety
/// `model` came from `rten_open`; `input` has 3 * `size` * `size` elements, `output` has `outputs`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rten_run(
    model: *const Rten,
    input: *const f32,
    size: usize,
    output: *mut f32,
    outputs: usize,
) -> bool {
    // SAFETY: the caller passes a live model and arrays of these lengths.
    let (model, input, output) = unsafe {
        let input = std::slice::from_raw_parts(input, 3 * size * size);
        (&*model, input, std::slice::from_raw_parts_mut(output, outputs))
    };
    report(model.run(NdTensorView::from_data([1, 3, size, size], input), output)).is_some()
}

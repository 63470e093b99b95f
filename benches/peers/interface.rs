//! A C interface to models, for Python programs that run mbvc in one process with other engines. The including crate defines
//! the models with `variants!`.

use std::ffi::{CStr, c_char};

use mbvc::errors::LengthError;
use mbvc::info::NetworkInfo;
use mbvc::{Isa, Network, Unobserved, Weights};

/// Defines networks, and `VARIANTS` and `build`, which map the names of `mbvc_open` to them.
macro_rules! variants {
    ($spec:literal; $($type:ident $name:literal { $($key:ident = $value:tt),* })*) => {
        $(mbvc::mobilenet_v2!($spec, name = $type $(, $key = $value)*);)*

        pub const VARIANTS: &core::ffi::CStr =
            match core::ffi::CStr::from_bytes_with_nul(concat!($($name, ","),*, "\0").as_bytes()) {
                Ok(names) => names,
                Err(_) => panic!("a name contains a null byte"),
            };

        pub fn build(variant: &str, weights: &mbvc::Weights, isa: mbvc::Isa) -> Result<Box<dyn mbvc::Network>, String> {
            match variant {
                $($name => Ok(Box::new($type::with_isa(weights, isa).map_err(|error| error.to_string())?)),)*
                _ => Err(format!("unknown variant {variant}")),
            }
        }
    };
}

/// A model and its scratch.
pub struct Peer {
    network: Box<dyn Network>,
    scratch: Vec<f32>,
    offset: usize,
}

fn open(variant: &str, isa: &str, weights: &str) -> Result<Peer, String> {
    let weights = Weights::open(weights).map_err(|error| error.to_string())?;
    let isa = Isa::from_name(isa).ok_or_else(|| format!("unknown instruction set {isa}"))?;
    let network = crate::build(variant, &weights, isa)?;
    let NetworkInfo { scratch_bytes, .. } = network.info();
    let scratch = vec![0.0; scratch_bytes / 4 + 16];
    let offset = scratch.as_ptr().align_offset(64);
    Ok(Peer { network, scratch, offset })
}

/// Returns the names that `mbvc_open` accepts, separated by commas.
#[unsafe(no_mangle)]
pub extern "C" fn mbvc_variants() -> *const c_char {
    crate::VARIANTS.as_ptr()
}

/// Builds a model. Returns null if that fails, and prints the reason to standard error.
///
/// # Safety
/// The three arguments are null-terminated strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_open(variant: *const c_char, isa: *const c_char, weights: *const c_char) -> *mut Peer {
    // SAFETY: the caller guarantees that the three are null-terminated strings.
    let [variant, isa, weights] = [variant, isa, weights].map(|text| unsafe { CStr::from_ptr(text) }.to_string_lossy());
    match open(&variant, &isa, &weights) {
        Ok(peer) => Box::into_raw(Box::new(peer)),
        Err(error) => {
            eprintln!("{error}");
            std::ptr::null_mut()
        }
    }
}

/// Runs `call` on the scratch, the image and the logits.
///
/// # Safety
/// `peer` came from `mbvc_open`; `input` and `logits` are of the network's lengths.
unsafe fn run<T>(
    peer: *mut Peer,
    input: *const T,
    logits: *mut f32,
    call: impl FnOnce(&dyn Network, &mut [f32], &[T], &mut [f32]) -> Result<(), LengthError>,
) -> bool {
    // SAFETY: the caller guarantees that `peer` came from `mbvc_open`, and that `input` and `logits` are of the network's
    // lengths.
    unsafe {
        let Peer { network, scratch, offset } = &mut *peer;
        let NetworkInfo { input: [height, width, channels], classes, scratch_bytes, .. } = network.info();
        let input = std::slice::from_raw_parts(input, height * width * channels);
        let logits = std::slice::from_raw_parts_mut(logits, *classes);
        let scratch = &mut scratch[*offset..][..scratch_bytes / 4];
        call(&**network, scratch, input, logits).is_ok()
    }
}

/// Runs the network on a preprocessed image.
///
/// # Safety
/// As [`run`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_run(peer: *mut Peer, input: *const f32, logits: *mut f32) -> bool {
    // SAFETY: the caller guarantees what `run` requires.
    unsafe {
        run(peer, input, logits, |network, scratch, input, logits| {
            network.run_into(scratch, input, logits, &mut Unobserved)
        })
    }
}

/// Runs the network on pixels, with the preprocessing of the weights.
///
/// # Safety
/// As [`run`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_run_pixels(peer: *mut Peer, pixels: *const u8, logits: *mut f32) -> bool {
    // SAFETY: the caller guarantees what `run` requires.
    unsafe {
        run(peer, pixels, logits, |network, scratch, pixels, logits| {
            network.run_pixels_into(scratch, pixels, logits, &mut Unobserved)
        })
    }
}

/// Frees a model.
///
/// # Safety
/// `peer` came from `mbvc_open` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_close(peer: *mut Peer) {
    // SAFETY: the caller guarantees that `peer` came from `mbvc_open` and is not used again.
    drop(unsafe { Box::from_raw(peer) });
}

//! Models behind C functions, so that Python runs them in the process of their peers. The crate around this file gives
//! `VARIANTS`, names separated by commas, and `build`.

use std::ffi::{CStr, c_char};

use mbvc::{Isa, Network, NetworkInfo, Unobserved, Weights};

/// A model and the scratch that its calls share.
pub struct Peer {
    network: Box<dyn Network>,
    scratch: Vec<f32>,
    offset: usize,
}

fn open(variant: &str, isa: &str, weights: &str) -> Result<Peer, String> {
    let weights = Weights::open(weights).map_err(|error| error.to_string())?;
    let isa = Isa::from_name(isa).ok_or_else(|| format!("no instruction set is called {isa}"))?;
    let network = crate::build(variant, &weights, isa)?;
    let NetworkInfo { scratch_bytes, .. } = network.info();
    let scratch = vec![0.0; scratch_bytes / 4 + 16];
    let offset = scratch.as_ptr().align_offset(64);
    Ok(Peer { network, scratch, offset })
}

/// The names that `mbvc_open` knows, separated by commas.
#[unsafe(no_mangle)]
pub extern "C" fn mbvc_variants() -> *const c_char {
    crate::VARIANTS.as_ptr()
}

/// Null if the model cannot be built; the reason goes to standard error.
///
/// # Safety
/// The three arguments are null-terminated strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_open(variant: *const c_char, isa: *const c_char, weights: *const c_char) -> *mut Peer {
    // SAFETY: the caller passes three null-terminated strings.
    let [variant, isa, weights] = [variant, isa, weights].map(|text| unsafe { CStr::from_ptr(text) }.to_string_lossy());
    match open(&variant, &isa, &weights) {
        Ok(peer) => Box::into_raw(Box::new(peer)),
        Err(error) => {
            eprintln!("{error}");
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// `peer` came from `mbvc_open`; `input` and `logits` are of the network's lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_run(peer: *mut Peer, input: *const f32, logits: *mut f32) -> bool {
    // SAFETY: the caller passes a live peer and arrays of the network's lengths.
    unsafe {
        let Peer { network, scratch, offset } = &mut *peer;
        let NetworkInfo { input: [height, width, channels], classes, scratch_bytes, .. } = network.info();
        let input = std::slice::from_raw_parts(input, height * width * channels);
        let logits = std::slice::from_raw_parts_mut(logits, *classes);
        let scratch = &mut scratch[*offset..][..scratch_bytes / 4];
        network.run_into(scratch, input, logits, &mut Unobserved).is_ok()
    }
}

/// # Safety
/// `peer` came from `mbvc_open` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mbvc_close(peer: *mut Peer) {
    // SAFETY: the caller passes what `mbvc_open` made, once.
    drop(unsafe { Box::from_raw(peer) });
}

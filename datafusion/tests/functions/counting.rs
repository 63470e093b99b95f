//! A network that counts its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mbvc_engine::Classifier;
use mbvc_networks::demo::{Variant, build, weights};
use mbvc_runtime::{Isa, LengthError, Network, NetworkInfo, Observer};

/// Forwards to a network.
struct Counting {
    network: Box<dyn Network>,
    calls: Arc<AtomicUsize>,
}

impl Network for Counting {
    fn info(&self) -> &'static NetworkInfo {
        self.network.info()
    }

    fn isa(&self) -> Isa {
        self.network.isa()
    }

    fn packed_bytes(&self) -> usize {
        self.network.packed_bytes()
    }

    fn is_fast(&self, index: usize) -> Option<bool> {
        self.network.is_fast(index)
    }

    fn run_into(
        &self,
        scratch: &mut [f32],
        input: &[f32],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.network.run_into(scratch, input, logits, observer)
    }

    fn run_pixels_into(
        &self,
        scratch: &mut [f32],
        pixels: &[u8],
        logits: &mut [f32],
        observer: &mut dyn Observer,
    ) -> Result<(), LengthError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.network.run_pixels_into(scratch, pixels, logits, observer)
    }

    fn embed_pixels_into(&self, scratch: &mut [f32], pixels: &[u8], vector: &mut [f32]) -> Result<(), LengthError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.network.embed_pixels_into(scratch, pixels, vector)
    }
}

/// Returns the demo's classifier and the number of its calls.
pub fn counted() -> (Classifier, Arc<AtomicUsize>) {
    let (weights, calls) = (weights().unwrap(), Arc::default());
    let network = build(&Variant::Fused, &weights).unwrap();
    let network = Box::new(Counting { network, calls: Arc::clone(&calls) });
    (Classifier::new(network, &weights), calls)
}

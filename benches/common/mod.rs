//! Weights for the benchmarks.

use mbvc::Weights;
use mbvc::info::NetworkInfo;

/// Opens the file in `MBVC_WEIGHTS`, or generates random weights for the network.
pub fn weights(info: &NetworkInfo) -> Weights {
    match std::env::var_os("MBVC_WEIGHTS") {
        Some(path) => Weights::open(path).unwrap_or_else(|error| panic!("{error}")),
        None => {
            let tensors = info.parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
            Weights::random(tensors, info.conventions, 1).unwrap_or_else(|error| panic!("{error}"))
        }
    }
}

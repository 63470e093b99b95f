//! Runs small networks in teams of two and three threads, float and quantized, fused and unfused.
//!
//! ThreadSanitizer reports accesses of two threads to the same byte that no barrier orders, even if both write the same
//! value. The logits are compared with those of one thread, too.

use std::process::ExitCode;

use mbvc::info::NetworkInfo;
use mbvc::{Isa, Network, Unobserved, Weights};
use mbvc_runtime::{helped_calls, set_processors};

/// Calls of each network on each instruction set: threads meet in another order each time.
const CALLS: usize = 5;

/// The largest team. Set instead of the number of this machine's processors, so that every call gets a whole team.
const THREADS: usize = 3;

type Build = fn(&Weights, Isa) -> Box<dyn Network>;

macro_rules! networks {
    ($($name:ident: $precision:literal, $fusion:literal;)*) => {
        $(mod $name {
            mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml", name = One, threads = 1,
                fusion = $fusion, precision = $precision, isa = ["avx2", "portable"]);
            mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml", name = Two, threads = 2,
                fusion = $fusion, precision = $precision, isa = ["avx2", "portable"]);
            mbvc::mobilenet_v2!(pub "../../specs/tiny.yaml", name = Three, threads = 3,
                fusion = $fusion, precision = $precision, isa = ["avx2", "portable"]);
        })*

        /// A name, the network for one thread, and the same for teams.
        const NETWORKS: &[(&str, &NetworkInfo, Build, [Build; 2])] = &[$((
            concat!($precision, " ", $fusion),
            $name::One::INFO,
            |weights, isa| Box::new($name::One::with_isa(weights, isa).expect("random weights fit")),
            [
                |weights, isa| Box::new($name::Two::with_isa(weights, isa).expect("random weights fit")),
                |weights, isa| Box::new($name::Three::with_isa(weights, isa).expect("random weights fit")),
            ],
        )),*];
    };
}

networks! {
    float_unfused: "f32", "relu6";
    float_blocks: "f32", "block";
    int8_unfused: "int8", "relu6";
    int8_blocks: "int8", "block";
}

fn logits(network: &dyn Network, input: &[f32]) -> Vec<u32> {
    let info = network.info();
    let mut scratch = vec![f32::NAN; info.scratch_bytes / 4];
    let mut logits = vec![f32::NAN; info.classes];
    network.run_into(&mut scratch, input, &mut logits, &mut Unobserved).expect("the lengths are the network's");
    logits.into_iter().map(f32::to_bits).collect()
}

/// Whether several callers at a time, one of which gets the team, all compute the expected logits.
fn concurrent_calls(network: &dyn Network, input: &[f32], expected: &[u32]) -> bool {
    // So many that every call tries to get the team.
    set_processors(4 * THREADS);
    let same = std::thread::scope(|scope| {
        let call = || (0..CALLS).all(|_| logits(network, input) == expected);
        let callers = [(); THREADS].map(|()| scope.spawn(call));
        callers.into_iter().all(|caller| caller.join().expect("a call does not panic"))
    });
    set_processors(THREADS);
    same
}

fn main() -> ExitCode {
    set_processors(THREADS);
    let mut failed = false;
    for (name, info, one, teams) in NETWORKS {
        let tensors = info.parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
        let weights = Weights::random(tensors, info.conventions, 7).expect("no two parameters have the same name");
        let length: usize = info.input.iter().product();
        let input: Vec<f32> = (0..length).map(|at| (at * at % 251) as f32 / 125.0 - 1.0).collect();
        for isa in info.isas.iter().copied().filter(|isa| isa.detect().is_some()) {
            let expected = logits(&*one(&weights, isa), &input);
            for team in teams {
                let network = team(&weights, isa);
                let (threads, helped) = (network.info().threads, helped_calls());
                let same = (0..CALLS).all(|_| logits(&*network, &input) == expected);
                let shared = helped_calls() == helped + CALLS;
                let concurrent = concurrent_calls(&*network, &input, &expected);
                println!("{name} {isa}, {threads} threads: same bits {same}, shared {shared}, concurrent {concurrent}");
                failed |= !(same && shared && concurrent);
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

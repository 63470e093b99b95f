//! Weight containers and packed files, up to running a small network on them.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

use mbvc::info::NetworkInfo;
use mbvc::weights::Container;
use mbvc::{Network as _, Rgb, Unobserved, Weights, top_k};
use mbvc_runtime::Line;

use crate::memory::bounded;

mbvc::mobilenet_v2!("specs/micro.yaml", name = Floats);
mbvc::mobilenet_v2!("specs/micro.yaml", name = Strict, numerics = strict, fusion = none);
mbvc::mobilenet_v2!("specs/micro.yaml", name = Int8, precision = int8);
mbvc::mobilenet_v2!("specs/micro.yaml", name = Deep, precision = int8, fusion = deep, rounding = "tflite-reference");
mbvc::mobilenet_v2!("specs/micro.yaml", name = Uint8, precision = uint8);
mbvc::mobilenet_v2!("specs/gray.yaml", name = Gray);
mbvc::mobilenet_v2!("specs/gray.yaml", name = GrayInt8, precision = int8);

fn pixels<const COUNT: usize>() -> [u8; COUNT] {
    std::array::from_fn(|at| (at * at * 31 % 256) as u8)
}

/// Equality of floats and integers, in which NaN equals NaN.
fn bits<T: Copy + Into<f64>>(logits: &[T]) -> Vec<u64> {
    logits.iter().map(|logit| (*logit).into().to_bits()).collect()
}

/// Runs the same test with each network.
macro_rules! each {
    ($macro:ident!($($argument:tt)*)) => {
        $macro!(Floats, $($argument)*);
        $macro!(Strict, $($argument)*);
        $macro!(Int8, $($argument)*);
        $macro!(Deep, $($argument)*);
        $macro!(Uint8, $($argument)*);
        $macro!(Gray, $($argument)*);
        $macro!(GrayInt8, $($argument)*);
    };
}

/// Builds a network from weights, packs them, and compares the two.
macro_rules! build {
    ($network:ident, $weights:expr) => {
        match $network::new($weights) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(model) => {
                let logits = model.run_pixels(&mut $network::scratch(), &pixels());
                let picture = Rgb::new([90, 0, 255].repeat(6), [2, 3]).expect("six pixels");
                assert_eq!(model.classify(&picture).expect("a picture").len(), logits.len());
                let isa = model.isa();
                let mut file = Aligned::new($network::packed_bytes_for(&$weights.container(), isa).expect("it runs"));
                $network::pack(&$weights.container(), isa, file.bytes()).expect("what is built can be packed");
                file.lend(|file| {
                    let packed = $network::from_packed(file).expect("what was packed is read");
                    let again = packed.run_pixels(&mut $network::scratch(), &pixels());
                    assert_eq!(bits(&again), bits(&logits));
                });
            }
        }
    };
}

/// Both readers of containers, and the networks.
pub fn container(bytes: &[u8]) {
    bounded(bytes.len(), || {
        match Container::parse(bytes) {
            Ok(container) => {
                for tensor in container.tensors() {
                    let name = tensor.name.to_string();
                    assert!(container.tensor(&name).is_some_and(|found| found.data == tensor.data), "{name}");
                }
                for (key, value) in container.metadata_entries() {
                    assert!(container.metadata(&key.to_string()) == Some(value), "{key}");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if let Ok(container) = mbvc_import::Container::from_bytes(bytes, "fuzz.safetensors") {
            let again = mbvc_import::Container::from_bytes(&container.to_bytes(), "again");
            let again = again.unwrap_or_else(|error| panic!("{error}"));
            // As bytes, because NaN is not equal to itself.
            assert_eq!(again.to_bytes(), container.to_bytes());
        }
        match Weights::from_bytes(bytes.to_vec()) {
            Ok(weights) => {
                each!(build!(&weights));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

/// Classifies pictures as the command does, if the weights are those of the network.
macro_rules! classify {
    ($network:ident, $weights:expr) => {
        if let Ok(model) = $network::new($weights) {
            let (activation, labels) = ($weights.head_activation(), $weights.labels());
            assert!(labels.is_none_or(|labels| labels.len() == $weights.classes()));
            for size in [[1, 1], [2, 31], [8, 8], [17, 3]] {
                let samples = (0..size[0] * size[1] * 3).map(|at| (at * 89 % 256) as u8).collect::<Vec<_>>();
                let picture = Rgb::new(samples, size).expect("the size is that of the samples");
                let pixels = $weights.framing().frame(&picture, $network::INPUT);
                let (mut scratch, mut logits) = (scratch($network::INFO), [0.0; $network::CLASSES]);
                let run = model.run_pixels_into(&mut scratch, &pixels, &mut logits, &mut Unobserved);
                run.expect("the lengths are the network's");
                let scores = activation.scores(&logits);
                assert_eq!(scores.len(), $weights.classes());
                let mut best = [(0, 0.0); 5];
                let count = top_k(&scores, &mut best);
                assert!(best[..count].iter().all(|(class, _)| *class < scores.len()));
            }
        }
    };
}

/// Mutated weights as `classify` and `inspect` read them.
pub fn classify(bytes: &[u8]) {
    bounded(bytes.len(), || {
        let shown = mbvc_import::inspect_bytes(bytes, "fuzz.safetensors");
        match Weights::from_bytes(bytes.to_vec()) {
            Ok(weights) => {
                each!(classify!(&weights));
            }
            Err(_) => assert!(shown.is_err() || !is_weights_file(bytes), "`inspect` shows what `classify` rejects"),
        }
    });
}

fn scratch(info: &NetworkInfo) -> Vec<f32> {
    vec![0.0; info.scratch_bytes / 4]
}

fn is_weights_file(bytes: &[u8]) -> bool {
    mbvc_import::Container::from_bytes(bytes, "fuzz.safetensors").is_ok()
}

macro_rules! run_packed {
    ($network:ident, $file:expr) => {
        if let Ok(model) = $network::from_packed($file) {
            model.run_pixels(&mut $network::scratch(), &pixels());
            const INPUT: [usize; 3] = $network::INPUT;
            model.embed(&mut $network::scratch(), &[Default::default(); INPUT[0] * INPUT[1] * INPUT[2]]);
            let picture = Rgb::new([90, 0, 255].repeat(6), [2, 3]).expect("six pixels");
            match model.classify(&picture) {
                Ok(guesses) => assert_eq!(guesses.len(), $network::CLASSES),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    };
}

/// A packed file: for any numbers in it, a run reads and writes within bounds, and ends.
pub fn packed(bytes: &[u8]) {
    let mut file = Aligned::new(bytes.len());
    file.bytes().copy_from_slice(bytes);
    file.lend(|file| {
        each!(run_packed!(file));
    });
}

/// Memory aligned to 64 bytes, as packed files require.
pub(crate) struct Aligned {
    start: *mut u8,
    layout: Layout,
    length: usize,
}

impl Aligned {
    pub(crate) fn new(length: usize) -> Self {
        let layout = Layout::from_size_align(length.max(1), align_of::<Line>()).expect("a small file");
        // SAFETY: the layout has at least a byte.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Self { start, layout, length }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `start` has `length` initialized bytes, and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }

    /// Lends the bytes as `'static`: `work` must keep neither them nor a model that borrows them.
    pub(crate) fn lend(&self, work: impl FnOnce(&'static [u8])) {
        // SAFETY: `start` has `length` initialized bytes, and `work` drops all that borrow them before it returns.
        work(unsafe { std::slice::from_raw_parts(self.start, self.length) });
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated by `alloc_zeroed` with this layout, and freed once.
        unsafe { std::alloc::dealloc(self.start, self.layout) };
    }
}

fn random(info: &NetworkInfo) -> Weights {
    let tensors = info.parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    Weights::random(tensors, info.conventions, 7).expect("unique names")
}

/// The weights with all metadata that a model may have for pictures and classes.
fn described(weights: &Weights) -> Weights {
    let mut container = mbvc_import::Container::from_bytes(weights.as_bytes(), "seed").expect("it was written");
    let labels = (0..weights.classes()).map(|class| format!("class {class}")).collect::<Vec<_>>().join("\n");
    for (key, value) in [
        ("mbvc.labels", labels.as_str()),
        ("mbvc.framing", "crop 256/224 bicubic"),
        ("mbvc.head_activation", "log_softmax"),
        ("mbvc.source", "seed"),
    ] {
        container.metadata.insert(key.into(), value.into());
    }
    Weights::from_bytes(container.to_bytes()).expect("the metadata is valid")
}

macro_rules! seed {
    ($network:ident, $seeds:expr) => {
        let plain = random($network::INFO);
        let weights = described(&plain);
        for target in ["container", "classify", "c_interface"] {
            for (weights, name) in [(&plain, "plain"), (&weights, "described")] {
                let name = format!("{}.{name}.safetensors", stringify!($network));
                $seeds.push((target, name, weights.as_bytes().to_vec()));
            }
        }
        for isa in $network::INFO.isas.iter().copied().filter(|isa| isa.detect().is_some()) {
            let mut file =
                Aligned::new($network::packed_bytes_for(&weights.container(), isa).expect("it was compiled"));
            $network::pack(&weights.container(), isa, file.bytes()).expect("they fit");
            let name = format!("{}.{isa}", stringify!($network));
            $seeds.push(("packed", name, file.bytes().to_vec()));
        }
    };
}

/// Valid files of these networks: target, name, bytes.
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    each!(seed!(seeds));
    seeds
}

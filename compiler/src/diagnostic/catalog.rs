//! Catalog of the rules that a user's input can break.

/// A rule: its code, shown as `error[code]`, and its text, shown as `rule:`.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique, in lower case with hyphens.
    pub code: &'static str,
    /// A property of valid input, without a full stop.
    pub text: &'static str,
}

macro_rules! catalog {
    ($($name:ident = $code:literal: $text:literal;)*) => {
        $(#[doc = $text] pub static $name: Rule = Rule { code: $code, text: $text };)*

        /// All rules.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

catalog! {
    // The file.
    FILE = "file": "a spec is a readable file";
    LENGTH = "length": "a spec is at most 65536 bytes long";
    ENCODING = "encoding": "a spec is UTF-8 text";
    EMPTY = "empty": "a spec has at least the keys resolution, classes, stem, blocks and head";

    // YAML.
    SYNTAX = "yaml": "a spec is YAML 1.2";
    DOCUMENT = "document": "a file contains one spec";
    PLAIN = "plain": "a spec is plain YAML: no anchors, aliases, merge keys or tags";
    DEPTH = "depth": "values are nested at most 8 levels deep";

    // Keys.
    UNKNOWN_KEY = "unknown-key": "unknown keys are errors, so that a misspelled key is not ignored";
    MISSING_KEY = "missing-key": "a key without a default is required";
    DUPLICATE_KEY = "duplicate-key": "a key is given at most once";
    MAPPING = "mapping": "the spec, its stem, head and preprocessing, and every row of its blocks are mappings { key: value, ... }";

    // Values.
    NAME = "name": "a name is a Rust type name in CamelCase: an ASCII capital, then ASCII letters and digits, and not a keyword";
    WIDTH = "width": "the width multiplier is a number above 0 and at most 64";
    RESOLUTION = "resolution": "the resolution is a whole number from 1 to 4096, or [height, width]";
    INPUT = "input": "the input is rgb or gray";
    PADDING = "padding": "the padding is same (TensorFlow) or symmetric (PyTorch)";
    ACTIVATION = "activation": "the activation is relu6 or relu";
    EPSILON = "epsilon": "the epsilon of batch normalization is a number above 0 and below 1";
    CLASSES = "classes": "the number of classes is a whole number from 1 to 65536";
    BLOCKS = "blocks": "blocks is a list of at least one row { t: expansion, c: channels, n: repeat, s: stride }";
    EXPANSION = "expansion": "an expansion is a whole number from 1 to 64";
    CHANNELS = "channels": "a number of channels is a whole number from 1 to 65536";
    DENSE = "dense": "dense is the number of units of a dense layer before the classifier, from 1 to 65536, or a list of 1 to 8 such numbers; dense_activation requires dense";
    REPEAT = "repeat": "a row is repeated from 1 to 128 times";
    STRIDE = "stride": "a stride is 1 or 2";
    RESIDUAL = "residual": "a residual is auto, true or false";
    PREPROCESSING = "preprocessing": "preprocessing is { range: [low, high] } with low below high, or { mean: [r, g, b], std: [r, g, b] } of pixels from 0 to 1, with every std above 0, or { scale: [r, g, b], offset: [r, g, b] } of pixels from 0 to 255; mean, std, scale and offset are one number for gray input";
    PRECISION = "precision": "the precision is f32, bf16, int8 or uint8";
    KERNELS = "kernels": "batches require precision f32 or bf16 and a head without dense layers; deep fusion requires a quantized precision and one thread, and cannot combine dsp with other instruction sets";
    NUMERICS = "numerics": "the numerics are fast (the fast inner product on processors where it is faster) or strict (bit-identical on every instruction set with FMA); they apply to f32";
    ROUNDING = "rounding": "the rounding is even for f32 and bf16, and xnnpack or tflite-reference for int8 and uint8";
    FUSION = "fusion": "the fusion is none, relu6, block or deep";
    ISA = "isa": "an instruction set is amxbf16, avx512bf16, avx512vnni, avxvnni, avx512, avx2, neondot, neon, wasm128dot, wasm128pairs, wasm128relaxed, wasm128, dsp or portable; give one, a list without repetition, or all";
    THREADS = "threads": "the number of threads of a call is a whole number from 1 to 64";
    BATCH = "batch": "the number of images of a batch is a whole number from 1 to 64";
    SCRATCH_BUDGET = "scratch-budget": "the scratch budget is none, or a number of bytes from 1, or a size such as 512 KiB or 1.3 MB";

    // The network as a whole.
    RESIDUAL_SHAPES = "residual-shapes": "a residual adds a block's input to its output: it requires stride 1 and equal input and output channels after the width multiplier";
    CHANNELS_LEFT = "channels-left": "channels times width round to at least one channel";
    LAYER_CHANNELS = "layer-channels": "a layer has at most 65536 channels after width and expansion";
    BLOCK_COUNT = "block-count": "a network has at most 128 blocks";
    TENSOR_SIZE = "tensor-size": "a tensor has at most 2^30 elements";
    PARAMETER_COUNT = "parameter-count": "a network has at most 2^28 parameters";
    WORK = "work": "one run of a network takes at most 2^42 multiply-accumulates";
    SCRATCH = "scratch": "the working memory of a run fits the scratch budget";

    // Embedded weights.
    WEIGHTS_FILE = "weights-file": "embedded weights are a readable file";
    WEIGHTS_FORM = "weights-form": "embedded weights are a weights file that `mbvc import` writes, or a packed file that `mbvc pack` writes";
    WEIGHTS_FIT = "weights-fit": "weights match their network in activation, padding, precision, classes and the name, type and shape of every tensor";
    WEIGHTS_PACKED = "weights-packed": "packed weights match this version of mbvc and the network, including its fusion, threads, batch and resolution";

    // Overrides.
    ARGUMENT = "argument": "arguments override the keys name, width, resolution, classes, precision, numerics, rounding, fusion, isa, threads, batch and scratch_budget of the spec; the macro also takes weights and crate";

    INTERNAL = "internal": "the compiler accepts or rejects every input: this is a bug in mbvc";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_are_distinct_and_texts_are_sentences_without_a_stop() {
        for (index, rule) in ALL.iter().enumerate() {
            assert!(ALL[index + 1..].iter().all(|other| other.code != rule.code), "{} twice", rule.code);
            assert!(rule.code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", rule.code);
            assert!(!rule.text.is_empty() && !rule.text.ends_with('.'), "{}", rule.text);
        }
    }
}

//! Every rule that a user's input can break, stated once.

/// A rule: a short code for `error[code]`, and the sentence that is shown as `rule:`.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Lower case with hyphens; no other rule has it.
    pub code: &'static str,
    /// What holds of sound input; without a full stop.
    pub text: &'static str,
}

macro_rules! catalog {
    ($($name:ident = $code:literal: $text:literal;)*) => {
        $(#[doc = $text] pub static $name: Rule = Rule { code: $code, text: $text };)*

        /// The whole catalog.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

catalog! {
    // The file.
    FILE = "file": "a spec is a file that can be read";
    LENGTH = "length": "a spec is at most 65536 bytes long";
    ENCODING = "encoding": "a spec is text in UTF-8";
    EMPTY = "empty": "a spec gives at least resolution, classes, stem, blocks and head";

    // YAML.
    SYNTAX = "yaml": "a spec is YAML 1.2";
    DOCUMENT = "document": "a file holds one spec";
    PLAIN = "plain": "a spec is plain YAML: no anchors, aliases, merge keys or tags";
    DEPTH = "depth": "nothing in a spec is nested deeper than 8 levels";

    // Keys.
    UNKNOWN_KEY = "unknown-key": "only the keys of a spec are allowed, so that no misspelled one is passed over";
    MISSING_KEY = "missing-key": "what has no default must be given";
    DUPLICATE_KEY = "duplicate-key": "a key is given once";
    MAPPING = "mapping": "the spec, its stem, head and preprocessing, and every row of its blocks are mappings { key: value, ... }";

    // Values.
    NAME = "name": "a name is a Rust type name in CamelCase: a capital first, then ASCII letters and digits, no keyword";
    WIDTH = "width": "the width multiplier is a number above 0 and at most 64";
    RESOLUTION = "resolution": "the resolution is a whole number from 1 to 4096, or [height, width]";
    PADDING = "padding": "the padding is same (TensorFlow) or symmetric (PyTorch)";
    ACTIVATION = "activation": "the activation is relu6 or relu";
    EPSILON = "epsilon": "the epsilon of batch normalization is a number above 0 and below 1";
    CLASSES = "classes": "the number of classes is a whole number from 1 to 65536";
    BLOCKS = "blocks": "blocks is a list of at least one row { t: expansion, c: channels, n: repeat, s: stride }";
    EXPANSION = "expansion": "an expansion is a whole number from 1 to 64";
    CHANNELS = "channels": "a number of channels is a whole number from 1 to 65536";
    REPEAT = "repeat": "a row is repeated from 1 to 128 times";
    STRIDE = "stride": "a stride is 1 or 2";
    RESIDUAL = "residual": "a residual is auto, true or false";
    PREPROCESSING = "preprocessing": "preprocessing is { range: [low, high] } with low below high, or { mean: [r, g, b], std: [r, g, b] } of pixels from 0 to 1, with every std above 0";
    PRECISION = "precision": "the precision is f32, int8 or uint8";
    KERNELS = "kernels": "kernels for batches are of float32, those for deep fusion of quantized networks on one thread";
    NUMERICS = "numerics": "the numerics are fast (the fast inner product where the processor gains from it) or strict (the same bits on every machine)";
    ROUNDING = "rounding": "the rounding is even for f32, and for int8 and uint8 xnnpack or tflite-reference";
    FUSION = "fusion": "the fusion is none, relu6, block or deep";
    ISA = "isa": "an instruction set is avx512vnni, avxvnni, avx512, avx2, neondot, neon or portable; give one, a list without repetition, or all";
    THREADS = "threads": "the number of threads that share a call is a whole number from 1 to 64";
    BATCH = "batch": "the number of images that go through the classifier together is a whole number from 1 to 64";
    SCRATCH_BUDGET = "scratch-budget": "the scratch budget is none, or a number of bytes from 1, or a size such as 512 KiB or 1.3 MB";

    // The network that the values make.
    RESIDUAL_SHAPES = "residual-shapes": "a residual adds a block's input to its output, so stride 1 and as many channels out as in, after the width";
    CHANNELS_LEFT = "channels-left": "channels times width must round to at least one channel";
    LAYER_CHANNELS = "layer-channels": "no layer has more than 65536 channels, after the width and the expansion";
    BLOCK_COUNT = "block-count": "a network has at most 128 blocks";
    TENSOR_SIZE = "tensor-size": "no tensor of the network has more than 2^30 elements";
    PARAMETER_COUNT = "parameter-count": "a network has at most 2^28 parameters";
    WORK = "work": "one run of a network takes at most 2^42 multiply-accumulates";
    SCRATCH = "scratch": "the working memory of a run fits the scratch budget";

    // The weights given beside the spec.
    WEIGHTS_FILE = "weights-file": "weights to embed are a file that can be read, named by its path in quotes";
    WEIGHTS_FORM = "weights-form": "weights to embed are a container that `mbvc import` writes, or a packed file that `mbvc pack` writes";
    WEIGHTS_FIT = "weights-fit": "weights have the activation, padding, precision and classes of their network, and its tensors with name, type and shape";
    WEIGHTS_PACKED = "weights-packed": "packed weights are of this version of mbvc, and of this network with the same fusion, threads, batch and resolution";

    // The values given beside the spec.
    ARGUMENT = "argument": "beside the spec these can be given: name, width, resolution, classes, precision, numerics, rounding, fusion, isa, threads, batch, scratch_budget; in the macro also weights and crate";

    INTERNAL = "internal": "no input makes the compiler fail by itself: this is a bug in mbvc";
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

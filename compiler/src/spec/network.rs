//! Checks of the network as a whole: channels, residuals, sizes.

use super::resolve::{Resolved, scaled};
use super::values::{Checker, Given};
use super::walk::{Draft, RowDraft};
use super::{
    BlockRow, DEFAULT_ROUNDING, Head, Isa, MAX_BLOCKS, MAX_CHANNELS, NetworkSpec, ResidualRule, Stem, choices,
};
use crate::diagnostic::{Diagnostic, Place, catalog};

/// Most elements of a tensor: 4 GiB in f32, and every offset fits 32 bits.
const MAX_TENSOR: u64 = 1 << 30;
/// Most parameters: 1 GiB in f32.
const MAX_PARAMETERS: u64 = 1 << 28;
/// Most multiply-accumulates: minutes of work for one core. The largest resolution at width 1.4 requires a twentieth of
/// it.
const MAX_WORK: u64 = 1 << 42;

/// Checks the values together and assembles the spec; `None` after any error.
pub(super) fn check(checker: &mut Checker<'_>, draft: Draft) -> Option<NetworkSpec> {
    check_channels_left(checker, &draft);
    check_block_count(checker, &draft);
    check_blocks(checker, &draft);
    check_rounding(checker, &draft);
    check_isas(checker, &draft);
    let places = Places {
        resolution: draft.resolution.as_ref().map(|given| given.place),
        blocks: draft.rows.as_ref().map(|given| given.place),
    };
    let spec = assemble(checker, draft).filter(|_| checker.is_clean())?;
    check_size(checker, &spec, &places);
    checker.is_clean().then_some(spec)
}

/// Places of errors about the network as a whole.
struct Places {
    resolution: Option<Place>,
    blocks: Option<Place>,
}

/// Checks that the width rounds no channel count of the table to 0.
fn check_channels_left(checker: &mut Checker<'_>, draft: &Draft) {
    let Some(width) = &draft.width else { return };
    let smallest = scaled_counts(draft).map(|given| given.value).min();
    if let Some(smallest) = smallest.filter(|smallest| *smallest as f64 * width.value < 0.5) {
        let least = 0.5 / smallest as f64;
        let message = format!("width {} rounds {smallest} channels to 0", width.value);
        let mistake = Diagnostic::new(&catalog::CHANNELS_LEFT, message).at(width.place);
        checker.push(mistake.help(format!("write a width of at least {least}, or more channels")));
    }
}

/// The channel counts that any width scales; the head's is never scaled down.
fn scaled_counts(draft: &Draft) -> impl Iterator<Item = &Given<usize>> {
    let stem = draft.stem.iter().filter_map(|stem| stem.channels.as_ref());
    stem.chain(rows(draft).iter().filter_map(|row| row.channels.as_ref()))
}

fn rows(draft: &Draft) -> &[RowDraft] {
    draft.rows.as_ref().map_or(&[], |rows| &rows.value)
}

fn check_block_count(checker: &mut Checker<'_>, draft: &Draft) {
    let mut blocks = 0;
    for row in rows(draft) {
        // An invalid row counts as one block.
        blocks += row.repeat.unwrap_or(1);
        if blocks > MAX_BLOCKS {
            let message = format!("with this row the network has {blocks} blocks");
            let mistake = Diagnostic::new(&catalog::BLOCK_COUNT, message).at(row.place);
            return checker.push(mistake.help("repeat the rows less often, or remove some"));
        }
    }
}

/// Checks channels along the network, as far as they are known.
fn check_blocks(checker: &mut Checker<'_>, draft: &Draft) {
    let Some(width) = draft.width.as_ref().map(|given| given.value) else { return };
    let stem = draft.stem.as_ref().and_then(|stem| stem.channels.as_ref());
    let mut input = stem.and_then(|given| limited(checker, given, given.value, width));
    for row in rows(draft) {
        let output = row.channels.as_ref().and_then(|given| limited(checker, given, given.value, width));
        check_expansion(checker, row, input, output);
        check_residual(checker, row, input, output, width);
        input = output;
    }
    if let Some(given) = draft.head.as_ref().and_then(|head| head.channels.as_ref()).filter(|_| width > 1.0) {
        limited(checker, given, given.value, width);
    }
}

/// A scaled channel count, or an error above the limit.
fn limited(checker: &mut Checker<'_>, given: &Given<usize>, channels: usize, width: f64) -> Option<usize> {
    let scaled = scaled(channels, width);
    if scaled <= MAX_CHANNELS {
        return Some(scaled);
    }
    let message = format!("{channels} channels are {scaled} at width {width}");
    let mistake = Diagnostic::new(&catalog::LAYER_CHANNELS, message).at(given.place);
    checker.push(mistake.help("write fewer channels, or a smaller width"));
    None
}

fn check_expansion(checker: &mut Checker<'_>, row: &RowDraft, input: Option<usize>, output: Option<usize>) {
    let (Some(expansion), Some(repeat)) = (&row.expansion, row.repeat) else { return };
    let widest = if repeat > 1 { input.max(output) } else { input };
    let Some(widest) = widest.filter(|widest| widest * expansion.value > MAX_CHANNELS) else { return };
    let message = format!("{widest} channels are {} after expansion {}", widest * expansion.value, expansion.value);
    let mistake = Diagnostic::new(&catalog::LAYER_CHANNELS, message).at(expansion.place);
    checker.push(mistake.help("write a smaller expansion, or fewer channels"));
}

/// Checks a required residual. Only the first block of a row can be without: the others keep size and channels.
fn check_residual(checker: &mut Checker<'_>, row: &RowDraft, input: Option<usize>, output: Option<usize>, width: f64) {
    let Some(residual) = row.residual.as_ref().filter(|given| given.value == ResidualRule::Required) else { return };
    let channels = match (input, output) {
        (Some(input), Some(output)) if input != output => {
            Some(format!("has {input} input and {output} output channels at width {width}"))
        }
        _ => None,
    };
    let stride = (row.stride == Some(2)).then(|| "halves height and width (stride 2)".to_owned());
    let reasons: Vec<_> = stride.into_iter().chain(channels).collect();
    if reasons.is_empty() {
        return;
    }
    let message = format!("the first block of this row cannot have a residual: it {}", reasons.join(", and it "));
    let repeated = row.repeat.is_some_and(|repeat| repeat > 1);
    let help = if repeated {
        "write `residual: auto`, which adds a residual to the other blocks of the row"
    } else {
        "write `residual: auto`, or stride 1 and the channels of the previous row"
    };
    checker.push(Diagnostic::new(&catalog::RESIDUAL_SHAPES, message).at(residual.place).help(help));
}

/// Checks that the precision has the rounding.
fn check_rounding(checker: &mut Checker<'_>, draft: &Draft) {
    let (Some(precision), Some(Some(rounding))) = (&draft.precision, &draft.rounding) else { return };
    if precision.value.is_quantized() == rounding.value.is_some() {
        return;
    }
    let (precision, word) = (precision.value, choices::rounding_word(rounding.value));
    let help = if precision.is_quantized() {
        "write `rounding: xnnpack` or `rounding: tflite-reference`"
    } else {
        "remove `rounding`, or write `precision: int8` or `precision: uint8`"
    };
    let message = format!("`rounding` is `{word}`, which precision {} does not support", precision.word());
    checker.push(Diagnostic::new(&catalog::ROUNDING, message).at(rounding.place).help(help));
}

/// Checks that the instruction sets have kernels of the precision.
fn check_isas(checker: &mut Checker<'_>, draft: &Draft) {
    let (Some(precision), Some(isas)) = (draft.precision.as_ref().map(|given| given.value), &draft.isas) else {
        return;
    };
    let served = Isa::of(precision);
    for (isa, place) in isas.iter().filter(|(isa, _)| !served.contains(isa)) {
        let message = format!("no {} kernels for {}", precision.word(), isa.name());
        let names: Vec<&str> = served.iter().rev().map(|isa| isa.name()).collect();
        let served_by = choices::PRECISION.iter().filter(|(_, precision)| Isa::of(*precision).contains(isa));
        let with: Vec<&str> = served_by.map(|(word, _)| *word).collect();
        let help = format!(
            "remove it, or choose from {}; {} has kernels only for {}",
            names.join(", "),
            isa.name(),
            with.join(" and ")
        );
        checker.push(Diagnostic::new(&catalog::ISA, message).at(*place).help(help));
    }
}

fn assemble(checker: &Checker<'_>, draft: Draft) -> Option<NetworkSpec> {
    let stem = draft.stem?;
    let head = draft.head?;
    let precision = draft.precision?;
    let blocks = draft.rows?.value.into_iter().map(|row| {
        Some(BlockRow {
            expansion: row.expansion?.value,
            channels: row.channels?.value,
            repeat: row.repeat?,
            stride: row.stride?,
            residual: row.residual?.value,
            line: checker.line(row.place),
        })
    });
    Some(NetworkSpec {
        name: draft.name?,
        width: draft.width?.value,
        resolution: draft.resolution?.value,
        input: draft.input?,
        padding: draft.padding?,
        activation: draft.activation?,
        batch_norm_epsilon: draft.batch_norm_epsilon?,
        classes: draft.classes?,
        stem: Stem { channels: stem.channels?.value, stride: stem.stride?, line: stem.line },
        blocks: blocks.collect::<Option<_>>()?,
        head: Head {
            channels: head.channels?.value,
            dense: head.dense?,
            dense_activation: head.dense_activation?,
            line: head.line,
        },
        preprocessing: draft.preprocessing?,
        precision: precision.value,
        precision_place: precision.value.is_quantized().then_some(precision.place),
        numerics: draft.numerics?,
        rounding: match draft.rounding? {
            Some(given) => given.value,
            None => precision.value.is_quantized().then_some(DEFAULT_ROUNDING),
        },
        fusion: draft.fusion?,
        isas: match draft.isas? {
            // dsp is not among the default instruction sets: other targets would emulate it.
            none if none.is_empty() => {
                Isa::of(precision.value).iter().copied().filter(|isa| *isa != Isa::Dsp).collect()
            }
            given => given.into_iter().map(|(isa, _)| isa).collect(),
        },
        threads: draft.threads?,
        batch: draft.batch?,
        scratch_budget: draft.scratch_budget?,
    })
}

fn check_size(checker: &mut Checker<'_>, spec: &NetworkSpec, places: &Places) {
    let size = Size::of(spec, &spec.resolve());
    let Places { resolution, blocks } = *places;
    let tensor = "elements in its largest tensor";
    let mistakes = [
        (&catalog::TENSOR_SIZE, size.largest_tensor, MAX_TENSOR, tensor, resolution, "the resolution, the width"),
        (&catalog::PARAMETER_COUNT, size.parameters, MAX_PARAMETERS, "parameters", blocks, "the width"),
        (&catalog::WORK, size.work, MAX_WORK, "multiply-accumulates a run", resolution, "the resolution, the width"),
    ];
    for (rule, found, limit, what, place, remedy) in mistakes {
        if let Some(place) = place.filter(|_| found > limit) {
            let mistake = Diagnostic::new(rule, format!("the network has {found} {what}")).at(place);
            checker.push(mistake.help(format!("lower {remedy}, the channels or the expansions")));
        }
    }
}

/// Size of a network. The limits on the values rule out overflow.
#[derive(Debug, PartialEq)]
struct Size {
    /// In elements.
    largest_tensor: u64,
    /// Weights and biases, folded.
    parameters: u64,
    /// Multiply-accumulates.
    work: u64,
    pixels: [u64; 2],
}

impl Size {
    fn of(spec: &NetworkSpec, resolved: &Resolved) -> Self {
        let pixels = spec.resolution.map(|side| side as u64);
        let channels = spec.input.channels();
        let largest_tensor = channels as u64 * pixels[0] * pixels[1];
        let mut size = Self { largest_tensor, parameters: 0, work: 0, pixels };
        size.layer(9 * channels, resolved.stem_channels, spec.stem.stride);
        for block in &resolved.blocks {
            if block.expansion > 1 {
                size.layer(block.in_channels, block.expanded_channels, 1);
            }
            size.layer(9, block.expanded_channels, block.stride);
            size.layer(block.expanded_channels, block.out_channels, 1);
        }
        let features = resolved.blocks.last().map_or(resolved.stem_channels, |block| block.out_channels);
        size.layer(features, resolved.head_channels, 1);
        size.pixels = [1, 1];
        let mut features = resolved.head_channels;
        for units in spec.head.dense.iter().copied().chain([spec.classes]) {
            size.layer(features, units, 1);
            features = units;
        }
        size
    }

    /// Adds a convolution with `products` multiply-accumulates per output. Both padding conventions round up when
    /// halving.
    fn layer(&mut self, products: usize, channels: usize, stride: usize) {
        self.pixels = self.pixels.map(|side| side.div_ceil(stride as u64));
        let outputs = channels as u64 * self.pixels[0] * self.pixels[1];
        self.largest_tensor = self.largest_tensor.max(outputs);
        self.parameters += (products as u64 + 1) * channels as u64;
        self.work = self.work.saturating_add(products as u64 * outputs);
    }
}

#[cfg(test)]
mod tests {
    use super::Size;
    use crate::diagnostic::SourceFile;

    const V2: &str = "resolution: 224\nclasses: 1001\nstem: { channels: 32, stride: 2 }\nhead: { channels: 1280 }\n\
        blocks:\n- {t: 1, c: 16, n: 1, s: 1}\n- {t: 6, c: 24, n: 2, s: 2}\n- {t: 6, c: 32, n: 3, s: 2}\n\
        - {t: 6, c: 64, n: 4, s: 2}\n- {t: 6, c: 96, n: 3, s: 1}\n- {t: 6, c: 160, n: 3, s: 2}\n\
        - {t: 6, c: 320, n: 1, s: 1}\n";

    #[test]
    fn counts_match_the_published_v2() {
        let spec = super::super::parse(&SourceFile::new("v2", V2)).unwrap();
        let size = Size::of(&spec, &spec.resolve());
        assert_eq!(size.parameters, 3_489_097);
        assert_eq!((size.work as f64 / 1e5).round(), 3008.0, "expected 300.8 million, found {}", size.work);
        assert_eq!(size.largest_tensor, 112 * 112 * 96);
    }
}

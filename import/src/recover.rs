//! From recognized layers to the table, the width and the conventions of a spec.

mod image;
mod resolution;

use mbvc_compiler::spec::{
    Activation, Color, MAX_BLOCKS, Padding, Precision, Preprocessing, ResidualRule, make_divisible,
};
use mbvc_runtime::{Framing, HeadActivation};

use crate::error::{ImportError, Result};
use crate::published;
use crate::recognize::{Chain, Layer, Norm};
use crate::source::{self, Fact, Format, SourceGraph};
use crate::text::shorten;

/// The network of a file, as a spec describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// Width multiplier of the published table with the same channels, else 1.
    pub width: f64,
    /// Height and width.
    pub resolution: [usize; 2],
    /// Height and width of an image must be multiples of this, so that the padding is that of the model.
    pub size_multiple: usize,
    /// Colors of the pixels that the network reads.
    pub input: Color,
    /// Padding of 3x3 convolutions; the framework's convention if both give the same result.
    pub padding: Padding,
    /// Activation after every convolution except projections.
    pub activation: Activation,
    /// Epsilon of the first batch normalization; the framework's default if all are folded, or if a spec does not allow it.
    pub batch_norm_epsilon: f64,
    /// Float32, unless the quantization of the model is kept.
    pub precision: Precision,
    /// Number of logits, including a background class.
    pub classes: usize,
    /// Units of the dense layers before the classifier.
    pub dense: Vec<usize>,
    /// Activation of these layers.
    pub dense_activation: Activation,
    /// Function from logits to the scores of the classes.
    pub head_activation: HeadActivation,
    /// Whether the file has this activation; otherwise it is the default.
    pub head_activation_recorded: bool,
    /// Channels before the width multiplier, and stride, of the stem.
    pub stem: [usize; 2],
    /// Table of blocks, in order of execution.
    pub rows: Vec<Row>,
    /// Channels of the head before the width multiplier.
    pub head: usize,
    /// Mapping from pixels to the network's input.
    pub preprocessing: Preprocessing,
    /// Whether the file records its preprocessing; otherwise it is the framework's convention.
    pub preprocessing_recorded: bool,
    /// How pictures are resized to the network's resolution.
    pub framing: Framing,
}

impl Recovered {
    /// Returns the number of classes: the number of logits, or 2 for a single logit with a sigmoid.
    pub fn scored_classes(&self) -> usize {
        self.head_activation.classes(self.classes)
    }
}

/// A row of the table, with channels before the width multiplier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Expansion factor; 1 means no expansion convolution.
    pub expansion: usize,
    /// Output channels of each block.
    pub channels: usize,
    /// Number of blocks, at least 1.
    pub repeat: usize,
    /// Stride of the first block, 1 or 2; the others have stride 1.
    pub stride: usize,
    /// `Auto` if that results in the residuals of the file, else `Never`.
    pub residual: ResidualRule,
}

/// Properties of a block in the weights and the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    expansion: usize,
    channels: usize,
    stride: usize,
    residual: bool,
    /// Whether the shapes allow a residual.
    possible: bool,
}

/// Recovers the spec of `chain`, with evidence for each part and notes for the user.
pub fn recover(chain: &Chain<'_>, graph: &SourceGraph<'_>) -> Result<(Recovered, Vec<Fact>, Vec<String>)> {
    let mut facts = Vec::new();
    let mut notes = Vec::new();
    let mut fact = |key, value: String, how: String| facts.push(Fact { key, value, how });
    let (width, stem, rows, head, how) = table(chain)?;
    fact("width", width.to_string(), how);
    let count: usize = rows.iter().map(|row| row.repeat).sum();
    fact("blocks", format!("{count} in {} rows", rows.len()), "expansions and channels of the weights, strides".into());
    let classes = chain.classifier.out_channels();
    fact("classes", classes.to_string(), format!("outputs of {}", chain.classifier.place));
    let dense: Vec<usize> = chain.dense.iter().map(Layer::out_channels).collect();
    if let (Some(first), Some(last)) = (chain.dense.first(), chain.dense.last()) {
        let places = if dense.len() == 1 { first.place.clone() } else { format!("{} to {}", first.place, last.place) };
        fact("dense", format!("{dense:?} {}", chain.dense_activation), format!("dense layers: {places}"));
    }
    for layer in chain.dense.iter().chain([&chain.classifier]) {
        if let Some(before) = &layer.merged {
            notes
                .push(format!("{} and {} have no activation between them; they are merged", before.place, layer.place));
        }
    }
    let recorded = chain.head_activation.as_ref().or(graph.hints.head_activation.as_ref());
    let (head_activation, how) = head_activation(recorded, classes, &mut notes);
    fact("head_activation", head_activation.to_string(), how);
    notes.extend(chain.rankings.iter().map(|node| {
        format!(
            "the argmax or top-k at {} is omitted: the network returns the scores of all classes",
            node.place.text()
        )
    }));
    let (resolution, how) = resolution::of(chain, graph, &mut notes)?;
    fact("resolution", format!("{}x{}", resolution[0], resolution[1]), how);
    let (input, how) = image::input(chain)?;
    if input == Color::Gray {
        fact("input", input.word().into(), how);
    }
    let (padding, how) = padding(chain, graph);
    fact("padding", padding.word().into(), how);
    let how = match chain.activation_implied {
        true => "ranges of the quantized values, which include it",
        false => "bounds of the activations",
    };
    fact("activation", chain.activation.word().into(), how.into());
    let (epsilon, how) = epsilon(chain, padding, &mut notes);
    fact("batch_norm_epsilon", epsilon.to_string(), how);
    let (preprocessing, how) = image::preprocessing(chain, graph, padding, input, &mut notes)?;
    fact("preprocessing", describe(&preprocessing), how);
    let (framing, how) = image::framing(graph, padding);
    fact("framing", framing.to_string(), how);
    // That of colors does not apply to gray pixels.
    let applies = input == Color::Rgb || graph.hints.preprocessing.is_none_or(|(found, _)| found.is_gray());
    let own = applies && matches!(graph.hints.preprocessing, Some((_, true)));
    let preprocessing_recorded =
        chain.front.is_some_and(|front| front.is_arithmetic()) || graph.input_quantization.is_some() || own;
    for fact in &mut facts {
        if let Some(how) = graph.hints.how(fact.key).filter(|_| applies || fact.key != "preprocessing") {
            how.clone_into(&mut fact.how);
        }
    }
    facts.extend(graph.hints.facts.iter().cloned());
    facts.extend(chain.other_outputs.iter().map(|output| Fact {
        key: "ignored",
        value: format!("output '{}'", shorten(&output.name)),
        how: "the network returns the scores".into(),
    }));
    let recovered = Recovered {
        width,
        resolution,
        size_multiple: chain.size_multiple,
        input,
        padding,
        activation: chain.activation,
        batch_norm_epsilon: epsilon,
        precision: Precision::F32,
        classes,
        dense,
        dense_activation: chain.dense_activation,
        head_activation,
        head_activation_recorded: recorded.is_some(),
        stem: [stem, chain.stem.stride],
        rows,
        head,
        preprocessing,
        preprocessing_recorded,
        framing,
    };
    Ok((recovered, facts, notes))
}

/// Returns the head activation in the file, or the default for this number of logits, and its evidence.
fn head_activation(
    recorded: Option<&(HeadActivation, String)>,
    classes: usize,
    notes: &mut Vec<String>,
) -> (HeadActivation, String) {
    let (activation, how) = match recorded {
        Some((activation, place)) => (*activation, place.clone()),
        None => (
            HeadActivation::default_for(classes),
            format!(
                "default for {}; not recorded in the file",
                if classes == 1 { "one logit" } else { "several logits" }
            ),
        ),
    };
    match (classes, activation) {
        (1, HeadActivation::Softmax | HeadActivation::LogSoftmax) => {
            notes.push(format!(
                "the {activation} of a single logit is constant, so the network does not distinguish classes; pass --head-activation sigmoid or none"
            ));
        }
        (1, HeadActivation::Sigmoid) => {
            notes.push(
                "the sigmoid of the single logit is the probability of class 1, the second label; class 0 has the rest"
                    .into(),
            );
        }
        _ => {}
    }
    (activation, how)
}

type Table = (f64, usize, Vec<Row>, usize, String);

fn table(chain: &Chain<'_>) -> Result<Table> {
    if chain.blocks.is_empty() || chain.blocks.len() > MAX_BLOCKS {
        return Err(ImportError::unsupported(format!("the network has {} blocks", chain.blocks.len()))
            .expected(format!("1 to {MAX_BLOCKS} inverted residual blocks")));
    }
    let blocks: Vec<Found> = chain
        .blocks
        .iter()
        .map(|block| {
            let channels = block.project.out_channels();
            let expanded = block.expand.as_ref().map_or(block.in_channels, |expand| expand.out_channels());
            let stride = block.depthwise.stride;
            let possible = stride == 1 && channels == block.in_channels;
            // The recognizer has checked that this is whole.
            let expansion = expanded / block.in_channels.max(1);
            Found { expansion, channels, stride, residual: block.residual, possible }
        })
        .collect();
    let (stem, head) = (chain.stem.out_channels(), chain.head.out_channels());
    if let Some(width) = published_width(&blocks)
        && let (Some(stem), Some(head)) = (unscaled(stem, width, published::STEM), unscaled_head(head, width))
    {
        let row = |[expansion, channels, repeat, stride]: [usize; 4]| Row {
            expansion,
            channels,
            repeat,
            stride,
            residual: ResidualRule::Auto,
        };
        let rows = published::TABLE.map(row).to_vec();
        return Ok((width, stem, rows, head, format!("all blocks have the published channels of width {width}")));
    }
    let literal = |actual: usize, layer: &str, place: &str| {
        unscaled(actual, 1.0, actual).ok_or_else(|| {
            ImportError::unsupported(format!("{actual} channels"))
                .at(place)
                .role(layer)
                .expected("a multiple of 8, as all channel counts of the family")
        })
    };
    let stem = literal(stem, "stem", &chain.stem.place)?;
    for block in &chain.blocks {
        literal(block.project.out_channels(), &block.project.role, &block.project.place)?;
    }
    Ok((
        1.0,
        stem,
        rows(&blocks),
        head,
        "the channels are not the published ones, so the table lists them unscaled".into(),
    ))
}

/// Returns the width whose published table has these blocks.
fn published_width(found: &[Found]) -> Option<f64> {
    let is_published = |(found, [expansion, channels, stride]): (&Found, published::Block)| {
        (found.expansion, found.channels, found.stride) == (expansion, channels, stride)
            && found.residual == found.possible
    };
    let fits = |width: &f64| {
        found.len() == published::blocks(*width).count()
            && found.iter().zip(published::blocks(*width)).all(is_published)
    };
    published::widths().find(fits)
}

/// Returns the channel count that scales to `actual`: `usual` if possible, else the nearest to the exact quotient.
fn unscaled(actual: usize, width: f64, usual: usize) -> Option<usize> {
    let scales = |channels: &usize| *channels > 0 && make_divisible(*channels as f64 * width) == actual;
    let quotient = (actual as f64 / width).round() as usize;
    let near = (0..=16).flat_map(|off| [quotient.saturating_sub(off), quotient + off]);
    [usual].into_iter().chain(near).find(scales)
}

/// As [`unscaled`], for the head, which widths up to 1 do not scale.
fn unscaled_head(actual: usize, width: f64) -> Option<usize> {
    if width > 1.0 { unscaled(actual, width, published::HEAD) } else { Some(actual) }
}

/// Merges blocks to rows of the same expansion and channels, with stride 1 after the first and one residual rule.
fn rows(blocks: &[Found]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut undecided = true;
    for block in blocks {
        let rule = match (block.possible, block.residual) {
            // The recognizer has refused residuals around these blocks.
            (false, _) => None,
            (true, true) => Some(ResidualRule::Auto),
            (true, false) => Some(ResidualRule::Never),
        };
        if let Some(row) = rows.last_mut()
            && (row.expansion, row.channels, 1) == (block.expansion, block.channels, block.stride)
            && (undecided || rule.is_none_or(|rule| rule == row.residual))
        {
            row.repeat += 1;
            if let Some(rule) = rule {
                (row.residual, undecided) = (rule, false);
            }
            continue;
        }
        undecided = rule.is_none();
        rows.push(Row {
            expansion: block.expansion,
            channels: block.channels,
            repeat: 1,
            stride: block.stride,
            residual: rule.unwrap_or_default(),
        });
    }
    rows
}

fn padding(chain: &Chain<'_>, graph: &SourceGraph<'_>) -> (Padding, String) {
    if let (Some(padding), Some(layer)) = (chain.padding, &chain.padding_seen_at) {
        return (padding, format!("padding of {layer}"));
    }
    if let Some(padding) = graph.hints.padding {
        return (padding, "convention of the source".into());
    }
    let made_by = |name: &str| graph.format == Format::Onnx && graph.producer.to_ascii_lowercase().contains(name);
    let pytorch = made_by("torch");
    // Converters from TensorFlow write the numbers of SAME at a fixed size.
    let tensorflow = ["tf", "tensorflow", "keras"].into_iter().any(made_by);
    if let Some(layer) =
        chain.explicit_padding.as_ref().filter(|_| graph.format == Format::Onnx && !pytorch && !tensorflow)
    {
        let how = format!("equal padding on every side of {layer}; both conventions are equal at this resolution");
        return (Padding::Symmetric, how);
    }
    let padding = if pytorch { Padding::Symmetric } else { Padding::Same };
    (padding, "convention of the framework; both conventions are equal at this resolution".into())
}

fn epsilon(chain: &Chain<'_>, padding: Padding, notes: &mut Vec<String>) -> (f64, String) {
    let norms = chain.layers().flat_map(|layer| &layer.norms);
    let mut epsilons = norms.filter_map(|norm| match norm {
        Norm::BatchNorm(norm) => Some(norm.epsilon),
        Norm::Affine(_) => None,
    });
    let usual = if padding == Padding::Same { 1e-3 } else { 1e-5 };
    let Some(first) = epsilons.next() else {
        return (usual, "default of the framework; batch normalization is folded in the file".into());
    };
    if epsilons.any(|epsilon| epsilon != first) {
        notes.push("the epsilons of the batch normalizations differ; each is folded with its own".into());
    }
    // A spec requires a number between 0 and 1; the folded weights do not depend on it.
    if !(first > 0.0 && first < 1.0) {
        return (usual, format!("default of the framework; that of the file, {first}, is folded"));
    }
    (first, "attribute of the batch normalizations".into())
}

/// Sets the preprocessing of a network that keeps its quantization to that of its input. For a range of -1 to 1 the integer
/// zero point is half a step off, so that rounding from that range would change every other pixel.
pub fn keep_pixels(recovered: &mut Recovered, facts: &mut [Fact], graph: &SourceGraph<'_>) {
    let Some((scale, zero)) = graph.input_quantization else { return };
    let [low, high] = [0.0, 255.0].map(|pixel| (pixel - zero as f64) * scale);
    recovered.preprocessing = Preprocessing::from_range(low, high);
    source::replace(facts, "preprocessing", &describe(&recovered.preprocessing), "quantization of the input");
}

/// Formats preprocessing as in the weights file's metadata: `scale R G B offset R G B`.
pub fn describe(Preprocessing { scale, offset }: &Preprocessing) -> String {
    let list = |values: &[f32; 3]| values.map(|value| value.to_string()).join(" ");
    format!("scale {} offset {}", list(scale), list(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(width: f64) -> Vec<Found> {
        let mut input = make_divisible(32.0 * width);
        let found = published::blocks(width).map(|[expansion, channels, stride]| {
            let possible = stride == 1 && channels == input;
            input = channels;
            Found { expansion, channels, stride, residual: possible, possible }
        });
        found.collect()
    }

    #[test]
    fn finds_every_published_width() {
        for width in [0.35, 0.5, 0.75, 1.0, 1.3, 1.4] {
            assert_eq!(published_width(&published(width)), Some(width));
        }
        // Other widths are recovered as one with the same channels.
        for width in [0.6, 0.9, 1.1, 2.0, 3.37] {
            let found = published_width(&published(width)).unwrap();
            assert_eq!(published(found), published(width), "{width} as {found}");
        }
    }

    #[test]
    fn another_table_has_no_published_width() {
        let mut blocks = published(1.0);
        blocks[3].channels = 40;
        assert_eq!(published_width(&blocks), None);
        blocks.truncate(16);
        assert_eq!(published_width(&blocks), None);
    }

    #[test]
    fn rows_merge_blocks_with_one_residual_rule() {
        let block = |channels, stride, residual, possible| Found { expansion: 6, channels, stride, residual, possible };
        let found = rows(&[
            block(16, 1, false, false),
            block(16, 1, true, true),
            block(16, 1, false, true), // a residual that is possible and absent
            block(16, 2, false, false),
            block(16, 1, false, true),
        ]);
        let shapes: Vec<_> = found.iter().map(|row| (row.repeat, row.stride, row.residual)).collect();
        use ResidualRule::{Auto, Never};
        assert_eq!(shapes, [(2, 1, Auto), (1, 1, Never), (2, 2, Never)]);
    }

    #[test]
    fn a_fixed_stem_keeps_its_channels() {
        let channels = unscaled(32, 1.2, published::STEM).unwrap();
        assert_eq!(make_divisible(channels as f64 * 1.2), 32);
        assert_eq!(unscaled(20, 1.0, 20), None);
    }
}

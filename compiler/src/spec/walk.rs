//! Walks over a spec and checks each value by itself.

use super::keys::{Fields, Key, Shape};
use super::overrides::Arguments;
use super::tree::Entry;
use super::tree::{Node, Value};
use super::values::{Checker, Given};
use super::{
    Activation, Color, Fusion, Isa, MAX_BATCH, MAX_BLOCKS, MAX_CHANNELS, MAX_EXPANSION, MAX_THREADS, Numerics, Padding,
    Precision, Preprocessing, ResidualRule, Rounding, ScratchBudget, choices,
};
use crate::diagnostic::{Diagnostic, Place, catalog};

/// The checked values; `None` after an error.
pub(super) struct Draft {
    pub name: Option<String>,
    pub width: Option<Given<f64>>,
    pub resolution: Option<Given<[usize; 2]>>,
    pub input: Option<Color>,
    pub padding: Option<Padding>,
    pub activation: Option<Activation>,
    pub batch_norm_epsilon: Option<f64>,
    pub classes: Option<usize>,
    pub stem: Option<StemDraft>,
    /// With the place of the key `blocks`.
    pub rows: Option<Given<Vec<RowDraft>>>,
    pub head: Option<HeadDraft>,
    pub preprocessing: Option<Preprocessing>,
    pub precision: Option<Given<Precision>>,
    pub numerics: Option<Numerics>,
    /// `None` inside if the precision decides; a value of `None` is float32's.
    pub rounding: Option<Option<Given<Option<Rounding>>>>,
    pub fusion: Option<Fusion>,
    pub isas: Option<Vec<(Isa, Place)>>,
    pub threads: Option<usize>,
    pub batch: Option<usize>,
    pub scratch_budget: Option<Option<ScratchBudget>>,
}

pub(super) struct StemDraft {
    pub channels: Option<Given<usize>>,
    pub stride: Option<usize>,
    pub line: usize,
}

pub(super) struct HeadDraft {
    pub channels: Option<Given<usize>>,
    pub dense: Option<Vec<usize>>,
    pub dense_activation: Option<Activation>,
    pub line: usize,
}

/// A row of the table; only the place is known if it is not a mapping.
pub(super) struct RowDraft {
    pub expansion: Option<Given<usize>>,
    pub channels: Option<Given<usize>>,
    pub repeat: Option<usize>,
    pub stride: Option<usize>,
    pub residual: Option<Given<ResidualRule>>,
    pub place: Place,
}

const SPEC: Shape = Shape {
    what: "the spec",
    prefix: "",
    keys: &[
        Key::optional("name"),
        Key::optional("width"),
        Key::required("resolution", "resolution: 224"),
        Key::optional("input"),
        Key::optional("padding"),
        Key::optional("activation"),
        Key::optional("batch_norm_epsilon"),
        Key::required("classes", "classes: 1000"),
        Key::required("stem", "stem: { channels: 32, stride: 2 }"),
        Key::required("blocks", "blocks: [{ t: 1, c: 16, n: 1, s: 1 }]"),
        Key::required("head", "head: { channels: 1280 }"),
        Key::optional("preprocessing"),
        Key::optional("precision"),
        Key::optional("numerics"),
        Key::optional("rounding"),
        Key::optional("fusion"),
        Key::optional("isa"),
        Key::optional("threads"),
        Key::optional("batch"),
        Key::optional("scratch_budget"),
    ],
    begins: "the spec begins here",
    remedy: "`mbvc init` writes a spec to start from",
};

const STEM: Shape = Shape {
    what: "`stem`",
    prefix: "stem.",
    keys: &[Key::required("channels", "channels: 32"), Key::required("stride", "stride: 2")],
    begins: "",
    remedy: "write `stem: { channels: 32, stride: 2 }`",
};

const ROW: Shape = Shape {
    what: "a row of `blocks`",
    prefix: "",
    keys: &[
        Key::required("t", "t: 6").or("expansion"),
        Key::required("c", "c: 24").or("channels"),
        Key::required("n", "n: 1").or("repeat"),
        Key::required("s", "s: 1").or("stride"),
        Key::optional("residual"),
    ],
    begins: "",
    remedy: "write `{ t: 6, c: 24, n: 2, s: 2 }`: expansion, channels, repeat, stride",
};

const HEAD: Shape = Shape {
    what: "`head`",
    prefix: "head.",
    keys: &[Key::required("channels", "channels: 1280"), Key::optional("dense"), Key::optional("dense_activation")],
    begins: "",
    remedy: "write `head: { channels: 1280 }`",
};

/// Checks every value of a spec and its overrides.
pub(super) fn walk(checker: &mut Checker<'_>, root: &Node, arguments: &Arguments) -> Option<Draft> {
    let fields = checker.fields(root, &SPEC)?;
    let mut settings = Settings { checker, fields: &fields, arguments };
    let input = settings.or("input", Color::Rgb, Checker::input);
    let preprocessing = match input {
        Some(Color::Gray) => Checker::preprocessing::<1>,
        _ => Checker::preprocessing::<3>,
    };
    Some(Draft {
        name: settings.or("name", "MobileNetV2".to_owned(), Checker::name),
        width: settings.or("width", Given { value: 1.0, place: root.place }, Checker::width),
        resolution: settings.required("resolution", Checker::resolution),
        input,
        padding: settings.or("padding", Padding::Same, Checker::padding),
        activation: settings.or("activation", Activation::Relu6, Checker::activation),
        batch_norm_epsilon: settings.or("batch_norm_epsilon", 1e-3, Checker::epsilon),
        classes: settings.required("classes", Checker::classes),
        stem: settings.required("stem", stem),
        rows: settings.required("blocks", rows),
        head: settings.required("head", head),
        preprocessing: settings.or("preprocessing", Preprocessing::from_range(-1.0, 1.0), preprocessing),
        precision: settings.or("precision", Given { value: Precision::F32, place: root.place }, Checker::precision),
        numerics: settings.or("numerics", Numerics::Fast, Checker::numerics),
        rounding: settings.or("rounding", None, Checker::rounding),
        fusion: settings.or("fusion", Fusion::Block, Checker::fusion),
        isas: settings.or("isa", Vec::new(), Checker::isas),
        threads: settings.or("threads", 1, Checker::threads),
        batch: settings.or("batch", 1, Checker::batch),
        scratch_budget: settings.or("scratch_budget", None, Checker::scratch_budget),
    })
}

/// The top-level values of the spec and the overrides.
struct Settings<'c, 'k, 'n> {
    checker: &'c mut Checker<'k>,
    fields: &'c Fields<'n>,
    arguments: &'c Arguments,
}

impl<'k> Settings<'_, 'k, '_> {
    fn or<T>(&mut self, key: &str, default: T, check: fn(&mut Checker<'k>, &Entry<'_>) -> Option<T>) -> Option<T> {
        if self.fields.get(key).is_none() && self.arguments.get(key).is_none() {
            return Some(default);
        }
        self.required(key, check)
    }

    fn required<T>(&mut self, key: &str, check: fn(&mut Checker<'k>, &Entry<'_>) -> Option<T>) -> Option<T> {
        // Both are checked: an override does not hide an error in the spec.
        let own = self.fields.get(key).and_then(|entry| check(self.checker, entry));
        match self.arguments.get(key) {
            Some(entry) => check(self.checker, &entry),
            None => own,
        }
    }
}

fn stem(checker: &mut Checker<'_>, entry: &Entry<'_>) -> Option<StemDraft> {
    let fields = checker.fields(entry.value, &STEM)?;
    Some(StemDraft {
        channels: fields.get("channels").and_then(|entry| checker.channels(entry)),
        stride: fields.get("stride").and_then(|entry| checker.stride(entry)),
        line: checker.line(entry.key),
    })
}

fn head(checker: &mut Checker<'_>, entry: &Entry<'_>) -> Option<HeadDraft> {
    let fields = checker.fields(entry.value, &HEAD)?;
    let (dense, activation) = (fields.get("dense"), fields.get("dense_activation"));
    if let (None, Some(activation)) = (dense, activation) {
        let message = "`head.dense_activation` is set, but `head.dense` is not";
        let help = "remove it, or write `dense: [100]`";
        checker.push(Diagnostic::new(&catalog::DENSE, message).at(activation.place()).help(help));
    }
    Some(HeadDraft {
        channels: fields.get("channels").and_then(|entry| checker.channels(entry)),
        dense: dense.map_or(Some(Vec::new()), |entry| checker.dense(entry)),
        dense_activation: activation.map_or(Some(Activation::Relu), |entry| checker.activation(entry)),
        line: checker.line(entry.key),
    })
}

fn rows(checker: &mut Checker<'_>, entry: &Entry<'_>) -> Option<Given<Vec<RowDraft>>> {
    match &entry.value.value {
        Value::List(rows) if !rows.is_empty() => {
            let value = rows.iter().map(|node| row(checker, node)).collect();
            Some(Given { value, place: entry.key })
        }
        _ => checker.reject(entry, &catalog::BLOCKS, "write rows such as `- { t: 6, c: 24, n: 2, s: 2 }`"),
    }
}

fn row(checker: &mut Checker<'_>, node: &Node) -> RowDraft {
    let Some(fields) = checker.fields(node, &ROW) else {
        return RowDraft {
            expansion: None,
            channels: None,
            repeat: None,
            stride: None,
            residual: None,
            place: node.place,
        };
    };
    let auto = Given { value: ResidualRule::Auto, place: node.place };
    RowDraft {
        expansion: fields.get("t").and_then(|entry| checker.expansion(entry)),
        channels: fields.get("c").and_then(|entry| checker.channels(entry)),
        repeat: fields.get("n").and_then(|entry| checker.repeat(entry)),
        stride: fields.get("s").and_then(|entry| checker.stride(entry)),
        residual: fields.get("residual").map_or(Some(auto), |entry| checker.residual(entry)),
        place: node.place,
    }
}

/// The values of the table.
impl Checker<'_> {
    fn channels(&mut self, entry: &Entry<'_>) -> Option<Given<usize>> {
        let value = self.whole(entry, &catalog::CHANNELS, 1..=MAX_CHANNELS)?;
        Some(Given { value, place: entry.place() })
    }

    fn expansion(&mut self, entry: &Entry<'_>) -> Option<Given<usize>> {
        let value = self.whole(entry, &catalog::EXPANSION, 1..=MAX_EXPANSION)?;
        Some(Given { value, place: entry.place() })
    }

    fn repeat(&mut self, entry: &Entry<'_>) -> Option<usize> {
        if matches!(entry.value.value, Value::Integer(0)) {
            return self.reject(entry, &catalog::REPEAT, "remove the row, or write the number of repeats");
        }
        self.whole(entry, &catalog::REPEAT, 1..=MAX_BLOCKS)
    }

    fn stride(&mut self, entry: &Entry<'_>) -> Option<usize> {
        match entry.value.value {
            Value::Integer(value @ (1 | 2)) => Some(value as usize),
            Value::Integer(3..) => {
                let help = "write 2 to halve height and width; use several rows with stride 2 for a larger factor";
                self.reject(entry, &catalog::STRIDE, help)
            }
            _ => self.reject(entry, &catalog::STRIDE, "write 1, or 2 to halve height and width"),
        }
    }

    fn residual(&mut self, entry: &Entry<'_>) -> Option<Given<ResidualRule>> {
        let value = match entry.value.value {
            Value::Bool(true) => ResidualRule::Required,
            Value::Bool(false) => ResidualRule::Never,
            _ => {
                let Value::Text(text) = &entry.value.value else {
                    return self.reject(entry, &catalog::RESIDUAL, "write auto, true or false");
                };
                if text != "auto" {
                    return self.reject(entry, &catalog::RESIDUAL, "write auto, true or false");
                }
                ResidualRule::Auto
            }
        };
        Some(Given { value, place: entry.place() })
    }
}

/// Settings of one word or one number.
impl Checker<'_> {
    fn input(&mut self, entry: &Entry<'_>) -> Option<Color> {
        self.choice(entry, &catalog::INPUT, choices::INPUT)
    }

    fn padding(&mut self, entry: &Entry<'_>) -> Option<Padding> {
        self.choice(entry, &catalog::PADDING, choices::PADDING)
    }

    fn activation(&mut self, entry: &Entry<'_>) -> Option<Activation> {
        self.choice(entry, &catalog::ACTIVATION, choices::ACTIVATION)
    }

    fn precision(&mut self, entry: &Entry<'_>) -> Option<Given<Precision>> {
        let value = self.choice(entry, &catalog::PRECISION, choices::PRECISION)?;
        Some(Given { value, place: entry.place() })
    }

    fn numerics(&mut self, entry: &Entry<'_>) -> Option<Numerics> {
        self.choice(entry, &catalog::NUMERICS, choices::NUMERICS)
    }

    fn rounding(&mut self, entry: &Entry<'_>) -> Option<Option<Given<Option<Rounding>>>> {
        let value = self.choice(entry, &catalog::ROUNDING, choices::ROUNDING)?;
        Some(Some(Given { value, place: entry.place() }))
    }

    fn fusion(&mut self, entry: &Entry<'_>) -> Option<Fusion> {
        self.choice(entry, &catalog::FUSION, choices::FUSION)
    }

    fn classes(&mut self, entry: &Entry<'_>) -> Option<usize> {
        self.whole(entry, &catalog::CLASSES, 1..=super::MAX_CLASSES)
    }

    fn epsilon(&mut self, entry: &Entry<'_>) -> Option<f64> {
        let help = "write 0.001 (TensorFlow, Keras) or 0.00001 (PyTorch)";
        self.number(entry, &catalog::EPSILON, |value| value > 0.0 && value < 1.0, help)
    }

    fn width(&mut self, entry: &Entry<'_>) -> Option<Given<f64>> {
        let help = "write a number such as 0.35, 0.5, 0.75, 1.0 or 1.4";
        let value = self.number(entry, &catalog::WIDTH, |value| value > 0.0 && value <= super::MAX_WIDTH, help)?;
        Some(Given { value, place: entry.place() })
    }

    fn threads(&mut self, entry: &Entry<'_>) -> Option<usize> {
        self.whole(entry, &catalog::THREADS, 1..=MAX_THREADS)
    }

    fn batch(&mut self, entry: &Entry<'_>) -> Option<usize> {
        self.whole(entry, &catalog::BATCH, 1..=MAX_BATCH)
    }
}

#[cfg(test)]
mod tests {
    use super::super::compound::PREPROCESSING;
    use super::*;

    #[test]
    fn the_guide_lists_every_key() {
        let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/spec.md")).unwrap();
        let listed: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let shapes = [SPEC, STEM, ROW, HEAD, PREPROCESSING];
        let known: Vec<String> = shapes
            .iter()
            .flat_map(|shape| shape.keys.iter().map(|key| format!("{}{}", shape.prefix, key.name)))
            .collect();
        for key in &known {
            assert_eq!(listed.iter().filter(|one| *one == key).count(), 1, "rows of `{key}`");
        }
        assert_eq!(listed.len(), known.len(), "{listed:?}");
    }
}

//! Checks of settings with parts: name, resolution, instruction sets, preprocessing, scratch budget.

use std::ops::RangeInclusive;

use super::excerpt::shortened;
use super::keys::{Key, Shape};
use super::tree::Entry;
use super::tree::{Node, Value};
use super::values::{Checker, Given};
use super::{Isa, MAX_CHANNELS, MAX_DENSE, MAX_RESOLUTION, Preprocessing, ScratchBudget, choices};
use crate::diagnostic::{Diagnostic, Place, catalog};

/// Keywords reserved by Rust in any edition.
const KEYWORDS: &[&str] = &[
    "Self", "_", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "true", "try", "type", "typeof", "union", "unsafe", "unsized", "use", "virtual", "where", "while",
    "yield",
];

/// Longest name, in bytes; file and function names are derived from it.
const MAX_NAME: usize = 64;

pub(super) const PREPROCESSING: Shape = Shape {
    what: "`preprocessing`",
    prefix: "preprocessing.",
    keys: &[
        Key::optional("range"),
        Key::optional("mean"),
        Key::optional("std"),
        Key::optional("scale"),
        Key::optional("offset"),
    ],
    begins: "",
    remedy: PREPROCESSING_HELP,
};

const PREPROCESSING_HELP: &str =
    "write `{ range: [-1, 1] }`, or `{ mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }`";

/// Help for the mean or deviation of gray pixels.
const ONE_NUMBER: &str = "write one number, because the input is gray";

/// Largest bound of a range; beyond it, scale and offset lose precision in f32.
const LARGEST: f64 = 1e6;
/// Largest pixel of programs that do not scale pixels to 0..1; their means and deviations are 255 times larger.
const LARGEST_PIXEL: f64 = 255.0;

impl Preprocessing {
    /// Range of the mean of pixels from 0 to 1.
    pub const MEAN: RangeInclusive<f64> = 0.0..=1.0;
    /// Range of the deviation of pixels from 0 to 1; below it, scale and offset lose precision in f32.
    pub const STD: RangeInclusive<f64> = 1e-6..=1.0;

    /// Whether red, green and blue are preprocessed alike, as gray pixels require.
    pub fn is_gray(&self) -> bool {
        let Self { scale, offset } = *self;
        mbvc_runtime::Preprocess { scale, offset }.is_gray()
    }

    /// Maps the pixels 0..=255 to `low..=high`.
    pub fn from_range(low: f64, high: f64) -> Self {
        Self { scale: [((high - low) / 255.0) as f32; 3], offset: [low as f32; 3] }
    }

    /// `(pixel / 255 - mean) / std`, the convention of torchvision.
    pub fn from_mean_and_std(mean: [f64; 3], std: [f64; 3]) -> Self {
        Self {
            scale: std.map(|std| (1.0 / (255.0 * std)) as f32),
            offset: std::array::from_fn(|channel| (-mean[channel] / std[channel]) as f32),
        }
    }
}

impl Checker<'_> {
    pub(super) fn name(&mut self, entry: &Entry<'_>) -> Option<String> {
        let Value::Text(name) = &entry.value.value else {
            return self.reject(entry, &catalog::NAME, "write a name such as `MobileNetV2`");
        };
        if KEYWORDS.contains(&name.as_str()) {
            let message = format!("`{}` is the Rust keyword `{name}`", entry.name);
            self.push(Diagnostic::new(&catalog::NAME, message).at(entry.place()).help("choose another name"));
            return None;
        }
        if is_type_name(name) {
            return Some(name.clone());
        }
        let help = match camel_case(name).filter(|_| name.is_ascii()) {
            Some(better) => format!("write `{better}`"),
            None => "write a name such as `MobileNetV2`".to_owned(),
        };
        self.reject(entry, &catalog::NAME, help)
    }

    /// Checks a resolution: one number, `[height, width]`, or `HEIGHTxWIDTH` on the command line.
    pub(super) fn resolution(&mut self, entry: &Entry<'_>) -> Option<Given<[usize; 2]>> {
        let help = match self.is_option(entry) {
            true => "write `224`, or `192x224` for height and width",
            false => "write `224`, or `[192, 224]` for height and width",
        };
        let value = match &entry.value.value {
            Value::List(items) => {
                let [height, width] = items.as_slice() else {
                    return self.reject(entry, &catalog::RESOLUTION, help);
                };
                // Both are checked, so that both errors are reported.
                let both = [height, width].map(|node| self.side(entry, node));
                [both[0]?, both[1]?]
            }
            Value::Text(text) => {
                let sides = text.split_once(['x', 'X', '×']).map(|(h, w)| (h.trim().parse(), w.trim().parse()));
                match sides {
                    Some((Ok(height), Ok(width))) if is_side(height) && is_side(width) => [height, width],
                    _ => return self.reject(entry, &catalog::RESOLUTION, help),
                }
            }
            _ => [self.whole(entry, &catalog::RESOLUTION, 1..=MAX_RESOLUTION)?; 2],
        };
        Some(Given { value, place: entry.place() })
    }

    fn side(&mut self, entry: &Entry<'_>, node: &Node) -> Option<usize> {
        self.whole(&element(entry, node), &catalog::RESOLUTION, 1..=MAX_RESOLUTION)
    }

    /// Checks the units of the dense layers before the classifier: one number or a list.
    pub(super) fn dense(&mut self, entry: &Entry<'_>) -> Option<Vec<usize>> {
        match &entry.value.value {
            Value::List(items) if (1..=MAX_DENSE).contains(&items.len()) => {
                // All are checked, so that all errors are reported.
                let units: Vec<_> = items
                    .iter()
                    .map(|node| self.whole(&element(entry, node), &catalog::DENSE, 1..=MAX_CHANNELS))
                    .collect();
                units.into_iter().collect()
            }
            Value::List(_) => self.reject(entry, &catalog::DENSE, "write the units of each layer, such as `[100]`"),
            _ => Some(vec![self.whole(entry, &catalog::DENSE, 1..=MAX_CHANNELS)?]),
        }
    }

    /// Checks instruction sets: `all`, one name, a list of names, or names separated by commas. The result is in the order
    /// of [`Isa::ALL`], and empty for `all`.
    pub(super) fn isas(&mut self, entry: &Entry<'_>) -> Option<Vec<(Isa, Place)>> {
        const HELP: &str = "write all, amxbf16, avx512bf16, avx512vnni, avxvnni, avx512, avx2, neondot, neon, wasm128dot, wasm128pairs, wasm128relaxed, wasm128, dsp or portable, or a list of them such as `[avx2, portable]`";
        let named: Vec<_> = match &entry.value.value {
            Value::Text(text) if text == "all" => return Some(Vec::new()),
            Value::Text(text) => text.split(',').map(|name| (name.trim(), entry.value.place)).collect(),
            Value::List(items) if !items.is_empty() => {
                let mut named = Vec::new();
                for item in items {
                    match &item.value {
                        Value::Text(text) => named.push((text.as_str(), item.place)),
                        _ => return self.reject(&element(entry, item), &catalog::ISA, HELP),
                    }
                }
                named
            }
            _ => return self.reject(entry, &catalog::ISA, HELP),
        };
        let mut isas: Vec<(Isa, Place)> = Vec::new();
        let mut clean = true;
        for (name, place) in named {
            match self.word(&entry.name, name, place, &catalog::ISA, choices::ISA) {
                Some(isa) if isas.iter().any(|(other, _)| *other == isa) => {
                    let message = format!("`{name}` is listed twice");
                    self.push(Diagnostic::new(&catalog::ISA, message).at(place).help("remove one of the two"));
                    clean = false;
                }
                Some(isa) => isas.push((isa, place)),
                None => clean = false,
            }
        }
        isas.sort_by_key(|(isa, _)| *isa);
        clean.then_some(isas)
    }

    /// Checks the preprocessing of pixels with `N` channels.
    pub(super) fn preprocessing<const N: usize>(&mut self, entry: &Entry<'_>) -> Option<Preprocessing> {
        let fields = self.fields(entry.value, &PREPROCESSING)?;
        let [range, mean, std, scale, offset] =
            ["range", "mean", "std", "scale", "offset"].map(|name| fields.get(name));
        if let (None, None, None, Some(scale), Some(offset)) = (range, mean, std, scale, offset) {
            let [scale, offset] = [scale, offset].map(|entry| self.numbers(entry, &(-LARGEST..=LARGEST), LARGEST));
            let both: [[f64; N]; 2] = [scale?, offset?];
            let [scale, offset] = both.map(|numbers| of_each_channel(numbers).map(|number| number as f32));
            return Some(Preprocessing { scale, offset });
        }
        match (range, mean, std) {
            _ if scale.or(offset).is_some() => {
                let mistake = Diagnostic::new(
                    &catalog::PREPROCESSING,
                    "`scale` and `offset` must be given together and without other keys",
                );
                let help = if N == 1 {
                    "write `{ scale: S, offset: O }`"
                } else {
                    "write `{ scale: [R, G, B], offset: [R, G, B] }`"
                };
                self.push(mistake.at(entry.place()).help(help));
                None
            }
            (Some(range), None, None) => {
                let [low, high] = self.numbers(range, &(-LARGEST..=LARGEST), LARGEST)?;
                if low >= high {
                    return self.reject(range, &catalog::PREPROCESSING, "write the lower bound first");
                }
                Some(Preprocessing::from_range(low, high))
            }
            (None, Some(mean), Some(std)) => {
                let [mean, std] = self.mean_and_std::<N>(mean, std)?.map(of_each_channel);
                Some(Preprocessing::from_mean_and_std(mean, std))
            }
            (range, mean, std) => {
                let message = match (range, mean, std) {
                    (Some(_), ..) => "`preprocessing` has both a range and a mean or std",
                    (None, None, None) => "`preprocessing` is empty",
                    (None, None, _) => "`preprocessing` has a std without a mean",
                    (None, ..) => "`preprocessing` has a mean without a std",
                };
                let mistake = Diagnostic::new(&catalog::PREPROCESSING, message).at(entry.place());
                self.push(mistake.help(PREPROCESSING_HELP));
                None
            }
        }
    }

    /// Checks mean and deviation of pixels from 0 to 1. Values for pixels from 0 to 255 are reported once for both.
    fn mean_and_std<const N: usize>(&mut self, mean: &Entry<'_>, std: &Entry<'_>) -> Option<[[f64; N]; 2]> {
        let means = self.numbers(mean, &Preprocessing::MEAN, LARGEST_PIXEL);
        let deviations = self.numbers(std, &Preprocessing::STD, LARGEST_PIXEL);
        let both = [means?, deviations?];
        let ranges = [(mean, Preprocessing::MEAN), (std, Preprocessing::STD)];
        let beyond = ranges.into_iter().zip(&both).find_map(|((entry, range), numbers)| {
            numbers.iter().find(|number| !range.contains(number)).map(|number| (entry, number))
        });
        let Some((entry, number)) = beyond else { return Some(both) };
        let message = format!("expected `{}` for pixels from 0 to 1, found {number}", entry.name);
        let [mean, std] = both.map(|numbers| numbers.map(of_unit_pixels));
        let help =
            format!("divide mean and std of pixels from 0 to 255 by 255: write `{{ mean: {mean:?}, std: {std:?} }}`");
        self.push(Diagnostic::new(&catalog::PREPROCESSING, message).at(entry.place()).help(help));
        None
    }

    /// Checks a list of `N` numbers, or one number without brackets, in `range`, or above it up to `tolerated`, which the caller reports.
    fn numbers<const N: usize>(
        &mut self,
        entry: &Entry<'_>,
        range: &RangeInclusive<f64>,
        tolerated: f64,
    ) -> Option<[f64; N]> {
        let items = match &entry.value.value {
            Value::List(items) => items.as_slice(),
            Value::Integer(_) | Value::Float(_) if N == 1 => std::slice::from_ref(entry.value),
            _ if N == 1 => return self.reject(entry, &catalog::PREPROCESSING, ONE_NUMBER),
            _ => return self.reject(entry, &catalog::PREPROCESSING, PREPROCESSING_HELP),
        };
        if items.len() != N {
            let help = if N == 1 { ONE_NUMBER.to_owned() } else { format!("write {N} numbers in brackets") };
            return self.reject(entry, &catalog::PREPROCESSING, help);
        }
        let mut numbers = [Some(0.0); N];
        for (number, item) in numbers.iter_mut().zip(items) {
            let help = format!("write a number from {} to {}", range.start(), range.end());
            let accepts = |value| (*range.start()..=tolerated).contains(&value);
            *number = self.number(&element(entry, item), &catalog::PREPROCESSING, accepts, &help);
        }
        let found = numbers.map(Option::unwrap_or_default);
        numbers.iter().all(Option::is_some).then_some(found)
    }

    /// Checks a scratch budget: `none`, a number of bytes, or a number with a unit.
    pub(super) fn scratch_budget(&mut self, entry: &Entry<'_>) -> Option<Option<ScratchBudget>> {
        let bytes = match &entry.value.value {
            Value::Integer(bytes) => usize::try_from(*bytes).ok(),
            Value::Text(text) if text == "none" => return Some(None),
            Value::Text(text) => size(text),
            _ => None,
        };
        match bytes.filter(|bytes| *bytes > 0) {
            Some(bytes) => Some(Some(ScratchBudget { bytes, place: entry.place() })),
            None => self.reject(entry, &catalog::SCRATCH_BUDGET, "write `none`, or a size such as `512 KiB`"),
        }
    }
}

/// An element of a list, under the list's name.
fn element<'a>(list: &'a Entry<'_>, node: &'a Node) -> Entry<'a> {
    Entry { name: list.name.as_ref().into(), key: node.place, value: node }
}

/// Returns the numbers of red, green and blue; one number is that of all three.
fn of_each_channel<const N: usize>(numbers: [f64; N]) -> [f64; 3] {
    std::array::from_fn(|channel| numbers[channel % N])
}

/// Scales a mean or deviation of pixels from 0 to 255 to pixels from 0 to 1, rounded to six decimals.
fn of_unit_pixels(number: f64) -> f64 {
    (number / LARGEST_PIXEL * 1e6).round() / 1e6
}

fn is_side(pixels: usize) -> bool {
    (1..=MAX_RESOLUTION).contains(&pixels)
}

/// Bytes of a text such as `1.3 MB`.
fn size(text: &str) -> Option<usize> {
    const UNITS: [(&str, f64); 5] = [("KiB", 1024.0), ("MiB", 1_048_576.0), ("kB", 1e3), ("KB", 1e3), ("MB", 1e6)];
    let (number, factor) = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let bytes = number.trim().parse::<f64>().ok()? * factor;
    // Below 2^53 the product is an exact number of bytes.
    (1.0..9e15).contains(&bytes).then_some(bytes as usize)
}

/// Whether rustc takes a name for a type without a warning.
fn is_type_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let underscores_between_digits = bytes.iter().enumerate().all(|(at, byte)| {
        let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        *byte != b'_' || (digit(at.checked_sub(1)) && digit(at.checked_add(1)))
    });
    bytes.len() <= MAX_NAME
        && bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        && underscores_between_digits
}

/// The nearest type name, if there is one.
fn camel_case(name: &str) -> Option<String> {
    let mut better = String::new();
    for word in shortened(name).split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let digits_meet =
            better.ends_with(|c: char| c.is_ascii_digit()) && word.starts_with(|c: char| c.is_ascii_digit());
        if digits_meet {
            better.push('_');
        }
        let mut letters = word.chars();
        better.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        better.extend(letters);
    }
    (is_type_name(&better) && !KEYWORDS.contains(&better.as_str())).then_some(better)
}

#[cfg(test)]
mod tests {
    use super::{camel_case, is_type_name, size};

    #[test]
    fn type_names_raise_no_warning_of_rustc() {
        for name in ["MobileNetV2", "M", "MobileNetV2_035_96", "X1"] {
            assert!(is_type_name(name), "{name}");
        }
        for name in ["", "mobilenet", "2Net", "Net_A", "Net_0", "_Net", "N__1", "Net_", "Nét", "Net-1", "r#Net"] {
            assert!(!is_type_name(name), "{name}");
        }
    }

    #[test]
    fn proposes_the_nearest_type_name() {
        assert_eq!(camel_case("mobilenet-v2").as_deref(), Some("MobilenetV2"));
        assert_eq!(camel_case("mobilenet_v2_0.35_96").as_deref(), Some("MobilenetV2_0_35_96"));
        assert_eq!(camel_case("224"), None);
        assert_eq!(camel_case("self"), None);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("512 KiB"), Some(524_288));
        assert_eq!(size("1.3 MB"), Some(1_300_000));
        assert_eq!(size("1.3MB"), Some(1_300_000));
        for text in ["", "MB", "-1 MB", "nan MB", "inf MB", "1e300 MB", "5", "5 GB", "0.0001 kB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}

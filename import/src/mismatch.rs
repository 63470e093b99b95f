//! Weights against a spec, layer by layer, all differences at once.

use std::collections::BTreeSet;
use std::fmt;

use mbvc_compiler::ir::ElementType;
use mbvc_compiler::spec::{NetworkSpec, Precision};
use serde::Serialize;

use crate::container::Container;
use crate::quantized::is_parameter_of;
use crate::text::{display_shape, shorten};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Layer or setting, such as `block2.expand` or `padding`.
    pub place: String,
    /// What differs: `weight`, `bias`, `stride`, `residual`, `value`.
    pub what: &'static str,
    /// What the spec asks for.
    pub expected: String,
    /// What the weights have.
    pub found: String,
}

/// All differences between weights and a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
pub struct Mismatches(pub Vec<Mismatch>);

impl fmt::Display for Mismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = if self.0.len() == 1 { "1 difference" } else { &format!("{} differences", self.0.len()) };
        writeln!(f, "the weights do not fit the spec: {differences}")?;
        self.rows(f)?;
        self.remedy(f)
    }
}

impl Mismatches {
    /// The differences alone, one a line below a header.
    pub fn table(&self) -> String {
        fmt::from_fn(|f| self.rows(f)).to_string()
    }

    fn rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|mismatch| format!("{} {}", mismatch.place, mismatch.what)).collect();
        let widest = |texts: &mut dyn Iterator<Item = usize>, least: usize| texts.fold(least, usize::max);
        let first = widest(&mut names.iter().map(String::len), 5);
        let second = widest(&mut self.0.iter().map(|mismatch| mismatch.expected.len()), 8);
        write!(f, "  {:first$}  {:second$}  found", "place", "expected")?;
        for (name, Mismatch { expected, found, .. }) in names.iter().zip(&self.0) {
            write!(f, "\n  {name:first$}  {expected:second$}  {found}")?;
        }
        Ok(())
    }

    fn remedy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = self.0.iter().find(|mismatch| mismatch.place == PRECISION);
        let Some(Mismatch { expected, found, .. }) = precision else { return Ok(()) };
        let floats = Precision::F32.word();
        let (expected, found) = (expected.as_str(), found.as_str());
        if found == floats {
            write!(
                f,
                "\n  remedy: `precision: {floats}` in the spec, or weights of a model that is quantized to {expected}"
            )
        } else if expected == floats {
            write!(
                f,
                "\n  remedy: `precision: {found}` in the spec, or `mbvc import --dequantize` for {floats} weights"
            )
        } else {
            write!(f, "\n  remedy: `precision: {found}` in the spec")
        }
    }
}

const PRECISION: &str = "precision";

/// What tensors are to their layer or value, the longer endings first.
const KINDS: [&str; 6] = ["weight.scale", "weight.zero_point", "weight", "bias", "scale", "zero_point"];

/// A tensor that a spec asks for: layer, kind, shape, element type.
type Wanted = (String, &'static str, Vec<usize>, ElementType);

/// The tensors of a quantized network: those that its graph reads.
fn quantized_tensors(spec: &NetworkSpec) -> Vec<Wanted> {
    let graph = mbvc_compiler::lower::lower(spec);
    let named = graph.used_params().into_iter().filter_map(|id| {
        let param = graph.get_param(id)?;
        let (kind, layer) = KINDS.into_iter().find_map(|kind| Some((kind, param.name.strip_suffix(kind)?)))?;
        Some((layer.trim_end_matches('.').to_owned(), kind, param.shape.clone(), param.element))
    });
    named.collect()
}

/// The tensors that `spec` asks for, in order of execution.
fn expected_tensors(spec: &NetworkSpec) -> Vec<Wanted> {
    if spec.precision.is_quantized() {
        return quantized_tensors(spec);
    }
    let resolved = spec.resolve();
    let mut tensors = Vec::new();
    let mut layer = |name: String, weight: Vec<usize>| {
        let bias = weight.last().copied().unwrap_or(0);
        tensors.push((name.clone(), "weight", weight, ElementType::F32));
        tensors.push((name, "bias", vec![bias], ElementType::F32));
    };
    layer("stem".into(), vec![3, 3, 3, resolved.stem_channels]);
    for block in &resolved.blocks {
        let name = format!("block{}", block.index);
        if block.expansion > 1 {
            layer(format!("{name}.expand"), vec![1, 1, block.in_channels, block.expanded_channels]);
        }
        layer(format!("{name}.depthwise"), vec![3, 3, block.expanded_channels]);
        layer(format!("{name}.project"), vec![1, 1, block.expanded_channels, block.out_channels]);
    }
    let features = resolved.blocks.last().map_or(resolved.stem_channels, |block| block.out_channels);
    layer("head".into(), vec![1, 1, features, resolved.head_channels]);
    layer("classifier".into(), vec![resolved.head_channels, spec.classes]);
    tensors
}

impl Container {
    /// Compares conventions, and the shapes and element types of all tensors. Where the precisions differ, that alone
    /// is told of types, scales and zero points. Strides and residuals are not in a container.
    ///
    /// # Errors
    /// All differences, in order of execution.
    pub fn check_against(&self, spec: &NetworkSpec) -> Result<(), Mismatches> {
        let mut found = Vec::new();
        for (key, expected) in [
            ("activation", spec.activation.word()),
            ("padding", spec.padding.word()),
            (PRECISION, spec.precision.word()),
        ] {
            let value = self.metadata.get(&format!("mbvc.{key}")).map_or("absent", String::as_str);
            if value != expected {
                let (expected, found_value) = (expected.to_owned(), shorten(value));
                found.push(Mismatch { place: key.into(), what: "value", expected, found: found_value });
            }
        }
        let same_precision = found.iter().all(|mismatch: &Mismatch| mismatch.place != PRECISION);
        let mut wanted = BTreeSet::new();
        let mut weight_differs = false;
        for (layer, what, shape, element) in expected_tensors(spec) {
            let name = format!("{layer}.{what}");
            let tensor = self.tensor(&name);
            if !same_precision && is_parameter_of(&name) {
                continue;
            }
            wanted.insert(name);
            let other_type = same_precision && tensor.is_some_and(|tensor| tensor.data.element() != element);
            let agrees = !other_type && tensor.is_some_and(|tensor| tensor.shape == shape);
            let text = |element: ElementType, shape: &[usize]| match other_type {
                true => format!("{} {}", element.name(), display_shape(shape)),
                false => display_shape(shape),
            };
            // A bias follows from its weight, and is told only where it alone is wrong.
            let told = what == "bias" && weight_differs;
            if !agrees && !told {
                let has = tensor.map_or("absent".into(), |tensor| text(tensor.data.element(), &tensor.shape));
                found.push(Mismatch { place: layer, what, expected: text(element, &shape), found: has });
            }
            weight_differs = what == "weight" && !agrees;
        }
        let further = self.tensors.iter().filter(|tensor| !wanted.contains(&tensor.name));
        for tensor in further.filter(|tensor| same_precision || !is_parameter_of(&tensor.name)) {
            let (layer, what) = match tensor.name.rsplit_once('.') {
                Some((layer, "weight")) => (layer, "weight"),
                // Hints with its weight.
                Some((layer, "bias")) if self.tensor(&format!("{layer}.weight")).is_some() => continue,
                _ => (tensor.name.as_str(), "tensor"),
            };
            let (place, has) = (shorten(layer), display_shape(&tensor.shape));
            found.push(Mismatch { place, what, expected: "absent".into(), found: has });
        }
        if found.is_empty() { Ok(()) } else { Err(Mismatches(found)) }
    }
}

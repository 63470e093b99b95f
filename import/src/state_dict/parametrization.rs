//! Weights that PyTorch computes from several tensors: weight normalization (`torch.nn.utils.weight_norm` and
//! `torch.nn.utils.parametrizations.weight_norm`) and pruning (`torch.nn.utils.prune`).

use super::dict::{StateDict, Stored};
use crate::error::{ImportError, Result};
use crate::source::{Constant, Values};
use crate::text::{display_shape, shorten};

/// Suffixes of the names of two tensors and of their result.
const PAIRS: [(&str, &str, &str, Rule); 4] = [
    (".weight_v", ".weight_g", ".weight", Rule::Norm),
    (".parametrizations.weight.original1", ".parametrizations.weight.original0", ".weight", Rule::Norm),
    (".weight_orig", ".weight_mask", ".weight", Rule::Product),
    (".bias_orig", ".bias_mask", ".bias", Rule::Product),
];

#[derive(Clone, Copy)]
enum Rule {
    Norm,
    Product,
}

/// Returns the dictionary with computed weights in place of their parts; `None` if it has none. At most `most` elements are
/// computed.
///
/// # Errors
/// If a weight has another parametrization.
pub fn resolve<'a>(dict: &StateDict<'a>, most: usize) -> Result<Option<StateDict<'a>>> {
    refuse_adapters(dict)?;
    let is_part = |name: &str| name.ends_with("_orig") || name.contains(".parametrizations.");
    let has_pair = |name: &str| PAIRS.iter().any(|(first, ..)| name.ends_with(first));
    if !dict.tensors.keys().any(|name| is_part(name) || has_pair(name)) {
        return Ok(None);
    }
    let mut whole = dict.clone();
    let mut left = most;
    for name in dict.tensors.keys() {
        let at = |error: Box<ImportError>| error.at(format!("tensor '{}'", shorten(name)));
        for (first, second, result, rule) in PAIRS {
            let Some(module) = name.strip_suffix(first) else { continue };
            let other = format!("{module}{second}");
            let (Some(Ok(one)), Some(Ok(two))) = (dict.tensors.get(name), dict.tensors.get(&other)) else { continue };
            let [one, two] = [one.constant(&mut left).map_err(at)?, two.constant(&mut left).map_err(at)?];
            left = left
                .checked_sub(one.len())
                .ok_or_else(|| at(ImportError::unsupported("the parametrized weights are too large")))?;
            let computed = match rule {
                Rule::Norm => axis(&one, &two).and_then(|axis| weight_norm(&one, &two, axis)),
                Rule::Product => product(&one, &two),
            };
            let computed = computed.map_err(at)?;
            whole.tensors.insert(format!("{module}{result}"), Ok(Stored::computed(&computed)));
            whole.tensors.remove(name);
            whole.tensors.remove(&other);
        }
    }
    match whole.tensors.keys().find(|name| is_part(name)) {
        None => Ok(Some(whole)),
        Some(name) => Err(ImportError::unsupported("the weight has an unsupported parametrization")
            .at(format!("tensor '{}'", shorten(name)))
            .expected("weight normalization or pruning")
            .help(
                "remove it before saving: `torch.nn.utils.parametrize.remove_parametrizations(module, \"weight\")`, or \
                 `torch.nn.utils.remove_spectral_norm(module)`",
            )),
    }
}

/// Refuses the weights of a network with adapters (LoRA, `peft`), which are parts of sums.
fn refuse_adapters(dict: &StateDict<'_>) -> Result<()> {
    let is_adapter = |part: &str| part == "base_layer" || part.starts_with("lora_");
    match dict.tensors.keys().find(|name| name.split('.').any(is_adapter)) {
        None => Ok(()),
        Some(name) => Err(ImportError::unsupported("unmerged LoRA adapters")
            .at(format!("tensor '{}'", shorten(name)))
            .expected("weights with the adapters merged")
            .help("merge them and save the result: `model = model.merge_and_unload()`")),
    }
}

/// Returns the axis of a weight normalization: the gain has size 1 along all others. A single gain is of the whole weight.
fn axis(direction: &Constant<'_>, gain: &Constant<'_>) -> Result<i64> {
    if gain.shape().is_empty() {
        return Ok(-1);
    }
    let fits = |axis: &usize| {
        let expected = |(other, size): (usize, &usize)| if other == *axis { *size } else { 1 };
        gain.shape().len() == direction.shape().len()
            && direction.shape().iter().enumerate().map(expected).eq(gain.shape().iter().copied())
    };
    let found = (0..direction.shape().len()).find(fits);
    found.map(|axis| axis as i64).ok_or_else(|| {
        ImportError::malformed("the gain of the weight normalization does not match its direction")
            .expected(format!("one axis of {}", display_shape(direction.shape())))
            .found(display_shape(gain.shape()))
    })
}

fn product(one: &Constant<'_>, two: &Constant<'_>) -> Result<Constant<'static>> {
    if one.shape() != two.shape() {
        return Err(ImportError::malformed("the mask does not match its weight")
            .expected(display_shape(one.shape()))
            .found(display_shape(two.shape())));
    }
    let values: Vec<f64> = one.to_f64().iter().zip(two.to_f64()).map(|(one, two)| one * two).collect();
    Constant::new(one.shape().to_vec(), Values::F64(values.into()))
}

/// Returns `direction * gain / |direction|`, whose norm is over all axes except `axis`, or over all of them if it is -1
/// (`torch.nn.utils.weight_norm`; Salimans and Kingma 2016, arXiv:1602.07868).
///
/// # Errors
/// If the gain does not have one value for each index of `axis`.
pub fn weight_norm<'a>(direction: &Constant<'_>, gain: &Constant<'_>, axis: i64) -> Result<Constant<'a>> {
    let shape = direction.shape();
    let outer = usize::try_from(axis).ok().and_then(|axis| shape.get(axis)).copied().unwrap_or(1);
    let inner: usize = match usize::try_from(axis) {
        Ok(axis) => shape.iter().skip(axis + 1).product(),
        Err(_) => direction.len().max(1),
    };
    let wrong = |expected: String| {
        ImportError::malformed("the gain of the weight normalization does not match its direction")
            .expected(expected)
            .found(display_shape(gain.shape()))
    };
    if gain.len() != outer || axis >= shape.len() as i64 || axis < -1 {
        return Err(wrong(format!("{outer} values")));
    }
    let (values, gains) = (direction.to_f64(), gain.to_f64());
    let index = |at: usize| at.checked_div(inner).unwrap_or(0) % outer.max(1);
    let mut squares = vec![0.0; outer];
    for (at, value) in values.iter().enumerate() {
        squares[index(at)] += value * value;
    }
    let factors: Vec<f64> = gains.iter().zip(squares).map(|(gain, square)| gain / square.sqrt()).collect();
    let scaled: Vec<f64> = values.iter().enumerate().map(|(at, value)| value * factors[index(at)]).collect();
    Constant::new(shape.to_vec(), Values::F64(scaled.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(shape: &[usize], values: &[f64]) -> Constant<'static> {
        Constant::new(shape.to_vec(), Values::F64(values.to_vec().into())).unwrap()
    }

    #[test]
    fn weights_have_the_norm_of_their_gain() {
        let direction = constant(&[2, 2], &[3.0, 4.0, 0.0, 5.0]);
        let rows = weight_norm(&direction, &constant(&[2, 1], &[10.0, 2.0]), 0).unwrap();
        assert_eq!(rows.to_f64(), [6.0, 8.0, 0.0, 2.0]);
        let columns = weight_norm(&direction, &constant(&[1, 2], &[1.0, 0.0]), 1).unwrap();
        assert_eq!(columns.to_f64(), [1.0, 0.0, 0.0, 0.0]);
        let whole = weight_norm(&direction, &constant(&[], &[50f64.sqrt()]), -1).unwrap();
        assert!(
            whole.to_f64().iter().zip([3.0, 4.0, 0.0, 5.0]).all(|(found, expected)| (found - expected).abs() < 1e-12)
        );
        for (gain, axis) in [(&[1usize][..], 0), (&[2, 1], 2), (&[2, 1], -2), (&[2, 1], -1)] {
            let gain = constant(gain, &vec![1.0; gain.iter().product()]);
            assert!(weight_norm(&direction, &gain, axis).is_err(), "{axis}");
        }
    }
}

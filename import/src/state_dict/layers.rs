//! Matches the names of tensors with the layers of known implementations.

use std::collections::{BTreeMap, BTreeSet};

use super::dict::{Module, StateDict, Stored};
use super::family::{self, FAMILIES, Family};
use super::kind::Kind;
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// The layers of a network by the names of their modules.
#[derive(Debug)]
pub struct Layers {
    pub family: &'static Family,
    /// Common prefix of the body's names, such as `state_dict.module.`.
    pub prefix: String,
    pub stem: Named,
    pub blocks: Vec<Block>,
    pub head: Named,
    /// Dense layers or 1x1 convolutions.
    pub dense: Vec<String>,
    /// Prefixes of other copies of the network.
    pub copies: Vec<String>,
    pub notes: Vec<String>,
}

/// An inverted residual block.
#[derive(Debug)]
pub struct Block {
    /// Name of the module.
    pub module: String,
    /// Expansion (optional), depthwise, projection.
    pub layers: Vec<Named>,
    /// Whether it has a residual if shapes allow it.
    pub has_residual: bool,
}

/// A convolution and its normalization.
#[derive(Debug, Clone)]
pub struct Named {
    pub conv: String,
    pub norm: String,
}

/// Convolutions of a file: modules with a weight of rank 4.
type Convs<'d> = BTreeSet<&'d str>;

/// Order of blocks: the rank of their pattern and its numbers.
type Order = (usize, Vec<u32>);

/// Most tensors and candidate networks of a checkpoint. Each candidate costs a pass over all names.
const MAX_TENSORS: usize = 1 << 14;
const MAX_CANDIDATES: usize = 1 << 8;

/// Finds the one network of the family.
pub fn find(dict: &StateDict<'_>) -> Result<Layers> {
    if dict.tensors.len() > MAX_TENSORS {
        return Err(ImportError::unsupported(format!("the file has {} tensors", dict.tensors.len()))
            .expected(format!("at most {MAX_TENSORS}"))
            .help("save the state dict alone: `torch.save(model.state_dict(), FILE)`"));
    }
    let convs: Convs<'_> =
        weights(dict).filter(|(_, weight)| weight.shape().len() == 4).map(|(name, _)| name).collect();
    let mut found: Vec<(Layers, Vec<String>)> = Vec::new();
    let mut near = None;
    for family in &FAMILIES {
        for prefix in convs.iter().filter_map(|conv| prefix_of(conv, family.stem[0])).take(MAX_CANDIDATES) {
            match body(family, prefix, &convs) {
                // The names may also match the shorter patterns of a later family.
                Ok(Some((layers, _))) if found.iter().any(|(other, _)| other.stem.conv == layers.stem.conv) => {}
                Ok(Some((layers, rest))) => found.push((layers, rest)),
                Ok(None) => {}
                Err(error) => near = Some(error),
            }
        }
    }
    let (mut layers, rest) = match found.len() {
        0 => {
            return Err(unreadable(dict, |name| name.ends_with(".weight"))
                .or(near)
                .unwrap_or_else(|| none_found(dict, &convs)));
        }
        1 => found.remove(0),
        _ => averaged(found)?,
    };
    layers.dense = dense(dict, &layers, &rest)?;
    Ok(layers)
}

fn weights<'d, 'a>(dict: &'d StateDict<'a>) -> impl Iterator<Item = (&'d str, &'d Stored<'a>)> {
    dict.tensors.iter().filter_map(|(name, tensor)| Some((name.strip_suffix(".weight")?, tensor.as_ref().ok()?)))
}

/// Returns the part of `name` before `stem`, at a component boundary.
fn prefix_of<'d>(name: &'d str, stem: &str) -> Option<&'d str> {
    name.strip_suffix(stem).filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
}

/// Returns the layers below `prefix` except the classifier, and the remaining convolutions.
fn body(family: &'static Family, prefix: &str, convs: &Convs<'_>) -> Result<Option<(Layers, Vec<String>)>> {
    let named = |[conv, norm]: [&str; 2]| Named { conv: format!("{prefix}{conv}"), norm: format!("{prefix}{norm}") };
    let mut own: BTreeSet<&str> = convs.iter().filter_map(|conv| conv.strip_prefix(prefix)).collect();
    own.remove(family.stem[0]);
    let mut heads = own.iter().flat_map(|conv| {
        family.heads.iter().filter_map(|[head, norm]| Some((*conv, filled(norm, &family::matches(head, conv)?))))
    });
    let (Some((head, head_norm)), None) = (heads.next(), heads.next()) else { return Ok(None) };
    drop(heads);
    own.remove(head);
    let mut units: BTreeMap<Order, (&str, BTreeSet<&str>)> = BTreeMap::new();
    let mut rest = Vec::new();
    for conv in own {
        match family.units.iter().enumerate().find_map(|(rank, known)| unit(rank, known.name, conv)) {
            Some((order, name, layer)) => {
                units.entry(order).or_insert((name, BTreeSet::new())).1.insert(layer);
            }
            None => rest.push(format!("{prefix}{conv}")),
        }
    }
    if units.is_empty() {
        return Ok(None);
    }
    let mut blocks = Vec::new();
    for ((rank, _), (unit, layers)) in &units {
        let form =
            family.blocks.iter().find(|form| form.iter().map(|[conv, _]| *conv).collect::<BTreeSet<_>>() == *layers);
        let Some(form) = form else { return Err(unknown_block(family, prefix, unit, layers)) };
        let layer = |[conv, norm]: &[&str; 2]| named([&format!("{unit}.{conv}"), &format!("{unit}.{norm}")]);
        let has_residual = family.units.get(*rank).is_some_and(|unit| unit.has_residuals);
        let module = format!("{prefix}{}", unit.strip_suffix(".conv").unwrap_or(unit));
        blocks.push(Block { module, layers: form.iter().map(layer).collect(), has_residual });
    }
    let (stem, head) = (named(family.stem), named([head, &head_norm]));
    let (prefix, dense) = (prefix.to_owned(), Vec::new());
    let (copies, notes) = (Vec::new(), Vec::new());
    Ok(Some((Layers { family, prefix, stem, blocks, head, dense, copies, notes }, rest)))
}

/// Substitutes numbers for `#` in `pattern`.
fn filled(pattern: &str, numbers: &[u32]) -> String {
    let mut numbers = numbers.iter();
    let mut text = String::new();
    for (at, piece) in pattern.split('#').enumerate() {
        if at > 0 {
            text.extend(numbers.next().map(u32::to_string));
        }
        text.push_str(piece);
    }
    text
}

/// Returns order and name of the unit of `conv`, and the layer's name within it.
fn unit<'d>(rank: usize, pattern: &str, conv: &'d str) -> Option<(Order, &'d str, &'d str)> {
    let components = pattern.split('.').count();
    let (end, _) = conv.match_indices('.').nth(components - 1)?;
    let (name, layer) = conv.split_at_checked(end)?;
    Some(((rank, family::matches(pattern, name)?), name, layer.strip_prefix('.')?))
}

fn unknown_block(family: &Family, prefix: &str, unit: &str, layers: &BTreeSet<&str>) -> Box<ImportError> {
    let list = |names: &mut dyn Iterator<Item = &str>| names.take(8).map(shorten).collect::<Vec<_>>().join(", ");
    let forms = family.blocks.iter().map(|form| list(&mut form.iter().map(|[conv, _]| *conv)));
    ImportError::unsupported(format!("unexpected convolutions in a block of {}", family.name))
        .at(format!("module '{}'", shorten(&format!("{prefix}{unit}"))))
        .expected(forms.collect::<Vec<_>>().join("; or "))
        .found(list(&mut layers.iter().copied()))
}

/// Selects the network with averaged weights (EMA) of several, as timm does.
fn averaged(mut found: Vec<(Layers, Vec<String>)>) -> Result<(Layers, Vec<String>)> {
    let mut copies: Vec<String> = found.iter().map(|(layers, _)| layers.prefix.clone()).collect();
    let prefixes: Vec<String> = copies.iter().map(|prefix| format!("`{}`", shorten(prefix))).collect();
    found.retain(|(layers, _)| layers.prefix.split(['.', '_']).any(|word| word.eq_ignore_ascii_case("ema")));
    match (found.pop(), found.is_empty()) {
        (Some((mut layers, rest)), true) => {
            let note =
                format!("of the networks at {}, the one with averaged weights (EMA) is imported", prefixes.join(", "));
            layers.notes.push(note);
            copies.retain(|copy| *copy != layers.prefix);
            layers.copies = copies;
            Ok((layers, rest))
        }
        _ => Err(ImportError::unsupported("the file contains several networks")
            .expected("one network, or one with averaged weights (EMA)")
            .found(format!("networks at {}", prefixes.join(", ")))
            .help("save the state dict of one: `torch.save(model.state_dict(), FILE)`")),
    }
}

/// Returns the dense layers with the longest common prefix with the body.
fn dense(dict: &StateDict<'_>, layers: &Layers, rest: &[String]) -> Result<Vec<String>> {
    let (pointwise, others): (Vec<_>, Vec<_>) = rest.iter().partition(|conv| {
        let weight = dict.tensors.get(&format!("{conv}.weight")).and_then(|weight| weight.as_ref().ok());
        weight.is_some_and(|weight| matches!(weight.shape(), [_, _, 1, 1]))
    });
    if let Some(conv) = others.first() {
        return Err(ImportError::unsupported("unexpected convolution")
            .at(format!("module '{}'", shorten(conv)))
            .found(format!("not in the layers of {}", layers.family.name)));
    }
    let shared =
        |name: &str| layers.prefix.split_terminator('.').zip(name.split('.')).take_while(|(a, b)| a == b).count();
    let dense = weights(dict).filter(|(_, weight)| weight.shape().len() == 2).map(|(name, _)| name);
    let candidates: Vec<&str> = dense.chain(pointwise.into_iter().map(String::as_str)).collect();
    let nearest = candidates.iter().map(|name| shared(name)).max().unwrap_or(0);
    let nearest: Vec<&str> = candidates.into_iter().filter(|name| shared(name) == nearest).collect();
    // PyTorch packs the weights of a dynamically quantized layer.
    let is_weight = |name: &str| name.ends_with(".weight") || name.contains("._packed_params.");
    let reason = || unreadable(dict, is_weight).or_else(|| quantized(dict));
    if let Some(error) = nearest.is_empty().then(reason).flatten() {
        return Err(error.role("classifier"));
    }
    match nearest.is_empty() {
        false => Ok(nearest.into_iter().map(str::to_owned).collect()),
        true => Err(ImportError::unsupported("the file has no classifier")
            .role("classifier")
            .expected("a dense layer")
            .help(
                "save the state dict of the whole model, with its classifier; for an embedding model, add a classifier with \
                 any weights: `embed` returns the features before it",
            )),
    }
}

/// A network of which only the head is known.
#[cfg(test)]
pub fn found_for_tests(head: Named, dense: Vec<String>) -> Layers {
    let (stem, prefix) = (head.clone(), String::new());
    let (blocks, copies, notes) = (Vec::new(), Vec::new(), Vec::new());
    Layers { family: &FAMILIES[0], prefix, stem, blocks, head, dense, copies, notes }
}

/// Returns the error of the first tensor with such a name that cannot be read.
fn unreadable(dict: &StateDict<'_>, is_needed: impl Fn(&str) -> bool) -> Option<Box<ImportError>> {
    let mut tensors = dict.tensors.iter().filter(|(name, _)| is_needed(name));
    tensors.find_map(|(name, tensor)| {
        tensor.as_ref().err().map(|error| error.clone().at(format!("tensor '{}'", shorten(name))))
    })
}

/// Returns an error for a module that computes with integers, whose weights are not tensors.
fn quantized(dict: &StateDict<'_>) -> Option<Box<ImportError>> {
    let is_quantized = |(name, module): &(&String, &Module)| {
        let class = module.class.as_deref().unwrap_or_default();
        class.starts_with("torch.") && class.contains(".quantized.") && Kind::of(dict, name) != Some(Kind::Transparent)
    };
    dict.modules.iter().find(is_quantized).map(|(name, module)| {
        let class = module.class.as_deref().unwrap_or_default();
        ImportError::unsupported("the file is quantized by PyTorch")
            .at(format!("module '{}' ({})", shorten(name), shorten(class)))
            .expected("layers of floats")
            .help("import the float model and quantize it: `mbvc quantize`")
    })
}

fn none_found(dict: &StateDict<'_>, convs: &Convs<'_>) -> Box<ImportError> {
    let mut families: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
    families.dedup();
    let error = ImportError::unsupported("unknown tensor names").expected(format!("names of {}", families.join(", ")));
    let names: Vec<_> = convs.iter().take(4).map(|name| format!("'{}'", shorten(name))).collect();
    let error = match (names.is_empty(), dict.tensors.len()) {
        (_, 0) => error.found("no PyTorch tensors"),
        (true, count) => error.found(format!("{count} tensors, but no weight of a convolution")),
        (false, _) => error.found(format!("{} convolutions, such as {}", convs.len(), names.join(", "))),
    };
    error.help(super::dict::EXPORT)
}

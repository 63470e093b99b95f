//! Strides and residuals, which a state dict does not contain.

use mbvc_compiler::spec::NetworkSpec;

use super::dict::StateDict;
use super::layers::Layers;
use crate::error::{ImportError, Result};
use crate::published;

/// Strides of all blocks and their source.
#[derive(Debug)]
pub struct Strides {
    pub stem: [usize; 2],
    pub blocks: Vec<[usize; 2]>,
    /// Whether blocks have a residual if shapes allow it; `None` for the convention of the implementation.
    pub residuals: Option<Vec<bool>>,
    pub how: &'static str,
}

/// Finds strides in the modules, the spec or the published table, in this order. `blocks` are expansions and channels.
pub fn find(
    dict: &StateDict<'_>,
    layers: &Layers,
    blocks: &[[usize; 2]],
    spec: Option<&NetworkSpec>,
) -> Result<Strides> {
    if let Some(strides) = of_modules(dict, layers) {
        return Ok(strides);
    }
    if let Some(spec) = spec {
        return of_spec(spec, blocks.len());
    }
    let known = published::strides(blocks).ok_or_else(|| {
        ImportError::unsupported(
            "unknown strides: a state dict does not contain them, and the blocks are not the published ones",
        )
        .found(format!("expansions and channels {}", table(blocks)))
        .help(format!("pass a spec with `--spec FILE`, or {}", super::dict::EXPORT))
    })?;
    let blocks = known.into_iter().map(|stride| [stride; 2]).collect();
    Ok(Strides { stem: [2; 2], blocks, residuals: None, how: "published table with the same blocks" })
}

fn of_modules(dict: &StateDict<'_>, layers: &Layers) -> Option<Strides> {
    let stride = |conv: &str| dict.modules.get(conv).and_then(|module| module.stride);
    let depthwise = layers.blocks.iter().map(|block| block.layers.iter().rev().nth(1));
    let blocks = depthwise.map(|layer| stride(&layer?.conv)).collect::<Option<_>>()?;
    Some(Strides { stem: stride(&layers.stem.conv)?, blocks, residuals: None, how: "attributes of the modules" })
}

fn of_spec(spec: &NetworkSpec, count: usize) -> Result<Strides> {
    let requested = spec.resolve().blocks;
    if requested.len() != count {
        return Err(ImportError::unsupported(format!("the file has {count} blocks, the spec {}", requested.len()))
            .help("omit --spec to use the published strides, if the table is the published one"));
    }
    Ok(Strides {
        stem: [spec.stem.stride; 2],
        blocks: requested.iter().map(|block| [block.stride; 2]).collect(),
        residuals: Some(requested.iter().map(|block| block.residual).collect()),
        how: "spec, because a state dict contains no strides",
    })
}

fn table(blocks: &[[usize; 2]]) -> String {
    let shown: Vec<_> =
        blocks.iter().take(24).map(|[expansion, channels]| format!("{expansion}x:{channels}")).collect();
    format!("{}{}", shown.join(" "), if blocks.len() > 24 { " …" } else { "" })
}

//! Strides and residuals, which a state dict does not have.

use mbvc_compiler::spec::NetworkSpec;

use super::dict::StateDict;
use super::layers::Layers;
use crate::error::{ImportError, Result};
use crate::published;

/// Of all blocks, and where it is known from.
#[derive(Debug)]
pub struct Strides {
    pub stem: [usize; 2],
    pub blocks: Vec<[usize; 2]>,
    /// Whether blocks whose shapes allow a residual have it; the implementation's do where it is not told.
    pub residuals: Option<Vec<bool>>,
    pub how: &'static str,
}

/// From the modules, the spec or the published table, in this order. `blocks` are expansions and channels.
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
            "the strides are not known: a state dict does not hold them, and the blocks are not the published ones",
        )
        .found(format!("expansions and channels {}", table(blocks)))
        .help("give a spec that has them: `--spec FILE`; or export the model: `torch.onnx.export(model, image, FILE)`")
    })?;
    let blocks = known.into_iter().map(|stride| [stride; 2]).collect();
    Ok(Strides { stem: [2; 2], blocks, residuals: None, how: "those of the published table, whose blocks these are" })
}

fn of_modules(dict: &StateDict<'_>, layers: &Layers) -> Option<Strides> {
    let stride = |conv: &str| dict.modules.get(conv).and_then(|module| module.stride);
    let depthwise = layers.blocks.iter().map(|block| block.layers.iter().rev().nth(1));
    let blocks = depthwise.map(|layer| stride(&layer?.conv)).collect::<Option<_>>()?;
    Some(Strides { stem: stride(&layers.stem.conv)?, blocks, residuals: None, how: "attributes of the modules" })
}

fn of_spec(spec: &NetworkSpec, count: usize) -> Result<Strides> {
    let asked = spec.resolve().blocks;
    if asked.len() != count {
        return Err(ImportError::unsupported(format!("the file has {count} blocks, and the spec {}", asked.len()))
            .help("without --spec the published strides are taken where the table is the published one"));
    }
    Ok(Strides {
        stem: [spec.stem.stride; 2],
        blocks: asked.iter().map(|block| [block.stride; 2]).collect(),
        residuals: Some(asked.iter().map(|block| block.residual).collect()),
        how: "those of the spec, for a state dict does not hold them",
    })
}

fn table(blocks: &[[usize; 2]]) -> String {
    let shown: Vec<_> =
        blocks.iter().take(24).map(|[expansion, channels]| format!("{expansion}x:{channels}")).collect();
    format!("{}{}", shown.join(" "), if blocks.len() > 24 { " …" } else { "" })
}

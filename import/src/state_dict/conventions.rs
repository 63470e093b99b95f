//! What PyTorch's files do not record: preprocessing, framing, resolution and labels. They are in a configuration file, or are
//! conventions of the implementation that the names identify.

use super::dict::StateDict;
use super::family::Family;
use super::layers::{self, Layers};
use super::sidecar::Sidecar;
use crate::source::{Fact, Hints};
use crate::text::shorten;

/// Conventions of a file.
#[derive(Debug)]
pub struct Conventions {
    /// Name of the implementation; empty if it is unknown.
    pub name: &'static str,
    pub hints: Hints,
    /// Height and width of the image, if they are in a configuration file.
    pub resolution: Option<[usize; 2]>,
    pub notes: Vec<String>,
}

/// Returns the conventions of a file with these tensors, whose operations are known; none if the names are unknown.
pub fn conventions(dict: &StateDict<'_>, sidecar: &Sidecar) -> Conventions {
    match layers::find(dict) {
        Ok(layers) => of_layers(&layers, dict, sidecar),
        Err(_) => Conventions { name: "", hints: Hints::default(), resolution: None, notes: Vec::new() },
    }
}

/// Returns the conventions of the implementation of `layers`.
pub fn of_layers(layers: &Layers, dict: &StateDict<'_>, sidecar: &Sidecar) -> Conventions {
    let name = layers.family.name;
    let mut found = of(layers.family, &format!("convention of {name}; not recorded in the file"), sidecar);
    let at = if layers.prefix.is_empty() { String::new() } else { format!(" at `{}`", shorten(&layers.prefix)) };
    let how = format!("names of {} tensors{at}", dict.tensors.len());
    found.hints.facts.push(Fact { key: "names", value: name.into(), how });
    found
}

fn of(family: &'static Family, convention: &str, sidecar: &Sidecar) -> Conventions {
    let mut hints = Hints { preprocessing: Some((family.preprocessing(), false)), ..Hints::default() };
    hints.how.push(("preprocessing", convention.to_owned()));
    hints.framing = Some((family.framing(), convention.to_owned()));
    let mut resolution = None;
    if sidecar.is_of(family) {
        sidecar.explain(&mut hints);
        resolution = sidecar.resolution;
    }
    Conventions { name: family.name, hints, resolution, notes: sidecar.notes.clone() }
}

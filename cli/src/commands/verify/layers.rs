//! Compares every layer of the reference interpreter with the tensors of the other engine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mbvc_compiler::ir::{Graph, Origin, Shape};
use mbvc_compiler::lower::lower;
use mbvc_compiler::passes;
use mbvc_compiler::spec::{DEFAULT_ROUNDING, Fusion, NetworkSpec, Rounding};
use mbvc_import::{Container, SourceTensor, Trace};
use mbvc_interpreter::{self as interp, InterpError, Mode, run_quantized};
use mbvc_runtime::quantized::arithmetic::Integer;

use super::difference::{Difference, Tolerance, nhwc};
use super::feed::Ours;
use super::peer::Values;
use crate::error::{CliError, Result};

/// Compares layers, image by image. Images are compared in parallel, because the interpreter takes most of the time.
pub struct Layers<'a> {
    graph: Graph,
    container: &'a Container,
    integer: Option<Integer>,
    /// Used for integers only.
    rounding: Rounding,
    trace: &'a Trace,
    tolerance: Tolerance,
    /// Index in the trace by name of the node.
    places: HashMap<&'a str, usize>,
    /// By index in the trace.
    compared: Vec<Option<Compared>>,
    images: usize,
}

/// An activation tensor, compared on all images.
#[derive(Debug, Clone)]
pub struct Compared {
    pub origin: Origin,
    pub shape: Shape,
    /// The largest difference, and its image.
    pub worst: Difference,
    pub image: PathBuf,
    /// Number of images on which it differs.
    pub differs_on: usize,
}

impl Compared {
    /// Canonical name of the layer, without that of its activation.
    pub fn layer(&self) -> &str {
        match self.origin.name.rsplit_once('.') {
            Some((layer, "relu" | "relu6")) => layer,
            _ => &self.origin.name,
        }
    }

    fn merge(&mut self, other: Self, tolerance: Tolerance) {
        self.differs_on += other.differs_on;
        if other.worst.severity(tolerance) > self.worst.severity(tolerance) {
            (self.worst, self.image) = (other.worst, other.image);
        }
    }
}

impl<'a> Layers<'a> {
    /// Prepares the comparison.
    ///
    /// # Errors
    /// If a pass leaves an invalid graph.
    pub fn new(
        spec: &NetworkSpec,
        container: &'a Container,
        trace: &'a Trace,
        integer: Option<Integer>,
        tolerance: Tolerance,
    ) -> Result<Self> {
        let mut graph = lower(spec);
        if integer.is_none() {
            // Folded, as the weights of the container are, but not fused, so that every tensor is compared.
            passes::run(&mut graph, Fusion::None, None, &mut |_, _| {})
                .map_err(|broken| CliError::new(broken.to_string()).help("please report it with the spec"))?;
        }
        let places = trace.values.iter().enumerate().map(|(place, value)| (value.node.as_str(), place)).collect();
        let compared = vec![None; trace.values.len()];
        let rounding = spec.rounding.unwrap_or(DEFAULT_ROUNDING);
        Ok(Self { graph, container, integer, rounding, trace, tolerance, places, compared, images: 0 })
    }

    /// Compares all tensors of one image; `theirs` are the tensors of the whole trace in its order. The result has that
    /// order too, for [`merge`](Self::merge).
    ///
    /// # Errors
    /// If the network cannot be run, or the shapes of two tensors differ.
    pub fn compare(&self, image: &Path, ours: &Ours, theirs: &[Values]) -> Result<Vec<Option<Compared>>> {
        let Self { graph, container, integer, rounding, trace, tolerance, places, .. } = self;
        let low = integer.map_or(0, |integer| integer.limits().low);
        let mut compared = vec![None; trace.values.len()];
        let mut failed = None;
        let mut see = |origin: &Origin, shape: Shape, numbers: &mut dyn Iterator<Item = f64>| {
            let Some(place) = places.get(origin.name.as_str()).copied().filter(|_| failed.is_none()) else { return };
            let ours: Vec<f64> = numbers.collect();
            match tensor(trace, place, theirs, shape, low) {
                Ok(theirs) => {
                    let worst = Difference::of(shape, &ours, &theirs, *tolerance);
                    let differs_on = usize::from(!worst.agrees());
                    let (origin, image) = (origin.clone(), image.to_owned());
                    compared[place] = Some(Compared { origin, shape, worst, image, differs_on });
                }
                Err(error) => failed = Some(error),
            }
        };
        let ran = match ours {
            Ours::Floats(values) => {
                interp::run(graph, *container, values, Mode::Strict, &mut |origin, shape, values| {
                    see(origin, shape, &mut values.iter().map(|value| f64::from(*value)));
                })
                .map(drop)
            }
            Ours::Integers(values) => {
                run_quantized(graph, *container, *rounding, values, &mut |origin, shape, values| {
                    see(origin, shape, &mut values.iter().map(|value| f64::from(*value)));
                })
                .map(drop)
            }
        };
        ran.map_err(|cause| not_run(&cause))?;
        failed.map_or(Ok(compared), Err)
    }

    /// Adds the comparison of an image.
    pub fn merge(&mut self, image: Vec<Option<Compared>>) {
        self.images += 1;
        for (all, one) in self.compared.iter_mut().zip(image) {
            match (all.as_mut(), one) {
                (None, one) => *all = one,
                (Some(all), Some(one)) => all.merge(one, self.tolerance),
                (Some(_), None) => {}
            }
        }
    }

    /// Number of images compared so far.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The compared tensors in order of execution, each with the tensor of the model.
    pub fn values(&self) -> impl Iterator<Item = (&Compared, &SourceTensor)> {
        let named = self.compared.iter().zip(&self.trace.values);
        named.filter_map(|(compared, value)| Some((compared.as_ref()?, &value.tensor)))
    }

    /// The first tensor that differs on any image.
    pub fn first(&self) -> Option<(&Compared, &SourceTensor)> {
        self.values().find(|(compared, _)| compared.differs_on > 0)
    }

    /// Number of each layer in the published table by its name.
    pub fn numbers(&self) -> HashMap<&str, usize> {
        let origins = self.graph.ids().map(|id| &self.graph.node(id).origin);
        origins.filter_map(|origin| Some((origin.name.as_str(), origin.layer?))).collect()
    }
}

/// Values of the model's tensor at an index of the trace, in NHWC and RGB.
fn tensor(trace: &Trace, place: usize, theirs: &[Values], shape: Shape, low: i32) -> Result<Vec<f64>> {
    let (values, value) = (&theirs[place], &trace.values[place]);
    let mut numbers = nhwc(values, value.tensor.layout, shape, low).ok_or_else(|| {
        let found: Vec<String> = values.shape.iter().map(ToString::to_string).collect();
        CliError::new(format!(
            "{}: expected {shape}, found {} in tensor {} of the model",
            value.node,
            found.join("x"),
            value.tensor.name
        ))
        .help("compile the network for the size of the model with --resolution HxW")
    })?;
    if value.node == "input" && trace.reversed {
        numbers.chunks_mut(shape.channels.max(1)).for_each(<[f64]>::reverse);
    }
    Ok(numbers)
}

fn not_run(cause: &InterpError) -> CliError {
    CliError::new(format!("the network cannot be run: {cause}"))
}

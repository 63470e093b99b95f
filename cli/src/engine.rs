//! The compiler as the commands use it: specs, code, and networks that run.

use std::path::Path;

use mbvc::__runtime::Needs;
use mbvc::errors::ModelError;
use mbvc::{Isa, Network, Weights};
use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::ir::{Graph, Op};
use mbvc_compiler::spec::{self, DEFAULT_ROUNDING, NetworkSpec, Overrides, Precision};
use mbvc_compiler::{Compiled, Naming, compile};
use mbvc_networks as networks;
use quote::{format_ident, quote};

use crate::error::{CliError, Result};
use crate::options::{FusionArg, NetworkArgs};
use crate::{cache, foreign};

/// A checked spec, its text, and what was given beside it.
pub struct Source {
    pub file: SourceFile,
    pub spec: NetworkSpec,
    pub overrides: Overrides,
}

impl Source {
    /// Checks the text of a spec.
    ///
    /// # Errors
    /// All mistakes of the spec and the overrides.
    pub fn new(file: SourceFile, overrides: Overrides) -> Result<Self> {
        let spec = spec::parse_with(&file, &overrides)?;
        Ok(Self { file, spec, overrides })
    }

    /// Compiles the network with `fusion`, and for `isas` where some are named.
    ///
    /// # Errors
    /// What only shows in the compiled network: a scratch beyond the budget.
    pub fn compile(&self, fusion: FusionArg, isas: &[Isa]) -> Result<Compiled> {
        self.compile_for(fusion, isas, None)
    }

    /// [`Source::compile`], for calls that `threads` share, where some number is given.
    fn compile_for(&self, fusion: FusionArg, isas: &[Isa], threads: Option<usize>) -> Result<Compiled> {
        let mut overrides = self.overrides.clone();
        overrides.set("fusion", fusion.name());
        if let Some(threads) = threads {
            overrides.set("threads", &threads.to_string());
        }
        if !isas.is_empty() {
            let names: Vec<&str> = isas.iter().map(|isa| isa.name()).collect();
            overrides.set("isa", &format!("[{}]", names.join(", ")));
        }
        Ok(compile(&self.file, &overrides)?)
    }

    /// The file of the spec, where it is not the built-in one.
    fn named(&self) -> Option<String> {
        (self.file.name != networks::SPEC_NAME).then(|| self.file.name.clone())
    }

    /// Whether the network is the built-in one, whatever its text looks like.
    fn is_built_in(&self) -> bool {
        let built_in = spec::parse(&SourceFile::new(networks::SPEC_NAME, networks::SPEC));
        built_in.is_ok_and(|built_in| essence(&built_in) == essence(&self.spec))
    }
}

/// A spec without what the generated kernels do not depend on: names, lines, and what commands choose.
fn essence(spec: &NetworkSpec) -> NetworkSpec {
    let mut spec = spec.clone();
    spec.name.clear();
    spec.stem.line = 0;
    spec.head.line = 0;
    spec.blocks.iter_mut().for_each(|row| row.line = 0);
    spec.fusion = mbvc_compiler::spec::Fusion::Block;
    spec.isas.clear();
    spec.scratch_budget = None;
    spec.threads = 1;
    // There is one of each precision, rounded as is usual for it.
    spec.rounding = spec.rounding.filter(|rounding| *rounding != DEFAULT_ROUNDING);
    spec.precision = Precision::F32;
    spec.precision_place = None;
    spec
}

/// Reads and checks a spec; without a path the built-in one.
///
/// # Errors
/// All mistakes of the file, the spec and the overrides.
pub fn source(path: Option<&Path>, overrides: Overrides) -> Result<Source> {
    let file = match path {
        Some(path) => spec::read(path, &path.to_string_lossy())?,
        None => SourceFile::new(networks::SPEC_NAME, networks::SPEC),
    };
    Source::new(file, overrides)
}

/// A network that weights can be bound to.
pub enum Program {
    BuiltIn {
        precision: Precision,
        fusion: FusionArg,
        /// The file of a spec that describes the same network.
        file: Option<String>,
    },
    Foreign(foreign::Program),
}

/// The instruction set that was asked for, or the best that this processor has for a network of `source`'s precision.
///
/// # Errors
/// If `MBVC_ISA` names none.
pub fn isa(source: &Source, wanted: Option<Isa>) -> Result<Isa> {
    match wanted {
        Some(isa) => Ok(isa),
        None => Ok(mbvc::__runtime::choose(Isa::of(source.spec.precision), None)
            .map_err(|cause| CliError::new(cause.to_string()))?
            .isa()),
    }
}

/// The fusion levels that differ in what is written between operations.
pub fn fusion_levels(source: &Source) -> &'static [FusionArg] {
    if source.spec.precision.is_quantized() { &FusionArg::INTEGERS } else { &FusionArg::FLOATS }
}

/// Finds the network among the built-in ones, or compiles it for `isa` (the processor's best without one).
///
/// # Errors
/// If it has to be compiled and cannot be.
pub fn program(source: &Source, fusion: FusionArg, isa: Option<Isa>) -> Result<Program> {
    program_for(source, fusion, isa, None)
}

/// [`program`], for calls that `threads` share instead of as many as the spec says. Those built in have one.
///
/// # Errors
/// As `program`.
pub fn program_for(source: &Source, fusion: FusionArg, isa: Option<Isa>, threads: Option<usize>) -> Result<Program> {
    let precision = source.spec.precision;
    let carried = networks::has(precision, fusion.into()) && source.is_built_in();
    if carried && threads.unwrap_or(source.spec.threads) == 1 {
        return Ok(Program::BuiltIn { precision, fusion, file: source.named() });
    }
    let isa = self::isa(source, isa)?;
    let compiled = source.compile_for(fusion, &[isa], threads)?;
    let [height, width] = compiled.spec.resolution;
    let threads = match compiled.spec.threads {
        1 => String::new(),
        threads => format!(", {threads} threads"),
    };
    let what = format!("{} {height}x{width}, fusion {}{threads}", compiled.spec.name, fusion.name());
    let library = cache::library(&module(&compiled), &what)?;
    foreign::Program::load(&library)
        .map(Program::Foreign)
        .map_err(|cause| CliError::new(cause).help("delete the file, and it will be compiled anew"))
}

/// A network's code for a crate that knows it as `Generated`.
pub fn module(compiled: &Compiled) -> String {
    let naming = Naming {
        name: format_ident!("{}", compiled.spec.name),
        runtime: quote!(::mbvc_runtime),
        attributes: quote!(),
        visibility: quote!(pub),
    };
    let (name, items) = (&naming.name, compiled.tokens(&naming));
    // A module of its own: the network may be called as something in the crate.
    quote!(mod network { #items } use network::#name as Generated;).to_string()
}

/// What helps where weights do not fit the built-in network.
fn name_the_spec(how: &str) -> String {
    format!("name the spec of the weights, which `mbvc import` writes beside them: {how}")
}

/// What the built-in network is called in messages: the types of its levels have names of their own, which users need
/// not know.
const BUILT_IN: &str = "MobileNetV2 of width 1.0 (built in)";

/// The network of `source` with `weights`, at the fusion level and with the kernels that were asked for.
///
/// # Errors
/// If it cannot be compiled, or the weights do not fit.
pub fn network(source: &Source, args: &NetworkArgs, weights: &Weights) -> Result<Box<dyn Network>> {
    let fusion = args.fusion.unwrap_or_else(|| source.spec.fusion.into());
    let isa = args.isa.map(Isa::from);
    program(source, fusion, isa)?.build(weights, isa)
}

impl Program {
    /// Binds weights to the network.
    ///
    /// # Errors
    /// All differences between the weights and the network, or the instruction set that is missing.
    pub fn build(&self, weights: &Weights, isa: Option<Isa>) -> Result<Box<dyn Network>> {
        match self {
            Self::BuiltIn { precision, fusion, file } => networks::build(*precision, (*fusion).into(), weights, isa)
                .map_err(|cause| {
                    let text = cause.to_string();
                    match (cause, file) {
                        (mbvc::errors::ModelError::Mismatch { network, .. }, Some(file)) => {
                            CliError::new(text.replacen(network, &format!("of {file}"), 1))
                        }
                        (mbvc::errors::ModelError::Mismatch { network, .. }, None) => {
                            CliError::new(text.replacen(network, BUILT_IN, 1)).help(name_the_spec("--spec FILE"))
                        }
                        _ => CliError::new(text),
                    }
                }),
            Self::Foreign(program) => match program.build(weights, isa) {
                Ok(model) => Ok(Box::new(model)),
                Err(cause) => Err(CliError::new(cause)),
            },
        }
    }
}

/// Opens a container.
///
/// # Errors
/// If there is none, which is told with how to get one, or it is none.
pub fn weights(path: Option<&Path>) -> Result<Weights> {
    let Some(path) = path else {
        return Err(CliError::new("this needs trained weights, and no --weights FILE was given")
            .help(
                "make them from an ONNX, TFLite, Keras or PyTorch model of the network:\n\
                   mbvc import MODEL",
            )
            .help("pretrained models are published with TensorFlow Lite, Keras, torchvision and the ONNX model zoo"));
    };
    Weights::open(path).map_err(|cause| {
        let text = cause.to_string();
        let endings = ["onnx", "tflite", "keras", "h5", "pth", "pt", "ckpt"];
        let model = path.extension().is_some_and(|end| endings.iter().any(|known| end == *known));
        let error = CliError::new(text);
        if model {
            error.help(format!(
                "this looks like a model; take its weights over first:\n\
                                mbvc import {}",
                path.display()
            ))
        } else {
            error
        }
    })
}

/// Compares weights with a network whose code is not compiled yet.
///
/// # Errors
/// All differences, as binding the weights would tell them.
pub fn check(source: &Source, compiled: &Compiled, weights: &Weights) -> Result {
    let parameters = compiled.parameters();
    let needs = Needs { conventions: compiled.conventions(), parameters: &parameters };
    let mismatches = needs.mismatches(weights.conventions(), weights.container().header());
    if mismatches.is_empty() {
        return Ok(());
    }
    // A few bytes, which the facts of a network hold for as long as the process lives.
    let network = source.named().map_or(BUILT_IN, |file| format!("of {file}").leak());
    let weights = weights.source().unwrap_or("the container").to_owned();
    let error = CliError::new(ModelError::Mismatch { network, weights, mismatches }.to_string());
    Err(if source.named().is_none() { error.help(name_the_spec("mbvc build SPEC")) } else { error })
}

/// Weights to run a network without trained ones, the same every time.
///
/// # Errors
/// If the network cannot be compiled.
pub fn random_weights(source: &Source) -> Result<Weights> {
    let compiled = source.compile(source.spec.fusion.into(), &[Isa::Portable])?;
    let parameters = compiled.parameters();
    let tensors = parameters.iter().map(|parameter| (parameter.name, parameter.dtype, parameter.shape));
    Weights::random(tensors, compiled.conventions(), 1).map_err(|cause| CliError::new(cause.to_string()))
}

/// The folded parameters of a graph: canonical names and shapes.
pub fn parameters(graph: &Graph) -> Vec<(String, Vec<usize>)> {
    let of = |op: &Op| match op {
        Op::Conv2d(conv) => [Some(conv.weight), conv.bias],
        Op::DepthwiseConv2d(conv) => [Some(conv.weight), conv.bias],
        Op::Dense(dense) => [Some(dense.weight), Some(dense.bias)],
        _ => [None, None],
    };
    let nodes = graph.order().unwrap_or_default().into_iter().map(|id| graph.node(id));
    let ids = nodes.flat_map(|node| match &node.op {
        Op::Fused(fused) => fused.stages.iter().flat_map(|stage| of(&stage.op)).collect(),
        op => of(op).to_vec(),
    });
    ids.flatten().map(|id| graph.param(id)).map(|param| (param.name.clone(), param.shape.clone())).collect()
}

//! Builds a [`SourceGraph`] from layers found by name, with the operations of the family between them.

use std::collections::BTreeSet;
use std::rc::Rc;

use mbvc_compiler::spec::{Activation, NetworkSpec, Padding};

use super::account;
use super::conv_head;
use super::conventions::of_layers;
use super::dict::StateDict;
use super::family::Family;
use super::head::{self, Head, Part};
use super::kind::Kind;
use super::layers::{Layers, Named, find};
use super::modules;
use super::parametrization;
use super::sidecar::{CONFIG, Sidecar};
use super::strides::{self, Strides};
use crate::error::{ImportError, Result};
use crate::source::{
    BatchNorm, Constant, Conv, Dense, Format, Kernel, Node, Op, Pads, Place, SourceGraph, Value, Values,
};
use crate::text::shorten;

/// Canonical axes in PyTorch's `[out, in, height, width]` and `[out, in]`.
const CONV_ORDER: [usize; 4] = [2, 3, 1, 0];
const DENSE_ORDER: [usize; 2] = [1, 0];

/// Translates a state dict. `sidecar` has the content of configuration files, `spec` is given by the user, and at most `most`
/// elements are copied.
pub fn read<'a>(
    dict: &StateDict<'a>,
    format: Format,
    variant: &str,
    sidecar: &Sidecar,
    spec: Option<&NetworkSpec>,
    most: usize,
) -> Result<SourceGraph<'a>> {
    let (whole, parts) = (parametrization::resolve(dict, most)?, dict);
    let dict = whole.as_ref().unwrap_or(dict);
    let layers = find(dict)?;
    let mut conventions = Conventions::of(layers.family, sidecar)?;
    let strides = strides::find(dict, &layers, &blocks(dict, &layers)?, spec)?;
    if let Some(spec) = spec {
        conventions.use_spec(spec);
    }
    let leaves = head::leaves(dict, &layers);
    let modules = modules::read(dict, &layers, &leaves)?;
    conventions.use_modules(&modules);
    conv_head::check(dict, &layers, &leaves, &modules.scores)?;
    let assumed = spec.filter(|spec| !spec.head.dense.is_empty()).map(|spec| spec.head.dense_activation);
    let head = head::find(leaves, &layers.dense, &modules.scores, assumed)?;
    // `[out, in, height, width]`; the recognizer checks the channels.
    let channels = shape(dict, &layers.stem)?.get(1).copied().unwrap_or(0);
    let builder = Builder {
        dict,
        used: BTreeSet::new(),
        conventions: &conventions,
        nodes: Vec::new(),
        value: 0,
        channels,
        budget: most,
        attributes: false,
        activations: modules.activations.clone(),
        window: modules.window,
        needs_activations: dict.modules.values().any(|module| module.class.is_some()),
    };
    let Built { nodes, used, attributes } = builder.network(&layers, &head, &strides)?;
    let ignored = account::check(dict, &used, &layers.prefix, &layers.copies)?;
    let mut how = vec![("blocks", format!("expansions and channels of the weights; strides: {}", strides.how))];
    let [padding, epsilon] = match attributes {
        true => ["attributes of the modules"; 2],
        false => [&*conventions.padding_how, &conventions.epsilon_how],
    };
    how.extend([("padding", padding.to_owned()), ("batch_norm_epsilon", epsilon.to_owned())]);
    how.push(("activation", conventions.activation_how.clone()));
    let known = of_layers(&layers, dict, sidecar);
    let mut hints = known.hints;
    how.append(&mut hints.how);
    (hints.how, hints.padding) = (how, Some(conventions.padding));
    hints.facts.extend(ignored);
    let [height, width] = known.resolution.map_or([None; 2], |size| size.map(Some));
    let mut notes = layers.notes;
    notes.extend(modules.notes);
    notes.extend(known.notes);
    if let Some(spec) = spec.filter(|spec| !attributes && spec.batch_norm_epsilon != conventions.epsilon) {
        notes.push(format!(
            "the batch_norm_epsilon of the spec, {}, is not used; the weights are folded with {} ({})",
            spec.batch_norm_epsilon, conventions.epsilon, conventions.epsilon_how
        ));
    }
    if let Some(name) = parts.tensors.keys().find(|name| name.contains(".parametrizations.")) {
        notes.push(format!(
            "the file does not record the class of a parametrization: weight normalization is assumed at '{}'; compare with `mbvc verify`",
            shorten(name)
        ));
    }
    let producer = [layers.family.name, variant].join(" ").trim().to_owned();
    let input_shape = [height, width, Some(channels)];
    Ok(SourceGraph { producer, input_shape, nodes, hints, notes, ..SourceGraph::of(format) })
}

/// Conventions that are not in the file: those of the configuration file, or of the implementation.
struct Conventions {
    padding: Padding,
    epsilon: f64,
    activation: Activation,
    /// Evidence for padding, epsilon and activation.
    padding_how: String,
    epsilon_how: String,
    activation_how: String,
}

impl Conventions {
    fn of(family: &Family, sidecar: &Sidecar) -> Result<Self> {
        let how = format!("convention of {}; not recorded in the file", family.name);
        let mut conventions = Self {
            padding: family.padding,
            epsilon: family.epsilon,
            activation: family.activation,
            padding_how: how.clone(),
            epsilon_how: how.clone(),
            activation_how: how,
        };
        if sidecar.is_of(family) {
            conventions.use_sidecar(sidecar)?;
        }
        Ok(conventions)
    }

    fn use_sidecar(&mut self, sidecar: &Sidecar) -> Result<()> {
        if let Some(refusal) = &sidecar.refusal {
            return Err(refusal.clone());
        }
        if let Some(padding) = sidecar.padding {
            (self.padding, self.padding_how) = (padding, CONFIG.to_owned());
        }
        if let Some(epsilon) = sidecar.epsilon {
            (self.epsilon, self.epsilon_how) = (epsilon, CONFIG.to_owned());
        }
        if let Some(activation) = sidecar.activation {
            (self.activation, self.activation_how) = (activation, CONFIG.to_owned());
        }
        Ok(())
    }

    /// Uses activation and padding of a spec where they would be assumed. The epsilon of a spec is not used: with that of its
    /// framework, which is its default, the weights of another one would be folded wrongly.
    fn use_spec(&mut self, spec: &NetworkSpec) {
        let how = "the spec; not recorded in the file";
        if self.padding_how != CONFIG && self.padding != spec.padding {
            (self.padding, self.padding_how) = (spec.padding, how.to_owned());
        }
        if self.activation_how != CONFIG && self.activation != spec.activation {
            (self.activation, self.activation_how) = (spec.activation, how.to_owned());
        }
    }

    /// Uses the activation that the classes of modules record.
    fn use_modules(&mut self, modules: &modules::Found) {
        if let Some(activation) = modules.activation {
            self.activation = activation;
            self.activation_how = "classes of the modules".into();
        }
    }
}

/// Returns expansion and channels of each block. A fractional expansion is rounded down; the recognizer rejects it.
fn blocks(dict: &StateDict<'_>, layers: &Layers) -> Result<Vec<[usize; 2]>> {
    let mut channels = out_channels(dict, &layers.stem)?;
    let mut blocks = Vec::new();
    for block in &layers.blocks {
        let [first, .., last] = block.layers.as_slice() else { continue };
        let expanded = if block.layers.len() > 2 { out_channels(dict, first)? } else { channels };
        let out = out_channels(dict, last)?;
        blocks.push([expanded / channels.max(1), out]);
        channels = out;
    }
    Ok(blocks)
}

fn out_channels(dict: &StateDict<'_>, layer: &Named) -> Result<usize> {
    Ok(shape(dict, layer)?.first().copied().unwrap_or(0))
}

/// Returns the shape of a weight.
fn shape<'d>(dict: &'d StateDict<'_>, layer: &Named) -> Result<&'d [usize]> {
    let weight = dict.tensors.get(&format!("{}.weight", layer.conv)).and_then(|weight| weight.as_ref().ok());
    let missing = || ImportError::malformed("the weight is missing").at(format!("module '{}'", shorten(&layer.conv)));
    weight.map(|weight| weight.shape()).ok_or_else(missing)
}

/// The network, and the tensors that it uses.
struct Built<'a> {
    nodes: Vec<Node<'a>>,
    used: BTreeSet<String>,
    attributes: bool,
}

struct Builder<'d, 'a> {
    dict: &'d StateDict<'a>,
    /// Names of the tensors read so far.
    used: BTreeSet<String>,
    conventions: &'d Conventions,
    nodes: Vec<Node<'a>>,
    /// The last value and its channels.
    value: Value,
    channels: usize,
    /// Remaining elements to copy.
    budget: usize,
    /// Whether modules recorded padding or epsilon.
    attributes: bool,
    /// Modules that are an activation and belong to no layer so far.
    activations: BTreeSet<String>,
    /// The window of the average pool, if it is recorded.
    window: Option<[usize; 2]>,
    /// Whether every activation must be recorded as a module.
    needs_activations: bool,
}

impl<'a> Builder<'_, 'a> {
    fn network(mut self, layers: &Layers, head: &Head, strides: &Strides) -> Result<Built<'a>> {
        self.layer(&layers.stem, strides.stem, true)?;
        for (at, block) in layers.blocks.iter().enumerate() {
            let stride = strides.blocks.get(at).copied().unwrap_or([1; 2]);
            let (input, in_channels) = (self.value, self.channels);
            for (number, layer) in block.layers.iter().rev().enumerate().rev() {
                // From the end: projection 0, depthwise 1, expansion 2.
                self.layer(layer, if number == 1 { stride } else { [1; 2] }, number > 0)?;
            }
            let requested = strides.residuals.as_ref().and_then(|residuals| residuals.get(at)).copied();
            let recorded = self.dict.modules.get(&block.module).and_then(|module| module.residual);
            if let (Some(true), Some(false)) | (Some(false), Some(true)) = (requested, recorded) {
                return Err(ImportError::unsupported("the residual of the block does not match the spec")
                    .at(format!("module '{}'", shorten(&block.module)))
                    .expected(if requested == Some(true) { "a residual" } else { "no residual" })
                    .found(if recorded == Some(true) { "a residual" } else { "no residual" }));
            }
            let has_residual = block.has_residual && requested.or(recorded).unwrap_or(true);
            if stride == [1; 2] && in_channels == self.channels && has_residual {
                let inputs = vec![input, self.value];
                self.push(&format!("block {}", at + 1), "add", Op::Add, inputs);
            }
        }
        self.layer(&layers.head, [1; 2], true)?;
        let pool = if self.window.is_some() { "AvgPool2d" } else { "AdaptiveAvgPool2d" };
        self.follow("pool", pool, Op::Pool { window: self.window });
        for (name, part) in &head.parts {
            match part {
                Part::Dense => self.dense(name)?,
                Part::Norm => {
                    let op = self.norm(name)?;
                    self.follow(name, "BatchNorm1d", op);
                }
                Part::Activation(activation) => {
                    self.activations.remove(name);
                    self.follow(name, "activation", clamp(*activation));
                }
            }
        }
        // The average of activated values is not negative, so that an activation before the first dense layer has no effect.
        for name in &head.before {
            self.has_no_effect(name)?;
            self.activations.remove(name);
        }
        if let Some(name) = self.activations.first() {
            return Err(ImportError::unsupported("unexpected activation")
                .at(format!("module '{}'", shorten(name)))
                .expected("an activation after each convolution except projections, and between dense layers"));
        }
        if let Some((name, activation)) = &head.scores {
            self.follow(name, "activation", Op::Scores(*activation));
        }
        Ok(Built { nodes: self.nodes, used: self.used, attributes: self.attributes })
    }

    /// Checks an activation of averages. Their upper bound is that of the activation of the body.
    fn has_no_effect(&self, name: &str) -> Result<()> {
        match (Kind::of(self.dict, name), self.conventions.activation) {
            (Some(Kind::Activation(Activation::Relu6)), Activation::Relu) => {
                Err(ImportError::unsupported("a ReLU6 after the average pool clips the features")
                    .at(format!("module '{}'", shorten(name)))
                    .role("classifier")
                    .expected("ReLU or no activation before the first dense layer")
                    .found("ReLU6")
                    .help(super::dict::EXPORT))
            }
            _ => Ok(()),
        }
    }

    /// Adds a convolution, its normalization and its activation.
    fn layer(&mut self, Named { conv, norm }: &Named, stride: [usize; 2], activated: bool) -> Result<()> {
        let weight = self.needed(conv, "weight")?;
        let bias = self.tensor(&format!("{conv}.bias"))?;
        let &[out, per_group, height, width] = weight.shape() else {
            return Err(ImportError::malformed("expected 4 dimensions of the weight").at(place(conv, "Conv2d").text()));
        };
        let groups =
            self.channels.checked_div(per_group).filter(|groups| groups * per_group == self.channels).unwrap_or(1);
        self.check(conv, norm, stride, activated)?;
        let pads = self.pads(conv, [height, width]);
        let kernel = Kernel { constant: weight, order: CONV_ORDER.to_vec(), scale: 1.0 };
        let has_bias = bias.is_some();
        self.follow(conv, "Conv2d", Op::Conv(Conv { kernel, bias, groups, stride, dilation: [1, 1], pads }));
        self.channels = out;
        // A convolution with a bias and no statistics has its normalization folded in.
        if self.has(norm) || !has_bias {
            let norm_op = self.norm(norm)?;
            self.follow(norm, "BatchNorm2d", norm_op);
        }
        if activated {
            self.follow(conv, "activation", clamp(self.conventions.activation));
        }
        Ok(())
    }

    /// Checks what the modules of a layer record.
    fn check(&mut self, conv: &str, norm: &str, stride: [usize; 2], activated: bool) -> Result<()> {
        let wrong = |name: &str, problem| ImportError::unsupported(problem).at(format!("module '{}'", shorten(name)));
        let recorded = self.dict.modules.get(conv).and_then(|module| module.stride);
        if let Some(found) = recorded.filter(|found| *found != stride) {
            return Err(wrong(conv, "unexpected stride").expected(format!("{stride:?}")).found(format!("{found:?}")));
        }
        let after = norm.rsplit_once('.').and_then(|(parent, number)| Some((parent, number.parse::<usize>().ok()?)));
        let next = after.map(|(parent, number)| format!("{parent}.{}", number + 1));
        let parent = norm.rsplit_once('.').map_or(String::new(), |(parent, _)| format!("{parent}."));
        let number = norm.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let named = [
            format!("{norm}.act"),
            format!("{parent}activation"),
            format!("{parent}activate"),
            format!("{parent}act{number}"),
        ];
        let mut is_activated = false;
        for name in next.into_iter().chain(named) {
            match Kind::of(self.dict, &name) {
                Some(Kind::Transparent) if activated => {
                    return Err(wrong(&name, "the convolution has no activation").expected("ReLU6 or ReLU"));
                }
                Some(Kind::Activation(_)) if activated => {
                    is_activated = true;
                    self.activations.remove(&name);
                }
                Some(Kind::Activation(found)) if !activated => {
                    return Err(wrong(&name, "unexpected activation").expected("no activation").found(found.word()));
                }
                _ => {}
            }
        }
        if activated && self.needs_activations && !is_activated {
            return Err(wrong(norm, "the convolution has no activation").expected("ReLU6 or ReLU"));
        }
        Ok(())
    }

    fn pads(&mut self, conv: &str, [height, width]: [usize; 2]) -> Pads {
        let recorded = self.dict.modules.get(conv).and_then(|module| module.padding);
        self.attributes |= recorded.is_some();
        match (recorded, self.conventions.padding) {
            // A module with dynamic SAME padding records 0.
            (None | Some([0, 0]), Padding::Same) => Pads::Same,
            (Some([vertical, horizontal]), _) => Pads::Explicit([vertical, horizontal, vertical, horizontal]),
            (None, _) => Pads::Explicit([height / 2, width / 2, height / 2, width / 2]),
        }
    }

    fn norm(&mut self, norm: &str) -> Result<Op<'a>> {
        let recorded = self.dict.modules.get(norm).and_then(|module| module.epsilon);
        self.attributes |= recorded.is_some();
        let [gamma, beta] = self.scale(norm)?;
        Ok(Op::BatchNorm(BatchNorm {
            gamma,
            beta,
            mean: self.needed(norm, "running_mean")?,
            variance: self.needed(norm, "running_var")?,
            epsilon: recorded.unwrap_or(self.conventions.epsilon),
        }))
    }

    /// Returns gamma and beta of a normalization. In a module without them (`affine=False`) they are 1 and 0.
    fn scale(&mut self, norm: &str) -> Result<[Rc<Constant<'a>>; 2]> {
        let has = |kind: &str| self.dict.tensors.contains_key(&format!("{norm}.{kind}"));
        if has("weight") || has("bias") || !has("running_mean") {
            return Ok([self.needed(norm, "weight")?, self.needed(norm, "bias")?]);
        }
        if self.dict.modules.get(norm).is_none_or(|module| module.class.is_none()) {
            return Err(ImportError::unsupported("the batch normalization has no weight and no bias")
                .at(format!("module '{}'", shorten(norm)))
                .expected(format!("tensor '{}'", shorten(&format!("{norm}.weight"))))
                .help("if it has `affine=False`, save the whole module: `torch.save(model, FILE)`"));
        }
        let channels = self.needed(norm, "running_mean")?.len();
        let all = |value: f64| Constant::new(vec![channels], Values::F64(vec![value; channels].into())).map(Rc::new);
        Ok([all(1.0)?, all(0.0)?])
    }

    fn dense(&mut self, name: &str) -> Result<()> {
        let constant = self.needed(name, "weight")?;
        let bias = self.tensor(&format!("{name}.bias"))?;
        if constant.shape().len() == 4 {
            let kernel = Kernel { constant, order: CONV_ORDER.to_vec(), scale: 1.0 };
            let pads = Pads::Explicit([0; 4]);
            let conv = Conv { kernel, bias, groups: 1, stride: [1; 2], dilation: [1; 2], pads };
            self.follow(name, "Conv2d", Op::Conv(conv));
        } else {
            let kernel = Kernel { constant, order: DENSE_ORDER.to_vec(), scale: 1.0 };
            self.follow(name, "Linear", Op::Dense(Dense { kernel, bias }));
        }
        Ok(())
    }

    fn has(&self, module: &str) -> bool {
        let below = format!("{module}.");
        self.dict.tensors.range(below.clone()..).next().is_some_and(|(name, _)| name.starts_with(&below))
    }

    fn tensor(&mut self, name: &str) -> Result<Option<Rc<Constant<'a>>>> {
        let Some(stored) = self.dict.tensors.get(name) else { return Ok(None) };
        self.used.insert(name.to_owned());
        let constant = stored.clone().and_then(|stored| stored.constant(&mut self.budget));
        constant
            .map(|constant| Some(Rc::new(constant)))
            .map_err(|error| error.at(format!("tensor '{}'", shorten(name))))
    }

    fn needed(&mut self, module: &str, kind: &str) -> Result<Rc<Constant<'a>>> {
        let name = format!("{module}.{kind}");
        self.tensor(&name)?.ok_or_else(|| {
            ImportError::malformed(format!("missing tensor '{}'", shorten(&name)))
                .help("save the state dict of the whole model: `torch.save(model.state_dict(), FILE)`")
        })
    }

    fn follow(&mut self, name: &str, operator: &'static str, op: Op<'a>) {
        let inputs = vec![self.value];
        self.push(name, operator, op, inputs);
    }

    fn push(&mut self, name: &str, operator: &'static str, op: Op<'a>, inputs: Vec<Value>) {
        self.value = self.nodes.len() + 1;
        self.nodes.push(Node { place: place(name, operator), op, inputs, output: self.value });
    }
}

fn clamp<'a>(activation: Activation) -> Op<'a> {
    Op::Clamp { low: 0.0, high: if activation == Activation::Relu6 { 6.0 } else { f64::INFINITY } }
}

fn place<'a>(name: &str, operator: &'static str) -> Place<'a> {
    Place { name: name.to_owned().into(), operator: operator.into() }
}

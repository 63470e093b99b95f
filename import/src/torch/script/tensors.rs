//! Functions on tensors that depend on the image, as nodes of the graph.

use std::rc::Rc;

use mbvc_runtime::HeadActivation;

use super::arguments::Arguments;
use super::constants::{self, has_no_factor, is_cast_exact};
use super::recorder::Recorder;
use super::shapes;
use super::value::{Extent, List, Tensor, Value};
use crate::error::{ImportError, Result};
use crate::source::{Affine, Arithmetic, Constant, Op};

/// Executes a function with tensors among its arguments.
pub fn call<'a>(recorder: &mut Recorder<'a>, call: &Arguments<'a>) -> Result<Value<'a>> {
    let has_image = |value: &Value<'a>| value.depends_on_image();
    if !call.values.iter().any(has_image) && !call.named.iter().any(|(_, value)| has_image(value)) {
        return constants::call(recorder, call).unwrap_or_else(|| Err(recorder.unsupported(call)));
    }
    let result = Caller { recorder, call }.result();
    result?.ok_or_else(|| recorder.unsupported(call))
}

/// The result of a function; `None` if the function or its arguments are not supported.
pub type Outcome<'a> = Result<Option<Value<'a>>>;

pub struct Caller<'c, 'a> {
    pub recorder: &'c mut Recorder<'a>,
    pub call: &'c Arguments<'a>,
}

impl<'a> Caller<'_, 'a> {
    fn result(mut self) -> Outcome<'a> {
        let name = self.call.name.as_str();
        let base = name.strip_suffix('_').filter(|base| !base.starts_with("__")).unwrap_or(name);
        let base = match base {
            "subtract" => "sub",
            "multiply" => "mul",
            "divide" | "true_divide" => "div",
            base => base,
        };
        match base {
            "addmm" => return self.addmm(),
            "add" | "sub" | "mul" | "div" => return self.arithmetic(base),
            "cat" => return self.concatenated(),
            _ => {}
        }
        let Some(Value::Tensor(x)) = self.call.values.first() else { return Ok(None) };
        let x = x.clone();
        if x.averaged.is_some() && base != "mean" {
            return Ok(None);
        }
        match base {
            // Of two tensors, whether they are the same object is not recorded.
            "__is__" | "__isnot__" => Ok(self.call.compares_with_none().then_some(Value::Bool(base == "__isnot__"))),
            "dtype" => Ok(Some(Value::FloatType)),
            "device" | "layout" => Ok(Some(Value::Opaque)),
            "is_floating_point" => Ok(Some(Value::Bool(true))),
            "dim" | "len" | "size" => Ok(self.extent(&x)),
            "detach" | "alias" | "data" | "requires_grad" => Ok(Some(Value::Tensor(x))),
            "clone" => self.copied(&x, &x.shape),
            "contiguous" => Ok(Some(Value::Tensor(self.recorder.maybe_copy(x)))),
            "to" | "type_as" if !is_cast_exact(self.call) => Ok(None),
            "to" if constants::is_copied(self.call) => self.copied(&x, &x.shape),
            "to" | "type_as" => Ok(Some(Value::Tensor(self.recorder.maybe_copy(x)))),
            "dropout" | "feature_dropout" | "alpha_dropout" | "feature_alpha_dropout" => {
                match self.call.bool(2, "train", true) {
                    Some(false) => Ok(Some(Value::Tensor(x))),
                    _ => Err(self.in_training()),
                }
            }
            "conv2d" | "_convolution" | "_convolution_mode" => self.conv(&x),
            "batch_norm" => self.batch_norm(&x),
            "linear" | "matmul" | "mm" => self.linear(&x),
            "relu" | "relu6" | "hardtanh" | "clamp" | "clamp_min" | "clamp_max" => self.clamp(&x, base),
            "softmax" | "log_softmax" | "sigmoid" => self.scores(&x, base),
            "neg" | "rsub" => self.negated(&x, base),
            "adaptive_avg_pool2d" | "avg_pool2d" | "mean" => self.pool(&x, base),
            "flatten" | "view" | "reshape" | "squeeze" | "unsqueeze" | "select" | "slice" => {
                let shape = shapes::reshaped(&x, base, self.call);
                let view = if matches!(base, "reshape" | "flatten") { self.recorder.maybe_copy(x) } else { x };
                Ok(shape.map(|shape| Value::Tensor(Tensor { shape: shape.into(), ..view })))
            }
            "repeat" | "expand" => self.copies(&x, base),
            "pad" | "constant_pad_nd" => self.pad(&x),
            "argmax" | "topk" => self.ranking(&x, base),
            _ => Ok(None),
        }
    }

    fn copied(&mut self, x: &Tensor, shape: &[Extent]) -> Outcome<'a> {
        self.recorder.copy(x, shape).map(|copy| Some(Value::Tensor(copy)))
    }

    /// Adds three copies of a gray image. The recognizer checks that they are those of the input.
    fn copies(&mut self, x: &Tensor, function: &str) -> Outcome<'a> {
        let (name, expected) = if function == "repeat" { ("repeats", [1, 3, 1, 1]) } else { ("size", [-1, 3, -1, -1]) };
        let is = |(size, expected): (&Value<'a>, &i64)| matches!(size, Value::Int(size) if size == expected);
        let sizes = self.call.get(1, name).and_then(Value::elements).unwrap_or_default();
        if !x.is_image() || sizes.len() != expected.len() || !sizes.iter().zip(&expected).all(is) {
            return Ok(None);
        }
        self.elementwise(x, Op::Repeat { channels: 3 })
    }

    /// `cat([x, x, x], 1)`: three copies of a gray image.
    fn concatenated(&mut self) -> Outcome<'a> {
        let is_of_channels = matches!(self.call.int(1, "dim", 0), Some(1 | -3));
        let Some([Value::Tensor(x), Value::Tensor(y), Value::Tensor(z)]) =
            self.call.get(0, "tensors").and_then(Value::elements)
        else {
            return Ok(None);
        };
        let values = [self.recorder.current(x)?, self.recorder.current(y)?, self.recorder.current(z)?];
        if !is_of_channels || !x.is_image() || values != [values[0]; 3] {
            return Ok(None);
        }
        let x = x.clone();
        self.elementwise(&x, Op::Repeat { channels: 3 })
    }

    pub fn in_training(&self) -> Box<ImportError> {
        self.recorder
            .refuse("the module was traced or scripted in training mode")
            .help("call `model.eval()` before `torch.jit.trace` or `torch.jit.script`")
    }

    fn extent(&self, x: &Tensor) -> Option<Value<'a>> {
        let value = |extent: &Extent| match extent {
            Extent::Known(size) => Value::Int(*size as i64),
            extent => Value::Extent(*extent),
        };
        match self.call.name.as_str() {
            "dim" => Some(Value::Int(x.shape.len() as i64)),
            "len" => x.shape.first().map(value),
            _ => match self.call.get(1, "dim") {
                None => List::new(x.shape.iter().map(value).collect()).map(Value::List),
                Some(Value::Int(axis)) => x.axis(*axis).and_then(|axis| x.shape.get(axis)).map(value),
                Some(_) => None,
            },
        }
    }

    /// Adds arithmetic of `x` and a constant, which is the first operand if `swapped`.
    fn with_constant(&mut self, x: &Tensor, base: &str, constant: &Value<'a>, swapped: bool) -> Outcome<'a> {
        let operator = match base {
            "add" => Arithmetic::Add,
            "sub" => Arithmetic::Subtract,
            "mul" => Arithmetic::Multiply,
            _ => Arithmetic::Divide,
        };
        let Some(values) = shapes::per_channel(x, constant).filter(|_| x.averaged.is_none()) else { return Ok(None) };
        match Op::with_constant(operator, values, swapped) {
            Op::Other => Ok(None),
            op => self.affine(x, op),
        }
    }

    /// Adds `x * scale + offset`.
    fn affine(&mut self, x: &Tensor, op: Op<'a>) -> Outcome<'a> {
        // As many numbers as channels, twice.
        self.recorder.spend_elements(2 * x.channels().unwrap_or(1))?;
        self.elementwise(x, op)
    }

    /// Adds a node that changes elements one by one.
    pub fn elementwise(&mut self, x: &Tensor, op: Op<'a>) -> Outcome<'a> {
        self.recorder.node(self.call, op, &[x], x.shape.to_vec()).map(Some)
    }

    pub fn constant(&self, at: usize, name: &str) -> Option<Rc<Constant<'a>>> {
        match self.call.get(at, name) {
            Some(Value::Constant(constant)) => Some(Rc::clone(constant)),
            _ => None,
        }
    }

    fn clamp(&mut self, x: &Tensor, base: &str) -> Outcome<'a> {
        let bound = |at, name, default: f64| match self.call.get(at, name) {
            None => Some(default),
            Some(value) => value.number().filter(|_| !value.is_tensor()),
        };
        let (lowest, highest) = (f64::NEG_INFINITY, f64::INFINITY);
        let bounds = match base {
            "relu" => [Some(0.0), Some(highest)],
            "relu6" => [Some(0.0), Some(6.0)],
            "hardtanh" => [bound(1, "min_val", -1.0), bound(2, "max_val", 1.0)],
            "clamp" => [bound(1, "min", lowest), bound(2, "max", highest)],
            "clamp_min" => [bound(1, "min", lowest), Some(highest)],
            _ => [Some(lowest), bound(1, "max", highest)],
        };
        let [Some(low), Some(high)] = bounds else { return Ok(None) };
        self.elementwise(x, Op::Clamp { low, high })
    }

    fn scores(&mut self, x: &Tensor, base: &str) -> Outcome<'a> {
        let activation = match base {
            "sigmoid" => HeadActivation::Sigmoid,
            "softmax" => HeadActivation::Softmax,
            _ => HeadActivation::LogSoftmax,
        };
        if activation != HeadActivation::Sigmoid {
            let axis = self.call.int(1, "dim", i64::MAX).and_then(|axis| x.axis(axis));
            if axis != Some(x.channel_axis()) {
                return Err(self
                    .recorder
                    .refuse("the softmax is not over the classes")
                    .expected("dim 1 or -1")
                    .found(self.call.text()));
            }
            if !matches!(self.call.get(2, "dtype"), None | Some(Value::Int(6 | 7))) {
                return Ok(None);
            }
        }
        self.elementwise(x, Op::Scores(activation))
    }

    /// `add(x, y)`, `x + constant` and other arithmetic.
    fn arithmetic(&mut self, base: &str) -> Outcome<'a> {
        let [one, other, ..] = self.call.values.as_slice() else { return Ok(None) };
        if !has_no_factor(self.call) {
            return Ok(None);
        }
        match (one, other) {
            (Value::Tensor(one), Value::Tensor(other)) => {
                if one.averaged.or(other.averaged).is_some() || base != "add" || !shapes::are_equal(one, other) {
                    return Ok(None);
                }
                let shape = one.shape.to_vec();
                self.recorder.node(self.call, Op::Add, &[one, other], shape).map(Some)
            }
            (Value::Tensor(x), constant) => self.with_constant(x, base, constant, false),
            // In place, the result would replace the constant.
            (constant, Value::Tensor(x)) if !self.call.name.ends_with('_') => {
                self.with_constant(x, base, constant, true)
            }
            _ => Ok(None),
        }
    }

    /// `-x`, and `rsub(x, constant)`: `constant - x`.
    fn negated(&mut self, x: &Tensor, base: &str) -> Outcome<'a> {
        let values = match (base, self.call.values.get(1)) {
            ("neg", _) => Some(vec![0.0]),
            (_, Some(constant)) if has_no_factor(self.call) => shapes::per_channel(x, constant),
            _ => None,
        };
        let Some(values) = values else { return Ok(None) };
        self.affine(x, Op::Affine(Affine::negating(values)))
    }

    fn pool(&mut self, x: &Tensor, base: &str) -> Outcome<'a> {
        if x.shape.len() + usize::from(x.averaged.is_some()) < 4 {
            // An average of one pixel.
            let is_one = base == "adaptive_avg_pool2d" && x.is_vector();
            return if is_one { self.copied(x, &x.shape) } else { Ok(None) };
        }
        let channels = x.shape.get(..2).unwrap_or_default().to_vec();
        let pooled = [channels.as_slice(), &[Extent::Known(1); 2]].concat();
        let window = match base {
            "mean" => return self.mean(x),
            "adaptive_avg_pool2d" => {
                let is_global = self.call.ints(1, "output_size").is_some_and(|sizes| matches!(*sizes, [1] | [1, 1]));
                if !is_global {
                    return Ok(None);
                }
                None
            }
            _ => {
                let is_image = shapes::is_whole_image(x, self.call.get(1, "kernel_size"));
                let has_no_padding = matches!(self.call.pair(3, "padding", 0), Some([0, 0]));
                if !has_no_padding || self.call.get(6, "divisor_override").is_some() {
                    return Ok(None);
                }
                match (is_image, self.call.pair(1, "kernel_size", 0)) {
                    (true, _) => None,
                    (false, Some(window)) => Some(window),
                    (false, None) => return Ok(None),
                }
            }
        };
        if !x.is_image() || self.recorder.has_windows {
            return Ok(None);
        }
        if x.is_vector() && window.is_none() {
            return self.copied(x, &x.shape);
        }
        self.recorder.has_windows = window.is_some();
        self.recorder.node(self.call, Op::Pool { window }, &[x], pooled).map(Some)
    }

    /// `mean(x, axes, keepdim)` over height and width, in one step or two.
    fn mean(&mut self, x: &Tensor) -> Outcome<'a> {
        if !matches!(self.call.get(3, "dtype"), None | Some(Value::Int(6 | 7))) || self.recorder.has_windows {
            return Ok(None);
        }
        let axes: Option<Vec<usize>> =
            self.call.ints(1, "dim").and_then(|axes| axes.into_iter().map(|axis| x.axis(axis)).collect());
        let (Some(mut axes), Some(keeps)) = (axes, self.call.bool(2, "keepdim", false)) else { return Ok(None) };
        axes.sort_unstable();
        let kept = if keeps { vec![Extent::Known(1); axes.len()] } else { Vec::new() };
        match (axes.as_slice(), x.averaged) {
            ([2, 3], None) if x.is_image() => {
                let shape = [x.shape.get(..2).unwrap_or_default(), &kept].concat();
                if x.is_vector() {
                    return self.copied(x, &shape);
                }
                self.recorder.node(self.call, Op::Pool { window: None }, &[x], shape).map(Some)
            }
            ([axis @ (2 | 3)], None) if x.is_image() => {
                let mut shape = x.shape.to_vec();
                shape.splice(*axis..=*axis, kept);
                // Without the axis, the other one is the last.
                let copy = self.recorder.copy(x, &shape)?;
                Ok(Some(Value::Tensor(Tensor { averaged: Some(*axis), ..copy })))
            }
            ([axis @ (2 | 3)], Some(before)) if x.shape.len() == 3 || *axis != before => {
                let mut shape = x.shape.to_vec();
                shape.splice(*axis..=*axis, kept);
                let whole = Tensor { averaged: None, ..x.clone() };
                self.recorder.node(self.call, Op::Pool { window: None }, &[&whole], shape).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `pad(x, [left, right, top, bottom], "constant", 0)`.
    fn pad(&mut self, x: &Tensor) -> Outcome<'a> {
        let call = self.call;
        let (mode, value) = match call.name.as_str() {
            "pad" => (call.get(2, "mode"), call.get(3, "value")),
            _ => (None, call.get(2, "value")),
        };
        let is_zero = value.is_none_or(|value| value.number() == Some(0.0));
        let is_constant = mode.is_none_or(|mode| matches!(mode, Value::Text(text) if &**text == "constant"));
        let sides: Option<Vec<usize>> =
            call.ints(1, "pad").and_then(|sides| sides.into_iter().map(|side| usize::try_from(side).ok()).collect());
        let Some(&[left, right, top, bottom]) = sides.as_deref().filter(|_| is_zero && is_constant && x.is_image())
        else {
            return Ok(None);
        };
        let shape = vec![Extent::Batch, x.shape[1], self.recorder.extent(), self.recorder.extent()];
        self.recorder.node(call, Op::Pad([top, left, bottom, right]), &[x], shape).map(Some)
    }

    /// Selects classes: `argmax(x, dim)`, or the scores and classes of `topk(x, k, dim)`.
    fn ranking(&mut self, x: &Tensor, base: &str) -> Outcome<'a> {
        let is_over_classes = match base {
            "argmax" => self.call.get(1, "dim").is_none() || self.axis_of(x, 1) == Some(x.channel_axis()),
            _ => self.call.get(2, "dim").is_none() || self.axis_of(x, 2) == Some(x.channel_axis()),
        };
        if !is_over_classes || x.channel_axis() + 1 != x.shape.len() {
            return Ok(None);
        }
        let ranked = self.recorder.node(self.call, Op::Ranking, &[x], x.shape.to_vec())?;
        Ok(if base == "argmax" { Some(ranked) } else { List::new(vec![ranked.clone(), ranked]).map(Value::Tuple) })
    }

    fn axis_of(&self, x: &Tensor, at: usize) -> Option<usize> {
        self.call.int(at, "dim", -1).and_then(|axis| x.axis(axis))
    }
}

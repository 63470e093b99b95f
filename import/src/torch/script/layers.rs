//! Layers with weights in TorchScript code: convolutions, normalizations and dense layers.

use std::borrow::Cow;
use std::rc::Rc;

use super::tensors::{Caller, Outcome};
use super::value::{Extent, Tensor, Value};
use crate::source::{BatchNorm, Constant, Conv, Dense, Kernel, Op, Pads, Values};

/// Canonical axes in PyTorch's `[out, in, height, width]` and `[out, in]`.
const CONV_ORDER: [usize; 4] = [2, 3, 1, 0];
const DENSE_ORDER: [usize; 2] = [1, 0];
/// A weight that is already `[in, out]`.
const TRANSPOSED_ORDER: [usize; 2] = [0, 1];

impl<'a> Caller<'_, 'a> {
    /// `conv2d(x, weight, bias, stride, padding, dilation, groups)`, and `_convolution` with `transposed` and `output_padding`
    /// before `groups`.
    pub fn conv(&mut self, x: &Tensor) -> Outcome<'a> {
        let call = self.call;
        let is_whole = call.name == "_convolution";
        let Some(weight) = self.constant(1, "weight") else { return Ok(None) };
        let bias = self.constant(2, "bias");
        if (bias.is_none() && call.get(2, "bias").is_some())
            || !x.is_image()
            || (is_whole && (call.bool(6, "transposed", false) != Some(false)))
        {
            return Ok(None);
        }
        let &[out, _, height, width] = weight.shape() else { return Ok(None) };
        let dilation = call.pair(5, "dilation", 1);
        let pads = match call.get(4, "padding") {
            Some(Value::Text(text)) => match &**text {
                "valid" => Some([0, 0]),
                // Odd kernels of stride 1 have the same padding on both sides.
                "same" if height % 2 == 1 && width % 2 == 1 && dilation == Some([1; 2]) => {
                    Some([height / 2, width / 2])
                }
                _ => None,
            },
            _ => call.pair(4, "padding", 0),
        };
        let groups =
            call.int(if is_whole { 8 } else { 6 }, "groups", 1).and_then(|groups| usize::try_from(groups).ok());
        let (Some(stride), Some([vertical, horizontal]), Some(dilation), Some(groups)) =
            (call.pair(3, "stride", 1), pads, dilation, groups)
        else {
            return Ok(None);
        };
        let pads = Pads::Explicit([vertical, horizontal, vertical, horizontal]);
        let kernel = Kernel { constant: weight, order: CONV_ORDER.to_vec(), scale: 1.0 };
        let conv = Conv { kernel, bias, groups, stride, dilation, pads };
        let is_vector = x.is_vector() && [height, width] == [1; 2] && pads == Pads::Explicit([0; 4]);
        let image = if is_vector { [Extent::Known(1); 2] } else { [self.recorder.extent(), self.recorder.extent()] };
        let shape = vec![Extent::Batch, Extent::Known(out), image[0], image[1]];
        self.recorder.node(call, Op::Conv(conv), &[x], shape).map(Some)
    }

    /// `batch_norm(x, weight, bias, mean, variance, training, momentum, eps, cudnn)`.
    pub fn batch_norm(&mut self, x: &Tensor) -> Outcome<'a> {
        if self.call.bool(5, "training", true) != Some(false) {
            return Err(self.in_training());
        }
        let (Some(mean), Some(variance)) = (self.constant(3, "running_mean"), self.constant(4, "running_var")) else {
            return Err(self.in_training());
        };
        self.recorder.spend_elements(2 * mean.len())?;
        let filled =
            |value: f32| Constant::new(vec![mean.len()], Values::F32(Cow::Owned(vec![value; mean.len()]))).map(Rc::new);
        let affine = |at, name, value| match (self.call.get(at, name), self.constant(at, name)) {
            (_, Some(constant)) => Ok(Some(constant)),
            (None, None) => filled(value).map(Some),
            (Some(_), None) => Ok(None),
        };
        let (gamma, beta) = (affine(1, "weight", 1.0)?, affine(2, "bias", 0.0)?);
        let epsilon = self.call.get(7, "eps").and_then(Value::number);
        let (Some(gamma), Some(beta), Some(epsilon)) = (gamma, beta, epsilon) else { return Ok(None) };
        if !x.is_image() && x.channel_axis() + 1 != x.shape.len() {
            return Ok(None);
        }
        self.elementwise(x, Op::BatchNorm(BatchNorm { gamma, beta, mean, variance, epsilon }))
    }

    /// `linear(x, weight, bias)`, `matmul(x, weight)`.
    pub fn linear(&mut self, x: &Tensor) -> Outcome<'a> {
        let is_linear = self.call.name == "linear";
        let (Some(weight), bias) = (self.constant(1, "weight"), self.constant(2, "bias")) else { return Ok(None) };
        if bias.is_none() && self.call.get(2, "bias").is_some() {
            return Ok(None);
        }
        self.dense(x, weight, if is_linear { DENSE_ORDER } else { TRANSPOSED_ORDER }, bias)
    }

    /// `addmm(bias, x, weight)`, with the weight `[in, out]`.
    pub fn addmm(&mut self) -> Outcome<'a> {
        let (Some(Value::Tensor(x)), Some(bias), Some(weight)) =
            (self.call.get(1, "mat1").cloned(), self.constant(0, "self"), self.constant(2, "mat2"))
        else {
            return Ok(None);
        };
        let is_one = |at, name| self.call.get(at, name).is_none_or(|factor| factor.number() == Some(1.0));
        if !is_one(3, "beta") || !is_one(4, "alpha") || bias.shape().len() != 1 {
            return Ok(None);
        }
        self.dense(&x, weight, TRANSPOSED_ORDER, Some(bias))
    }

    fn dense(
        &mut self,
        x: &Tensor,
        weight: Rc<Constant<'a>>,
        order: [usize; 2],
        bias: Option<Rc<Constant<'a>>>,
    ) -> Outcome<'a> {
        let &[first, second] = weight.shape() else { return Ok(None) };
        let [inputs, outputs] = if order == DENSE_ORDER { [second, first] } else { [first, second] };
        // A dense layer of other tensors applies to each row of the last axis.
        if x.channel_axis() + 1 != x.shape.len() || x.averaged.is_some() {
            return Ok(None);
        }
        if let Some(features) = x.channels().filter(|features| *features != inputs) {
            return Err(self
                .recorder
                .refuse("the weight does not match its input features")
                .expected(format!("{features} features"))
                .found(format!("a weight of {inputs} by {outputs}")));
        }
        let shape = x.shape.iter().take(x.channel_axis()).copied().chain([Extent::Known(outputs)]).collect();
        let kernel = Kernel { constant: weight, order: order.to_vec(), scale: 1.0 };
        self.recorder.node(self.call, Op::Dense(Dense { kernel, bias }), &[x], shape).map(Some)
    }
}

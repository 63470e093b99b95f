//! Shape inference: the output shape, the parameter shapes and the multiply-accumulates of an operation.

use super::{Conv2d, ElementType, Graph, Op, ParamId, Requantize, Shape, Stage};

/// The output shape of `op` on `inputs`.
///
/// # Errors
/// If the inputs do not fit the operation. The reason is a predicate of the operation: "expects 1 input, has 2".
pub fn output_shape(graph: &Graph, op: &Op, inputs: &[Shape]) -> Result<Shape, String> {
    let (expected, found) = (arity(op), inputs.len());
    if expected != found {
        return Err(format!("expects {expected} {}, has {found}", if expected == 1 { "input" } else { "inputs" }));
    }
    match (op, inputs) {
        (Op::Conv2d(conv), [input, rest @ ..]) => {
            let channels = last_axis(graph, conv.weight)?;
            let [height, width] = conv
                .window
                .output([input.height, input.width])
                .ok_or_else(|| format!("has a window that does not fit {input}"))?;
            let shape = residual(Shape::new(height, width, channels), rest)?;
            pooled(shape, conv)
        }
        (Op::DepthwiseConv2d(conv), _) if conv.epilogue.pool.is_some() => {
            Err("pools, which a depthwise convolution cannot".to_owned())
        }
        (Op::DepthwiseConv2d(conv), [input, rest @ ..]) => {
            let [height, width] = conv
                .window
                .output([input.height, input.width])
                .ok_or_else(|| format!("has a window that does not fit {input}"))?;
            residual(Shape::new(height, width, input.channels), rest)
        }
        (Op::Add, [value, other]) => residual(*value, &[*other]),
        (Op::BatchNorm(_) | Op::Activation(_) | Op::Repack, [input]) => Ok(*input),
        (Op::GlobalAvgPool, [input]) => Ok(Shape::new(1, 1, input.channels)),
        (Op::Dense(dense), [_]) => Ok(Shape::new(1, 1, last_axis(graph, dense.weight)?)),
        (Op::Fused(fused), [input, rest @ ..]) => stages(graph, &fused.stages, *input, rest),
        _ => Err("has no inferred shape".to_owned()),
    }
}

/// Number of values that `op` reads.
pub fn arity(op: &Op) -> usize {
    match op {
        Op::Input => 0,
        Op::Add => 2,
        Op::Conv2d(_) | Op::DepthwiseConv2d(_) | Op::Fused(_) => 1 + usize::from(op.epilogue().residual),
        Op::BatchNorm(_) | Op::Activation(_) | Op::GlobalAvgPool | Op::Dense(_) | Op::Repack => 1,
    }
}

/// The shapes of the parameters of `op` for an `input` and an `output`.
pub fn param_shapes(op: &Op, input: Shape, output: Shape) -> Vec<(ParamId, Vec<usize>)> {
    let vector = vec![output.channels];
    let with = |weight, shape, bias: Option<ParamId>| {
        std::iter::once((weight, shape)).chain(bias.map(|bias| (bias, vec![output.channels]))).collect()
    };
    match op {
        Op::Conv2d(conv) => {
            let [kh, kw] = conv.window.kernel;
            with(conv.weight, vec![kh, kw, input.channels, output.channels], conv.bias)
        }
        Op::DepthwiseConv2d(conv) => {
            let [kh, kw] = conv.window.kernel;
            with(conv.weight, vec![kh, kw, output.channels], conv.bias)
        }
        Op::Dense(dense) => with(dense.weight, vec![input.elements(), output.channels], Some(dense.bias)),
        Op::BatchNorm(norm) => {
            [norm.gamma, norm.beta, norm.mean, norm.variance].map(|param| (param, vector.clone())).to_vec()
        }
        // The stages of a fused node are separate sites.
        Op::Input | Op::Activation(_) | Op::Add | Op::GlobalAvgPool | Op::Repack | Op::Fused(_) => Vec::new(),
    }
}

/// The types and shapes of the scales and zero points of a requantization to `channels`.
pub fn quant_params(requantize: Requantize, channels: usize) -> Vec<(ParamId, ElementType, Vec<usize>)> {
    let Requantize { weight_scale, weight_zero_point, output } = requantize;
    let scales = if weight_zero_point.is_some() { 1 } else { channels };
    let mut expected = vec![
        (weight_scale, ElementType::F32, vec![scales]),
        (output.scale, ElementType::F32, vec![1]),
        (output.zero_point, ElementType::I32, vec![1]),
    ];
    expected.extend(weight_zero_point.map(|zero_point| (zero_point, ElementType::I32, vec![1])));
    expected
}

/// Multiply-accumulates of an operation, including those on padding, like the published figures.
pub fn macs(op: &Op, input: Shape, output: Shape) -> usize {
    match op {
        Op::Conv2d(conv) => {
            let [kh, kw] = conv.window.kernel;
            kh * kw * input.channels * conv.epilogue.unpooled(output).elements()
        }
        Op::DepthwiseConv2d(conv) => {
            let [kh, kw] = conv.window.kernel;
            kh * kw * output.elements()
        }
        Op::Dense(_) => input.elements() * output.elements(),
        Op::Fused(fused) => {
            let inputs = std::iter::once(input).chain(fused.stages.iter().map(|stage| stage.tensor.shape));
            fused.stages.iter().zip(inputs).map(|(stage, input)| macs(&stage.op, input, stage.tensor.shape)).sum()
        }
        Op::Input | Op::BatchNorm(_) | Op::Activation(_) | Op::Add | Op::GlobalAvgPool | Op::Repack => 0,
    }
}

/// The shape of the result, if the residual has the same shape.
fn residual(output: Shape, added: &[Shape]) -> Result<Shape, String> {
    match added.iter().find(|added| **added != output) {
        Some(other) => Err(format!("adds {other} to {output}")),
        None => Ok(output),
    }
}

/// The shape after an average pool in the epilogue, whose tiles visit every pixel once, in raster order.
fn pooled(shape: Shape, conv: &Conv2d) -> Result<Shape, String> {
    match conv.epilogue.pool {
        Some(_) if !conv.window.is_point() => Err("pools, but its window covers more than one pixel".to_owned()),
        Some(_) if conv.epilogue.residual => Err("pools, but adds a residual".to_owned()),
        Some([height, width]) if [height, width] != [shape.height, shape.width] => {
            Err(format!("pools {height}x{width} pixels of {shape}"))
        }
        Some(_) => Ok(Shape::new(1, 1, shape.channels)),
        None => Ok(shape),
    }
}

fn last_axis(graph: &Graph, param: ParamId) -> Result<usize, String> {
    let param = graph.get_param(param).ok_or("names a parameter that does not exist")?;
    param.shape.last().copied().ok_or_else(|| format!("has a scalar for {}", param.name))
}

/// The output shape of stages: each reads the previous one, and the last adds the residual.
fn stages(graph: &Graph, stages: &[Stage], input: Shape, added: &[Shape]) -> Result<Shape, String> {
    let Some((last, before)) = stages.split_last() else { return Err("has no stage".to_owned()) };
    let inside = |stage: &Stage, why: String| format!("{why}, in stage {}", stage.origin.name);
    let mut shape = input;
    for stage in before {
        shape = output_shape(graph, &stage.op, &[shape]).map_err(|why| inside(stage, why))?;
    }
    let inputs: Vec<Shape> = std::iter::once(shape).chain(added.iter().copied()).collect();
    output_shape(graph, &last.op, &inputs).map_err(|why| inside(last, why))
}

//! Constant folding of small integer tensors, with which PyTorch's exporter computes paddings and target shapes
//! (torch's `Pad` becomes ten nodes over constants).

use super::proto;
use super::tensor::{self, Attributes};
use crate::source::Constant;

/// Most elements, far above those of shapes and paddings.
const MAX_ELEMENTS: usize = 256;

/// A tensor of a few integers, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Small {
    pub shape: Vec<usize>,
    pub values: Vec<i64>,
}

impl Small {
    fn new(shape: Vec<usize>, values: Vec<i64>) -> Option<Self> {
        let count = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
        // With a size of 0 the other sizes are arbitrary, and slices list the indices of each.
        let listed = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size.max(1)))?;
        (count == values.len() && listed <= MAX_ELEMENTS).then_some(Self { shape, values })
    }

    fn vector(values: Vec<i64>) -> Option<Self> {
        Self::new(vec![values.len()], values)
    }

    /// Converts a constant; `None` if it is large.
    pub fn of(constant: &Constant<'_>) -> Option<Self> {
        if constant.len() > MAX_ELEMENTS {
            return None;
        }
        Self::new(constant.shape().to_vec(), constant.to_i64())
    }

    fn single(&self) -> Option<i64> {
        if let [value] = *self.values { Some(value) } else { None }
    }
}

/// Evaluates a node over small integers; `None` for an unsupported operator.
pub fn evaluate(node: &proto::Node, inputs: &[Option<Small>]) -> Option<Small> {
    let attributes = Attributes(&node.attribute);
    let input = |at: usize| inputs.get(at)?.as_ref();
    let first = input(0)?;
    match node.op_type.as_str() {
        "Add" => elementwise(first, input(1)?, i64::checked_add),
        "Sub" => elementwise(first, input(1)?, i64::checked_sub),
        "Mul" => elementwise(first, input(1)?, i64::checked_mul),
        "Equal" => elementwise(first, input(1)?, |left, right| Some(i64::from(left == right))),
        "Where" => choose(first, input(1)?, input(2)?),
        "Cast" => matches!(attributes.int("to", 0), 6 | 7).then(|| first.clone()),
        "Concat" => concat(inputs, attributes.int("axis", 0)),
        "ConstantOfShape" => constant_of_shape(first, attributes),
        "Gather" if attributes.int("axis", 0) == 0 => gather(first, input(1)?),
        "Reshape" => reshape(first, input(1)?),
        "Slice" => slice(first, &inputs[1..]),
        "Squeeze" => Small::new(first.shape.iter().copied().filter(|&size| size != 1).collect(), first.values.clone()),
        // Only scalars are unsqueezed, to be concatenated.
        "Unsqueeze" => Small::vector(vec![first.single()?]),
        _ => None,
    }
}

fn elementwise(left: &Small, right: &Small, combine: fn(i64, i64) -> Option<i64>) -> Option<Small> {
    let (shape, count) = if left.values.len() >= right.values.len() {
        (&left.shape, left.values.len())
    } else {
        (&right.shape, right.values.len())
    };
    let one = |small: &Small| small.values.len() == 1;
    if left.shape != right.shape && !one(left) && !one(right) {
        return None;
    }
    let (left, right) = (left.values.iter().cycle(), right.values.iter().cycle());
    let values = left.zip(right).take(count).map(|(&left, &right)| combine(left, right)).collect::<Option<_>>()?;
    Small::new(shape.clone(), values)
}

/// Returns the elements of `left` where `condition` is not 0, and those of `right` elsewhere; all of one shape.
fn choose(condition: &Small, left: &Small, right: &Small) -> Option<Small> {
    if condition.shape != left.shape || condition.shape != right.shape {
        return None;
    }
    let pairs = condition.values.iter().zip(left.values.iter().zip(&right.values));
    let values = pairs.map(|(condition, (left, right))| if *condition == 0 { *right } else { *left }).collect();
    Small::new(condition.shape.clone(), values)
}

fn concat(inputs: &[Option<Small>], axis: i64) -> Option<Small> {
    let mut values = Vec::new();
    for input in inputs {
        let input = input.as_ref().filter(|input| input.shape.len() == 1 && matches!(axis, 0 | -1))?;
        values.extend(&input.values);
    }
    Small::vector(values)
}

fn constant_of_shape(shape: &Small, attributes: Attributes<'_>) -> Option<Small> {
    let value = match attributes.get("value") {
        Some(attribute) => Small::of(&tensor::constant(attribute.t.as_ref()?).ok()?)?.single()?,
        None => 0,
    };
    let shape: Vec<usize> = shape.values.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<_>>()?;
    let count = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    if count > MAX_ELEMENTS {
        return None;
    }
    Small::new(shape, vec![value; count])
}

fn gather(data: &Small, indices: &Small) -> Option<Small> {
    let &[length] = data.shape.as_slice() else { return None };
    let pick = |&index: &i64| data.values.get(position(index, length)?).copied();
    Small::new(indices.shape.clone(), indices.values.iter().map(pick).collect::<Option<_>>()?)
}

/// Resolves a negative index, which counts from the end.
fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(index).ok()
}

/// 0 keeps a size, -1 is inferred.
fn reshape(data: &Small, target: &Small) -> Option<Small> {
    let kept = |(at, &size): (usize, &i64)| match size {
        0 => data.shape.get(at).copied(),
        -1 => Some(1),
        size => usize::try_from(size).ok(),
    };
    let mut shape: Vec<usize> = target.values.iter().enumerate().map(kept).collect::<Option<_>>()?;
    if let Some(at) = target.values.iter().position(|&size| size == -1) {
        let others = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
        *shape.get_mut(at)? = data.values.len().checked_div(others)?;
    }
    Small::new(shape, data.values.clone())
}

/// `parameters`: starts, ends, axes, steps.
fn slice(data: &Small, parameters: &[Option<Small>]) -> Option<Small> {
    let list = |at: usize| parameters.get(at)?.as_ref().map(|small| small.values.as_slice());
    let (starts, ends) = (list(0)?, list(1)?);
    let mut taken: Vec<Vec<usize>> = data.shape.iter().map(|&size| (0..size).collect()).collect();
    for (at, (&start, &end)) in starts.iter().zip(ends).enumerate() {
        let axis = list(2).map_or(i64::try_from(at).ok(), |axes| axes.get(at).copied())?;
        let axis = position(axis, data.shape.len())?;
        let step = list(3).map_or(Some(1), |steps| steps.get(at).copied())?;
        *taken.get_mut(axis)? = indices(*data.shape.get(axis)?, start, end, step)?;
    }
    let shape: Vec<usize> = taken.iter().map(Vec::len).collect();
    let mut offsets = vec![0usize];
    for (axis, chosen) in taken.iter().enumerate() {
        let size = *data.shape.get(axis)?;
        offsets = offsets.iter().flat_map(|offset| chosen.iter().map(move |index| offset * size + index)).collect();
    }
    Small::new(shape, offsets.iter().map(|&offset| data.values.get(offset).copied()).collect::<Option<_>>()?)
}

/// Returns the indices of a slice of one axis, as in numpy.
pub fn indices(size: usize, start: i64, end: i64, step: i64) -> Option<Vec<usize>> {
    let length = i64::try_from(size).ok()?;
    let from_end = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let (mut index, end) = match step {
        0 => return None,
        1.. => (from_end(start).clamp(0, length), from_end(end).clamp(0, length)),
        _ => (from_end(start).clamp(-1, length - 1), from_end(end).clamp(-1, length - 1)),
    };
    let mut taken = Vec::new();
    while (step > 0 && index < end) || (step < 0 && index > end) {
        taken.push(usize::try_from(index).ok()?);
        index = index.checked_add(step)?;
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(operator: &str) -> proto::Node {
        proto::Node { op_type: operator.into(), ..proto::Node::default() }
    }

    fn small(shape: &[usize], values: &[i64]) -> Option<Small> {
        Some(Small::new(shape.to_vec(), values.to_vec()).unwrap())
    }

    /// As torch exports `F.pad(x, (0, 1, 2, 3))`: pairs are reversed, then transposed.
    #[test]
    fn paddings_of_torch_are_evaluated() {
        let run = |operator: &str, inputs: &[Option<Small>]| evaluate(&node(operator), inputs);
        let zeros = run("ConstantOfShape", &[small(&[1], &[4])]);
        let padded = run("Concat", &[small(&[4], &[0, 1, 2, 3]), zeros]);
        let pairs = run("Reshape", &[padded, small(&[2], &[-1, 2])]);
        assert_eq!(pairs, small(&[4, 2], &[0, 1, 2, 3, 0, 0, 0, 0]));
        let one = |value: i64| small(&[1], &[value]);
        let reversed = run("Slice", &[pairs, one(-1), one(i64::MIN), one(0), one(-1)]);
        assert_eq!(reversed, small(&[4, 2], &[0, 0, 0, 0, 2, 3, 0, 1]));
    }

    /// As torch exports the sizes of `x.expand(-1, 3, -1, -1)`: 1 in place of -1.
    #[test]
    fn sizes_of_torch_are_evaluated() {
        let run = |operator: &str, inputs: &[Option<Small>]| evaluate(&node(operator), inputs);
        let sizes = small(&[4], &[-1, 3, -1, -1]);
        let kept = run("Equal", &[sizes.clone(), small(&[4], &[-1; 4])]);
        assert_eq!(run("Where", &[kept.clone(), small(&[4], &[1; 4]), sizes.clone()]), small(&[4], &[1, 3, 1, 1]));
        assert_eq!(run("Where", &[kept, small(&[1], &[1]), sizes]), None);
    }

    #[test]
    fn invalid_parameters_are_not_evaluated() {
        let run = |operator: &str, inputs: &[Option<Small>]| evaluate(&node(operator), inputs);
        let data = small(&[2], &[1, 2]);
        assert_eq!(run("Gather", &[data.clone(), small(&[], &[2])]), None);
        assert_eq!(run("Gather", &[data.clone(), small(&[], &[-3])]), None);
        assert_eq!(run("Gather", &[data.clone(), small(&[], &[-1])]), small(&[], &[2]));
        assert_eq!(run("Reshape", &[data.clone(), small(&[2], &[0, 0])]), None);
        assert_eq!(run("Reshape", &[data.clone(), small(&[2], &[-1, 0])]), None);
        assert_eq!(run("Mul", &[data.clone(), small(&[], &[i64::MAX])]), None);
        assert_eq!(run("ConstantOfShape", &[small(&[2], &[1 << 40, 1 << 40])]), None);
        assert_eq!(run("ConstantOfShape", &[small(&[1], &[-1])]), None);
        assert_eq!(run("ConstantOfShape", &[small(&[1], &[0])]), small(&[0], &[]));
        assert_eq!(run("ConstantOfShape", &[small(&[2], &[0, 1 << 40])]), None);
        assert_eq!(run("ConstantOfShape", &[small(&[4], &[256, 256, 256, 0])]), None);
        assert_eq!(run("Slice", &[data.clone(), small(&[1], &[0]), small(&[1], &[2]), None, small(&[1], &[0])]), None);
        assert_eq!(run("Slice", &[data]), None);
        assert_eq!(run("Add", &[]), None);
    }
}

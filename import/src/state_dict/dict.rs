//! Tensors and modules by name, from any file format.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::error::{ImportError, Result};
use crate::source::{Constant, DType, Values};
use crate::text::elements;

/// Help of errors of models that are supported as ONNX.
pub const EXPORT: &str = "export the model to ONNX: `torch.onnx.export(model, image, \"model.onnx\", dynamo=False)`";

/// Tensors and modules by name.
#[derive(Debug, Clone, Default)]
pub struct StateDict<'a> {
    /// An unreadable tensor is an error unless it is known to be irrelevant.
    pub tensors: BTreeMap<String, Result<Stored<'a>>>,
    /// Length of the name of the dictionary or module that contains a tensor, for files of nested dictionaries.
    pub holders: BTreeMap<String, usize>,
    /// Names of the tensors that are NumPy arrays.
    pub arrays: BTreeSet<String>,
    /// Modules, in files that contain modules.
    pub modules: BTreeMap<String, Module>,
}

/// Attributes of a block that select its residual, in torchvision, timm, transformers, mmpretrain and tonylins.
pub const RESIDUALS: [&str; 5] = ["use_res_connect", "has_skip", "use_residual", "with_res_shortcut", "identity"];

/// Class and attributes of a module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Module {
    /// Qualified name, such as `torch.nn.modules.conv.Conv2d`.
    pub class: Option<String>,
    /// Vertical and horizontal.
    pub stride: Option<[usize; 2]>,
    /// Vertical and horizontal.
    pub padding: Option<[usize; 2]>,
    pub epsilon: Option<f64>,
    /// Vertical and horizontal.
    pub dilation: Option<[usize; 2]>,
    /// Such as `zeros`.
    pub padding_mode: Option<String>,
    /// Axis of a softmax.
    pub dim: Option<i64>,
    /// Whether a block has a residual if shapes allow it.
    pub residual: Option<bool>,
    /// Height and width of the window of a pool.
    pub window: Option<[usize; 2]>,
    /// Height and width of the output of an adaptive pool; 0 is any other value.
    pub output: Option<[usize; 2]>,
    /// Whether a pool divides by another number than its pixels.
    pub has_divisor: bool,
    /// Lower and upper bound of a clamp.
    pub bounds: [Option<f64>; 2],
    /// Names of its modules, in order of their registration.
    pub children: Vec<String>,
    /// A function or class that is registered to run before or after it, unless it computes a known parametrization.
    pub hook: Option<String>,
    /// A method that the instance overrides.
    pub own_method: Option<String>,
    /// Name of another attribute that holds a function.
    pub own_function: Option<String>,
    /// Attributes whose values have unexpected types, with a description of each value.
    pub unread: BTreeMap<String, String>,
}

impl Module {
    pub fn learn(&mut self, more: Self) {
        self.stride = more.stride.or(self.stride);
        self.padding = more.padding.or(self.padding);
        self.epsilon = more.epsilon.or(self.epsilon);
        self.dilation = more.dilation.or(self.dilation);
        self.padding_mode = more.padding_mode.or(self.padding_mode.take());
        self.class = more.class.or(self.class.take());
        self.dim = more.dim.or(self.dim);
        self.residual = more.residual.or(self.residual);
        self.window = more.window.or(self.window);
        self.output = more.output.or(self.output);
        self.has_divisor |= more.has_divisor;
        self.bounds = [more.bounds[0].or(self.bounds[0]), more.bounds[1].or(self.bounds[1])];
        self.hook = more.hook.or(self.hook.take());
        self.own_method = more.own_method.or(self.own_method.take());
        self.own_function = more.own_function.or(self.own_function.take());
        self.unread.extend(more.unread);
        if !more.children.is_empty() {
            self.children = more.children;
        }
    }
}

/// A tensor as a bounds-checked view of little-endian elements in the file.
#[derive(Debug, Clone)]
pub struct Stored<'a> {
    dtype: DType,
    shape: Vec<usize>,
    elements: Elements<'a>,
}

#[derive(Debug, Clone)]
enum Elements<'a> {
    Contiguous(&'a [u8]),
    Strided {
        bytes: &'a [u8],
        strides: Vec<usize>,
    },
    /// Computed from several tensors.
    Computed(Rc<[f64]>),
}

impl<'a> Stored<'a> {
    /// A row-major tensor of all `bytes`.
    pub fn whole(dtype: DType, shape: Vec<usize>, bytes: &'a [u8]) -> Self {
        Self { dtype, shape, elements: Elements::Contiguous(bytes) }
    }

    /// Element `i, j, ...` of the view is element `offset + i * strides[0] + j * strides[1] + ...` of the storage.
    ///
    /// # Errors
    /// If the view exceeds the storage or has more elements.
    pub fn view(dtype: DType, storage: &'a [u8], offset: usize, shape: Vec<usize>, strides: &[usize]) -> Result<Self> {
        let outside = || {
            ImportError::malformed(format!(
                "the view of shape {shape:?} and strides {strides:?} at element {offset} exceeds its storage"
            ))
            .expected(format!("at most {} elements", storage.len() / dtype.size()))
        };
        let size = dtype.size();
        let count = elements(&shape)?;
        if count == 0 {
            return Ok(Self::whole(dtype, shape, &[]));
        }
        let last = shape
            .iter()
            .zip(strides)
            .try_fold(0usize, |last, (size, stride)| last.checked_add((size - 1).checked_mul(*stride)?));
        let end = last.and_then(|last| last.checked_add(1)?.checked_mul(size)).ok_or_else(outside)?;
        let from = offset.checked_mul(size).and_then(|start| storage.get(start..)).ok_or_else(outside)?;
        let bytes = from.get(..end).ok_or_else(outside)?;
        if count > storage.len() / size {
            return Err(outside().help("the tensor is expanded: save a copy, `tensor.contiguous()`"));
        }
        let elements = if is_row_major(&shape, strides) {
            Elements::Contiguous(bytes)
        } else {
            Elements::Strided { bytes, strides: strides.to_vec() }
        };
        Ok(Self { dtype, shape, elements })
    }

    /// A tensor that is computed from others.
    pub fn computed(constant: &Constant<'_>) -> Self {
        let elements = Elements::Computed(constant.to_f64().into());
        Self { dtype: DType::F64, shape: constant.shape().to_vec(), elements }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether the elements are floats, rather than integers or booleans.
    pub fn is_float(&self) -> bool {
        self.dtype.is_float()
    }

    /// Returns the tensor as a constant. Elements not in row-major order are copied and counted against `budget`.
    pub fn constant(&self, budget: &mut usize) -> Result<Constant<'a>> {
        let values = match &self.elements {
            Elements::Contiguous(bytes) => Cow::Borrowed(*bytes),
            Elements::Strided { bytes, strides } => {
                *budget = budget.checked_sub(elements(&self.shape)?).ok_or_else(|| {
                    ImportError::unsupported("too many tensors are not contiguous")
                        .help("save copies of them, `tensor.contiguous()`")
                })?;
                Cow::Owned(gather(bytes, &self.shape, strides, self.dtype.size()))
            }
            Elements::Computed(values) => {
                return Constant::new(self.shape.clone(), Values::F64(values.to_vec().into()));
            }
        };
        Constant::new(self.shape.clone(), Values::Bytes(self.dtype, values))
    }
}

/// Whether the view is row-major. Strides of axes of size 1 are ignored.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == expected;
        expected = expected.saturating_mul(size);
        fits
    })
}

/// Gathers the elements in row-major order. The view is within `bytes`.
fn gather(bytes: &[u8], shape: &[usize], strides: &[usize], size: usize) -> Vec<u8> {
    let starts = shape.iter().zip(strides).fold(vec![0usize], |starts, (&count, &stride)| {
        starts.iter().flat_map(|start| (0..count).map(move |index| start + index * stride)).collect()
    });
    starts.iter().filter_map(|start| bytes.get(start * size..start * size + size)).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: u8) -> Vec<u8> {
        (0..count).collect()
    }

    #[test]
    fn channels_last_is_reordered() {
        // Shape [2, 3, 1, 2] in memory as [2, 1, 2, 3].
        let storage = bytes(12);
        let view = Stored::view(DType::U8, &storage, 0, vec![2, 3, 1, 2], &[6, 1, 6, 3]).unwrap();
        let mut budget = 12;
        let values = view.constant(&mut budget).unwrap().to_f64();
        assert_eq!(values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
        assert_eq!(budget, 0);
        assert!(view.constant(&mut budget).is_err());
    }

    #[test]
    fn a_single_index_may_have_any_stride() {
        let storage = bytes(4);
        let view = Stored::view(DType::U8, &storage, 1, vec![1, 3], &[77, 1]).unwrap();
        assert!(matches!(view.elements, Elements::Contiguous(&[1, 2, 3])));
    }

    #[test]
    fn rejects_views_outside_the_storage() {
        let storage = bytes(8);
        for (offset, shape, strides) in [
            (1, vec![8], vec![1]),
            (9, vec![1], vec![1]),
            (0, vec![2, 5], vec![4, 1]),
            (0, vec![usize::MAX, 2], vec![1, 1]),
            (0, vec![3], vec![usize::MAX]),
            (usize::MAX, vec![1], vec![1]),
            (0, vec![100], vec![0]),
        ] {
            assert!(Stored::view(DType::F16, &storage, offset, shape.clone(), &strides).is_err(), "{offset} {shape:?}");
        }
        assert!(Stored::view(DType::F32, &storage, 5, vec![0], &[1]).is_ok());
    }
}

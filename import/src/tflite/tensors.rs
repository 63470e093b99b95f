//! The tensors of a subgraph, constants and operator outputs, and the nodes translated so far.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::schema::{Model, Subgraph, Tensor};
use super::table::Vector;
use crate::error::{ImportError, Result};
use crate::source::{
    Constant, DType, Holder, Holders, Layout, MAX_RANK, Node, Op, Place, Quantization, Quantized, Quants, Value,
    ValueQuant, Values,
};
use crate::text::shorten;

/// Most numbers to copy, twice those of width 4. Many tensors may share one long list.
const MAX_NUMBERS: usize = 1 << 20;

/// `TensorType` of bytes.
const UINT8: i8 = 3;

/// Meaning of a tensor that an operator produced.
#[derive(Debug, Clone, Copy)]
enum Produced {
    Data(Value),
    /// One channel of an image.
    Channel(Value, usize),
    /// The constant of another tensor, by index.
    Constant(i32),
    /// Computed from shapes.
    Computed,
}

/// An input of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Data(Value),
    Channel(Value, usize),
    Constant,
    Computed,
    Absent,
}

pub struct Tensors<'a> {
    pub nodes: Vec<Node<'a>>,
    pub notes: Vec<String>,
    pub quants: Quants,
    pub holders: Holders<'a>,
    bytes: &'a [u8],
    tensors: Vector<'a>,
    model: Model<'a>,
    produced: HashMap<i32, Produced>,
    values: Value,
    /// Remaining numbers to copy: scales, zero points, factors and offsets.
    left: Cell<usize>,
    /// Whether the input image is `[N, 3, height, width]` and transposed by the graph.
    pub channels_first: bool,
    /// Values whose shape is read.
    pub measured: HashSet<Value>,
}

/// Decodes a string of the file, limited for messages: tables may share one as long as the file.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    const LONGEST: usize = 1 << 10;
    String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes))
}

impl<'a> Tensors<'a> {
    pub fn new(bytes: &'a [u8], model: Model<'a>, subgraph: Subgraph<'a>) -> Result<Self> {
        Ok(Self {
            nodes: Vec::new(),
            notes: Vec::new(),
            quants: Quants::default(),
            holders: Holders::default(),
            bytes,
            tensors: subgraph.tensors()?,
            model,
            produced: HashMap::new(),
            values: 0,
            left: Cell::new(MAX_NUMBERS),
            channels_first: false,
            measured: HashSet::new(),
        })
    }

    fn tensor(&self, index: i32) -> Result<Tensor<'a>> {
        let at =
            usize::try_from(index).map_err(|_| ImportError::malformed(format!("tensor {index} does not exist")))?;
        self.tensors.table(at, "tensor").map(Tensor)
    }

    pub fn name(&self, index: i32) -> Cow<'a, str> {
        self.tensor(index).and_then(Tensor::name).map_or(Cow::Borrowed("?"), text)
    }

    fn bind(&mut self, index: i32, produced: Produced) -> Result<()> {
        if let Produced::Data(value) = produced {
            let quant = self.quant(self.tensor(index)?)?;
            let holder = Holder { name: self.name(index), index: usize::try_from(index).ok(), layout: Layout::Nhwc };
            self.holders.add(value, quant.is_some(), holder);
            if let Some(quant) = quant {
                self.quants.add(value, quant);
            }
        }
        match self.produced.insert(index, produced) {
            None => Ok(()),
            Some(_) => {
                Err(ImportError::malformed(format!("tensor '{}' is assigned twice", shorten(&self.name(index)))))
            }
        }
    }

    /// Binds a new value to tensor `index`.
    pub fn make(&mut self, index: i32) -> Result<Value> {
        let value = self.fresh();
        self.bind(index, Produced::Data(value))?;
        Ok(value)
    }

    pub fn fresh(&mut self) -> Value {
        self.values += 1;
        self.values - 1
    }

    /// Binds tensor `index` to the meaning of `input`.
    pub fn alias(&mut self, index: i32, input: i32) -> Result<()> {
        let produced = match self.input(input)? {
            Input::Data(value) => Produced::Data(value),
            Input::Channel(value, channel) => Produced::Channel(value, channel),
            Input::Constant => Produced::Constant(self.origin(input)),
            Input::Computed | Input::Absent => Produced::Computed,
        };
        self.bind(index, produced)
    }

    /// Binds tensor `index` to one channel of an image.
    pub fn channel(&mut self, index: i32, value: Value, channel: usize) -> Result<()> {
        self.bind(index, Produced::Channel(value, channel))
    }

    pub fn computed(&mut self, index: i32) -> Result<()> {
        self.bind(index, Produced::Computed)
    }

    pub fn push(&mut self, place: &Place<'a>, op: Op<'a>, inputs: Vec<Value>) -> Value {
        let output = self.fresh();
        self.nodes.push(Node { place: place.clone(), op, inputs, output });
        output
    }

    /// Binds tensor `index` to `value`.
    pub fn stand_for(&mut self, index: i32, value: Value) -> Result<()> {
        self.bind(index, Produced::Data(value))
    }

    fn origin(&self, index: i32) -> i32 {
        match self.produced.get(&index) {
            Some(&Produced::Constant(origin)) => origin,
            _ => index,
        }
    }

    /// Returns an operator's input; -1 is an omitted one.
    pub fn input(&self, index: i32) -> Result<Input> {
        if index == -1 {
            return Ok(Input::Absent);
        }
        match self.produced.get(&index) {
            Some(&Produced::Data(value)) => Ok(Input::Data(value)),
            Some(&Produced::Channel(value, channel)) => Ok(Input::Channel(value, channel)),
            Some(Produced::Constant(_)) => Ok(Input::Constant),
            Some(Produced::Computed) => Ok(Input::Computed),
            None if self.data(self.tensor(index)?)?.is_some() => Ok(Input::Constant),
            None => {
                let name = shorten(&self.name(index));
                Err(ImportError::malformed(format!("input '{name}' is not produced by an earlier operator")))
            }
        }
    }

    /// Returns the bytes of a constant tensor; `None` for one without data.
    fn data(&self, tensor: Tensor<'a>) -> Result<Option<&'a [u8]>> {
        self.model.buffer(self.bytes, tensor.buffer()?)
    }

    /// Returns the constant of tensor `index`; `None` for an omitted input. `scale` applies to integers without a
    /// scale.
    pub fn constant(&self, index: i32, scale: Option<f64>) -> Result<Option<Rc<Constant<'a>>>> {
        match self.input(index)? {
            Input::Absent => return Ok(None),
            Input::Constant => {}
            Input::Data(_) | Input::Channel(..) | Input::Computed => {
                return Err(ImportError::unsupported(format!(
                    "tensor '{}' is computed by the graph",
                    shorten(&self.name(index))
                ))
                .expected("a stored constant"));
            }
        }
        let index = self.origin(index);
        let read = || self.stored(self.tensor(index)?, scale);
        read()
            .map(|constant| Some(Rc::new(constant)))
            .map_err(|error| error.at(format!("tensor '{}'", shorten(&self.name(index)))))
    }

    fn stored(&self, tensor: Tensor<'a>, scale: Option<f64>) -> Result<Constant<'a>> {
        if tensor.is_sparse()? {
            return Err(ImportError::unsupported("the weights are stored sparse").expected("dense weights"));
        }
        let dtype = match tensor.element_type()? {
            0 => DType::F32,
            1 => DType::F16,
            2 => DType::I32,
            3 => DType::U8,
            4 => DType::I64,
            7 => DType::I16,
            9 => DType::I8,
            10 => DType::F64,
            18 => DType::Bf16,
            other => {
                return Err(ImportError::unsupported(format!("unsupported element type {other}"))
                    .expected("float32, float64, float16, bfloat16, int8, uint8, int16, int32 or int64"));
            }
        };
        // One above the limit, which is reported then.
        let shape = tensor
            .shape()?
            .i32s()
            .take(MAX_RANK + 1)
            .map(|size| usize::try_from(size).map_err(|_| ImportError::malformed(format!("invalid dimension {size}"))))
            .collect::<Result<Vec<_>>>()?;
        let data = self.data(tensor)?.unwrap_or(&[]);
        let constant = Constant::new(shape, Values::Bytes(dtype, Cow::Borrowed(data)))?;
        if dtype.is_float() {
            return Ok(constant);
        }
        match (self.parameters(tensor)?, scale) {
            (Some(parameters), _) => constant.quantized(parameters),
            (None, Some(scale)) => constant.quantized(Quantization { scales: vec![scale], zeros: vec![0], axis: 0 }),
            (None, None) => Ok(constant),
        }
    }

    /// Counts numbers before they are copied.
    pub fn spend(&self, numbers: usize) -> Result<()> {
        let left = self.left.get().checked_sub(numbers).ok_or_else(|| {
            ImportError::unsupported("the tensors have too many scales, zero points or constant operands")
                .expected(format!("at most {MAX_NUMBERS}"))
        })?;
        self.left.set(left);
        Ok(())
    }

    fn parameters(&self, tensor: Tensor<'a>) -> Result<Option<Quantization>> {
        let Some(Stated { scales, zeros, dimension }) = Stated::of(tensor)? else { return Ok(None) };
        self.spend(scales.len.saturating_mul(2).saturating_add(zeros.len))?;
        let scales: Vec<f64> = scales.f32s().map(f64::from).collect();
        let mut zeros: Vec<i64> = zeros.i64s().collect();
        if zeros.len() <= 1 {
            zeros = vec![zeros.first().copied().unwrap_or(0); scales.len()];
        }
        let axis =
            usize::try_from(dimension).map_err(|_| ImportError::malformed("the quantized dimension is negative"))?;
        Ok(Some(Quantization { scales, zeros, axis }))
    }

    /// Returns the quantization of a tensor of 8 or 16 bits.
    fn quant(&self, tensor: Tensor<'a>) -> Result<Option<Quantized>> {
        let dtype = match tensor.element_type()? {
            3 => DType::U8,
            7 => DType::I16,
            9 => DType::I8,
            _ => return Ok(None),
        };
        let Some(stated) = Stated::of(tensor)? else { return Ok(None) };
        Ok(Some(match stated.once() {
            Some((scale, zero_point)) => Quantized::Once(ValueQuant { dtype, scale, zero_point }),
            None => Quantized::PerChannel,
        }))
    }

    /// Whether the tensor has stored data.
    pub fn is_constant(&self, index: i32) -> Result<bool> {
        Ok(!self.produced.contains_key(&index) && self.data(self.tensor(index)?)?.is_some())
    }

    /// Whether the tensor is of bytes or int32 without a scale.
    pub fn is_plain_integer(&self, index: i32) -> Result<bool> {
        const INT32: i8 = 2;
        let tensor = self.tensor(index)?;
        Ok(matches!(tensor.element_type()?, INT32 | UINT8) && Stated::of(tensor)?.is_none())
    }

    /// Whether the tensor is of float32.
    pub fn is_float(&self, index: i32) -> Result<bool> {
        Ok(self.tensor(index)?.element_type()? == 0)
    }

    /// Returns the scale of a tensor with a single scale.
    pub fn scale(&self, index: i32) -> Result<Option<f64>> {
        let stated = Stated::of(self.tensor(self.origin(index))?)?;
        Ok(stated.filter(|stated| stated.scales.len == 1).and_then(|stated| stated.scales.f32s().next()).map(f64::from))
    }

    /// Returns the sizes of a tensor.
    ///
    /// # Errors
    /// If it has too many dimensions, or a size is negative.
    pub fn shape(&self, index: i32) -> Result<Vec<usize>> {
        let shape = self.tensor(index)?.shape()?;
        let sizes: Option<Vec<usize>> =
            shape.i32s().take(MAX_RANK + 1).map(|size| usize::try_from(size).ok()).collect();
        sizes.filter(|sizes| sizes.len() <= MAX_RANK).ok_or_else(|| {
            ImportError::malformed("unexpected shape").at(format!("tensor '{}'", shorten(&self.name(index))))
        })
    }

    /// Returns the sizes of a tensor of four dimensions, as far as they are fixed: of a size that is set at run time, the
    /// shape has a placeholder, usually 1, and the signature -1.
    pub fn sizes(&self, index: i32) -> Result<Option<[Option<usize>; 4]>> {
        let tensor = self.tensor(index)?;
        let (shape, signature) = (tensor.shape()?, tensor.signature()?);
        let of = |sizes: Vector<'a>| -> Vec<i32> { sizes.i32s().take(5).collect() };
        let Ok(mut sizes) = <[i32; 4]>::try_from(of(shape)) else { return Ok(None) };
        if signature.len > 0 {
            let signature = of(signature);
            let agrees = |(size, fixed): (&i32, &i32)| *fixed == -1 || fixed == size;
            if signature.len() != sizes.len() || !sizes.iter().zip(&signature).all(agrees) {
                return Err(ImportError::malformed("the shape and its signature differ")
                    .at(format!("tensor '{}'", shorten(&self.name(index))))
                    .found(format!("{sizes:?} and {signature:?}")));
            }
            sizes.copy_from_slice(&signature);
        }
        Ok(Some(sizes.map(|size| usize::try_from(size).ok())))
    }

    /// Returns height, width and channels of an image tensor.
    pub fn image(&self, index: i32) -> Result<[Option<usize>; 3]> {
        let Some([_, second, third, fourth]) = self.sizes(index)? else {
            return Err(ImportError::unsupported("the input is not a batch of images")
                .at(format!("input '{}'", shorten(&self.name(index))))
                .expected("4 dimensions, [N, height, width, channels]")
                .found(format!("{} dimensions", self.tensor(index)?.shape()?.len)));
        };
        Ok(if self.channels_first { [third, fourth, second] } else { [second, third, fourth] })
    }

    /// Returns scale and zero point of a uint8 tensor, or of int32 without a scale.
    pub fn pixels(&self, index: i32) -> Result<Option<(f64, i64)>> {
        let tensor = self.tensor(index)?;
        if tensor.element_type()? != UINT8 && !self.is_plain_integer(index)? {
            return Ok(None);
        }
        // Without a scale, integers are pixels.
        let Some(Stated { scales, zeros, .. }) = Stated::of(tensor)? else { return Ok(Some((1.0, 0))) };
        Ok(scales.f32s().next().map(|scale| (f64::from(scale), zeros.i64s().next().unwrap_or(0))))
    }
}

/// Quantization parameters of a tensor.
struct Stated<'a> {
    /// At least one.
    scales: Vector<'a>,
    zeros: Vector<'a>,
    dimension: i32,
}

impl<'a> Stated<'a> {
    fn of(tensor: Tensor<'a>) -> Result<Option<Self>> {
        let Some(parameters) = tensor.quantization()? else { return Ok(None) };
        let (scales, zeros) = (parameters.scale()?, parameters.zero_point()?);
        Ok((scales.len > 0).then_some(Self { scales, zeros, dimension: parameters.dimension()? }))
    }

    /// Returns scale and zero point if there is one of each.
    fn once(&self) -> Option<(f32, i64)> {
        let zero = match self.zeros.len {
            0 => 0,
            1 => self.zeros.i64s().next()?,
            _ => return None,
        };
        self.scales.f32s().next().filter(|_| self.scales.len == 1).map(|scale| (scale, zero))
    }
}

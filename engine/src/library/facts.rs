//! Decodes the facts that `carried/facts.rs` encodes.

use std::sync::OnceLock;

use mbvc_runtime::{
    Activation, Conventions, Dtype, Isa, Layer, NetworkInfo, Numerics, Padding, Parameter, Precision, Stage, Step,
};

/// Supported version of the format.
const VERSION: usize = 2;

/// Why facts of a network or a model cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a value.
    #[error("it is truncated")]
    Truncated,
    /// Bytes follow the last value.
    #[error("{0} bytes follow its end")]
    Longer(usize),
    /// The format has another version.
    #[error("expected version {VERSION}, found {0}")]
    Version(usize),
    /// A number does not fit the type of its field.
    #[error("{0} is out of range")]
    Number(u64),
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// A name is unknown for its field.
    #[error("unknown {field} `{found}`")]
    Name {
        /// The field.
        field: &'static str,
        /// The name.
        found: String,
    },
}

type Result<T> = std::result::Result<T, DecodeError>;

/// Bytes that are not decoded yet.
struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Checks the version, and begins after it.
    fn new(bytes: &'a [u8]) -> Result<Self> {
        let mut decoder = Self(bytes);
        match decoder.number()? {
            VERSION => Ok(decoder),
            other => Err(DecodeError::Version(other)),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize> {
        let (number, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        let number = u64::from_le_bytes(*number);
        usize::try_from(number).map_err(|_| DecodeError::Number(number))
    }

    fn numbers<const N: usize>(&mut self) -> Result<[usize; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.number()?;
        }
        Ok(numbers)
    }

    fn text(&mut self) -> Result<String> {
        let length = self.number()?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Text)?;
        Ok(text.to_owned())
    }

    /// Reads the name of a value of a field.
    fn named<T>(&mut self, field: &'static str, value: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let found = self.text()?;
        value(&found).ok_or(DecodeError::Name { field, found })
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let length = self.number()?;
        // No capacity is reserved, because the length is not trusted.
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Checks that nothing follows.
    fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Longer(self.0.len())) }
    }
}

/// Facts of one model.
#[derive(Debug, PartialEq, Eq)]
pub struct ModelFacts {
    pub isa: Isa,
    /// Bytes of its packed weights.
    pub packed_bytes: usize,
    /// Whether each layer uses the fast inner product; `None` if the layer does not support it.
    pub fast: Vec<Option<bool>>,
}

impl ModelFacts {
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut bytes = Decoder::new(bytes)?;
        let isa = bytes.named("instruction set", Isa::from_name)?;
        let packed_bytes = bytes.number()?;
        let fast = bytes.list(|bytes| match bytes.number()? {
            0 => Ok(None),
            1 => Ok(Some(false)),
            2 => Ok(Some(true)),
            other => Err(DecodeError::Number(other as u64)),
        })?;
        bytes.end()?;
        Ok(Self { isa, packed_bytes, fast })
    }
}

/// Facts of a network's type: the values of a [`NetworkInfo`], to which [`info`] converts them.
#[derive(Debug)]
pub struct NetworkFacts {
    name: String,
    input: [usize; 3],
    classes: usize,
    embedding: usize,
    scratch_bytes: usize,
    threads: usize,
    fusion: String,
    numerics: Numerics,
    conventions: Conventions,
    isas: Vec<Isa>,
    parameters: Vec<ParameterFacts>,
    layers: Vec<LayerFacts>,
    steps: Vec<StepFacts>,
}

#[derive(Debug)]
struct ParameterFacts {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

#[derive(Debug)]
struct LayerFacts {
    name: String,
    number: usize,
    step: usize,
    line: usize,
    macs: usize,
    output: [usize; 3],
}

#[derive(Debug)]
struct StepFacts {
    name: String,
    output: [usize; 3],
    stages: Vec<StageFacts>,
}

#[derive(Debug)]
struct StageFacts {
    name: String,
    macs: usize,
    bytes: usize,
}

impl NetworkFacts {
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut bytes = Decoder::new(bytes)?;
        let name = bytes.text()?;
        let input = bytes.numbers()?;
        let [classes, embedding, scratch_bytes, threads] = bytes.numbers()?;
        let fusion = bytes.text()?;
        let numerics = bytes.named("numerics", Numerics::from_name)?;
        let activation = bytes.named("activation", Activation::from_word)?;
        let padding = bytes.named("padding", Padding::from_word)?;
        let precision = bytes.named("precision", Precision::from_word)?;
        let dense = |word: &str| if word.is_empty() { Some(None) } else { Activation::from_word(word).map(Some) };
        let dense_activation = bytes.named("activation of dense layers", dense)?;
        let isas = bytes.list(|bytes| bytes.named("instruction set", Isa::from_name))?;
        let parameters = bytes.list(|bytes| {
            let name = bytes.text()?;
            let dtype = bytes.named("element type", Dtype::from_name)?;
            Ok(ParameterFacts { name, dtype, shape: bytes.list(Decoder::number)? })
        })?;
        let layers = bytes.list(|bytes| {
            let name = bytes.text()?;
            let [number, step, line, macs] = bytes.numbers()?;
            Ok(LayerFacts { name, number, step, line, macs, output: bytes.numbers()? })
        })?;
        let steps = bytes.list(|bytes| {
            let (name, output) = (bytes.text()?, bytes.numbers()?);
            let stages = bytes.list(|bytes| {
                let name = bytes.text()?;
                let [macs, bytes] = bytes.numbers()?;
                Ok(StageFacts { name, macs, bytes })
            })?;
            Ok(StepFacts { name, output, stages })
        })?;
        bytes.end()?;
        let conventions = Conventions { activation, dense_activation, padding, precision, classes };
        Ok(Self {
            name,
            input,
            classes,
            embedding,
            scratch_bytes,
            threads,
            fusion,
            numerics,
            conventions,
            isas,
            parameters,
            layers,
            steps,
        })
    }
}

/// The lists of a [`NetworkInfo`], which refer to [`NetworkFacts`].
#[derive(Default)]
pub struct Tables {
    stages: OnceLock<Vec<Vec<Stage>>>,
    lists: OnceLock<Lists>,
    info: OnceLock<NetworkInfo>,
}

struct Lists {
    parameters: Vec<Parameter<'static>>,
    layers: Vec<Layer>,
    steps: Vec<Step>,
}

/// Converts facts to the runtime's type, which borrows them and `tables`.
pub fn info(facts: &'static NetworkFacts, tables: &'static Tables) -> &'static NetworkInfo {
    let stages = tables.stages.get_or_init(|| {
        let stage = |stage: &'static StageFacts| Stage { name: &stage.name, macs: stage.macs, bytes: stage.bytes };
        facts.steps.iter().map(|step| step.stages.iter().map(stage).collect()).collect()
    });
    let Lists { parameters, layers, steps } = tables.lists.get_or_init(|| {
        let parameter =
            |one: &'static ParameterFacts| Parameter { name: &one.name, dtype: one.dtype, shape: &one.shape };
        let layer = |one: &'static LayerFacts| {
            let LayerFacts { name, number, step, line, macs, output } = one;
            Layer { number: *number, name, step: *step, line: *line, output: *output, macs: *macs }
        };
        let steps = facts.steps.iter().zip(stages);
        Lists {
            parameters: facts.parameters.iter().map(parameter).collect(),
            layers: facts.layers.iter().map(layer).collect(),
            steps: steps.map(|(step, stages)| Step { name: &step.name, output: step.output, stages }).collect(),
        }
    });
    tables.info.get_or_init(|| NetworkInfo {
        name: &facts.name,
        input: facts.input,
        classes: facts.classes,
        embedding: facts.embedding,
        fusion: &facts.fusion,
        scratch_bytes: facts.scratch_bytes,
        threads: facts.threads,
        conventions: facts.conventions,
        numerics: facts.numerics,
        isas: &facts.isas,
        parameters,
        layers,
        steps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carried::{self, Generated};

    #[test]
    fn what_is_encoded_is_decoded() {
        static FACTS: OnceLock<NetworkFacts> = OnceLock::new();
        static TABLES: Tables = Tables { stages: OnceLock::new(), lists: OnceLock::new(), info: OnceLock::new() };
        let encoded = carried::facts::of_network(Generated::INFO);
        let decoded = info(FACTS.get_or_init(|| NetworkFacts::decode(&encoded).unwrap()), &TABLES);
        assert_eq!(format!("{decoded:#?}"), format!("{:#?}", Generated::INFO));

        let model = carried::network();
        let facts = ModelFacts::decode(&carried::facts::of_model(&model)).unwrap();
        let network: &dyn mbvc_runtime::Network = &model;
        assert_eq!((facts.isa, facts.packed_bytes), (network.isa(), network.packed_bytes()));
        assert_eq!(facts.fast.len(), Generated::INFO.layers.len());
        assert!(facts.fast.iter().enumerate().all(|(index, fast)| *fast == network.is_fast(index)));
    }

    #[test]
    fn rejects_other_bytes() {
        let good = carried::facts::of_network(Generated::INFO);
        for length in 0..good.len() {
            assert_eq!(NetworkFacts::decode(&good[..length]).unwrap_err(), DecodeError::Truncated, "{length}");
        }
        assert_eq!(NetworkFacts::decode(&[&good[..], &[0, 0]].concat()).unwrap_err(), DecodeError::Longer(2));
        let mut other = good.clone();
        other[0] = 9;
        assert_eq!(NetworkFacts::decode(&other).unwrap_err(), DecodeError::Version(9));
        // The length of the name, then its first letter.
        other = good.clone();
        other[8..16].fill(0xff);
        assert!(NetworkFacts::decode(&other).is_err());
        other = good.clone();
        other[16] = 0xff;
        assert_eq!(NetworkFacts::decode(&other).unwrap_err(), DecodeError::Text);
        let at = good.windows(5).position(|word| word == b"relu6").unwrap();
        other = good.clone();
        other[at..at + 5].copy_from_slice(b"relu7");
        let error = NetworkFacts::decode(&other).unwrap_err();
        assert_eq!(error.to_string(), "unknown activation `relu7`");
    }
}

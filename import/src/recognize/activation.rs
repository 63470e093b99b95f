//! The activation of a network, from clamps and from the ranges of quantized values.

use mbvc_compiler::spec::Activation;

use crate::error::{ImportError, Result};
use crate::source::{Quants, Value, ValueQuant};

/// The clamps after a layer.
#[derive(Debug)]
pub struct Clamped {
    /// Lower and upper bound of all clamps together.
    pub bounds: Option<[f64; 2]>,
    /// The last clamp; the layer if there is none.
    pub place: String,
    /// Output of the last clamp.
    pub value: Value,
    /// Description of the operation that reads `value`.
    pub next: String,
}

impl Clamped {
    /// Adds the activation of layer `role` to `evidence`, if it must have one.
    ///
    /// # Errors
    /// If the clamps are not an activation of the family or differ from that of earlier layers, or a layer without
    /// activation has clamps.
    pub fn add_to(self, evidence: &mut Evidence, quants: &Quants, role: &str, activated: bool) -> Result<()> {
        let Self { bounds, place, value, next } = self;
        let wrong = |found: String| {
            ImportError::unsupported("not an activation of MobileNetV2")
                .at(place)
                .expected(if activated { "relu6 or relu" } else { "no activation" })
                .found(found)
        };
        let kind = match (bounds, activated) {
            (None, false) => return Ok(()),
            (Some([0.0, 6.0]), true) => Activation::Relu6,
            (Some([0.0, f64::INFINITY]), true) => Activation::Relu,
            (Some([low, high]), _) => return Err(wrong(format!("an activation that clamps to [{low}, {high}]"))),
            (None, true) if quants.once(value).is_some_and(|quant| evidence.imply(quant, role)) => return Ok(()),
            (None, true) => {
                let reader = quants.float_reader(value).filter(|_| quants.get(value).is_some());
                return Err(match reader {
                    Some(reader) => {
                        wrong(format!("no activation, and {reader} reads the value before its quantization"))
                            .help("insert QuantizeLinear and DequantizeLinear before that operation, too")
                    }
                    None => wrong(format!("no activation, but {next}")),
                });
            }
        };
        evidence
            .add(kind, role)
            .map_err(|(known, at)| wrong(kind.word().into()).expected(format!("{known}, as in {at}")))
    }
}

/// Evidence so far.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The kind and its first layer.
    seen: Option<(Activation, String)>,
    /// First layer without an activation whose quantized range is 0 to at most 6.
    up_to_six: Option<String>,
    /// First such layer with a range above 6.
    above_six: Option<String>,
}

impl Evidence {
    /// Adds an activation of layer `role`.
    ///
    /// # Errors
    /// If the kind differs from that of earlier layers. Returns that kind and the first of those layers.
    pub fn add(&mut self, kind: Activation, role: &str) -> std::result::Result<(), (Activation, String)> {
        match &self.seen {
            None => self.seen = Some((kind, role.to_owned())),
            Some(known) if known.0 != kind => return Err(known.clone()),
            Some(_) => {}
        }
        Ok(())
    }

    /// Returns whether the quantized range of `role` implies an activation, because it starts at 0, and adds it.
    /// Quantizers remove such activations.
    pub fn imply(&mut self, quant: ValueQuant, role: &str) -> bool {
        let Some(steps) = quant.steps_above_zero() else { return false };
        // In whole steps, as the clamp to 6 is computed.
        let six_at_the_end = (6.0 / f64::from(quant.scale)).round() >= f64::from(steps);
        let first = if six_at_the_end { &mut self.up_to_six } else { &mut self.above_six };
        first.get_or_insert_with(|| role.to_owned());
        true
    }

    /// Whether quantized ranges imply activations.
    pub fn is_implied(&self) -> bool {
        self.up_to_six.is_some() || self.above_six.is_some()
    }

    /// Returns the activation of all layers. If only ranges imply it, it is relu6 when possible, which equals relu on these
    /// quantized values.
    pub fn outcome(&self) -> Result<Activation> {
        match (&self.seen, &self.above_six) {
            (Some((Activation::Relu6, at)), Some(role)) => {
                Err(ImportError::unsupported("the quantized range of a layer without activation exceeds 6")
                    .role(role.clone())
                    .expected(format!("relu6, as in {at}")))
            }
            (Some((kind, _)), _) => Ok(*kind),
            (None, Some(_)) => Ok(Activation::Relu),
            (None, None) if self.up_to_six.is_some() => Ok(Activation::Relu6),
            (None, None) => Err(ImportError::unsupported("the network has no activation")),
        }
    }
}

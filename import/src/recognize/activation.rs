//! Which activation the layers of a network have, told by the bounds of their values.

use mbvc_compiler::spec::Activation;

use crate::error::{ImportError, Result};
use crate::source::ValueQuant;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The kind, and the layer that had it first.
    seen: Option<(Activation, String)>,
    /// The first layer without an activation whose quantized values end below at 0, and above at 6.
    up_to_six: Option<String>,
    /// The same, where they go above 6.
    above_six: Option<String>,
}

impl Evidence {
    /// Takes an activation of `role` into account.
    ///
    /// # Errors
    /// The kind that others have, and the layer that had it first.
    pub fn add(&mut self, kind: Activation, role: &str) -> std::result::Result<(), (Activation, String)> {
        match &self.seen {
            None => self.seen = Some((kind, role.to_owned())),
            Some(known) if known.0 != kind => return Err(known.clone()),
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether `quant` leaves nothing for an activation to do, for no value of `role` is below 0; takes it into account.
    /// Quantizers leave such activations out.
    pub fn absorb(&mut self, quant: ValueQuant, role: &str) -> bool {
        let Some(steps) = quant.steps_above_zero() else { return false };
        // In whole steps, as a clamp to 6 is computed.
        let six_at_the_end = (6.0 / f64::from(quant.scale)).round() >= f64::from(steps);
        let first = if six_at_the_end { &mut self.up_to_six } else { &mut self.above_six };
        first.get_or_insert_with(|| role.to_owned());
        true
    }

    /// Whether quantization stands for activations.
    pub fn is_absorbed(&self) -> bool {
        self.up_to_six.is_some() || self.above_six.is_some()
    }

    /// The activation of all layers. Where ranges alone tell it, it is relu6 if it can be: on quantized values both are
    /// the same then.
    pub fn outcome(&self) -> Result<Activation> {
        match (&self.seen, &self.above_six) {
            (Some((Activation::Relu6, at)), Some(role)) => {
                Err(ImportError::unsupported("the quantized values of a layer without activation go above 6")
                    .role(role.clone())
                    .expected(format!("relu6, as {at} has")))
            }
            (Some((kind, _)), _) => Ok(*kind),
            (None, Some(_)) => Ok(Activation::Relu),
            (None, None) if self.up_to_six.is_some() => Ok(Activation::Relu6),
            (None, None) => Err(ImportError::unsupported("the network has no activation")),
        }
    }
}

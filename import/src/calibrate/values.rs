//! From ranges to scales and zero points.

use mbvc_compiler::ir::Activation;
use mbvc_runtime::quantized::arithmetic::{Integer, Quant};

use super::input::Input;
use super::network::{Network, Role};
use super::observe::Statistics;
use super::range::{Method, Range};
use crate::error::{ImportError, Result};

const SIX: f64 = 6.0;
const LEAST: f64 = -128.0;

/// Returns the quantization of every value of the network, by index.
pub fn quants(network: &Network, statistics: &Statistics, input: &Input, method: Method) -> Result<Vec<Quant>> {
    let of = |(at, value): (usize, &super::Value)| {
        if value.role == Role::Input {
            return Ok(input.quant());
        }
        let method = if value.role == Role::Logits { Method::MinMax } else { method };
        quant(bounded(Range::choose(method, statistics.histogram(at)), value.role)).ok_or_else(|| {
            ImportError::unsupported("the observed values have no scale in float32")
                .role(value.name.clone())
                .help("check weights and preprocessing: they are not those of a trained network")
        })
    };
    network.values().iter().enumerate().map(of).collect()
}

/// Limits a range to that of its activation, and widens an empty one.
fn bounded(range: Range, role: Role) -> Range {
    let top = if role == Role::Activated(Activation::Relu6) { SIX } else { f64::INFINITY };
    let low = if matches!(role, Role::Activated(_)) { 0.0 } else { range.low };
    let high = range.high.min(top);
    match high > low {
        true => Range { low, high },
        false => Range { low, high: top.min(1.0) },
    }
}

/// Represents 0 exactly, which moves the range by up to half a step.
fn quant(range: Range) -> Option<Quant> {
    let step = range.step();
    let zero_point = (LEAST - range.low / step).round().clamp(LEAST, -LEAST - 1.0);
    Quant::new(step as f32, zero_point as i32, Integer::Int8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(low: f64, high: f64, role: Role) -> (f32, i32) {
        let quant = quant(bounded(Range { low, high }, role)).unwrap();
        (quant.scale(), quant.zero_point())
    }

    #[test]
    fn activated_ranges_start_at_the_zero_point() {
        let relu6 = Role::Activated(Activation::Relu6);
        assert_eq!(of(0.0, 6.0, relu6), (6.0 / 255.0, -128));
        assert_eq!(of(-0.1, 9.0, relu6), (6.0 / 255.0, -128));
        assert_eq!(of(0.0, 3.0, relu6), (3.0 / 255.0, -128));
        assert_eq!(of(0.0, 9.0, Role::Activated(Activation::Relu)), (9.0 / 255.0, -128));
        // A value that is 0 in every picture.
        assert!(of(0.0, 0.0, relu6).0 <= 6.0 / 255.0);
    }

    #[test]
    fn ends_and_zero_are_represented() {
        for (low, high) in [(-1.0, 1.0), (-3.7, 0.2), (-0.01, 12.0), (-5.0, 0.0), (0.0, 5.0)] {
            let (scale, zero_point) = of(low, high, Role::Linear);
            let (scale, zero) = (f64::from(scale), f64::from(zero_point));
            let (first, last) = (scale * (-128.0 - zero), scale * (127.0 - zero));
            assert!((first - low).abs() <= 0.501 * scale && (last - high).abs() <= 0.501 * scale, "{low} {high}");
        }
        assert_eq!(of(0.0, 0.0, Role::Linear), (1.0 / 255.0, -128));
        assert!(quant(Range { low: 0.0, high: 1e-40 }).is_none());
    }
}

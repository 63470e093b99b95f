//! Residual adds: limits the ratios of their scales to what XNNPACK accepts.

use mbvc_runtime::quantized::arithmetic::{Integer, Quant};

use super::network::{Network, Sum};
use crate::error::{ImportError, Result};

/// Least ratio of an operand's scale to the result's. XNNPACK's limits are 2^-10 and 2^8; these leave room for the
/// rounding of the quotient.
const LEAST: f32 = 1.0 / 1000.0;
/// Greatest ratio of an operand's scale to the result's.
const MOST: f32 = 250.0;

/// Increases scales until the ratios of every add are within the limits. A larger scale is coarser, but covers the same
/// range.
///
/// # Errors
/// If a scale would exceed float32.
pub fn limit_ratios(network: &Network, quants: &mut [Quant]) -> Result<()> {
    // Scales only grow, and none beyond the largest of all, so each round settles at least one.
    for _ in 0..=quants.len() {
        let mut changed = false;
        for Sum { operands, result } in network.adds() {
            for operand in operands {
                let (of_operand, of_result) = (quants[*operand].scale(), quants[*result].scale());
                let wider = if of_operand / of_result < LEAST {
                    (*operand, of_result * LEAST * 1.001)
                } else if of_operand / of_result > MOST {
                    (*result, of_operand / MOST * 1.001)
                } else {
                    continue;
                };
                let (at, scale) = wider;
                quants[at] = Quant::new(scale, quants[at].zero_point(), Integer::Int8).ok_or_else(|| {
                    out_of_range("the ratio of the scales of a residual add is out of range")
                        .role(network.values()[*result].name.clone())
                        .found(format!("operand scale {of_operand}, result scale {of_result}"))
                })?;
                changed = true;
            }
        }
        if !changed {
            return Ok(());
        }
    }
    Err(out_of_range("the ratios of the scales of the residual adds are out of range"))
}

fn out_of_range(problem: &str) -> Box<ImportError> {
    ImportError::unsupported(problem)
        .expected(format!("operand scale / result scale from {LEAST} to {MOST}"))
        .help("calibrate with more images, or with --method minmax")
}

#[cfg(test)]
mod tests {
    use super::super::network::tests::spec;
    use super::*;
    use mbvc_runtime::quantized::arithmetic::{Add, Rounding};

    #[test]
    fn only_scales_of_adds_with_extreme_ratios_change() {
        let network = Network::new(&spec("")).unwrap();
        let at = |name: &str| network.values().iter().position(|value| value.name == name).unwrap();
        let plain = Quant::new(0.05, 3, Integer::Int8).unwrap();
        let mut quants = vec![plain; network.values().len()];
        limit_ratios(&network, &mut quants).unwrap();
        assert!(quants.iter().all(|quant| *quant == plain), "no scale needs to change");

        quants[at("block1.project")] = Quant::new(1e-7, 5, Integer::Int8).unwrap();
        quants[at("block3.add")] = Quant::new(1e-6, -7, Integer::Int8).unwrap();
        limit_ratios(&network, &mut quants).unwrap();
        for add in network.adds() {
            let [left, right] = add.operands.map(|operand| quants[operand]);
            let add = Add::new(Rounding::Xnnpack, left, right, quants[add.result], Integer::Int8.limits());
            assert!(add.is_some());
        }
        let changed: Vec<_> = (0..quants.len()).filter(|at| quants[*at] != plain).collect();
        assert_eq!(changed, [at("block1.project"), at("block3.add")]);
        assert_eq!(quants[at("block1.project")].zero_point(), 5);
    }
}

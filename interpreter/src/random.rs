//! Random parameters and images for tests and benchmarks, reproducible from a seed on every machine.

use std::collections::BTreeMap;

use mbvc_compiler::ir::{Graph, Op, ParamId, ParamSource, Shape};

/// Values for every stored parameter of `graph`, such that activations neither vanish nor explode.
///
/// Weights follow He et al. 2015 (arXiv:1502.01852); batch normalization is close to the identity. Values depend only on the
/// parameter's name and the seed, so that they are equal at every stage of the graph.
pub fn random_bindings(graph: &Graph, seed: u64) -> BTreeMap<String, Vec<f32>> {
    let roles = roles(graph);
    let stored = graph.params().filter(|(_, param)| param.source == ParamSource::Stored);
    stored
        .map(|(id, param)| {
            let mut random = Random::new(seed, &param.name);
            let role = roles.get(&id).copied().unwrap_or(Role { low: -1.0, high: 1.0 });
            let count = param.shape.iter().product();
            (param.name.clone(), (0..count).map(|_| random.between(role.low, role.high)).collect())
        })
        .collect()
}

/// An NHWC image with values in -1..1.
pub fn random_input(shape: Shape, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, "input");
    (0..shape.elements()).map(|_| random.between(-1.0, 1.0)).collect()
}

/// The range of a parameter's uniformly distributed values.
#[derive(Clone, Copy)]
struct Role {
    low: f64,
    high: f64,
}

const GAMMA: Role = Role { low: 0.6, high: 1.4 };
const BETA: Role = Role { low: -0.4, high: 0.8 };
const MEAN: Role = Role { low: -0.3, high: 0.3 };
const VARIANCE: Role = Role { low: 0.5, high: 1.6 };
const BIAS: Role = Role { low: -0.3, high: 0.6 };

impl Role {
    /// A uniform distribution with the deviation `sqrt(gain / inputs)`.
    fn weight(inputs: usize, gain: f64) -> Self {
        let high = (3.0 * gain / inputs.max(1) as f64).sqrt();
        Self { low: -high, high }
    }
}

/// The role of each parameter in the operation or recipe that reads it.
fn roles(graph: &Graph) -> BTreeMap<ParamId, Role> {
    let mut roles = BTreeMap::new();
    let mut weights = |op: &Op| {
        let (weight, bias, gain) = match op {
            Op::Conv2d(conv) => (conv.weight, conv.bias, 2.0),
            Op::DepthwiseConv2d(conv) => (conv.weight, conv.bias, 2.0),
            Op::Dense(dense) => (dense.weight, Some(dense.bias), 1.0),
            Op::BatchNorm(norm) => {
                let statistics = [(norm.gamma, GAMMA), (norm.beta, BETA), (norm.mean, MEAN), (norm.variance, VARIANCE)];
                roles.extend(statistics);
                return;
            }
            _ => return,
        };
        let Some(param) = graph.get_param(weight) else { return };
        let inputs = param.shape.iter().rev().skip(1).product();
        roles.insert(weight, Role::weight(inputs, gain));
        roles.extend(bias.map(|bias| (bias, BIAS)));
    };
    for id in graph.ids() {
        match &graph.node(id).op {
            Op::Fused(fused) => fused.stages.iter().for_each(|stage| weights(&stage.op)),
            op => weights(op),
        }
    }
    for (id, param) in graph.params() {
        match param.source {
            ParamSource::Stored => {}
            ParamSource::FoldedWeight { weight, gamma, variance, .. } => {
                roles.extend(roles.get(&id).copied().map(|role| (weight, role)));
                roles.extend([(gamma, GAMMA), (variance, VARIANCE)]);
            }
            ParamSource::FoldedBias { gamma, beta, mean, variance, .. } => {
                roles.extend([(gamma, GAMMA), (beta, BETA), (mean, MEAN), (variance, VARIANCE)]);
            }
        }
    }
    roles
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    /// A separate stream for every name.
    fn new(seed: u64, name: &str) -> Self {
        // FNV-1a.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f32 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (low + unit * (high - low)) as f32
    }
}

//! Means over one axis after the other.

use super::super::proto::{Attribute, Node};
use super::{File, node};
use crate::Imported;
use crate::error::Result;

/// Replaces the pool by means over these axes.
fn means(axes: &[(i64, bool)]) -> Result<Imported> {
    let mut file = File::open("symmetric_torchvision_op17.onnx");
    let nodes = &mut file.graph().node;
    let at = nodes.iter().position(|node| node.op_type == "GlobalAveragePool").unwrap();
    let pool = nodes.remove(at);
    let mut edge = pool.input[0].clone();
    for (step, (axis, keeps)) in axes.iter().enumerate() {
        let over = Attribute { name: "axes".into(), ints: vec![*axis], ..Attribute::default() };
        let keeps = Attribute { name: "keepdims".into(), i: i64::from(*keeps), ..Attribute::default() };
        let makes = if step + 1 == axes.len() { pool.output[0].clone() } else { format!("mean{step}") };
        nodes.insert(at + step, Node { attribute: vec![over, keeps], ..node("ReduceMean", &[&edge], &makes) });
        edge = makes;
    }
    file.read()
}

#[test]
fn means_over_both_axes_are_the_pool() {
    let plain = File::open("symmetric_torchvision_op17.onnx").read().unwrap();
    for axes in [
        [(2, true), (3, true)],
        [(3, true), (2, true)],
        [(-1, true), (-2, true)],
        [(2, false), (2, false)],
        [(3, false), (2, false)],
        [(-1, false), (-1, false)],
    ] {
        let imported = means(&axes).unwrap_or_else(|error| panic!("{axes:?}: {error}"));
        assert_eq!(imported.container, plain.container, "{axes:?}");
    }
    for axes in [
        &[(2, true)][..],
        &[(2, false)],
        &[(2, true), (2, true)],
        &[(2, true), (1, true)],
        &[(2, false), (1, false)],
        &[(2, false), (3, false)],
        &[(2, true), (3, false)],
        &[(1, true), (2, true)],
        &[(2, true), (3, true), (2, true)],
    ] {
        let error = means(axes).map(|imported| imported.facts).unwrap_err().to_string();
        assert!(error.contains("'extra' (ReduceMean)"), "{axes:?}: {error}");
    }
}

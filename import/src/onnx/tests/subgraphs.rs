//! Subgraphs read names of the graph around them.

use super::super::proto::{Attribute, Graph, Node, ValueInfo};
use super::{File, UNREAD, ignored, node};

/// Returns an If with a constant condition, whose first branch negates `edge`, and whose second returns it. `deep` moves each
/// branch into a further If.
fn branches(edge: &str, deep: bool) -> Node {
    let output = |name: &str| ValueInfo { name: name.into(), r#type: None };
    let branch = |operator: &str, makes: &str| Graph {
        node: vec![Node { name: "inner".into(), ..node(operator, &[edge], makes) }],
        output: vec![output(makes)],
        ..Graph::default()
    };
    let attribute =
        |name: &str, graph: Graph| Attribute { name: name.into(), g: Some(graph.into()), ..Attribute::default() };
    let of = |then: Graph, other: Graph, makes: &str| Node {
        attribute: vec![attribute("then_branch", then), attribute("else_branch", other)],
        ..node("If", &["extra.two"], makes)
    };
    let [then, other] = [branch("Neg", "negated"), branch("Identity", "same")];
    if !deep {
        return of(then, other, "extra.out");
    }
    let nested =
        Graph { node: vec![of(then.clone(), other, "nested")], output: vec![output("nested")], ..Graph::default() };
    of(nested, then, "extra.out")
}

#[test]
fn a_captured_value_is_an_input() {
    for deep in [false, true] {
        let mut plain = File::open("same_plain_op13.onnx");
        for edge in [plain.made_by("Conv", 2), plain.made_by("Flatten", 0), plain.made_by("Softmax", 0)] {
            // In the path, as the only output, and beside the scores.
            let in_path = File::open("same_plain_op13.onnx").splice(&edge, branches(&edge, deep));
            let mut beside = File::open("same_plain_op13.onnx");
            beside.insert(&edge, branches(&edge, deep));
            assert_eq!(ignored(&beside.read().unwrap())[0], "1 operation: not needed by any output: node 'extra' (If)");
            assert_eq!(ignored(&beside.read().unwrap())[1], UNREAD);
            beside.graph().output.push(ValueInfo { name: "extra.out".into(), r#type: None });
            for file in [in_path, beside] {
                let error = file.refused();
                assert!(error.contains("'extra' (If)"), "after {edge}: {error}");
            }
        }
    }
}

#[test]
fn a_captured_constant_is_not_an_activation() {
    let mut file = File::open("same_plain_op13.onnx");
    let edge = file.made_by("Conv", 2);
    file.insert(&edge, branches("extra.unread", true));
    file.graph().output.push(ValueInfo { name: "extra.out".into(), r#type: None });
    assert_eq!(ignored(&file.read().unwrap()), ["output 'extra.out': it does not depend on the image"]);
}

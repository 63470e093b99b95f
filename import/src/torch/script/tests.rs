//! Hand-written code: order of execution, extra operations, and hostile code.

use super::*;
use crate::source::Op;
use crate::torch::{names, pickle};

/// An object of the class `Net` with a tensor `w` of four floats, a tensor `one` of one, a module `itself`, `training`, and
/// a text of 64 bytes.
const OBJECT: &[u8] = b"\x80\x02c__torch__\nNet\n)\x81q\0}(U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010\
    U\x03cpuK\x04tq\x01QK\0K\x04\x85K\x01\x85\x89)tRU\x03onectorch._utils\n_rebuild_tensor_v2\n(h\x01QK\x01K\x01\x85K\x01\x85\x89)tR\
    U\x06itselfh\0U\x08training\x89U\x04textU\x40\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefub.";

/// Reads the network whose `forward` has these lines, after other functions.
fn graph(others: &str, lines: &[&str]) -> Result<SourceGraph<'static>> {
    let storage: &'static [u8] =
        [1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().leak();
    let pickled: &'static Pickled<'static> = Box::leak(Box::new(pickle::read(OBJECT)?.0));
    let get = |_: &str| Ok(storage);
    let (dict, places) = names::collect(pickled, &get)?;
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    let mut program = Program::default();
    let header = "class Net(Module):\n  w : Tensor\n  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n";
    program.add("__torch__.py", &format!("{header}{body}{others}"));
    let data = Part { pickled, storages: &get };
    let sidecar = Sidecar::of(crate::options::ConfigFiles { config: None, preprocessor: None });
    read(&program, &data, None, &dict, &places, &sidecar, 1 << 20)
}

/// Returns operator and inputs of each node.
fn nodes(lines: &[&str]) -> Vec<(String, Vec<usize>)> {
    let graph = graph("", lines).unwrap_or_else(|error| panic!("{error}"));
    graph.nodes.iter().map(|node| (node.place.operator.to_string(), node.inputs.clone())).collect()
}

fn error(others: &str, lines: &[&str]) -> String {
    graph(others, lines).map(|_| "no error").unwrap_err().to_string()
}

fn expected(nodes: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
    nodes.iter().map(|(operator, inputs)| (format!("torch.{operator}"), inputs.to_vec())).collect()
}

#[test]
fn functions_in_place_change_all_views() {
    let found = nodes(&[
        "y = torch.relu(x)",
        "z = torch.detach(y)",
        "_0 = torch.hardtanh_(z, 0., 6.)",
        "return torch.add(y, x)",
    ]);
    assert_eq!(found, expected(&[("relu", &[0]), ("hardtanh_", &[1]), ("add", &[2, 0])]));
    let found = nodes(&[
        "y = torch.relu(x)",
        "z = torch.clone(y)",
        "_0 = torch.hardtanh_(z, 0., 6.)",
        "return torch.add(y, z)",
    ]);
    assert_eq!(found, expected(&[("relu", &[0]), ("hardtanh_", &[1]), ("add", &[1, 2])]));
    let found = nodes(&["y = torch.relu_(x)", "return torch.add(y, x)"]);
    assert_eq!(found, expected(&[("relu_", &[0]), ("add", &[1, 1])]));
    // The result of `contiguous` may be a copy, so that only the result is certain.
    let lines = ["y = torch.relu(x)", "z = torch.contiguous(y)", "a = torch.hardtanh_(z, 0., 6.)"];
    let found = nodes(&[&lines[..], &["return torch.add(a, x)"]].concat());
    assert_eq!(found, expected(&[("relu", &[0]), ("hardtanh_", &[1]), ("add", &[2, 0])]));
    for reader in ["return torch.add(y, x)", "return torch.add(a, z)"] {
        let text = error("", &[&lines[..], &[reader]].concat());
        assert!(text.contains("on a possible alias"), "{text}");
    }
    let found = nodes(&["y = torch.mean(x, [3])", "_0 = torch.relu_(x)", "return torch.mean(y, [2])"]);
    assert_eq!(found, expected(&[("mean", &[0])]));
}

#[test]
fn conversions_to_other_types_than_floats_are_refused() {
    for value in [
        "torch.type_as(x, torch.tensor(1))",
        "torch.to(x, torch.tensor([1, 2]))",
        "torch.to(x, other=torch.tensor(1))",
        "torch.to(x, torch.device(\"cpu\"), 5)",
        "torch.add(x, torch.tensor(1.7, dtype=4))",
        "torch.add(x, torch.as_tensor(1.7, dtype=4))",
        "torch.add(x, torch.tensor(True))",
        "torch.add(x, torch.add(torch.eq(self.one, self.one), torch.eq(self.one, self.one)))",
        "torch.add(x, torch.type_as(self.one, torch.tensor(1)))",
        "torch.add(x, torch.mul(torch.tensor(9007199254740991), 2))",
        "torch.add(x, torch.div(7, 2, rounding_mode=\"floor\"))",
        "torch.add(x, torch.add(7, 2, alpha=2))",
    ] {
        let text = error("", &[&format!("return {value}")]);
        assert!(text.contains("not part of MobileNetV2"), "{value}: {text}");
    }
    for value in [
        "torch.type_as(x, self.w)",
        "torch.to(x, torch.tensor(1.5))",
        "torch.to(x, ops.prim.dtype(x))",
        "torch.to(x, torch.device(\"cpu\"), 6)",
        "torch.add(x, torch.tensor(1, dtype=6))",
        "torch.add(x, torch.mul(torch.tensor([2]), 3))",
        "torch.add(x, torch.sub(torch.to(torch.tensor(2), 6), 3))",
        "torch.add(x, torch.div(torch.tensor(2), 3))",
    ] {
        assert!(graph("", &[&format!("return {value}")]).is_ok(), "{value}");
    }
}

#[test]
fn changes_in_place_are_not_seen_through_possible_copies() {
    let changed = "_0 = torch.hardtanh_(y, 0., 6.)";
    for copy in ["torch.to(y, 7)", "torch.contiguous(y, memory_format=2)", "torch.detach(torch.to(y, 6, False, False))"]
    {
        let lines = ["y = torch.relu(x)", &format!("z = {copy}"), changed];
        let text = error("", &[&lines[..], &["return z"]].concat());
        assert!(text.contains("on a possible alias"), "{copy}: {text}");
        // The result of a conversion after the change is certain, until the next change.
        let found = nodes(&[&lines[..], &["return torch.relu6(torch.contiguous(y))"]].concat());
        assert_eq!(found, expected(&[("relu", &[0]), ("hardtanh_", &[1]), ("relu6", &[2])]));
        let text = error("", &[&lines[..], &["return torch.contiguous(z)"]].concat());
        assert!(text.contains("on a possible alias"), "{copy}: {text}");
    }
    for copy in ["torch.to(y, 6, False, True)", "torch.to(y, dtype=6, copy=True)", "torch.clone(y)"] {
        let found = nodes(&["y = torch.relu(x)", &format!("z = {copy}"), changed, "return torch.add(y, z)"]);
        assert_eq!(found, expected(&[("relu", &[0]), ("hardtanh_", &[1]), ("add", &[2, 1])]), "{copy}");
    }
}

#[test]
fn operations_without_an_effect_are_no_nodes() {
    let found = nodes(&[
        "y = torch.to(torch.detach(x), 6)",
        "dead = torch.sigmoid(y)",
        "z = torch.dropout(y, 0.5, self.training)",
        "n = ops.prim.NumToTensor(torch.size(z, 0))",
        "if torch.gt(torch.len(torch.size(z)), 2):",
        "  p = torch.mean(torch.mean(z, [3]), [-1])",
        "else:",
        "  ops.prim.RaiseException(\"AssertionError: \")",
        "return torch.view(p, [int(n), -1])",
    ]);
    assert_eq!(found, expected(&[("mean", &[0])]));
}

#[test]
fn one_pixel_is_a_vector_by_any_reshape() {
    for reshape in [
        "torch.flatten(p, 1)",
        "torch.squeeze(p)",
        "torch.squeeze(torch.squeeze(p, 3), -1)",
        "torch.view(p, [torch.size(p, 0), torch.size(p, 1)])",
        "torch.reshape(p, [1, -1])",
        "torch.select(torch.select(torch.slice(p, 0, 0, 9223372036854775807), 2, 0), 2, 0)",
        "torch.mean(p, [2, 3])",
        "torch.unsqueeze(torch.squeeze(p), 0)",
    ] {
        let found = nodes(&[
            "p = torch.adaptive_avg_pool2d(x, [1, 1])",
            &format!("v = {reshape}"),
            "return torch.softmax(v, -1)",
        ]);
        assert_eq!(found, expected(&[("adaptive_avg_pool2d", &[0]), ("softmax", &[1])]), "{reshape}");
    }
    for reshape in [
        "torch.view(x, [1, -1])",
        "torch.select(x, 2, 0)",
        "torch.select(p, 1, 0)",
        "torch.slice(p, 1, 0, 2)",
        "torch.flatten(x, 1)",
    ] {
        let lines = ["p = torch.adaptive_avg_pool2d(x, [1, 1])", &format!("v = {reshape}"), "return v"];
        assert!(graph("", &lines).is_err(), "{reshape}");
    }
}

/// Each function before, in the middle of, and after others.
#[test]
fn every_other_function_is_an_error() {
    let mut places: Vec<[&str; 4]> = Vec::new();
    for call in [
        "torch.silu(V)",
        "torch.tanh(V)",
        "torch.flip(V, [1])",
        "torch.softmax(V, 0)",
        "torch.to(V, 5)",
        "torch.mul(V, V)",
        "torch.add(V, V, alpha=2)",
        "torch.add(V, self.w)",
        "torch.hardtanh(V, n, 6.)",
        "torch.permute(V, [0, 2, 3, 1])",
        "torch.view(V, [-1, 4])",
        "torch.slice(V, 2, 1)",
        "torch.max_pool2d(V, [2, 2])",
        "torch.adaptive_avg_pool2d(V, [2, 2])",
        "torch.dropout(V, 0.5, True)",
        "torch.batch_norm(V, None, None, self.w, self.w, True, 0.1, 1e-05, True)",
        "torch.pad(V, [1, 1, 1, 1], \"reflect\")",
        "torch.pad(V, [1, 1, 1, n])",
        "torch.linear(V, self.w)",
        "ops.mine.f(V)",
        "ops.quantized.relu6(V)",
        "__torch__.mine.f(V, )",
        "(self).other(V, )",
        "(V).relu()",
        "unknown(V)",
    ] {
        places.extend([
            ["x", call, "y", ""],
            ["torch.relu(x)", call, "torch.relu6(y)", ""],
            ["torch.relu(x)", call, "y", "dead"],
        ]);
    }
    for [before, call, after, dead] in places {
        let assigned = format!("y = {}", call.replace('V', "v"));
        let result = if dead.is_empty() { after } else { "v" };
        let lines = ["n = torch.size(x, 2)", &format!("v = {before}"), &assigned, &format!("return {result}")];
        assert!(graph("", &lines).is_err(), "{lines:?}");
    }
}

#[test]
fn unknown_arguments_are_named() {
    let others = "  def f(self: __torch__.Net,\n    y: Tensor) -> Tensor:\n    return torch.relu(y)\n";
    for (call, argument) in [
        ("torch.relu(x, foo=1)", "`foo`"),
        ("torch.relu(x, 1)", "unexpected argument 2"),
        ("torch.relu_(x, inplace=True)", "`inplace`"),
        ("torch.hardtanh(x, 0., 6., max_value=1.)", "`max_value`"),
        ("torch.hardtanh(x, 0., 6., max_val=1.)", "`max_val`"),
        ("torch.add(x, 1., factor=2)", "`factor`"),
        ("torch.to(x, dtype=6, type=6)", "`type`"),
        ("torch.contiguous(x, format=0)", "`format`"),
        ("torch.mean(x, [2, 3], keepdims=True)", "`keepdims`"),
        ("torch.dropout(x, 0.5, False, p=0.5)", "`p`"),
        ("torch.add(x, torch.add(1, 2, round=1))", "`round`"),
        ("torch.add(x, torch.tensor(1., scale=2.))", "`scale`"),
        ("torch.add(x, torch.mul(self.one, 2., scale=2.))", "`scale`"),
        ("torch.cat([x, x, x], 1, scale=2.)", "`scale`"),
        ("(self).f(x, z=x)", "`z`"),
        ("(self).f(x, y=x)", "`y`"),
        ("torch.add(x, int(1, base=2))", "found: int"),
    ] {
        let text = error(others, &[&format!("return {call}")]);
        assert!(text.contains("unexpected argument") && text.contains(argument), "{call}: {text}");
    }
    for call in [
        "torch.hardtanh(x, min_val=0., max_val=6.)",
        "torch.to(x, torch.device(\"cpu\"), dtype=6, non_blocking=False)",
        "torch.contiguous(x, memory_format=0)",
        "(self).f(y=x)",
    ] {
        assert!(graph(others, &[&format!("return {call}")]).is_ok(), "{call}");
    }
}

#[test]
fn three_copies_of_an_image_are_repeated() {
    let copied = ["y = torch.cat([x, x, x], 1)", "return torch.relu(y)"];
    assert_eq!(nodes(&copied), expected(&[("cat", &[0]), ("relu", &[1])]));
    for call in [
        "torch.cat([x, x], 1)",
        "torch.cat([x, x, x], 2)",
        "torch.cat([x, x, x])",
        "torch.cat([x, torch.relu(x), x], 1)",
        "torch.cat([x, x, x, x], 1)",
    ] {
        let text = error("", &[&format!("return {call}")]);
        assert!(text.contains("not part of MobileNetV2") && text.contains("torch.cat("), "{call}: {text}");
    }
}

#[test]
fn constants_of_one_number_or_channel_are_arithmetic() {
    let graph = graph("", &["y = torch.sub(torch.div(x, 127.5), self.one)", "return torch.rsub(y, 1)"]).unwrap();
    let pairs: Vec<_> = graph
        .nodes
        .iter()
        .map(|node| match &node.op {
            Op::Affine(affine) => (affine.scale(0).unwrap(), affine.offset(0).unwrap()),
            _ => panic!("{node:?}"),
        })
        .collect();
    assert_eq!(pairs, [(1.0 / 127.5, 0.0), (1.0, -2.0), (-1.0, 1.0)]);
}

#[test]
fn tensors_that_the_code_does_not_read_are_listed() {
    let ignored = |lines: &[&str]| {
        let graph = graph("", lines).unwrap();
        graph.hints.facts.iter().find(|fact| fact.key == "ignored").map(|fact| fact.how.clone())
    };
    assert!(ignored(&["return torch.add(x, self.one)"]).unwrap().ends_with("not read by the code: w"));
    assert_eq!(
        ignored(&["_0 = torch.t(self.w)", "return torch.add(x, self.one)"][1..]),
        ignored(&["return torch.add(x, self.one)"])
    );
}

#[test]
fn conditions_must_not_depend_on_the_image() {
    let text = error("", &["if torch.gt(torch.size(x, 2), 7):", "  y = torch.relu(x)", "else:", "  y = x", "return y"]);
    assert!(text.contains("condition that depends on the image"), "{text}");
    let found = nodes(&[
        "if torch.gt(torch.size(x, 2), 7):",
        "  ops.prim.RaiseException(\"large\")",
        "else:",
        "  pass",
        "return torch.relu(x)",
    ]);
    assert_eq!(found.len(), 1);
    let found = nodes(&["if torch.gt((torch.size(x))[0], 1):", "  y = x", "else:", "  y = torch.relu(x)", "return y"]);
    assert_eq!(found.len(), 1);
    let text = error("", &["ops.prim.RaiseException(\"always\")", "return x"]);
    assert!(text.contains("raises an exception"), "{text}");
    let text = error("", &["return (x, x)"]);
    assert!(text.contains("does not return one tensor"), "{text}");
    let text = error("", &["_0 = torch.add_(self.w, 1)", "return x"]);
    assert!(text.contains("in training mode"), "{text}");
}

#[test]
fn functions_that_write_to_an_argument_are_refused() {
    for line in [
        "_0 = torch.neg(y, out=y)",
        "_0 = torch.sub(y, 1., alpha=1, out=y)",
        "_0 = torch.mul(self.w, 2., out=self.w)",
        "_0 = torch.mul(y, 2., out=self.w)",
        "_0 = torch.stack([y], out=y)",
        "_0, _1, = torch.topk(y, 1, values=self.w, indices=self.one)",
    ] {
        let text = error("", &["y = torch.relu(x)", line, "return y"]);
        assert!(text.contains("not part of MobileNetV2"), "{line}: {text}");
    }
}

#[test]
fn identity_of_tensors_is_refused() {
    for comparison in ["__is__(y, x)", "__isnot__(x, x)", "__is__(self.w, self.w)", "__is__(self.w, x)"] {
        let text = error("", &["y = x", &format!("_0 = torch.{comparison}"), "return torch.relu(x)"]);
        assert!(text.contains(&comparison[..6]), "{comparison}: {text}");
    }
    for comparison in ["__isnot__(x, None)", "__isnot__(self.w, None)"] {
        let condition = format!("if torch.{comparison}:");
        assert_eq!(nodes(&[&condition, "  y = torch.relu(x)", "else:", "  y = x", "return y"]).len(), 1);
    }
}

#[test]
fn hostile_code_is_an_error() {
    let recursive = "def f(x: Tensor) -> Tensor:\n  return __torch__.f(x, )\n";
    let nested = format!("return {}x{}", "torch.relu(".repeat(60), ")".repeat(60));
    let joins = format!("  y = torch.add([{0}], [{0}])", "1, ".repeat(128));
    let arguments = format!("  torch.warn({})", "1, ".repeat(9999));
    let parameters = format!("def f({}) -> int:\n  return 1\n", "a=1, ".repeat(9999));
    for (others, lines, expected) in [
        (recursive, &["return __torch__.f(x, )"][..], "nested calls"),
        ("", &["return (self).forward(x, )"], "nested calls"),
        ("", &["for i in range(9999999999):", "  y = x", "return x"], "statements"),
        ("", &["for i in range(99999):", "  x = torch.relu(x)", "return x"], "operations"),
        ("", &["y = []", "for i in range(9999):", "  y = [y, y]", "return x"], "too deep"),
        ("", &["y = [1]", "for i in range(9999):", "  y = torch.add(y, y)", "return x"], "torch.add("),
        ("", &["y = self", "for i in range(9999):", "  y = y.itself", "return x"], "unsupported type"),
        ("", &["y = self.w", "for i in range(99999):", "  y = torch.mul(y, 2)", "return x"], "statements"),
        ("", &["y = self.w", "for i in range(9999):", "  y = torch.unsqueeze(y, 0)", "return x"], "dimensions"),
        ("", &["return torch.sub(x, CONSTANTS.c99999999999999999999)"], "missing constant"),
        ("", &["return torch.add(x, CONSTANTS.c0)"], "missing constant"),
        ("", &["y = torch.mul(9223372036854775807, 2)", "return x"], "torch.mul("),
        ("", &["for i in range(9999):", &joins, "return x"], "values"),
        ("", &["for i in range(9999):", &arguments, "return x"], "values"),
        (&parameters, &["for i in range(9999):", "  y = __torch__.f()", "return x"], "values"),
        ("", &[&format!("y = \"{}\"", "x".repeat(5000)), "return x"], "a text of more than"),
        ("", &[&format!("{} = 1", "n".repeat(300)), "return x"], "a name of more than"),
        (
            "",
            &[&format!("y = f{}", &format!(".{}", "n".repeat(250)).repeat(20)), "return x"],
            "a name that is too long",
        ),
        ("", &["self.n = torch.relu(x)", "return x"], "found: `=`"),
        ("", &["for i in range(30000):", "  y = self.text", "return x"], "too long attributes"),
        ("", &["y = torch.floordiv(1, 0)", "return x"], "torch.floordiv("),
    ] {
        let text = error(others, lines);
        assert!(text.contains(expected), "{lines:?}: {text}");
    }
    assert!(graph("", &[&nested]).is_ok());
}

/// Code with every kind of statement, expression and value.
const CODE: &str = "
    b, h, = (torch.size(x, 0), [torch.size(x, 2)])
    y = torch.div(torch.sub(x, self.one), 0.5)
    z : Tensor = annotate(Tensor, torch.to(y, 6))
    if torch.gt(h[0], 7):
      ops.prim.RaiseException(torch.format(\"small {}\", h))
    else:
      pass
    if torch.__is__(None, None):
      n = 2
    else:
      n = torch.len([1, -2])
    for i in range(n):
      z = torch.hardtanh_(z, 0., 6.)
    m = getattr(self, \"itself\")
    p = torch.mean(torch.mean(z, [3]), [-1])
    v = torch.view(p, [int(ops.prim.NumToTensor(b)), -1])
    w = torch._weight_norm(torch.unsqueeze(torch.reshape(self.w, [2, 2]), 0), torch.reshape(self.w, [1, 2, 2]), 0)
    l = torch.batch_norm(v, None, None, self.w, self.w, False, 0.1, 1e-05, True)
    return {\"scores\": torch.softmax(l, dim=1)}
";

proptest::proptest! {
    /// Only termination without a panic matters.
    #[test]
    fn changed_code_is_an_error_or_a_network(
        changes in proptest::collection::vec((proptest::prelude::any::<usize>(), 0usize..6, proptest::prelude::any::<usize>()), 1..6),
    ) {
        let mut lines: Vec<String> = CODE.trim_matches('\n').lines().map(|line| line[4..].to_owned()).collect();
        let pieces = ["(", ")", "[", "]", ",", "x", "self", ".", "=", "-1", "9999999999", "\"", "None", "torch.relu_(", "[3]", "    "];
        for (at, kind, with) in changes {
            let at = at % lines.len();
            let piece = pieces[with % pieces.len()];
            let middle = lines[at].char_indices().map(|(place, _)| place).nth(with % 40).unwrap_or(0);
            match kind {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[with % lines.len()].clone()),
                2 => lines[at].insert_str(middle, piece),
                3 => lines[at].replace_range(..middle, piece),
                4 => lines[at].truncate(middle),
                _ => {
                    let other = with % lines.len();
                    lines.swap(at, other);
                }
            }
            if lines.is_empty() {
                return Ok(());
            }
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let _ = graph("", &lines);
    }
}

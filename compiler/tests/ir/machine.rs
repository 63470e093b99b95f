//! Runs generated steps symbolically: control flow and addresses are evaluated, numbers are not. The result is the
//! bytes that a thread writes between two barriers.
//!
//! It knows the statements that the templates of code generation emit, and panics at a loop or a condition that it
//! cannot evaluate.

use std::collections::BTreeMap;
use std::ops::Range;

use mbvc_compiler::codegen::Program;
use mbvc_compiler::schedule::accesses::Memory;
use mbvc_compiler::schedule::team::Thread;
use mbvc_compiler::target::IsaFacts;
use mbvc_runtime::{Team, clip, within};
use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::{BinOp, Block, Expr, FnArg, GenericArgument, ItemFn, Lit, Pat, Path, PathArguments, Stmt};

/// Bytes that are written.
pub type Writes = Vec<(Memory, Range<usize>)>;

#[derive(Clone, Debug)]
enum Value {
    Int(usize),
    Bool(bool),
    Range(Range<usize>),
    /// Offset of the first number.
    View(Memory, usize),
    Team,
    List(Vec<Value>),
    /// A value that no address depends on.
    Opaque,
}

/// A program whose functions are parsed.
pub struct Code {
    functions: BTreeMap<String, ItemFn>,
    lanes: usize,
    /// Bytes of a number.
    element: usize,
}

impl Code {
    pub fn new(program: &Program) -> Self {
        let steps = program.steps.iter().map(|step| (step.name.clone(), step.item.clone()));
        let batch = program.batch.iter().map(|batch| (batch.step.name.clone(), batch.step.item.clone()));
        let kernels = program.kernels.iter().map(|(name, item)| (name.clone(), item.clone()));
        let parsed = |item: TokenStream| syn::parse2::<ItemFn>(item).expect("a function");
        let functions = steps.chain(batch).chain(kernels).map(|(name, item)| (name, parsed(item))).collect();
        let element = program.steps.first().map_or(1, |step| step.output.element.bytes());
        Self { functions, lanes: program.isa.lanes(), element }
    }

    /// Returns the writes of `thread` in a step, by interval. `choice` decides conditions that depend on weights.
    pub fn run(&self, step: &str, thread: Thread, choice: bool) -> Vec<Writes> {
        let mut machine =
            Machine { code: self, lanes: self.lanes, thread, choice, scope: Vec::new(), intervals: vec![Vec::new()] };
        let arguments = self.functions[step].sig.inputs.iter().map(|input| match &*name_of(input) {
            "team" => Value::Team,
            "scratch" => Value::View(Memory::Scratch, 0),
            "logits" => Value::View(Memory::Logits, 0),
            _ => Value::Opaque,
        });
        machine.call(step, arguments.collect());
        machine.intervals
    }
}

fn name_of(argument: &FnArg) -> String {
    match argument {
        FnArg::Typed(argument) => pattern(&argument.pat),
        FnArg::Receiver(_) => unreachable!("generated functions have no receiver"),
    }
}

/// The name that a simple pattern binds.
fn pattern(pat: &Pat) -> String {
    match pat {
        Pat::Ident(pat) => pat.ident.to_string(),
        Pat::Type(pat) => pattern(&pat.pat),
        _ => "_".to_owned(),
    }
}

struct Machine<'c> {
    code: &'c Code,
    lanes: usize,
    thread: Thread,
    choice: bool,
    scope: Vec<(String, Value)>,
    intervals: Vec<Writes>,
}

impl Machine<'_> {
    fn write(&mut self, view: &Value, from: usize, count: usize) {
        // Everything else is an array on the stack.
        let Value::View(memory, first) = *view else { return };
        let bytes = (first + from) * self.code.element..(first + from + count) * self.code.element;
        let interval = self.intervals.last_mut().expect("one is begun");
        match interval.last_mut() {
            Some((last, before)) if *last == memory && before.end == bytes.start => before.end = bytes.end,
            _ => interval.push((memory, bytes)),
        }
    }

    fn call(&mut self, name: &str, arguments: Vec<Value>) {
        let code = self.code;
        let function = &code.functions[name];
        let (scope, lanes) = (std::mem::take(&mut self.scope), self.lanes);
        self.scope = function.sig.inputs.iter().map(name_of).zip(arguments).collect();
        self.block(&function.block);
        (self.scope, self.lanes) = (scope, lanes);
    }

    fn block(&mut self, block: &Block) -> Value {
        let depth = self.scope.len();
        let mut value = Value::Opaque;
        for statement in &block.stmts {
            value = self.statement(statement);
        }
        self.scope.truncate(depth);
        value
    }

    fn statement(&mut self, statement: &Stmt) -> Value {
        match statement {
            Stmt::Local(local) => {
                let value = local.init.as_ref().map_or(Value::Opaque, |init| self.eval(&init.expr));
                self.bind(&local.pat, value);
            }
            Stmt::Expr(expr, end) => {
                let value = self.eval(expr);
                return if end.is_none() { value } else { Value::Opaque };
            }
            Stmt::Macro(call) => self.expand(&call.mac),
            // Vectors of half the width.
            Stmt::Item(_) => self.lanes /= 2,
        }
        Value::Opaque
    }

    fn bind(&mut self, pat: &Pat, value: Value) {
        match (pat, value) {
            (Pat::Slice(pats), Value::List(values)) => {
                pats.elems.iter().zip(values).for_each(|(pat, value)| self.bind(pat, value));
            }
            (Pat::Tuple(pats), Value::List(values)) => {
                pats.elems.iter().zip(values).for_each(|(pat, value)| self.bind(pat, value));
            }
            (pat, value) => self.scope.push((pattern(pat), value)),
        }
    }

    /// `rt::unroll! { P in 0..n { ... } }`; other macros write nothing.
    fn expand(&mut self, call: &syn::Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string());
        if name.as_deref() != Some("unroll") || !call.tokens.to_string().contains("store") {
            return;
        }
        let parse = |input: syn::parse::ParseStream<'_>| -> syn::Result<(usize, Block)> {
            let _: syn::Ident = input.parse()?;
            let _: syn::Token![in] = input.parse()?;
            let _: syn::LitInt = input.parse()?;
            let _: syn::Token![..] = input.parse()?;
            let count: syn::LitInt = input.parse()?;
            Ok((count.base10_parse::<usize>()?, input.parse::<Block>()?))
        };
        let (count, body) = parse.parse2(call.tokens.clone()).expect("the form of `unroll`");
        for at in 0..count {
            self.scope.push(("P".to_owned(), Value::Int(at)));
            self.block(&body);
            self.scope.pop();
        }
    }

    fn int(&mut self, expr: &Expr) -> usize {
        match self.eval(expr) {
            Value::Int(value) => value,
            value => panic!("expected a number, found {value:?}"),
        }
    }

    fn range(&mut self, expr: &Expr) -> Range<usize> {
        match self.eval(expr) {
            Value::Range(range) => range,
            value => panic!("expected a range, found {value:?}"),
        }
    }

    fn eval(&mut self, expr: &Expr) -> Value {
        match expr {
            Expr::Lit(lit) => match &lit.lit {
                Lit::Int(int) => Value::Int(int.base10_parse().expect("a small number")),
                _ => Value::Opaque,
            },
            Expr::Path(path) => {
                let name = path.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let found = self.scope.iter().rev().find(|(known, _)| *known == name);
                found.map_or(Value::Opaque, |(_, value)| value.clone())
            }
            Expr::Paren(inner) => self.eval(&inner.expr),
            Expr::Reference(inner) => self.eval(&inner.expr),
            Expr::Array(array) => Value::List(array.elems.iter().map(|expr| self.eval(expr)).collect()),
            Expr::Tuple(tuple) => Value::List(tuple.elems.iter().map(|expr| self.eval(expr)).collect()),
            Expr::Range(range) => match (&range.start, &range.end) {
                (Some(start), Some(end)) => Value::Range(self.int(start)..self.int(end)),
                _ => Value::Opaque,
            },
            Expr::Field(field) => match (self.eval(&field.base), &field.member) {
                (Value::Range(range), syn::Member::Named(name)) if name == "start" => Value::Int(range.start),
                _ => Value::Opaque,
            },
            Expr::Binary(binary) => self.binary(binary),
            Expr::Assign(assign) => {
                let value = self.eval(&assign.right);
                self.assign(&assign.left, value);
                Value::Opaque
            }
            Expr::Block(block) => self.block(&block.block),
            Expr::If(branch) => {
                match (self.eval(&branch.cond), &branch.else_branch) {
                    (Value::Bool(true), _) => self.block(&branch.then_branch),
                    (Value::Bool(false), Some((_, otherwise))) => self.eval(otherwise),
                    (Value::Bool(false), None) => Value::Opaque,
                    (value, _) => panic!("expected a condition, found {value:?}"),
                };
                Value::Opaque
            }
            Expr::ForLoop(repeat) => {
                if writes(&repeat.body) {
                    for at in self.range(&repeat.expr) {
                        let depth = self.scope.len();
                        self.bind(&repeat.pat, Value::Int(at));
                        self.block(&repeat.body);
                        self.scope.truncate(depth);
                    }
                }
                Value::Opaque
            }
            Expr::While(repeat) => {
                while matches!(self.eval(&repeat.cond), Value::Bool(true)) {
                    self.block(&repeat.body);
                }
                Value::Opaque
            }
            Expr::Call(call) => match &*call.func {
                Expr::Path(path) => self.function(&path.path, &call.args.iter().collect::<Vec<_>>()),
                _ => Value::Opaque,
            },
            Expr::MethodCall(call) => {
                let receiver = self.eval(&call.receiver);
                self.method(receiver, &call.method.to_string(), &call.args.iter().collect::<Vec<_>>())
            }
            Expr::Macro(call) => {
                self.expand(&call.mac);
                Value::Opaque
            }
            _ => Value::Opaque,
        }
    }

    fn binary(&mut self, binary: &syn::ExprBinary) -> Value {
        let (left, right) = (self.eval(&binary.left), self.eval(&binary.right));
        let (Value::Int(left), Value::Int(right)) = (left, right) else { return Value::Opaque };
        match binary.op {
            BinOp::Add(_) => Value::Int(left + right),
            BinOp::Sub(_) => Value::Int(left - right),
            BinOp::Mul(_) => Value::Int(left * right),
            BinOp::Div(_) => Value::Int(left / right),
            BinOp::Rem(_) => Value::Int(left % right),
            BinOp::Lt(_) => Value::Bool(left < right),
            BinOp::Eq(_) => Value::Bool(left == right),
            BinOp::AddAssign(_) => {
                self.assign(&binary.left, Value::Int(left + right));
                Value::Opaque
            }
            _ => Value::Opaque,
        }
    }

    fn assign(&mut self, place: &Expr, value: Value) {
        let Expr::Path(path) = place else { return };
        let name = path.path.get_ident().map(ToString::to_string).unwrap_or_default();
        if let Some((_, old)) = self.scope.iter_mut().rev().find(|(known, _)| *known == name) {
            *old = value;
        }
    }

    fn method(&mut self, receiver: Value, name: &str, arguments: &[&Expr]) -> Value {
        match (receiver, name, arguments) {
            (Value::Team, "share", [count]) => {
                let count = self.int(count);
                Value::Range(self.thread.share(count))
            }
            (Value::Team, "index", []) => Value::Int(self.thread.index),
            (Value::Team, "wait", []) => {
                self.intervals.push(Vec::new());
                Value::Opaque
            }
            (Value::Team, "arena", [area, count]) => match (self.eval(area), self.int(count)) {
                (Value::View(memory, at), count) => Value::View(memory, at + self.thread.index * count),
                (area, _) => panic!("expected an area, found {area:?}"),
            },
            (Value::View(memory, at), "at", [more]) => Value::View(memory, at + self.int(more)),
            (Value::View(memory, at), "part", [range]) => Value::View(memory, at + self.range(range).start),
            (view @ Value::View(..), "clear", [range]) => {
                let range = self.range(range);
                self.write(&view, range.start, range.len());
                Value::Opaque
            }
            (view @ Value::View(..), "copy", [_, count]) => {
                let count = self.int(count);
                self.write(&view, 0, count);
                Value::Opaque
            }
            (view @ Value::View(..), name, _) => {
                assert!(["src", "read"].contains(&name), "{name} of {view:?}");
                Value::Opaque
            }
            (Value::Range(range), "contains", [at]) => Value::Bool(range.contains(&self.int(at))),
            (Value::Int(at), "min", [other]) => Value::Int(at.min(self.int(other))),
            _ => Value::Opaque,
        }
    }

    fn function(&mut self, path: &Path, arguments: &[&Expr]) -> Value {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let generics: Vec<Value> =
            path.segments.iter().flat_map(|segment| self.generics(&segment.arguments)).collect::<Vec<_>>();
        let values: Vec<Value> = arguments.iter().map(|argument| self.eval(argument)).collect();
        let name = names.join("::");
        if self.code.functions.contains_key(&name) {
            self.call(&name, values);
            return Value::Opaque;
        }
        let lanes = self.lanes;
        match (&*name, &*generics, &*values) {
            ("rt::parts", [], [Value::View(memory, at), Value::List(ranges)]) => {
                let start = |range: &Value| match range {
                    Value::Range(range) => Value::View(*memory, at + range.start),
                    value => panic!("expected a range, found {value:?}"),
                };
                return Value::List(ranges.iter().map(start).collect());
            }
            ("rt::dst", [], [Value::View(memory, at), Value::Int(more)]) => return Value::View(*memory, at + more),
            ("rt::clip", [], [Value::Range(share), Value::Int(first), Value::Int(end)]) => {
                return Value::Range(clip(share, *first, *end));
            }
            ("rt::within", [], [Value::Range(share), Value::Int(first), Value::Int(count)]) => {
                return Value::Range(within(share, *first, *count));
            }
            ("rt::is_fast" | "rt::quantized::is_general", [], _) => return Value::Bool(self.choice),
            ("usize::min", [], [Value::Int(a), Value::Int(b)]) => return Value::Int(*a.min(b)),
            ("usize::max", [], [Value::Int(a), Value::Int(b)]) => return Value::Int(*a.max(b)),
            ("usize::saturating_sub", [], [Value::Int(a), Value::Int(b)]) => return Value::Int(a.saturating_sub(*b)),
            ("rt::quantized::pad", [], [.., to, Value::Range(range)]) => self.write(to, range.start, range.len()),
            ("rt::quantized::image_bytes" | "rt::image_row", [Value::Int(count)], [.., to]) => {
                self.write(to, 0, *count)
            }
            ("rt::quantized::average", [_, Value::Int(channels)], [.., to]) => self.write(to, 0, *channels),
            ("rt::clear_sides", [Value::Int(rows), Value::Int(stride), Value::Int(left), Value::Int(right)], [to]) => {
                for row in 0..*rows {
                    self.write(to, row * stride, *left);
                    self.write(to, (row + 1) * stride - right, *right);
                }
            }
            ("rt::copy_pixels", [Value::Int(pixels), _, Value::Int(pitch)], [_, to, Value::Int(channels)]) => {
                (0..*pixels).for_each(|pixel| self.write(to, pixel * pitch, *channels));
            }
            // Quads of 16 bits, and a sum of 32.
            ("widen", [Value::Int(quads)], [_, _, to, Value::Int(at)]) => self.write(to, *at, quads * 8 + 4),
            ("store", [], [to, Value::Int(at), _]) => self.write(to, *at, lanes),
            ("store_first", [Value::Int(count)], [to, Value::Int(at), _]) => self.write(to, *at, *count),
            ("store_quads" | "store_packed" | "store_sums", [], [to, Value::Int(at), _]) => {
                self.write(to, *at, lanes * 4);
            }
            ("store_planes", [], [to, Value::Int(at), Value::Int(plane), _]) => {
                (0..lanes / 4).for_each(|index| self.write(to, at + index * plane, 16));
            }
            ("store_pixels", [Value::Int(count), Value::Int(channels)], [to, Value::Int(at), Value::Int(pitch), _]) => {
                (0..*count).for_each(|index| self.write(to, at + index * pitch, *channels));
            }
            (name, generics, values) => {
                // Everything else may read a view, but not write it.
                let view = values.iter().any(|value| matches!(value, Value::View(..)));
                assert!(name == "rt::src" || !view, "{name}::<{generics:?}>({values:?})");
            }
        }
        Value::Opaque
    }

    fn generics(&mut self, arguments: &PathArguments) -> Vec<Value> {
        let PathArguments::AngleBracketed(arguments) = arguments else { return Vec::new() };
        let mut values = Vec::new();
        for argument in &arguments.args {
            values.push(match argument {
                GenericArgument::Const(expr) => self.eval(expr),
                _ => Value::Opaque,
            });
        }
        values
    }
}

/// Whether a loop's body can write or wait.
fn writes(body: &Block) -> bool {
    use quote::ToTokens;
    let text = body.to_token_stream().to_string();
    ["store", "dst", "pad", "clear", "copy", "image_", "wait", "+="].iter().any(|word| text.contains(word))
}

//! Symbolic execution of TorchScript code. Numbers and conditions are computed; an operation on a tensor that depends on the
//! image becomes a node of the graph.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::arguments::Arguments;
use super::objects::Objects;
use super::parser::{Argument, Expression, Function, Statement};
use super::program::Program;
use super::recorder::Recorder;
use super::value::{Extent, List, Module, Value};
use super::{scalars, tensors};
use crate::error::{ImportError, Result};
use crate::text::shorten;

/// Most statements and calls. A scripted MobileNetV2 executes about 3000.
const MAX_STEPS: usize = 1 << 16;
/// Most expressions, arguments and elements of lists.
const MAX_VALUES: usize = 1 << 20;
/// Longest name of a function with its package, in bytes.
const LONGEST_FUNCTION: usize = 1024;
/// Most nested calls, blocks and expressions.
const MAX_LEVELS: usize = 128;

/// Local variables of a function.
type Frame<'a> = HashMap<String, Value<'a>>;

/// State of the execution.
pub struct Machine<'m, 'a> {
    pub program: &'m Program,
    pub objects: Objects<'m, 'a>,
    pub constants: Option<Objects<'m, 'a>>,
    pub recorder: Recorder<'a>,
    steps: usize,
    values: usize,
    levels: usize,
}

impl<'m, 'a> Machine<'m, 'a> {
    pub fn new(
        program: &'m Program,
        objects: Objects<'m, 'a>,
        constants: Option<Objects<'m, 'a>>,
        budget: usize,
    ) -> Self {
        let module = Module { at: objects.pickled.root, path: "".into() };
        Self { program, objects, constants, recorder: Recorder::new(module, budget), steps: 0, values: 0, levels: 0 }
    }

    /// Executes `forward` of the root with an image. Returns its result.
    pub fn run(&mut self) -> Result<Value<'a>> {
        let image = [Extent::Batch, Extent::Known(3), self.recorder.extent(), self.recorder.extent()];
        // Value 0 is the input.
        let image = Value::Tensor(self.recorder.view(0, image.to_vec()));
        let root = self.recorder.module.clone();
        self.method(&root, Arguments { name: "forward".to_owned(), values: vec![image], named: Vec::new() })
    }

    fn refuse(&self, problem: impl Into<String>) -> Box<ImportError> {
        self.recorder.refuse(problem)
    }

    fn spend(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(self.refuse(format!("the code executes more than {MAX_STEPS} statements")));
        }
        Ok(())
    }

    fn spend_values(&mut self, count: usize) -> Result<()> {
        self.values = self.values.saturating_add(count);
        if self.values > MAX_VALUES {
            return Err(self.refuse(format!("the code computes more than {MAX_VALUES} values")));
        }
        Ok(())
    }

    fn nested<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.levels == MAX_LEVELS {
            return Err(self.refuse(format!("the code has more than {MAX_LEVELS} nested calls")));
        }
        self.levels += 1;
        let result = run(self);
        self.levels -= 1;
        result
    }

    /// Calls a method of a module.
    fn method(&mut self, module: &Module, call: Arguments<'a>) -> Result<Value<'a>> {
        let caller = std::mem::replace(&mut self.recorder.module, module.clone());
        let result = self.method_here(module, call);
        self.recorder.module = caller;
        result
    }

    fn method_here(&mut self, module: &Module, mut call: Arguments<'a>) -> Result<Value<'a>> {
        let class = self.objects.class(module.at).ok_or_else(|| self.refuse("the module has no class"))?;
        if self.program.has_hooks(&class) {
            return Err(self.refuse("the module has forward hooks").help("remove them and save the model again"));
        }
        let function = self.program.get(&format!("{class}.{}", call.name))?;
        let function = function.ok_or_else(|| {
            self.refuse("the archive does not contain the code of the module").found(format!(
                "no {}.{}",
                shorten(&class),
                call.name
            ))
        })?;
        call.values.insert(0, Value::Module(module.clone()));
        self.call(&function, call)
    }

    /// Calls a function of the archive.
    fn call(&mut self, function: &Function, call: Arguments<'a>) -> Result<Value<'a>> {
        let Arguments { values, named, .. } = call;
        self.spend_values(function.parameters.len())?;
        self.nested(|machine| {
            let mut frame = Frame::new();
            if values.len() > function.parameters.len() {
                return Err(machine.refuse("the code calls a function with too many arguments"));
            }
            let unexpected = |machine: &Self, name: &str| {
                let argument = format!("argument `{}`", shorten(name));
                machine.refuse(format!("the code calls a function with an unexpected {argument}"))
            };
            let mut by_name = BTreeMap::new();
            for (name, value) in named {
                if by_name.contains_key(&name) {
                    return Err(unexpected(machine, &name));
                }
                by_name.insert(name, value);
            }
            let mut values = values.into_iter();
            for (name, default) in &function.parameters {
                let value = match (values.next().or_else(|| by_name.remove(name)), default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => machine.evaluate(default, &frame)?,
                    (None, None) => {
                        return Err(machine
                            .refuse("the code calls a function without one of its arguments")
                            .expected("a model with one input, the image")
                            .found(format!("no argument `{}`", shorten(name))));
                    }
                };
                frame.insert(name.clone(), value);
            }
            if let Some((name, _)) = by_name.first_key_value() {
                return Err(unexpected(machine, name));
            }
            Ok(machine.block(&function.body, &mut frame)?.unwrap_or(Value::None))
        })
    }

    /// Executes statements. Returns the value of `return`, if it is reached.
    fn block(&mut self, statements: &[Statement], frame: &mut Frame<'a>) -> Result<Option<Value<'a>>> {
        for statement in statements {
            self.spend()?;
            match statement {
                Statement::Assign(name, value) => {
                    let value = self.evaluate(value, frame)?;
                    frame.insert(name.clone(), value);
                }
                Statement::Unpack(names, value) => {
                    let value = self.evaluate(value, frame)?;
                    let elements = value.elements().filter(|elements| elements.len() == names.len());
                    let elements = elements.ok_or_else(|| self.refuse("the code unpacks an unsupported value"))?;
                    frame.extend(names.iter().cloned().zip(elements.iter().cloned()));
                }
                Statement::Evaluate(value) => drop(self.evaluate(value, frame)?),
                Statement::Return(value) => return self.evaluate(value, frame).map(Some),
                Statement::If(condition, then, otherwise) => {
                    let branch = match self.evaluate(condition, frame)? {
                        Value::Bool(true) => then,
                        Value::Bool(false) => otherwise,
                        // A check of the size of the image.
                        Value::Unknown if only_raises(then) => otherwise,
                        Value::Unknown if only_raises(otherwise) => then,
                        _ => {
                            return Err(self
                                .refuse("the code has a condition that depends on the image")
                                .help("save the model with `torch.jit.trace(model, image)`"));
                        }
                    };
                    if let Some(value) = self.nested(|machine| machine.block(branch, frame))? {
                        return Ok(Some(value));
                    }
                }
                Statement::For(name, count, body) => {
                    let Value::Int(count) = self.evaluate(count, frame)? else {
                        return Err(self.refuse("the code has a loop whose length depends on the image"));
                    };
                    for at in 0..count {
                        self.spend()?;
                        frame.insert(name.clone(), Value::Int(at));
                        if let Some(value) = self.nested(|machine| machine.block(body, frame))? {
                            return Ok(Some(value));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    fn evaluate(&mut self, expression: &Expression, frame: &Frame<'a>) -> Result<Value<'a>> {
        self.spend_values(1)?;
        self.nested(|machine| machine.expression(expression, frame))
    }

    fn list<'e>(&mut self, expressions: impl Iterator<Item = &'e Expression>, frame: &Frame<'a>) -> Result<List<'a>> {
        let elements = expressions.map(|expression| self.evaluate(expression, frame)).collect::<Result<_>>()?;
        List::new(elements).ok_or_else(|| self.refuse("the code has a list that is too long or too deep"))
    }

    fn expression(&mut self, expression: &Expression, frame: &Frame<'a>) -> Result<Value<'a>> {
        Ok(match expression {
            Expression::None => Value::None,
            Expression::Bool(value) => Value::Bool(*value),
            Expression::Int(value) => Value::Int(*value),
            Expression::Float(value) => Value::Float(*value),
            Expression::Text(text) => Value::Text(Rc::clone(text)),
            Expression::Name(name) => match frame.get(name) {
                Some(value) => value.clone(),
                None => Value::Opaque,
            },
            Expression::List(elements) => Value::List(self.list(elements.iter(), frame)?),
            Expression::Tuple(elements) => Value::Tuple(self.list(elements.iter(), frame)?),
            Expression::Dict(entries) => Value::Dict(self.list(entries.iter().map(|[_, value]| value), frame)?),
            Expression::Attribute(base, name) => match qualified(expression, frame) {
                Some(name) => self.named_value(&name)?,
                None => {
                    let base = self.evaluate(base, frame)?;
                    self.attribute(&base, name)?
                }
            },
            Expression::Index(base, index) => {
                let (base, index) = (self.evaluate(base, frame)?, self.evaluate(index, frame)?);
                let element = match (base.elements(), &index) {
                    (Some(elements), Value::Int(at)) => {
                        let at = if *at < 0 { at.checked_add(elements.len() as i64) } else { Some(*at) };
                        at.and_then(|at| elements.get(usize::try_from(at).ok()?)).cloned()
                    }
                    _ => None,
                };
                element.ok_or_else(|| self.refuse("the code reads an unsupported element of a list"))?
            }
            Expression::Call(callee, arguments) => self.call_expression(callee, arguments, frame)?,
        })
    }

    /// Returns a constant of the archive, or the name of a function or type.
    fn named_value(&mut self, name: &str) -> Result<Value<'a>> {
        let number = name.strip_prefix("CONSTANTS.c").map(str::parse::<usize>);
        if name.len() > LONGEST_FUNCTION {
            return Err(self.refuse("the code has a name that is too long").found(shorten(name)));
        }
        let Some(number) = number else { return Ok(Value::Function(name.into())) };
        let found = match (number, &mut self.constants) {
            (Ok(number), Some(constants)) => constants.constant(number, &mut self.recorder.budget)?,
            _ => None,
        };
        found.ok_or_else(|| self.refuse(format!("missing constant '{}'", shorten(name))))
    }

    fn attribute(&mut self, base: &Value<'a>, name: &str) -> Result<Value<'a>> {
        let Value::Module(module) = base else {
            return Err(
                self.refuse(format!("the code reads the attribute '{}' of an unsupported value", shorten(name)))
            );
        };
        let found = self.objects.attribute(module, name, &mut self.recorder.budget)?;
        found.ok_or_else(|| self.refuse(format!("the module has no attribute '{}'", shorten(name))))
    }

    fn call_expression(&mut self, callee: &Expression, arguments: &[Argument], frame: &Frame<'a>) -> Result<Value<'a>> {
        self.spend()?;
        if let Expression::Name(name) = callee
            && !frame.contains_key(name)
        {
            return self.python(name, arguments, frame);
        }
        // Python evaluates the object of a method before its arguments; neither changes the other.
        let (mut values, mut named) = (Vec::new(), Vec::new());
        for Argument { name, value } in arguments {
            let value = self.evaluate(value, frame)?;
            match name {
                None => values.push(value),
                Some(name) => named.push((name.clone(), value)),
            }
        }
        let name = match callee {
            Expression::Attribute(base, name) => match qualified(callee, frame) {
                Some(function) => function,
                None => match self.evaluate(base, frame)? {
                    Value::Module(module) => {
                        return self.method(&module, Arguments { name: name.clone(), values, named });
                    }
                    _ => {
                        return Err(self
                            .refuse(format!("the code calls the method '{}' of an unsupported value", shorten(name))));
                    }
                },
            },
            _ => match self.evaluate(callee, frame)? {
                Value::Function(function) => function.to_string(),
                _ => return Err(self.refuse("the code calls an unsupported value")),
            },
        };
        self.function(Arguments { name, values, named })
    }

    /// Calls a function by its qualified name.
    fn function(&mut self, call: Arguments<'a>) -> Result<Value<'a>> {
        let name = call.name.as_str();
        if name.starts_with("__torch__.") {
            let function = self.program.get(name)?;
            let function = function.ok_or_else(|| {
                self.refuse("the code calls a function that the archive does not contain").found(shorten(name))
            })?;
            return self.call(&function, call);
        }
        if name.starts_with("ops.quantized.") || name.contains(".quantize_per_") {
            return Err(self
                .refuse("quantized TorchScript is unsupported")
                .found(shorten(name))
                .help("import the float model and quantize it with `mbvc quantize`"));
        }
        if name.contains("mkldnn") {
            return Err(self
                .refuse("the code is optimized for one kind of processor")
                .found(shorten(name))
                .help("save the model without `torch.jit.optimize_for_inference`"));
        }
        let short = ["torch.", "ops.prim.", "ops.aten."].iter().find_map(|package| name.strip_prefix(package));
        let Some(short) = short else {
            return Err(self.refuse("the code calls a function that is not part of PyTorch").found(shorten(name)));
        };
        let call = Arguments { name: short.to_owned(), ..call };
        // The elements of a sum of two lists.
        self.spend_values(call.values.iter().filter_map(Value::elements).map(<[_]>::len).sum())?;
        if call.has_output() {
            return Err(self.recorder.unsupported(&call));
        }
        let depends = |value: &Value<'a>| value.is_tensor() || value.depends_on_image();
        let result = if call.values.iter().any(depends) || call.named.iter().any(|(_, value)| depends(value)) {
            tensors::call(&mut self.recorder, &call)?
        } else {
            scalars::call(&call).unwrap_or_else(|| Err(self.recorder.unsupported(&call)))?
        };
        match call.unexpected() {
            None => Ok(result),
            Some(argument) => Err(self
                .refuse(format!("the code calls a PyTorch function with an unexpected {argument}"))
                .found(call.text())
                .help("save the model again with `torch.jit.save`")),
        }
    }

    /// Calls a function of Python.
    fn python(&mut self, name: &str, arguments: &[Argument], frame: &Frame<'a>) -> Result<Value<'a>> {
        let argument = |at: usize| {
            arguments.get(at).map(|argument| &argument.value).ok_or_else(|| {
                ImportError::malformed("a call without its argument").at(format!("function '{}'", shorten(name)))
            })
        };
        let count = match name {
            "annotate" | "unchecked_cast" | "getattr" => 2,
            _ => 1,
        };
        if arguments.len() > count || arguments.iter().any(|argument| argument.name.is_some()) {
            return Err(self.refuse("the code calls a Python function with unexpected arguments").found(shorten(name)));
        }
        match name {
            "annotate" | "unchecked_cast" => self.evaluate(argument(1)?, frame),
            "uninitialized" => Ok(Value::Unknown),
            "getattr" => {
                let base = self.evaluate(argument(0)?, frame)?;
                match argument(1)? {
                    Expression::Text(name) => self.attribute(&base, name),
                    _ => Err(self.refuse("the code reads an attribute without a name")),
                }
            }
            "int" | "float" | "bool" => {
                let value = self.evaluate(argument(0)?, frame)?;
                scalars::converted(name, &value).ok_or_else(|| {
                    self.refuse(format!("the code converts an unsupported value to {name}")).found(value.text())
                })
            }
            _ => Err(self.refuse("the code calls an unsupported function").found(shorten(name))),
        }
    }
}

/// Whether a block does nothing but raise an exception.
fn only_raises(statements: &[Statement]) -> bool {
    let raises = |statement: &Statement| {
        matches!(statement, Statement::Evaluate(Expression::Call(callee, _))
            if matches!(&**callee, Expression::Attribute(_, name) if name == "RaiseException"))
    };
    statements.last().is_some_and(raises)
}

/// Returns the dotted name that starts at a package rather than at a variable.
fn qualified(expression: &Expression, frame: &Frame<'_>) -> Option<String> {
    let mut parts = Vec::new();
    let mut at = expression;
    loop {
        match at {
            Expression::Attribute(base, name) => {
                parts.push(name.as_str());
                at = base;
            }
            Expression::Name(name) if !frame.contains_key(name) => {
                parts.push(name);
                parts.reverse();
                return Some(parts.join("."));
            }
            _ => return None,
        }
    }
}

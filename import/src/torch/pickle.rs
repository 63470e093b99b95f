//! A reader of Python's pickles (protocols 2 to 5) that executes nothing.
//!
//! A pickle is a program for a machine with a stack and a memo. Its instructions build values. Those that call functions are
//! recorded as [`Value::Object`]; names are never resolved. The instructions are those of CPython's
//! `Lib/pickletools.py`, except text instructions of protocols 0 and 1, which PyTorch does not write.

use std::borrow::Cow;
use std::collections::HashMap;

use super::value::{Global, Object, Pickled, Ref, Value};
use crate::error::{ImportError, Result};

/// Most instructions of a pickle, each of which creates at most one value. A MobileNetV2 checkpoint with its optimizer has
/// about 50 000.
const MAX_STEPS: usize = 1 << 20;
/// Longest name of a module, class or function.
const LONGEST_NAME: usize = 1024;

/// Reads the pickle at the start of `bytes`; returns its length, too.
pub fn read(bytes: &[u8]) -> Result<(Pickled<'_>, usize)> {
    let mut machine =
        Machine { bytes, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    for _ in 0..MAX_STEPS {
        let start = machine.at;
        let step = machine.byte().and_then(|code| machine.step(code));
        match step.map_err(|error| error.at(format!("byte {start} of the pickle")))? {
            None => {}
            Some(root) => return Ok((Pickled { values: machine.values, root }, machine.at)),
        }
    }
    Err(ImportError::unsupported(format!("the pickle has more than {MAX_STEPS} instructions"))
        .help("save the state dict alone: `torch.save(model.state_dict(), FILE)`"))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Ref>,
    /// Stack heights of the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Ref>,
}

impl<'a> Machine<'a> {
    /// Executes the instruction `code`; returns the result at the end of the program.
    fn step(&mut self, code: u8) -> Result<Option<Ref>> {
        match code {
            // PROTO and FRAME: only the version matters.
            0x80 => match self.byte()? {
                2..=5 => {}
                version => {
                    return Err(ImportError::unsupported(format!("pickle protocol {version}")).expected("2 to 5"));
                }
            },
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop_or_mark()?),
            b'1' => drop(self.above_mark()?),
            b'2' => self.stack.push(self.top()?),
            // Atoms.
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => self.integer(4)?,
            b'K' => {
                let value = self.byte()?;
                self.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = self.unsigned(2)?;
                self.push(Value::Int(value as i64));
            }
            0x8a => self.integer_of(1)?,
            0x8b => self.integer_of(4)?,
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(value));
            }
            // Strings; BINSTRING and SHORT_BINSTRING are those of Python 2.
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'T' => self.text(4)?,
            b'U' => self.text(1)?,
            b'B' => self.blob(4)?,
            b'C' => self.blob(1)?,
            0x8e | 0x96 => self.blob(8)?,
            // Tuples, lists, sets, dictionaries.
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let count = usize::from(code) - 0x84;
                let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.floor());
                let elements = self.stack.split_off(start.ok_or_else(underflow)?);
                self.push(Value::Tuple(elements));
            }
            b't' => {
                let elements = self.above_mark()?;
                self.push(Value::Tuple(elements));
            }
            b']' | 0x8f => self.push(Value::List(Vec::new())),
            b'l' | 0x91 => {
                let elements = self.above_mark()?;
                self.push(Value::List(elements));
            }
            b'a' => {
                let element = self.pop()?;
                self.extend(vec![element])?;
            }
            b'e' | 0x90 => {
                let elements = self.above_mark()?;
                self.extend(elements)?;
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let entries = pairs(self.above_mark()?)?;
                self.push(Value::Dict(entries));
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(vec![[key, value]])?;
            }
            b'u' => {
                let entries = pairs(self.above_mark()?)?;
                self.insert(entries)?;
            }
            // The memo.
            b'q' => self.memoize(1)?,
            b'r' => self.memoize(4)?,
            0x94 => {
                let key =
                    u32::try_from(self.memo.len()).map_err(|_| ImportError::malformed("the memo is too large"))?;
                self.memo.insert(key, self.top()?);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            // Names and calls.
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(Box::new(Global { module, name })));
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.push(Value::Global(Box::new(Global { module, name })));
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                self.call(arguments)?;
            }
            0x92 => {
                let _keywords = self.pop()?;
                let arguments = self.pop()?;
                self.call(arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                // Attributes of a dictionary, such as the versions of a state dict, are ignored.
                if let Some(Value::Object(object)) = self.values.get_mut(target) {
                    object.state = Some(state);
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            other => {
                return Err(ImportError::unsupported(format!("unsupported instruction {other:#04x}"))
                    .help("the file may be damaged; save it again with `torch.save`"));
            }
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken =
            taken.ok_or_else(|| ImportError::malformed("the pickle is truncated").help("the file may be truncated"))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| ImportError::malformed("the pickle is truncated"))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Reads a little-endian number of up to 8 bytes.
    fn unsigned(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Reads a length of `width` bytes, and that many bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8]> {
        let count = self.unsigned(width)?;
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Reads to the end of the line.
    fn line(&mut self) -> Result<Cow<'a, str>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length =
            rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| ImportError::malformed("unterminated name"))?;
        let text = self.take(length)?;
        self.take(1)?;
        Ok(String::from_utf8_lossy(text))
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// Returns the least stack height: values below a mark are not accessible.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Ref> {
        let reachable = self.stack.len() > self.floor();
        self.stack.last().copied().filter(|_| reachable).ok_or_else(underflow)
    }

    fn pop(&mut self) -> Result<Ref> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_or_mark(&mut self) -> Result<()> {
        if self.stack.len() == self.floor() && self.marks.pop().is_some() {
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_text(&mut self) -> Result<Cow<'a, str>> {
        let at = self.pop()?;
        match self.values.get(at) {
            Some(Value::Text(text)) if text.len() <= LONGEST_NAME => Ok(text.clone()),
            _ => Err(ImportError::malformed(format!("expected a name of at most {LONGEST_NAME} bytes"))),
        }
    }

    /// Pops everything above the last mark, and the mark.
    fn above_mark(&mut self) -> Result<Vec<Ref>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(underflow)?;
        Ok(self.stack.split_off(mark))
    }

    fn integer(&mut self, width: usize) -> Result<()> {
        let bytes = self.take(width)?;
        self.push(integer(bytes));
        Ok(())
    }

    fn integer_of(&mut self, width: usize) -> Result<()> {
        let bytes = self.counted(width)?;
        self.push(integer(bytes));
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<()> {
        let text = String::from_utf8_lossy(self.counted(width)?);
        self.push(Value::Text(text));
        Ok(())
    }

    fn blob(&mut self, width: usize) -> Result<()> {
        self.counted(width)?;
        self.push(Value::Bytes);
        Ok(())
    }

    fn extend(&mut self, more: Vec<Ref>) -> Result<()> {
        let target = self.top()?;
        match self.values.get_mut(target) {
            Some(Value::List(elements)) => elements.extend(more),
            Some(Value::Object(object)) => object.elements.extend(more),
            _ => return Err(ImportError::malformed("elements are added to a value that is not a list")),
        }
        Ok(())
    }

    fn insert(&mut self, more: Vec<[Ref; 2]>) -> Result<()> {
        let target = self.top()?;
        match self.values.get_mut(target) {
            Some(Value::Dict(entries)) => entries.extend(more),
            Some(Value::Object(object)) => object.entries.extend(more),
            _ => return Err(ImportError::malformed("entries are added to a value that is not a dictionary")),
        }
        Ok(())
    }

    fn memoize(&mut self, width: usize) -> Result<()> {
        let key = self.unsigned(width)? as u32;
        self.memo.insert(key, self.top()?);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<()> {
        let key = self.unsigned(width)? as u32;
        let known = self.memo.get(&key).copied();
        self.stack.push(known.ok_or_else(|| ImportError::malformed(format!("the memo has no entry {key}")))?);
        Ok(())
    }

    /// Records a call of the value on the stack.
    fn call(&mut self, arguments: Ref) -> Result<()> {
        let callable = self.pop()?;
        let object = Object { callable, arguments, state: None, entries: Vec::new(), elements: Vec::new() };
        self.push(Value::Object(Box::new(object)));
        Ok(())
    }
}

/// Decodes a little-endian two's complement number.
fn integer<'a>(bytes: &[u8]) -> Value<'a> {
    if bytes.len() > 8 {
        return Value::Long;
    }
    let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    wide.iter_mut().zip(bytes).for_each(|(wide, byte)| *wide = *byte);
    Value::Int(i64::from_le_bytes(wide))
}

fn pairs(flat: Vec<Ref>) -> Result<Vec<[Ref; 2]>> {
    let (pairs, rest) = flat.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ImportError::malformed("a key without a value"));
    }
    Ok(pairs.to_vec())
}

fn underflow() -> Box<ImportError> {
    ImportError::malformed("the stack of the pickle has too few values").help("the file may be damaged")
}

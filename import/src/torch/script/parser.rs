//! Functions of TorchScript code as syntax trees.

use std::rc::Rc;

use super::lexer::{Token, tokens};
use crate::error::{ImportError, Result};

/// Most nested brackets and blocks.
const MAX_DEPTH: usize = 64;
/// Most attributes, indices and calls one after the other.
const MAX_POSTFIXES: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    Name(String),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<[Expression; 2]>),
    /// `value.name`.
    Attribute(Box<Expression>, String),
    /// `value[index]`.
    Index(Box<Expression>, Box<Expression>),
    Call(Box<Expression>, Vec<Argument>),
}

/// An argument of a call, with a name if the call has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    pub name: Option<String>,
    pub value: Expression,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// `a = value`.
    Assign(String, Expression),
    /// `a, b, = value`.
    Unpack(Vec<String>, Expression),
    Evaluate(Expression),
    Return(Expression),
    If(Expression, Vec<Statement>, Vec<Statement>),
    /// `for name in range(count)`.
    For(String, Expression, Vec<Statement>),
}

/// A parameter and its default value.
pub type Parameter = (String, Option<Expression>);

#[derive(Debug)]
pub struct Function {
    /// Parameters, including `self` of a method.
    pub parameters: Vec<Parameter>,
    pub body: Vec<Statement>,
}

/// Parses `def name(parameters) -> type:` and the statements after it.
///
/// # Errors
/// If a statement is not one of [`Statement`].
pub fn function(text: &str) -> Result<Function> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
    let Some(Token::Line(indent)) = parser.next() else { return Err(parser.unexpected()) };
    let indent = *indent;
    parser.keyword("def")?;
    parser.name()?;
    parser.mark('(')?;
    let mut parameters = Vec::new();
    while !parser.takes(')') {
        if parser.takes('*') {
            parser.mark(',')?;
            continue;
        }
        let name = parser.name()?;
        if parser.takes(':') {
            parser.skip_type(&[',', '=', ')'])?;
        }
        let default = if parser.takes('=') { Some(parser.expression()?) } else { None };
        parameters.push((name, default));
        if !parser.takes(',') {
            parser.mark(')')?;
            break;
        }
    }
    parser.skip_type(&[':'])?;
    parser.mark(':')?;
    let body = parser.block(indent)?;
    Ok(Function { parameters, body })
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'t Token> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    fn unexpected(&self) -> Box<ImportError> {
        let found =
            self.tokens.get(self.at.saturating_sub(1)).map_or_else(|| "the end".into(), |token| token.to_string());
        ImportError::unsupported("unsupported syntax in the code").found(found)
    }

    fn takes(&mut self, mark: char) -> bool {
        let is_next = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(is_next);
        is_next
    }

    fn mark(&mut self, mark: char) -> Result<()> {
        if self.takes(mark) {
            return Ok(());
        }
        self.at += 1;
        Err(self.unexpected())
    }

    fn is_keyword(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(name)) if name == word)
    }

    fn keyword(&mut self, word: &str) -> Result<()> {
        let is_next = self.is_keyword(word);
        self.at += 1;
        if is_next { Ok(()) } else { Err(self.unexpected()) }
    }

    fn name(&mut self) -> Result<String> {
        match self.next() {
            Some(Token::Name(name)) => Ok(name.clone()),
            _ => Err(self.unexpected()),
        }
    }

    /// Skips a type, up to one of `ends` outside of brackets.
    fn skip_type(&mut self, ends: &[char]) -> Result<()> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some(Token::Mark(mark)) if depth == 0 && ends.contains(mark) => return Ok(()),
                Some(Token::Mark('[' | '(')) => depth += 1,
                Some(Token::Mark(']' | ')')) => depth = depth.saturating_sub(1),
                None | Some(Token::Line(_)) => return Err(self.unexpected()),
                Some(_) => {}
            }
            self.at += 1;
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_DEPTH {
            return Err(ImportError::unsupported(format!(
                "the code has more than {MAX_DEPTH} nested brackets or blocks"
            )));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Parses the lines that are indented more than `outer`.
    fn block(&mut self, outer: usize) -> Result<Vec<Statement>> {
        self.nested(|parser| {
            let mut statements = Vec::new();
            while let Some(&Token::Line(indent)) = parser.peek()
                && indent > outer
            {
                parser.at += 1;
                statements.extend(parser.statement(indent)?);
            }
            Ok(statements)
        })
    }

    fn statement(&mut self, indent: usize) -> Result<Option<Statement>> {
        let Some(Token::Name(word)) = self.peek() else {
            let value = self.expression()?;
            return self.ended(Statement::Evaluate(value)).map(Some);
        };
        match word.as_str() {
            "pass" => {
                self.at += 1;
                Ok(None)
            }
            "return" => {
                self.at += 1;
                let value = if matches!(self.peek(), None | Some(Token::Line(_))) {
                    Expression::None
                } else {
                    self.expression_list()?
                };
                self.ended(Statement::Return(value)).map(Some)
            }
            "if" => {
                self.at += 1;
                let condition = self.expression()?;
                self.mark(':')?;
                let then = self.block(indent)?;
                let has_else = self.peek() == Some(&Token::Line(indent))
                    && matches!(self.tokens.get(self.at + 1), Some(Token::Name(word)) if word == "else");
                let mut otherwise = Vec::new();
                if has_else {
                    self.at += 2;
                    self.mark(':')?;
                    otherwise = self.block(indent)?;
                }
                Ok(Some(Statement::If(condition, then, otherwise)))
            }
            "for" => {
                self.at += 1;
                let name = self.name()?;
                self.keyword("in")?;
                self.keyword("range")?;
                self.mark('(')?;
                let count = self.expression()?;
                self.mark(')')?;
                self.mark(':')?;
                Ok(Some(Statement::For(name, count, self.block(indent)?)))
            }
            "while" | "with" | "assert" | "del" | "raise" => {
                Err(ImportError::unsupported("unsupported statement in the code").found(format!("`{word}`")))
            }
            _ => self.assignment().map(Some),
        }
    }

    fn ended(&mut self, statement: Statement) -> Result<Statement> {
        if matches!(self.peek(), None | Some(Token::Line(_))) {
            return Ok(statement);
        }
        self.at += 1;
        Err(self.unexpected())
    }

    /// Parses `name = value`, `name : type = value`, `name, name, = value` or a call.
    fn assignment(&mut self) -> Result<Statement> {
        let start = self.at;
        let name = self.name()?;
        let mut more = None;
        while self.takes(',') {
            let more = more.get_or_insert_with(Vec::new);
            if matches!(self.peek(), Some(Token::Name(_))) {
                more.push(self.name()?);
            }
        }
        if self.takes(':') {
            self.skip_type(&['='])?;
        }
        if self.takes('=') {
            let value = self.expression_list()?;
            let statement = match more {
                None => Statement::Assign(name, value),
                Some(more) => Statement::Unpack([vec![name], more].concat(), value),
            };
            return self.ended(statement);
        }
        self.at = start;
        let value = self.expression()?;
        self.ended(Statement::Evaluate(value))
    }

    /// Parses one expression, or a tuple without parentheses.
    fn expression_list(&mut self) -> Result<Expression> {
        let first = self.expression()?;
        if self.peek() != Some(&Token::Mark(',')) {
            return Ok(first);
        }
        let mut elements = vec![first];
        while self.takes(',') {
            if matches!(self.peek(), None | Some(Token::Line(_))) {
                break;
            }
            elements.push(self.expression()?);
        }
        Ok(Expression::Tuple(elements))
    }

    fn expression(&mut self) -> Result<Expression> {
        self.nested(|parser| {
            let mut value = parser.atom()?;
            for _ in 0..MAX_POSTFIXES {
                if parser.takes('.') {
                    value = Expression::Attribute(Box::new(value), parser.name()?);
                } else if parser.takes('(') {
                    value = Expression::Call(Box::new(value), parser.arguments()?);
                } else if parser.takes('[') {
                    let index = parser.expression_list_until(']')?;
                    value = Expression::Index(Box::new(value), Box::new(index));
                } else {
                    return Ok(value);
                }
            }
            Err(ImportError::unsupported(format!("an expression has more than {MAX_POSTFIXES} attributes or calls")))
        })
    }

    fn expression_list_until(&mut self, end: char) -> Result<Expression> {
        let (mut elements, has_comma) = self.elements(end)?;
        match (elements.pop(), has_comma) {
            (Some(one), false) => Ok(one),
            (last, _) => {
                elements.extend(last);
                Ok(Expression::Tuple(elements))
            }
        }
    }

    /// Parses expressions up to `end`. Returns whether there is a comma.
    fn elements(&mut self, end: char) -> Result<(Vec<Expression>, bool)> {
        let mut elements = Vec::new();
        let mut has_comma = false;
        while !self.takes(end) {
            elements.push(self.expression()?);
            if self.takes(',') {
                has_comma = true;
            } else {
                self.mark(end)?;
                break;
            }
        }
        Ok((elements, has_comma))
    }

    fn arguments(&mut self) -> Result<Vec<Argument>> {
        let mut arguments = Vec::new();
        while !self.takes(')') {
            let is_named =
                matches!(self.peek(), Some(Token::Name(_))) && self.tokens.get(self.at + 1) == Some(&Token::Mark('='));
            let name = if is_named { Some(self.name()?) } else { None };
            self.at += usize::from(is_named);
            arguments.push(Argument { name, value: self.expression()? });
            if !self.takes(',') {
                self.mark(')')?;
                break;
            }
        }
        Ok(arguments)
    }

    fn atom(&mut self) -> Result<Expression> {
        Ok(match self.next() {
            Some(Token::Int(value)) => Expression::Int(*value),
            Some(Token::Float(value)) => Expression::Float(*value),
            Some(Token::Text(text)) => Expression::Text(text.clone()),
            Some(Token::Name(name)) => match name.as_str() {
                "None" => Expression::None,
                "True" => Expression::Bool(true),
                "False" => Expression::Bool(false),
                _ => Expression::Name(name.clone()),
            },
            Some(Token::Mark('-')) => match self.next() {
                Some(Token::Int(value)) => Expression::Int(-*value),
                Some(Token::Float(value)) => Expression::Float(-*value),
                _ => return Err(self.unexpected()),
            },
            Some(Token::Mark('(')) => self.expression_list_until(')')?,
            Some(Token::Mark('[')) => Expression::List(self.elements(']')?.0),
            Some(Token::Mark('{')) => {
                let mut entries = Vec::new();
                while !self.takes('}') {
                    let key = self.expression()?;
                    self.mark(':')?;
                    entries.push([key, self.expression()?]);
                    if !self.takes(',') {
                        self.mark('}')?;
                        break;
                    }
                }
                Expression::Dict(entries)
            }
            _ => return Err(self.unexpected()),
        })
    }
}

//! Diagnostics for invalid input: the broken rule, the place and the remedy.
//!
//! A front end collects all mistakes in [`Diagnostics`] before they are rendered together.

mod absent;
pub mod catalog;
mod render;
mod source;
mod suggest;

pub use absent::absent;
pub use catalog::Rule;
pub use source::{Origin, Place, SourceFile};
pub(crate) use suggest::nearest;

/// One error.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// The broken rule, from the [`catalog`].
    pub rule: &'static Rule,
    /// What is wrong, in one line: `` `s` is 3 ``.
    pub message: String,
    /// `None` for the file as a whole.
    pub place: Option<Place>,
    /// Text next to the caret; may be empty.
    pub label: String,
    /// Other places that explain the error, with their labels.
    pub related: Vec<(Place, String)>,
    /// Parts of the error, each with its name: the tensors that do not match, for example.
    pub details: Vec<(String, String)>,
    /// What to do about it.
    pub help: String,
}

impl Diagnostic {
    /// An error about the file as a whole, without help.
    pub fn new(rule: &'static Rule, message: impl Into<String>) -> Self {
        Self {
            rule,
            message: message.into(),
            place: None,
            label: String::new(),
            related: Vec::new(),
            details: Vec::new(),
            help: String::new(),
        }
    }

    /// Sets the place.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Sets the text next to the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds a place that explains the error, with its label.
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }

    /// Adds a part of the error.
    pub fn detail(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.details.push((name.into(), text.into()));
        self
    }

    /// Sets the remedy.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// All errors of one spec and the arguments that override it.
///
/// `Display` renders without color, [`Diagnostics::render`] with.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostics {
    spec: SourceFile,
    arguments: Option<SourceFile>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// An empty list.
    pub fn new(spec: SourceFile) -> Self {
        Self { spec, arguments: None, list: Vec::new() }
    }

    /// Sets the text that places with [`Origin::Arguments`] refer to.
    pub fn with_arguments(mut self, arguments: SourceFile) -> Self {
        self.arguments = Some(arguments);
        self
    }

    /// Adds an error, in any order.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Whether there is no error.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of errors.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The errors in the order in which they are rendered.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The text that a place refers to.
    pub fn source(&self, origin: Origin) -> Option<&SourceFile> {
        match origin {
            Origin::Spec => Some(&self.spec),
            Origin::Arguments => self.arguments.as_ref(),
        }
    }

    /// Line and column of a diagnostic, from 1, the column in characters. The line of an argument is 1.
    pub fn line_and_column(&self, diagnostic: &Diagnostic) -> Option<(usize, usize)> {
        let place = diagnostic.place?;
        let (line, column) = self.source(place.origin)?.line_and_column(place.start);
        Some((if place.origin == Origin::Spec { line } else { 1 }, column))
    }

    /// The errors that satisfy `predicate`.
    pub fn only(&self, predicate: impl Fn(&Diagnostic) -> bool) -> Self {
        let list = self.list.iter().filter(|one| predicate(one)).cloned().collect();
        Self { list, ..self.clone() }
    }

    /// Names of the texts that contain the errors: the spec, the arguments, or both.
    fn names(&self) -> String {
        let is_argument = |one: &Diagnostic| one.place.is_some_and(|place| place.origin == Origin::Arguments);
        let arguments = self.arguments.as_ref().filter(|_| self.list.iter().any(is_argument));
        match (self.list.iter().all(is_argument), arguments) {
            (true, Some(arguments)) => format!("the {}", arguments.name),
            (false, Some(arguments)) => format!("{} and the {}", self.spec.name, arguments.name),
            (_, None) => self.spec.name.clone(),
        }
    }

    /// `Ok` without errors; otherwise all errors, those in the arguments first, then by place.
    pub fn into_result<T>(mut self, value: Option<T>) -> Result<T, Self> {
        self.sort();
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => {
                // A front end that returns no value has pushed an error. If it has not, the user still gets one.
                if self.list.is_empty() {
                    self.push(Diagnostic::new(&catalog::INTERNAL, "the spec was rejected without a diagnostic"));
                }
                Err(self)
            }
        }
    }

    fn sort(&mut self) {
        self.list.sort_by_key(|diagnostic| match diagnostic.place {
            Some(place) => (place.origin == Origin::Spec, place.start),
            None => (true, 0),
        });
    }

    /// Renders every error with its place, source line, rule and remedy.
    pub fn render(&self, colored: bool) -> String {
        render::render(self, colored)
    }
}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

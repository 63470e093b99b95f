//! Mistakes of a user's input: the rule that was broken, the place, and the remedy.
//!
//! A front end pushes every mistake it finds into [`Diagnostics`] and goes on; only then are all rendered together.

mod absent;
pub mod catalog;
mod render;
mod source;

pub use absent::absent;
pub use catalog::Rule;
pub use source::{Origin, Place, SourceFile};

/// One mistake.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// What is broken: one of the [`catalog`].
    pub rule: &'static Rule,
    /// What is wrong, in one line: `` `s` is 3 ``.
    pub message: String,
    /// `None`: the file as a whole.
    pub place: Option<Place>,
    /// Shown beside the caret; may be empty.
    pub label: String,
    /// Other places that explain the mistake.
    pub related: Vec<(Place, String)>,
    /// What the mistake consists of, where that is more than one thing: each with its name.
    pub details: Vec<(String, String)>,
    /// What to do about it.
    pub help: String,
}

impl Diagnostic {
    /// A mistake of the file as a whole, without a word of help yet.
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

    /// Says where the mistake is.
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says what stands beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds a place that explains the mistake, and what stands beside its caret.
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }

    /// Adds one of the things that the mistake consists of.
    pub fn detail(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.details.push((name.into(), text.into()));
        self
    }

    /// Says what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// All mistakes of one spec and of the arguments given beside it.
///
/// `Display` is the plain rendering; [`Diagnostics::render`] can color it.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostics {
    spec: SourceFile,
    arguments: Option<SourceFile>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// No mistake yet.
    pub fn new(spec: SourceFile) -> Self {
        Self { spec, arguments: None, list: Vec::new() }
    }

    /// Adds the text that places with [`Origin::Arguments`] refer to.
    pub fn with_arguments(mut self, arguments: SourceFile) -> Self {
        self.arguments = Some(arguments);
        self
    }

    /// Adds a mistake, in any order.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Whether no mistake was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many mistakes were found.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The mistakes in the order in which they are rendered.
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

    /// Line and column of a diagnostic, from 1, the column in characters. An argument is a text of its own.
    pub fn line_and_column(&self, diagnostic: &Diagnostic) -> Option<(usize, usize)> {
        let place = diagnostic.place?;
        let (line, column) = self.source(place.origin)?.line_and_column(place.start);
        Some((if place.origin == Origin::Spec { line } else { 1 }, column))
    }

    /// Those mistakes alone that are wanted.
    pub fn only(&self, wanted: impl Fn(&Diagnostic) -> bool) -> Self {
        let list = self.list.iter().filter(|one| wanted(one)).cloned().collect();
        Self { list, ..self.clone() }
    }

    /// What the mistakes are in: the spec, the arguments, or both.
    fn names(&self) -> String {
        let is_argument = |one: &Diagnostic| one.place.is_some_and(|place| place.origin == Origin::Arguments);
        let arguments = self.arguments.as_ref().filter(|_| self.list.iter().any(is_argument));
        match (self.list.iter().all(is_argument), arguments) {
            (true, Some(arguments)) => format!("the {}", arguments.name),
            (false, Some(arguments)) => format!("{} and the {}", self.spec.name, arguments.name),
            (_, None) => self.spec.name.clone(),
        }
    }

    /// `Ok` where there is no mistake; otherwise all, those of the arguments first, then by place.
    pub fn into_result<T>(mut self, value: Option<T>) -> Result<T, Self> {
        self.sort();
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => {
                // A front end that gives up has said why; were it ever silent, the user still gets an answer.
                if self.list.is_empty() {
                    self.push(Diagnostic::new(&catalog::INTERNAL, "the spec was refused without a reason"));
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

    /// Every mistake with its place, source line, rule and remedy.
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

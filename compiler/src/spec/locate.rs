//! Where everything in a YAML text stands: a tree of places, in the shape of the tree of values.
//!
//! `serde_yaml` tells positions only in its own errors, so a second parser's marked events are read for them. It also
//! refuses, before any value is read, what would make reading dear: deep nesting, and aliases that multiply.

use saphyr_parser::{Event, Marker, Parser, ScanError, Span};

use super::syntax::syntax;
use crate::diagnostic::{Diagnostic, Origin, Place, catalog};

/// A spec needs four levels.
const MAX_DEPTH: usize = 8;

/// The place of a value and those of the values in it.
#[derive(Debug)]
pub(super) struct Located {
    pub place: Place,
    /// Elements of a list in order, or the keys and values of a mapping in turn.
    pub children: Vec<Located>,
}

/// A text, and where it lies in the source that its places are to refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Excerpt<'a> {
    pub text: &'a str,
    pub origin: Origin,
    /// Byte of the source at which the text begins.
    pub base: usize,
}

/// What a scan has found.
pub(super) struct Scan {
    /// `None` where the text holds no value at all.
    pub root: Option<Located>,
    pub mistakes: Vec<Diagnostic>,
    /// Whether the values can be read: the text is YAML, without aliases and not too deep.
    pub readable: bool,
}

/// Reads the places of the first document.
pub(super) fn locate(excerpt: Excerpt<'_>) -> Scan {
    let mut locator = Locator {
        places: Places::new(excerpt),
        scan: Scan { root: None, mistakes: Vec::new(), readable: true },
        open: Vec::new(),
        documents: 0,
    };
    let mut parser = Parser::new_from_str(excerpt.text);
    while let Some(next) = parser.next_event() {
        let more = match next {
            Ok((event, span)) => locator.event(&event, span),
            Err(error) => locator.syntax_error(&error),
        };
        if !more {
            break;
        }
    }
    locator.scan
}

struct Locator<'a> {
    places: Places<'a>,
    scan: Scan,
    /// Collections begun and not ended, outermost first.
    open: Vec<Located>,
    documents: usize,
}

impl Locator<'_> {
    /// Takes one event; `false` ends the scan.
    fn event(&mut self, event: &Event<'_>, span: Span) -> bool {
        let place = self.places.place(span);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.scan.mistakes.push(
                        Diagnostic::new(&catalog::DOCUMENT, "a second YAML document begins")
                            .at(place)
                            .help("remove the line `---`, or put the second spec in a file of its own"),
                    );
                    return false;
                }
            }
            Event::Alias(_) => {
                self.not_plain("is a YAML alias", place, "write the value out");
                self.scan.readable = false;
                self.close(Located { place, children: Vec::new() });
            }
            Event::Scalar(_, _, anchor, tag) => {
                self.refuse_anchor_and_tag(*anchor, tag.is_some(), place);
                self.close(Located { place, children: Vec::new() });
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                self.refuse_anchor_and_tag(*anchor, tag.is_some(), place);
                self.open.push(Located { place, children: Vec::new() });
                if self.open.len() > MAX_DEPTH {
                    self.scan.mistakes.push(
                        Diagnostic::new(&catalog::DEPTH, "this is nested too deep")
                            .at(place)
                            .help("take brackets and levels away; `mbvc init` writes a spec to start from"),
                    );
                    self.scan.readable = false;
                    return false;
                }
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut located) = self.open.pop() {
                    located.place = self.places.extend(located.place, span.start);
                    self.close(located);
                }
            }
            Event::StreamStart | Event::DocumentEnd | Event::StreamEnd | Event::Nothing => {}
        }
        true
    }

    /// Files a finished value under the collection that it is in.
    fn close(&mut self, located: Located) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(located),
            None => self.scan.root = Some(located),
        }
    }

    fn refuse_anchor_and_tag(&mut self, anchor: usize, tagged: bool, place: Place) {
        if anchor != 0 {
            self.not_plain("has a YAML anchor", place, "remove the `&name` before it");
        }
        if tagged {
            self.not_plain("has a YAML tag", place, "remove the `!tag` before it");
        }
    }

    fn not_plain(&mut self, what: &str, place: Place, help: &str) {
        let message = format!("this {what}");
        self.scan.mistakes.push(Diagnostic::new(&catalog::PLAIN, message).at(place).help(help));
    }

    fn syntax_error(&mut self, error: &ScanError) -> bool {
        let place = self.places.point(*error.marker());
        self.scan.mistakes.push(syntax(place, error.info(), self.places.excerpt));
        self.scan.readable = false;
        false
    }
}

/// Turns the parser's marks, which count characters, into bytes of the source.
struct Places<'a> {
    excerpt: Excerpt<'a>,
    /// Byte of each character; empty where every character is one byte.
    bytes: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(excerpt: Excerpt<'a>) -> Self {
        let ascii = excerpt.text.is_ascii();
        let bytes = if ascii { Vec::new() } else { excerpt.text.char_indices().map(|(byte, _)| byte).collect() };
        Self { excerpt, bytes }
    }

    fn byte(&self, mark: Marker) -> usize {
        let length = self.excerpt.text.len();
        if self.bytes.is_empty() {
            mark.index().min(length)
        } else {
            self.bytes.get(mark.index()).copied().unwrap_or(length)
        }
    }

    fn place(&self, span: Span) -> Place {
        self.clip(self.byte(span.start), self.byte(span.end))
    }

    fn point(&self, mark: Marker) -> Place {
        let start = self.byte(mark);
        self.clip(start, start)
    }

    /// A collection's place, from its first mark to where its end is noticed: at the bracket, or behind a block.
    fn extend(&self, first: Place, last: Marker) -> Place {
        let end = self.byte(last);
        let bracket = self.excerpt.text.get(end..).is_some_and(|rest| rest.starts_with([']', '}']));
        self.clip(first.start - self.excerpt.base, end + usize::from(bracket))
    }

    /// A range without what lies behind its first line and without trailing blanks.
    fn clip(&self, start: usize, end: usize) -> Place {
        let inside = self.excerpt.text.get(start..end.max(start)).unwrap_or_default();
        let shown = inside.split(['\r', '\n']).next().unwrap_or_default().trim_end();
        let start = start + self.excerpt.base;
        Place { origin: self.excerpt.origin, start, end: start + shown.len() }
    }
}

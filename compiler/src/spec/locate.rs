//! Locates the values of a YAML text: a tree of places in the shape of the tree of values.
//!
//! `serde_yaml` has positions only in its own errors, so they are read from the events of a second parser. Deep nesting
//! and aliases are rejected here, before any value is read, because they would make reading expensive.

use saphyr_parser::{Event, Marker, Parser, ScanError, Span};

use super::excerpt::Excerpt;
use super::syntax::syntax;
use crate::diagnostic::{Diagnostic, Place, catalog};

/// A spec needs four levels.
const MAX_DEPTH: usize = 8;

/// The place of a value and those of the values in it.
#[derive(Debug)]
pub(super) struct Located {
    pub place: Place,
    /// Elements of a list in order, or alternating keys and values of a mapping.
    pub children: Vec<Located>,
}

/// Result of a scan.
pub(super) struct Scan {
    /// `None` if the text contains no value.
    pub root: Option<Located>,
    pub mistakes: Vec<Diagnostic>,
    /// Whether the values can be read: the text is valid YAML without aliases and not nested too deeply.
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
    /// Open collections, outermost first.
    open: Vec<Located>,
    documents: usize,
}

impl Locator<'_> {
    /// Handles one event; `false` ends the scan.
    fn event(&mut self, event: &Event<'_>, span: Span) -> bool {
        let place = self.places.place(span);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.scan.mistakes.push(
                        Diagnostic::new(&catalog::DOCUMENT, "unexpected second YAML document")
                            .at(place)
                            .help("remove the line `---`, or move the second spec to another file"),
                    );
                    return false;
                }
            }
            Event::Alias(_) => {
                self.not_plain("aliases", place, "write out the value");
                self.scan.readable = false;
                self.close(Located { place, children: Vec::new() });
            }
            Event::Scalar(_, _, anchor, tag) => {
                self.reject_anchor_and_tag(*anchor, tag.is_some(), place);
                self.close(Located { place, children: Vec::new() });
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                self.reject_anchor_and_tag(*anchor, tag.is_some(), place);
                self.open.push(Located { place, children: Vec::new() });
                if self.open.len() > MAX_DEPTH {
                    self.scan.mistakes.push(
                        Diagnostic::new(&catalog::DEPTH, "nested too deeply")
                            .at(place)
                            .help("remove brackets; `mbvc init` writes a spec to start from"),
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

    /// Adds a finished value to the collection that contains it.
    fn close(&mut self, located: Located) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(located),
            None => self.scan.root = Some(located),
        }
    }

    fn reject_anchor_and_tag(&mut self, anchor: usize, tagged: bool, place: Place) {
        if anchor != 0 {
            self.not_plain("anchors", place, "remove the `&name` before it");
        }
        if tagged {
            self.not_plain("tags", place, "remove the `!tag` before it");
        }
    }

    fn not_plain(&mut self, what: &str, place: Place, help: &str) {
        let message = format!("YAML {what} are not supported");
        self.scan.mistakes.push(Diagnostic::new(&catalog::PLAIN, message).at(place).help(help));
    }

    fn syntax_error(&mut self, error: &ScanError) -> bool {
        let place = self.places.point(*error.marker());
        self.scan.mistakes.push(syntax(place, error.info(), self.places.excerpt));
        self.scan.readable = false;
        false
    }
}

/// Converts the parser's marks, which count characters, to bytes of the source.
struct Places<'a> {
    excerpt: Excerpt<'a>,
    /// Byte of each character; empty for ASCII text.
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

    /// Extends a collection's place to the mark of its end: the bracket, or the end of a block.
    fn extend(&self, first: Place, last: Marker) -> Place {
        let end = self.byte(last);
        let bracket = self.excerpt.text.get(end..).is_some_and(|rest| rest.starts_with([']', '}']));
        self.clip(first.start - self.excerpt.base, end + usize::from(bracket))
    }

    /// Clips a range to its first line, without trailing blanks.
    fn clip(&self, start: usize, end: usize) -> Place {
        let inside = self.excerpt.text.get(start..end.max(start)).unwrap_or_default();
        let shown = inside.split(['\r', '\n']).next().unwrap_or_default().trim_end();
        let start = start + self.excerpt.base;
        Place { origin: self.excerpt.origin, start, end: start + shown.len() }
    }
}

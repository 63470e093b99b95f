//! Diagnostics as text: place, source line, caret, rule, remedy.

use std::ops::Range;

use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Origin as FileName, Renderer, Snippet, normalize_untrusted_str,
};

use super::{Diagnostic, Diagnostics, Origin, Place, SourceFile};

/// Most errors that are rendered; a file can contain thousands.
const SHOWN: usize = 40;

/// Most details of an error that are rendered.
const DETAILS: usize = 3;

const PLAIN: Renderer = Renderer::plain();
const STYLED: Renderer = Renderer::styled().hyperlink(false);

pub(super) fn render(diagnostics: &Diagnostics, colored: bool) -> String {
    let renderer = if colored { STYLED } else { PLAIN };
    let mut reports: Vec<String> =
        diagnostics.iter().take(SHOWN).map(|one| renderer.render(&[group(diagnostics, one)])).collect();
    if diagnostics.len() > 1 {
        let mut summary = format!("{} errors in {}", diagnostics.len(), diagnostics.names());
        if diagnostics.len() > SHOWN {
            summary += &format!("; the first {SHOWN} are shown");
        }
        reports.push(renderer.render(&[Group::with_title(Level::ERROR.primary_title(summary))]));
    }
    reports.join("\n\n")
}

fn group<'a>(all: &'a Diagnostics, one: &'a Diagnostic) -> Group<'a> {
    let title = Level::ERROR.primary_title(one.message.as_str()).id(one.rule.code);
    let mut group = Group::with_title(title).element(location(all, one));
    for (name, text) in one.details.iter().take(DETAILS) {
        group =
            group.element(Level::NOTE.with_name(normalize_untrusted_str(name)).message(normalize_untrusted_str(text)));
    }
    if let Some(more) = one.details.len().checked_sub(DETAILS).filter(|more| *more > 0) {
        group = group.element(Level::NOTE.message(format!("and {more} more")));
    }
    group = group.element(Level::NOTE.with_name("rule").message(one.rule.text));
    if !one.help.is_empty() {
        group = group.element(Level::HELP.message(normalize_untrusted_str(&one.help)));
    }
    group
}

/// The annotated lines, or only the file's name without a line to show.
fn location<'a>(all: &'a Diagnostics, one: &'a Diagnostic) -> Element<'a> {
    let Some(place) = one.place else { return FileName::path(all.spec.name.as_str()).into() };
    let Some(source) = all.source(place.origin) else { return FileName::path(all.spec.name.as_str()).into() };
    let (line, column) = all.line_and_column(one).unwrap_or((1, 1));
    let related: Vec<_> = one.related.iter().filter(|(other, _)| other.origin == place.origin).collect();
    let lines = enclosing_lines(source, place, related.iter().map(|(other, _)| *other));
    let Some(shown) = source.text.get(lines.clone()).filter(|shown| !shown.trim().is_empty()) else {
        return FileName::path(source.name.as_str()).line(line).char_column(column).into();
    };
    let mut snippet = Snippet::source(shown)
        .path(source.name.as_str())
        .line_start(if place.origin == Origin::Spec { source.line(lines.start) } else { 1 })
        // The line of an argument is not a line of a file.
        .line_numbering(place.origin == Origin::Spec)
        .annotation(annotation(AnnotationKind::Primary, place, lines.start, &one.label));
    for (other, label) in related {
        snippet = snippet.annotation(annotation(AnnotationKind::Context, *other, lines.start, label));
    }
    snippet.into()
}

fn annotation<'a>(kind: AnnotationKind, place: Place, base: usize, label: &str) -> Annotation<'a> {
    let label = (!label.is_empty()).then(|| normalize_untrusted_str(label));
    kind.span(place.start - base..place.end.max(place.start) - base).label(label)
}

/// The bytes of the lines from the first place to the last, without a byte order mark or the last line break.
fn enclosing_lines(source: &SourceFile, place: Place, others: impl Iterator<Item = Place>) -> Range<usize> {
    let (first, last) =
        others.fold((place.start, place.end), |(first, last), one| (first.min(one.start), last.max(one.end)));
    let before = source.text.get(..first).unwrap_or_default();
    let start = before
        .rfind(['\n', super::source::BYTE_ORDER_MARK])
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let end =
        source.text.get(last..).and_then(|rest| rest.find(['\r', '\n'])).map_or(source.text.len(), |at| last + at);
    start..end
}

#[cfg(test)]
mod tests {
    use super::super::{Diagnostic, Diagnostics, Origin, Place, SourceFile, catalog};

    fn stride_of_three() -> Diagnostics {
        let text = "blocks:\n  - { t: 1, c: 16, n: 1, s: 3 }\n";
        let mut diagnostics = Diagnostics::new(SourceFile::new("specs/a.yaml", text));
        let start = text.find('3').unwrap();
        let place = Place { origin: Origin::Spec, start, end: start + 1 };
        diagnostics.push(Diagnostic::new(&catalog::STRIDE, "`s` is 3").at(place).help("write 1 or 2"));
        diagnostics
    }

    #[test]
    fn shows_place_line_caret_rule_and_remedy() {
        insta::assert_snapshot!(stride_of_three(), @r"
        error[stride]: `s` is 3
         --> specs/a.yaml:2:29
          |
        2 |   - { t: 1, c: 16, n: 1, s: 3 }
          |                             ^
          |
          = rule: a stride is 1 or 2
          = help: write 1 or 2
        ");
    }

    #[test]
    fn only_the_first_details_are_shown() {
        let mut diagnostics = Diagnostics::new(SourceFile::new("w.safetensors", ""));
        let mut mistake = Diagnostic::new(&catalog::WEIGHTS_FIT, "the weights differ").help("import them again");
        for at in 0..42 {
            mistake = mistake.detail(format!("tensor{at}"), "is\x1b missing");
        }
        diagnostics.push(mistake);
        let text = diagnostics.to_string();
        let shown: Vec<&str> = text.lines().filter(|line| line.contains(": is")).collect();
        assert_eq!((shown.len(), shown[2]), (3, " = tensor2: is\u{241b} missing"), "{text}");
        assert!(text.contains(" = note: and 39 more\n = rule: "), "{text}");
    }

    #[test]
    fn colors_only_on_request() {
        assert!(!stride_of_three().render(false).contains('\x1b'));
        let colored = stride_of_three().render(true);
        assert!(colored.contains("\x1b[1m\x1b[91merror"), "{colored:?}");
    }

    #[test]
    fn an_error_without_a_place_names_the_file() {
        let mut diagnostics = Diagnostics::new(SourceFile::new("specs/a.yaml", ""));
        diagnostics.push(Diagnostic::new(&catalog::FILE, "file `specs/a.yaml` not found").help("run `mbvc init`"));
        insta::assert_snapshot!(diagnostics, @r"
        error[file]: file `specs/a.yaml` not found
        --> specs/a.yaml
         = rule: a spec is a readable file
         = help: run `mbvc init`
        ");
    }
}

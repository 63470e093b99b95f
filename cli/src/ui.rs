//! Output of the command: styles, messages, progress bars, tables, and numbers for people.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use mbvc_compiler::diagnostic::Diagnostics;

pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
pub const ACCENT: Style = AnsiColor::Cyan.on_default();
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// The styles of clap's help and errors.
pub const CLAP: clap::builder::Styles = clap::builder::Styles::styled()
    .header(BOLD)
    .usage(BOLD)
    .literal(ACCENT)
    .placeholder(DIM)
    .error(ERROR)
    .valid(GOOD)
    .invalid(WARNING);

/// Prints a line on standard output; see [`print`].
macro_rules! outln {
    () => { $crate::ui::print(format_args!("\n")) };
    ($($part:tt)*) => { $crate::ui::print(format_args!("{}\n", format_args!($($part)*))) };
}
pub(crate) use outln;

/// Prints on standard output, without color if it is not a terminal.
///
/// A closed pipe (`mbvc dump | head`) ends the process silently with status 0. Any other failure, such as a full disk,
/// is reported and ends it with status 1.
pub fn print(text: fmt::Arguments<'_>) {
    let mut out = anstream::stdout().lock();
    if let Err(cause) = out.write_fmt(text).and_then(|()| out.flush()) {
        if cause.kind() != io::ErrorKind::BrokenPipe {
            error(&format!("cannot write to standard output: {cause}"));
        }
        std::process::exit(i32::from(cause.kind() != io::ErrorKind::BrokenPipe));
    }
}

/// Prints a value as one line of JSON.
pub fn json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => print(format_args!("{line}\n")),
        Err(cause) => error(&format!("cannot write JSON: {cause}")),
    }
}

/// Prints a labeled message on standard error. A closed standard error is not a failure.
fn message(style: Style, label: &str, text: &str) {
    let indent = format!("\n{:width$}", "", width = label.len() + 2);
    let _ = writeln!(anstream::stderr(), "{style}{label}{style:#}: {}", text.replace('\n', &indent));
}

pub fn error(text: &str) {
    message(ERROR, "error", text);
}

pub fn warning(text: &str) {
    message(WARNING, "warning", text);
}

/// Warns before a measurement with a command built without optimization.
pub fn warn_unoptimized() {
    if cfg!(debug_assertions) {
        warning(
            "this command was built without optimization, so its times are not representative; use `cargo run --release`",
        );
    }
}

pub fn note(text: &str) {
    message(ACCENT, "note", text);
}

pub fn help(text: &str) {
    message(ACCENT, " help", text);
}

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Records the option `--verbose`.
pub fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Whether the output of other programs is printed.
pub fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// Prints the output of another program on standard error.
pub fn details(text: &str) {
    let _ = writeln!(anstream::stderr(), "{DIM}{text}{DIM:#}");
}

/// Prints the errors of a spec, with color if standard error is a terminal.
pub fn diagnostics(mistakes: &Diagnostics) {
    // anstream strips the colors otherwise.
    let _ = writeln!(anstream::stderr(), "{}", mistakes.render(true));
}

/// A progress bar on standard error, which is cleared when it is dropped. Hidden if standard error is not a terminal,
/// and for a single item, which shows nothing in between.
pub fn progress(length: usize, what: &str) -> ProgressBar {
    if length < 2 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(length as u64), target()).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30.cyan/dim} {pos}/{len} {wide_msg:.dim} {eta}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// Standard error if it is a terminal.
fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// A progress line on standard error for work of unknown length, which is cleared when it is dropped. Hidden if
/// standard error is not a terminal.
pub fn spinner(what: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target()).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}") {
        bar.set_style(style);
    }
    bar.set_message(what.into());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// Columns of the terminal that standard output is; 80 if it is not a terminal.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0))
}

/// Breaks every line of `text` between words, so that it fits `width` columns. Styles take no columns.
pub fn wrap(text: &str, width: usize) -> String {
    let wrapped = text.split('\n').map(|line| {
        let (mut wrapped, mut column) = (String::new(), 0);
        for word in line.split(' ') {
            let length = visible(word);
            if column > 0 {
                let fits = column + 1 + length <= width;
                wrapped.push(if fits { ' ' } else { '\n' });
                column = if fits { column + 1 } else { 0 };
            }
            wrapped += word;
            column += length;
        }
        wrapped
    });
    wrapped.collect::<Vec<_>>().join("\n")
}

/// A table: a dimmed header, then the rows, with two spaces between columns. `columns` aligns each to the left (`<`) or
/// to the right (`>`).
pub fn table(header: &[&str], columns: &str, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut lines = vec![header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);
    let widths: Vec<usize> = (0..header.len())
        .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|cell| visible(cell)).max().unwrap_or(0))
        .collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).zip(columns.chars()).map(|((cell, width), side)| {
            let space = " ".repeat(width - visible(cell));
            if side == '>' { space + cell } else { format!("{cell}{space}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = lines.iter().map(line);
    let head = lines.next().unwrap_or_default();
    format!("{DIM}{head}{DIM:#}\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Columns of a text on a terminal. Styles take none.
fn visible(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// A count with a decimal prefix: `300.8 M`.
pub struct Count(pub f64);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, letter) = match self.0 {
            v if v >= 1e9 => (v / 1e9, " G"),
            v if v >= 1e6 => (v / 1e6, " M"),
            v if v >= 1e4 => (v / 1e3, " k"),
            v => return f.pad(&format!("{v:.0}")),
        };
        f.pad(&format!("{value:.digits$}{letter}", digits = if value < 10.0 { 2 } else { 1 }))
    }
}

/// A size in decimal units: `1.23 MB`.
pub struct Bytes(pub usize);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 as f64 {
            v if v >= 1e6 => (v / 1e6, "MB"),
            v if v >= 1e3 => (v / 1e3, "kB"),
            v => return f.pad(&format!("{v:.0} B")),
        };
        f.pad(&format!("{value:.digits$} {unit}", digits = if value < 10.0 { 2 } else { 1 }))
    }
}

/// A whole number in groups of three digits: `3 489 097`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `one image`, `3 images`.
pub fn plural(count: usize, thing: &str) -> String {
    if count == 1 { format!("one {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted() {
        assert_eq!(Count(300_774_272.0).to_string(), "300.8 M");
        assert_eq!(Count(9_000.0).to_string(), "9000");
        assert_eq!(Count(1.5e6).to_string(), "1.50 M");
        assert_eq!(Bytes(1_234_567).to_string(), "1.23 MB");
        assert_eq!(Bytes(12).to_string(), "12 B");
        assert_eq!(grouped(3_489_097), "3 489 097");
        assert_eq!(grouped(12), "12");
        assert_eq!(plural(1, "mistake"), "one mistake");
    }

    #[test]
    fn text_wraps_between_words() {
        assert_eq!(wrap("one two three", 7), "one two\nthree");
        assert_eq!(wrap("one two three", 6), "one\ntwo\nthree");
        assert_eq!(wrap("incomprehensible word\n\nend", 5), "incomprehensible\nword\n\nend");
        let styled = format!("{BOLD}one{BOLD:#} two");
        assert_eq!(wrap(&styled, 7), styled, "styles take no columns");
    }

    #[test]
    fn tables_align() {
        let text = anstream::adapter::strip_str(&table(
            &["step", "ms"],
            "<>",
            [vec![format!("{BOLD}stem{BOLD:#}"), "0.5".into()], vec!["classifier".into(), "10.5".into()]],
        ))
        .to_string();
        assert_eq!(text, "step          ms\nstem         0.5\nclassifier  10.5");
    }
}

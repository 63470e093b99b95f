//! What the command says: styles, progress, tables, and numbers that people read.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
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
#[macro_export]
macro_rules! outln {
    () => { $crate::ui::print(format_args!("\n")) };
    ($($part:tt)*) => { $crate::ui::print(format_args!("{}\n", format_args!($($part)*))) };
}

/// Prints on standard output, without color where that is no terminal.
///
/// A reader that went away (`mbvc dump | head`) ends the process quietly: there is nobody left to tell. Any other
/// failure, a full disk for instance, is told and ends it with status 1.
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

/// Standard error; that nobody reads it is no reason to fail.
fn say(style: Style, label: &str, text: &str) {
    let indent = format!("\n{:width$}", "", width = label.len() + 2);
    let _ = writeln!(anstream::stderr(), "{style}{label}{style:#}: {}", text.replace('\n', &indent));
}

pub fn error(text: &str) {
    say(ERROR, "error", text);
}

pub fn warning(text: &str) {
    say(WARNING, "warning", text);
}

/// Warns where a measurement would tell of the build, not of the network.
pub fn unoptimized() {
    if cfg!(debug_assertions) {
        warning(
            "this command is built without optimization: the times are not those of users; use cargo run --release",
        );
    }
}

pub fn note(text: &str) {
    say(ACCENT, "note", text);
}

pub fn help(text: &str) {
    say(ACCENT, " help", text);
}

/// Prints mistakes of a spec, colored where standard error is a terminal.
pub fn diagnostics(mistakes: &Diagnostics) {
    // anstream strips what the terminal does not want.
    let _ = writeln!(anstream::stderr(), "{}", mistakes.render(true));
}

/// A progress bar on standard error, hidden where that is no terminal.
pub fn progress(length: usize, what: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(length as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30.cyan/dim} {pos}/{len} {wide_msg:.dim} {eta}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// A spinner on standard error for work of unknown length, hidden where that is no terminal.
pub fn spinner(what: impl Into<String>) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}") {
        bar.set_style(style);
    }
    bar.set_message(what.into());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// Rows under a header, two spaces between columns; `columns` is one of `<` and `>` a column.
pub fn table(header: &[&str], columns: &str, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (column, side) in table.column_iter_mut().zip(columns.chars()) {
        column.set_padding((0, 2));
        column.set_cell_alignment(if side == '>' { CellAlignment::Right } else { CellAlignment::Left });
    }
    let mut lines = table.lines().map(|line| line.trim_end().to_owned());
    let head = lines.next().unwrap_or_default();
    let body: Vec<String> = lines.collect();
    format!("{DIM}{head}{DIM:#}\n{}", body.join("\n"))
}

/// A count with one letter for its size: `300.8 M`.
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

/// Bytes in decimal units: `1.23 MB`.
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

/// A whole number with thin groups of three: `3 489 097`.
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
    fn numbers_read_well() {
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
    fn tables_align() {
        let text = anstream::adapter::strip_str(&table(
            &["step", "ms"],
            "<>",
            [vec!["stem".into(), "0.5".into()], vec!["classifier".into(), "10.5".into()]],
        ))
        .to_string();
        assert_eq!(text, "step          ms\nstem         0.5\nclassifier  10.5");
    }
}

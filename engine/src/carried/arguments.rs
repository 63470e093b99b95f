//! Command line of the program.

use std::ffi::{OsStr, OsString};

/// A parsed command line.
#[derive(Debug, PartialEq)]
pub enum Request {
    Help,
    About,
    Classify(Options),
}

/// Images to classify, and options.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Paths, or `-` for standard input.
    pub images: Vec<OsString>,
    /// Number of classes to show.
    pub top: usize,
    /// Whether to write a line of JSON for each image.
    pub json: bool,
    /// Height and width, if the images are raw pixels.
    pub size: Option<[usize; 2]>,
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// If an argument is invalid. The message describes the first one.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut options = Options { images: Vec::new(), top: 5, json: false, size: None };
    let mut arguments = arguments.into_iter();
    let mut all_images = false;
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default();
        if all_images || argument == "-" || !argument.as_encoded_bytes().starts_with(b"-") {
            options.images.push(argument);
            continue;
        }
        // `--top 3` and `--top=3`.
        let (name, given) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let mut value = |what: &str| match given.clone() {
            Some(value) => Ok(value),
            None => {
                arguments.next().and_then(|value| value.into_string().ok()).ok_or(format!("{name} requires {what}"))
            }
        };
        match name {
            "--top" => {
                let value = value("a number of classes")?;
                let wrong = || format!("--top {value}: expected a number of classes of at least 1");
                options.top = value.parse().ok().filter(|top| *top > 0).ok_or_else(wrong)?;
            }
            "--size" => {
                let value = value("a width and height such as 640x480")?;
                options.size =
                    Some(size(&value).ok_or(format!("--size {value}: expected a width and height such as 640x480"))?);
            }
            _ if given.is_some() => return Err(unknown(&argument)),
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Request::Help),
            "--about" | "--version" | "-V" => return Ok(Request::About),
            "--" => all_images = true,
            _ => return Err(unknown(&argument)),
        }
    }
    if options.images.is_empty() { Err("expected an image".to_owned()) } else { Ok(Request::Classify(options)) }
}

fn unknown(argument: &OsStr) -> String {
    format!("unknown option {}", argument.display())
}

/// Parses `640x480` to height and width.
fn size(text: &str) -> Option<[usize; 2]> {
    let (width, height) = text.split_once(['x', 'X'])?;
    let side = |text: &str| text.parse().ok().filter(|side| *side > 0);
    Some([side(height)?, side(width)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Request, String> {
        read(arguments.iter().map(OsString::from))
    }

    #[test]
    fn options_may_follow_images() {
        let expected = Options {
            images: vec!["a.ppm".into(), "-".into(), "--json".into()],
            top: 3,
            json: true,
            size: Some([480, 640]),
        };
        assert_eq!(
            parsed(&["a.ppm", "--top=3", "--size", "640x480", "--json", "-", "--", "--json"]),
            Ok(Request::Classify(expected))
        );
        assert_eq!(parsed(&["a.ppm", "--help"]), Ok(Request::Help));
        assert_eq!(parsed(&["--version"]), Ok(Request::About));
    }

    #[test]
    fn invalid_arguments_are_errors() {
        for (arguments, part) in [
            (&[][..], "expected an image"),
            (&["--"], "expected an image"),
            (&["a.ppm", "--tops"], "unknown option --tops"),
            (&["a.ppm", "-x"], "unknown option -x"),
            (&["a.ppm", "--json=yes"], "unknown option --json=yes"),
            (&["a.ppm", "--top"], "--top requires a number"),
            (&["a.ppm", "--top", "0"], "at least 1"),
            (&["a.ppm", "--top", "-1"], "--top -1"),
            (&["a.ppm", "--size=640"], "such as 640x480"),
            (&["a.ppm", "--size=0x4"], "such as 640x480"),
            (&["a.ppm", "--size=99999999999999999999x1"], "such as 640x480"),
        ] {
            let said = parsed(arguments).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
    }
}

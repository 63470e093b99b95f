//! What the program was asked for.

use std::ffi::{OsStr, OsString};

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Asked {
    Help,
    About,
    Classify(Options),
}

/// How to classify what.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Files, and `-` for standard input.
    pub images: Vec<OsString>,
    /// How many classes to show.
    pub top: usize,
    /// A line of JSON for each image.
    pub json: bool,
    /// Height and width of raw pixels, if the images are those.
    pub size: Option<[usize; 2]>,
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// The first that is not understood.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
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
            None => arguments.next().and_then(|value| value.into_string().ok()).ok_or(format!("{name} needs {what}")),
        };
        match name {
            "--top" => {
                let value = value("a number of classes")?;
                let wrong = || format!("--top {value}: not a number of classes, which is at least 1");
                options.top = value.parse().ok().filter(|top| *top > 0).ok_or_else(wrong)?;
            }
            "--size" => {
                let value = value("the width and height of raw pixels, such as 640x480")?;
                options.size =
                    Some(size(&value).ok_or(format!("--size {value}: write width x height, such as 640x480"))?);
            }
            _ if given.is_some() => return Err(unknown(&argument)),
            "--json" => options.json = true,
            "--help" | "-h" => return Ok(Asked::Help),
            "--about" | "--version" | "-V" => return Ok(Asked::About),
            "--" => all_images = true,
            _ => return Err(unknown(&argument)),
        }
    }
    if options.images.is_empty() { Err("no image was named".to_owned()) } else { Ok(Asked::Classify(options)) }
}

fn unknown(argument: &OsStr) -> String {
    format!("unknown option {}", argument.display())
}

/// Height and width of `640x480`.
fn size(text: &str) -> Option<[usize; 2]> {
    let (width, height) = text.split_once(['x', 'X'])?;
    let side = |text: &str| text.parse().ok().filter(|side| *side > 0);
    Some([side(height)?, side(width)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Result<Asked, String> {
        read(arguments.iter().map(OsString::from))
    }

    #[test]
    fn options_stand_anywhere() {
        let expected = Options {
            images: vec!["a.ppm".into(), "-".into(), "--json".into()],
            top: 3,
            json: true,
            size: Some([480, 640]),
        };
        assert_eq!(
            asked(&["a.ppm", "--top=3", "--size", "640x480", "--json", "-", "--", "--json"]),
            Ok(Asked::Classify(expected))
        );
        assert_eq!(asked(&["a.ppm", "--help"]), Ok(Asked::Help));
        assert_eq!(asked(&["--version"]), Ok(Asked::About));
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for (arguments, told) in [
            (&[][..], "no image was named"),
            (&["--"], "no image was named"),
            (&["a.ppm", "--tops"], "unknown option --tops"),
            (&["a.ppm", "-x"], "unknown option -x"),
            (&["a.ppm", "--json=yes"], "unknown option --json=yes"),
            (&["a.ppm", "--top"], "--top needs a number"),
            (&["a.ppm", "--top", "0"], "at least 1"),
            (&["a.ppm", "--top", "-1"], "--top -1"),
            (&["a.ppm", "--size=640"], "such as 640x480"),
            (&["a.ppm", "--size=0x4"], "such as 640x480"),
            (&["a.ppm", "--size=99999999999999999999x1"], "such as 640x480"),
        ] {
            let said = asked(arguments).unwrap_err();
            assert!(said.contains(told), "{said}");
        }
    }
}

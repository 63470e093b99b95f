//! The program that `mbvc build` writes: it classifies pictures.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use super::arguments::{self, Options, Request};
use super::model::{Model, Work};
use super::{Generated, VERSION, picture, rt, weights};

/// Exit status of a failure.
const FAILURE: u8 = 1;
/// Exit status of invalid arguments.
const MISUSE: u8 = 2;

/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 30;

/// Runs the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let called = arguments.next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or(Generated::INFO.name.as_ref()).to_string_lossy().into_owned();
    let request = match arguments::read(arguments) {
        Ok(request) => request,
        Err(reason) => {
            print_error(&format!("{reason}\nsee {name} --help"));
            return ExitCode::from(MISUSE);
        }
    };
    let done = match request {
        Request::Help => print(&help(&name)),
        Request::About => Model::from_container(weights::bytes()).and_then(|model| print(&about(&model)?)),
        Request::Classify(options) => {
            Model::from_container(weights::bytes()).and_then(|model| classify(&model, &options))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            print_error(&reason);
            ExitCode::from(FAILURE)
        }
    }
}

/// Prints an error on standard error; a failure to do so is ignored.
fn print_error(reason: &str) {
    let _ = writeln!(io::stderr(), "error: {}", reason.replace('\n', "\n       "));
}

/// Prints on standard output. A closed pipe ends the program successfully.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(cause) => Err(format!("cannot write to standard output: {cause}")),
        Ok(()) => Ok(()),
    }
}

fn help(name: &str) -> String {
    let [height, width, channels] = Generated::INPUT;
    let (bytes, before) = match channels {
        1 => ("gray bytes", ", converted to gray"),
        _ => ("red, green and blue\nbytes", ""),
    };
    let (network, classes) = (Generated::INFO.name, Generated::CLASSES);
    format!(
        "{name}: classifies pictures with {network} at {width}x{height}, {classes} classes

Usage: {name} [OPTIONS] IMAGE...

An image is a binary PPM or PGM file, an uncompressed BMP file, raw pixels of {width}x{height} ({bytes}, row by
row), or `-` for one of these on standard input. It is framed{before} and preprocessed as the weights specify.

Options:
  --top N     Number of classes to show [default: 5]
  --size WxH  The images are raw pixels of this width and height
  --json      One line of JSON for each image
  --about     Facts of the network, and its kernels on this processor (also --version)
  --help      Print this help

Environment:
  MBVC_ISA       Instruction set, one of those that --about lists
  MBVC_NUMERICS  Numerics: `strict` or `fast`

The exit status is 0, 1 if an image cannot be read, 2 if the arguments are invalid.
"
    )
}

/// # Errors
/// If `MBVC_NUMERICS` is invalid.
fn about(model: &Model) -> Result<String, String> {
    let info = Generated::INFO;
    let [height, width, channels] = info.input;
    let isas: Vec<_> = info.isas.iter().map(|isa| isa.name()).collect();
    let numerics = info.numerics.choose().map_err(|error| error.to_string())?;
    let labels = match model.labels().len() {
        0 => "no labels".to_owned(),
        count => format!("{count} labels"),
    };
    let facts = [
        ("network", format!("{}, [{height}, {width}, {channels}] to {} classes ({labels})", info.name, info.classes)),
        ("precision", info.conventions.precision.to_string()),
        ("pictures", model.framing().to_string()),
        ("scores", model.head_activation().to_string()),
        ("fusion", info.fusion.to_owned()),
        ("numerics", format!("{numerics} (compiled: {})", info.numerics)),
        ("ISA", format!("{} (compiled: {})", model.isa(), isas.join(", "))),
        ("threads", info.threads.to_string()),
        ("weights", format!("{} bytes, packed {}", weights::bytes().len(), model.packed_bytes())),
        ("scratch", format!("{} bytes", info.scratch_bytes)),
        ("mbvc", VERSION.to_owned()),
    ];
    Ok(facts.iter().fold(String::new(), |text, (name, value)| text + &format!("{name:<10}{value}\n")))
}

/// Classifies the images in order. One that cannot be read is reported and skipped.
fn classify(model: &Model, options: &Options) -> Result<(), String> {
    let mut work = Work::new();
    let mut failed = 0;
    for image in &options.images {
        let shown = image.to_string_lossy();
        match read(image, options.size) {
            Ok(picture) => {
                let pixels = model.frame(&picture);
                let start = Instant::now();
                model.run_pixels(&mut work, &pixels).map_err(|error| error.to_string())?;
                let ms = start.elapsed().as_secs_f64() * 1e3;
                let best = model.best(&work, options.top);
                let activation = model.head_activation();
                let answer = Answer { image: &shown, best: &best, activation, labels: model.labels(), ms };
                print(&if options.json { answer.json() } else { answer.to_string() })?;
            }
            Err(reason) => {
                failed += 1;
                print_error(&format!("{shown}: {reason}"));
            }
        }
    }
    match (failed, options.images.len()) {
        (0, _) => Ok(()),
        (_, 1) => std::process::exit(FAILURE.into()),
        (failed, all) => Err(format!("cannot read {failed} of {all} images")),
    }
}

/// Reads a file, or standard input for `-`.
fn read(image: &OsStr, size: Option<[usize; 2]>) -> Result<rt::Rgb<'static>, String> {
    let unreadable = |cause: io::Error| format!("cannot read the image: {cause}");
    let mut bytes = Vec::new();
    let most = MAX_BYTES + 1;
    let read = match image.as_encoded_bytes() {
        b"-" => io::stdin().lock().take(most).read_to_end(&mut bytes),
        _ => File::open(image).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    if read.map_err(unreadable)? as u64 > MAX_BYTES {
        return Err(format!("the file is longer than {MAX_BYTES} bytes; shrink the picture first"));
    }
    let [height, width, channels] = Generated::INPUT;
    match size {
        Some([height, width]) => picture::raw_pixels(bytes, [height, width, channels])
            .map_err(|reason| format!("{reason}; correct --size, or remove it if the file is not raw pixels")),
        None => picture::decode(bytes, [height, width, channels]),
    }
}

/// Classes of an image.
struct Answer<'a> {
    image: &'a str,
    /// Classes and their scores.
    best: &'a [(usize, f32)],
    activation: rt::HeadActivation,
    labels: &'a [rt::String],
    /// Time of the network alone.
    ms: f64,
}

impl Answer<'_> {
    fn json(&self) -> String {
        let mut line = format!("{{\"image\":{},\"predictions\":[", quoted(self.image));
        for (at, (class, score)) in self.best.iter().enumerate() {
            let _ = write!(line, "{}{{\"index\":{class}", if at > 0 { "," } else { "" });
            if let Some(label) = self.labels.get(*class) {
                let _ = write!(line, ",\"label\":{}", quoted(label));
            }
            let _ = if score.is_finite() {
                write!(line, ",\"score\":{score}}}")
            } else {
                write!(line, ",\"score\":null}}")
            };
        }
        let _ = writeln!(line, "],\"activation\":\"{}\",\"ms\":{:.4}}}", self.activation, self.ms);
        line
    }
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {:.2} ms", self.image, self.ms)?;
        for (class, score) in self.best {
            match self.activation.yields_probabilities() {
                true => write!(f, "  {:6.2} %  ", score * 100.0)?,
                false => write!(f, "  {score:8.3}  ")?,
            }
            match self.labels.get(*class) {
                Some(label) => writeln!(f, "{label}")?,
                None => writeln!(f, "class {class}")?,
            }
        }
        Ok(())
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_json_that_others_read() {
        let labels = ["plain".into(), "a \"b\" \\ c\n\t\u{1} é".into()];
        let best = [(1, 0.75), (0, 1e-9), (7, f32::NAN)];
        let activation = rt::HeadActivation::Softmax;
        let answer = Answer { image: "a\\b.ppm", best: &best, activation, labels: &labels, ms: 0.5 };
        let read: serde_json::Value = serde_json::from_str(&answer.json()).unwrap();
        assert_eq!(
            read,
            serde_json::json!({ "image": "a\\b.ppm", "activation": "softmax", "ms": 0.5, "predictions": [
                { "index": 1, "label": labels[1], "score": 0.75 },
                { "index": 0, "label": "plain", "score": 1e-9 },
                { "index": 7, "score": null },
            ]})
        );
        assert!(answer.to_string().starts_with("a\\b.ppm  0.50 ms\n   75.00 %  a \"b\""), "{answer}");
        let answer = Answer { activation: rt::HeadActivation::None, ..answer };
        assert!(answer.to_string().starts_with("a\\b.ppm  0.50 ms\n     0.750  a \"b\""), "{answer}");
    }
}

//! `classify` with many images: their order, unreadable ones, `--timing`, and interruption.

mod common;

use std::path::Path;

use common::{bad, good, json_lines, mbvc, picture, tiny};
use serde_json::Value;

const CLASSIFY: [&str; 5] = ["classify", "--weights", "tiny.safetensors", "--spec", "tiny.yaml"];

/// Writes `count` pictures of noise and returns their names.
fn pictures(folder: &Path, count: u32) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|number| format!("{number:03}.png")).collect();
    for (number, name) in names.iter().enumerate() {
        picture(&folder.join(name), number as u32 * 2 + 1);
    }
    names
}

fn with<'a>(names: &'a [String], options: &[&'a str]) -> Vec<&'a str> {
    CLASSIFY.iter().copied().chain(options.iter().copied()).chain(names.iter().map(String::as_str)).collect()
}

#[test]
fn results_have_the_order_of_the_images_and_a_damaged_one_does_not_stop_the_others() {
    let folder = tiny();
    let names = pictures(folder.path(), 60);
    std::fs::write(folder.path().join(&names[31]), b"\x89PNG\r\n\x1a\n").unwrap();
    let (out, said) = bad(folder.path(), &with(&names, &["--json", "--timing"]), 1);
    assert!(said.contains("031.png") && said.contains("one image of 60 could not be read"), "{said}");
    let mut lines = json_lines(&out);
    let timing = lines.pop().unwrap();
    let shown: Vec<_> = lines.iter().map(|line| line["image"].as_str().unwrap().to_owned()).collect();
    let readable: Vec<_> = names.iter().filter(|name| **name != names[31]).cloned().collect();
    assert_eq!(shown, readable);
    for at in [0, 17, 58] {
        let alone = json_lines(&good(folder.path(), &with(&readable[at..=at], &["--json"])));
        assert_eq!(alone.len(), 1, "no timing unless it is requested");
        assert_eq!(alone[0]["predictions"], lines[at]["predictions"], "{}", readable[at]);
    }
    let fields = timing["timing"].as_object().unwrap();
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["decode_ms", "images", "images_per_second", "network_ms", "resize_ms", "threads"]);
    assert_eq!(fields["images"], 59);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(fields["threads"], processors.min(60));
    assert!(fields.values().all(|value| value.as_f64().is_some_and(|value| value > 0.0)), "{fields:?}");
}

#[test]
fn timing_is_a_line_of_text() {
    let folder = tiny();
    let names = pictures(folder.path(), 3);
    let plain = good(folder.path(), &with(&names, &[]));
    assert!(!plain.contains("per second"), "{plain}");
    for count in [1, 3] {
        let timed = good(folder.path(), &with(&names[..count], &["--timing"]));
        let last = timed.lines().last().unwrap();
        let parts = [" images per second on ", "; per image: decode ", " ms, resize ", " ms, network "];
        assert!(parts.iter().all(|part| last.contains(part)), "{timed}");
    }
}

/// No image is readable: the throughput is 0, not a division by 0.
#[test]
fn timing_without_images() {
    let folder = tiny();
    std::fs::write(folder.path().join("a.png"), "text").unwrap();
    let (out, _) = bad(folder.path(), &with(&["a.png".to_owned()], &["--json", "--timing"]), 1);
    let [line] = &json_lines(&out)[..] else { panic!("{out}") };
    assert_eq!((&line["timing"]["images"], &line["timing"]["decode_ms"]), (&Value::from(0), &Value::from(0.0)));
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_command() {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    let folder = tiny();
    let names = pictures(folder.path(), 1);
    // Compiles the network.
    good(folder.path(), &with(&names, &[]));
    // More output than a pipe holds: the command cannot end before it is read.
    let many: Vec<_> = std::iter::repeat_n(names[0].clone(), 4000).collect();
    let assembled = mbvc(folder.path(), &with(&many, &["--json"]));
    let mut command = Command::new(assembled.get_program());
    command.args(assembled.get_args()).current_dir(folder.path()).env("MBVC_CACHE", common::cache());
    let mut started = command.env_remove("MBVC_ISA").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(started.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    // SIGINT is ignored if the tests run in the background of a shell. The command handles neither signal.
    assert!(Command::new("kill").args(["-TERM", &started.id().to_string()]).status().unwrap().success());
    let status = started.wait().unwrap();
    assert_eq!(status.signal(), Some(15), "{status}");
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(json_lines(&first).len() == 1 && rest.lines().count() < many.len(), "interrupted");
}

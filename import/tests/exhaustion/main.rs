//! Small files that request much time or memory, each through a different form of repetition in its format. Allocations
//! are in proportion to the file's size, or the file is rejected.

#[path = "../common/counting.rs"]
mod counting;
mod flatbuffer;
mod keras;
mod onnx;
mod tflite;
mod torch;

use std::time::{Duration, Instant};

use counting::assert_little_memory;
use mbvc_import::{Imported, Labels, ReadOptions, read_bytes};

/// Reads a file that is not a network, and returns the error's message.
fn rejection(bytes: &[u8], name: &str) -> String {
    within_limits(|| read_bytes(bytes, name, &ReadOptions::default()).map(|imported: Imported| imported.facts))
        .unwrap_err()
        .to_string()
}

/// Each of these took minutes or gigabytes. The time is that of the processor, without optimization.
fn within_limits<T>(work: impl FnOnce() -> T) -> T {
    const LONGEST: Duration = Duration::from_secs(20);
    let (started, before) = (Instant::now(), processor_time());
    let made = work();
    let took = processor_time().zip(before).map_or_else(|| started.elapsed(), |(after, before)| after - before);
    assert!(took < LONGEST, "it took {took:?}");
    assert_little_memory();
    made
}

/// Time for which this thread has run, on Linux. Elapsed time would depend on other processes.
fn processor_time() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    statistics.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Whether a first line is empty was found out for every line again.
#[test]
fn blank_lines_before_labels() {
    let text = format!("{}cat", "\n".repeat(1 << 20));
    let error = within_limits(|| Labels::parse(text.as_bytes(), "labels.txt")).unwrap_err().to_string();
    assert!(error.contains("label 0 is empty"), "{error}");
    let error = Labels::parse(&vec![b'a'; (1 << 22) + 1], "labels.txt").unwrap_err().to_string();
    assert!(error.contains("too large"), "{error}");
}

/// Every module with the name of a first layer was the beginning of a network, and all names were looked through for it.
#[test]
fn safetensors_of_thousands_of_first_layers() {
    let entry = |number: usize| {
        format!(r#""m{number}.features.0.0.weight":{{"dtype":"F32","shape":[0,1,1,1],"data_offsets":[0,0]}}"#)
    };
    let file = |count: usize| {
        let header = format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(","));
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
    };
    let error = rejection(&file(1 << 14), "m.safetensors");
    assert!(error.contains("unknown tensor names"), "{error}");
    let error = rejection(&file((1 << 14) + 1), "m.safetensors");
    assert!(error.contains("16385 tensors") && error.contains("at most 16384"), "{error}");
}

/// The header is decoded to several times its size.
#[test]
fn a_safetensors_header_of_megabytes() {
    let header = format!("{{{}}}", " ".repeat(1 << 23));
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let error = rejection(&bytes, "m.safetensors");
    assert!(error.contains("header has 8388610 bytes"), "{error}");
    let error = mbvc_import::Container::from_bytes(&bytes, "m.safetensors").unwrap_err().to_string();
    assert!(error.contains("header has 8388610 bytes"), "{error}");
}

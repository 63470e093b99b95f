//! The memory that `classify` takes for pictures of each format.
#![cfg(target_os = "linux")]

mod common;

use common::{good, json_lines, picture, tiny};

/// Writes pictures of 1600x1600 pixels, and of 3000x3000 with 16 bits.
const PICTURES: &str = "
import os, struct, sys, zlib
from PIL import Image
folder, SIDE, DEEP = sys.argv[1], 1600, 3000
chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
for interlaced in (0, 1):
    stream = zlib.compressobj()
    rows = DEEP if not interlaced else DEEP * 15 // 8
    data = b''.join(stream.compress(bytes(1 + DEEP * 6)) for _ in range(rows)) + stream.flush()
    with open(f'{folder}/deep{interlaced}.png', 'wb') as file:
        file.write(b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', DEEP, DEEP, 16, 2, 0, 0, interlaced)))
        file.write(chunk(b'IDAT', data) + chunk(b'IEND', b''))
noise = Image.effect_noise((64, 64), 80).convert('RGB')
noise.save(folder + '/small.png')
picture = noise.resize((SIDE, SIDE))
picture.save(folder + '/baseline.jpg', subsampling=0)
os.mkdir(folder + '/many')
for number in range(24):
    os.link(folder + '/baseline.jpg', f'{folder}/many/{number}.jpg')
picture.save(folder + '/progressive.jpg', subsampling=0, progressive=True)
picture.save(folder + '/plain.bmp')
picture.save(folder + '/lossy.webp')
picture.save(folder + '/lossless.webp', lossless=True, method=0)
";

/// Runs the command on each picture, and prints the peak of its memory in kB. The peak of a child is at least that of the
/// process that starts it, which therefore imports nothing else.
const PEAKS: &str = "
import json, os, sys
folder, command, peaks = sys.argv[1], sys.argv[2:], {}
for name in sorted(os.listdir(folder)):
    output = [(os.POSIX_SPAWN_OPEN, 1, '/dev/null', os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], [*command, folder + '/' + name], os.environ, file_actions=output)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, name
    peaks[name] = usage.ru_maxrss
print(json.dumps(peaks))
";

/// The memory for a pixel is what the limit of pixels assumes, whatever the file contains.
#[test]
fn pictures_take_bounded_memory() {
    let folder = tiny();
    picture(&folder.path().join("a.png"), 1);
    let classify = ["classify", "--weights", "tiny.safetensors", "--spec", "tiny.yaml"];
    // The network is compiled now, which takes more memory.
    good(folder.path(), &[&classify[..], &["a.png"]].concat());
    std::fs::create_dir(folder.path().join("pictures")).unwrap();
    let python = |script: &str| {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script, "pictures"]).arg(assert_cmd::cargo::cargo_bin("mbvc")).args(classify);
        python.current_dir(folder.path()).env("MBVC_CACHE", common::cache()).output()
    };
    let written = python(PICTURES);
    let output = match written.and_then(|written| if written.status.success() { python(PEAKS) } else { Ok(written) }) {
        Ok(output) if output.status.success() => output.stdout,
        other => {
            let required = std::env::var_os("MBVC_REQUIRE_SHARED").is_some_and(|value| value == "1");
            assert!(!required, "Pillow is required here: {other:?}");
            println!("skipped: python3 with Pillow is not installed");
            return;
        }
    };
    let peaks = &json_lines(&String::from_utf8(output).unwrap())[0];
    println!("{peaks}");
    let peak = |name: &str| peaks[name].as_f64().unwrap_or_else(|| panic!("no {name} in {peaks}"));
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    // The peak before the picture is decoded hides some of it: an image of 16 bits that is decoded as a whole takes 9 bytes
    // for a pixel, of which 5 are seen.
    for (name, side, bytes) in [
        ("deep0.png", 3000.0, 3.0),
        ("deep1.png", 3000.0, 3.0),
        ("baseline.jpg", 1600.0, 6.0),
        // One picture for each processor at a time.
        ("many", 1600.0, 6.0 * processors),
        ("progressive.jpg", 1600.0, 9.0),
        ("plain.bmp", 1600.0, 7.0),
        ("lossy.webp", 1600.0, 11.0),
        ("lossless.webp", 1600.0, 11.0),
    ] {
        let found = (peak(name) - peak("small.png")) * 1024.0 / (side * side);
        assert!(found <= bytes, "{name}: {found:.1} bytes for a pixel, expected {bytes}");
    }
}

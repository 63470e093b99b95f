//! Compared with Pillow, if Python has it, and with constructed images.

use std::path::PathBuf;
use std::process::Command;

use image::{ImageBuffer, Rgb, RgbImage, Rgba};

use super::*;

/// Writes the pixels of a file as Pillow resizes it: `python3 -c SCRIPT FILE WIDTH HEIGHT MODE`.
const PILLOW: &str = "
import sys
from PIL import Image, ImageOps
path, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
image = ImageOps.exif_transpose(Image.open(path)).convert(sys.argv[4])
sys.stdout.buffer.write(image.resize((width, height), Image.BILINEAR).tobytes())
";

fn required() -> bool {
    std::env::var_os("MBVC_REQUIRE_SHARED").is_some_and(|value| value == "1")
}

/// `None`, with a note, if Pillow is not installed; panics if it is required.
fn pillow(path: &Path, [height, width, channels]: [usize; 3]) -> Option<Vec<u8>> {
    let mode = if channels == 1 { "L" } else { "RGB" };
    let size = [width.to_string(), height.to_string()];
    let ran = Command::new("python3").args(["-c", PILLOW]).arg(path).args(size).arg(mode).output();
    match ran {
        Ok(output) if output.status.success() => Some(output.stdout),
        other => {
            assert!(!required(), "Pillow is required here: {other:?}");
            println!("skipped: python3 with Pillow is not installed");
            None
        }
    }
}

fn photographs() -> Vec<PathBuf> {
    let shared = std::env::var_os("MBVC_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(shared.join("images")) else {
        assert!(!required(), "{} is required here", shared.display());
        println!("skipped: no {}", shared.display());
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Share of the samples that differ by more than `by`.
fn beyond(ours: &[u8], theirs: &[u8], by: u8) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).filter(|(a, b)| a.abs_diff(**b) > by).count() as f64 / ours.len() as f64
}

fn mean_difference(ours: &[u8], theirs: &[u8]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / ours.len() as f64
}

#[test]
fn photographs_are_resized_as_by_pillow() {
    for path in photographs() {
        for size in [[224, 224, 3], [96, 160, 3], [96, 160, 1]] {
            let Some(theirs) = pillow(&path, size) else { return };
            let ours = load(&path, Framing::default(), size).unwrap();
            let (unequal, far) = (beyond(&ours, &theirs, 0), beyond(&ours, &theirs, 1));
            println!("{} {size:?}: {:.3} % unequal, {far} by more than 1", path.display(), unequal * 100.0);
            // Decoded bitmaps are equal. JPEG decoders may round differently, and Pillow from 13 on resizes tall images
            // vertically first.
            if path.extension().is_some_and(|end| end == "bmp") {
                assert_eq!(unequal, 0.0, "{}", path.display());
            }
            assert!(far <= 0.001, "{}: {far}", path.display());
        }
    }
}

/// A picture with edges and a gradient, which shows a wrong filter or a shift by half a pixel.
fn picture(width: u32, height: u32) -> RgbImage {
    ImageBuffer::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, if (x / 7 + y / 5) % 2 == 0 { 250 } else { 5 }])
    })
}

#[test]
fn any_size_is_resized_as_by_pillow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    for (from, [height, width]) in
        [((61, 47), [224, 224]), ((500, 3), [17, 31]), ((1, 1), [5, 5]), ((300, 200), [1, 1])]
    {
        picture(from.0, from.1).save(&path).unwrap();
        for channels in [3, 1] {
            let to = [height, width, channels];
            let Some(theirs) = pillow(&path, to) else { return };
            assert_eq!(load(&path, Framing::default(), to).unwrap(), theirs, "{from:?} to {to:?}");
        }
    }
}

/// Writes PNG files of every color type and depth, with and without interlacing (PNG specification, chapters 8 and 11),
/// and beside each the pixels that Pillow decodes.
const PNG_FILES: &str = "
import struct, sys, zlib
from PIL import Image
WIDTH, HEIGHT = 13, 11
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
def row(depth, samples, xs, y):
    value = lambda x, at: (x * 7919 + y * 104729 + at * 15485863 >> 2) % (1 << depth)
    bits = ''.join(format(value(x, at), f'0{depth}b') for x in xs for at in range(samples))
    return bytes(1) + bytes(int(bits[at : at + 8].ljust(8, '0'), 2) for at in range(0, len(bits), 8))
for color, samples, depths in [(0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)), (4, 2, (8, 16)), (6, 4, (8, 16))]:
    for depth in depths:
        for interlaced in (0, 1):
            data = b''
            for left, top, right, down in ADAM7 if interlaced else [(0, 0, 1, 1)]:
                xs = range(left, WIDTH, right)
                data += b''.join(row(depth, samples, xs, y) for y in range(top, HEIGHT, down) if xs)
            palette = b''.join(bytes([at * 37 % 256, at * 91 % 256, at]) for at in range(1 << min(depth, 8)))
            name = f'{sys.argv[1]}/{color}-{depth}-{interlaced}'
            with open(name + '.png', 'wb') as file:
                file.write(b'\\x89PNG\\r\\n\\x1a\\n')
                file.write(chunk(b'IHDR', struct.pack('>IIBBBBB', WIDTH, HEIGHT, depth, color, 0, 0, interlaced)))
                file.write(chunk(b'PLTE', palette) if color == 3 else b'')
                file.write(chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b''))
            image = Image.open(name + '.png')
            # Pillow clips gray of 16 bits; other images of 16 bits keep the high byte.
            image = image.point(lambda value: value / 256).convert('L') if image.mode.startswith('I') else image
            with open(name + '.rgb', 'wb') as file:
                file.write(image.convert('RGB').tobytes())
";

/// Runs a script that needs Pillow. Returns `false` if it cannot run here, where Pillow is not required.
fn has_run(script: &mut Command) -> bool {
    match script.output() {
        Ok(output) if output.status.success() => true,
        other => {
            assert!(!required(), "Pillow is required here: {other:?}");
            println!("skipped: python3 with Pillow is not installed");
            false
        }
    }
}

#[test]
fn png_files_are_decoded_as_by_pillow() {
    let folder = tempfile::tempdir().unwrap();
    if !has_run(Command::new("python3").args(["-c", PNG_FILES]).arg(folder.path())) {
        return;
    }
    let mut count = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "png") {
            continue;
        }
        let expected = std::fs::read(path.with_extension("rgb")).unwrap();
        assert!(load(&path, Framing::default(), [11, 13, 3]).unwrap() == expected, "{}", path.display());
        let file = std::fs::read(&path).unwrap();
        std::fs::write(&path, &file[..file.len() - 40]).unwrap();
        assert!(load(&path, Framing::default(), [11, 13, 3]).is_err(), "{} without its end", path.display());
        count += 1;
    }
    assert_eq!(count, 2 * 15);
}

/// Writes an enlarged photograph as JPEG files, and beside each the pixels that libjpeg decodes at a quarter of the size, as
/// Pillow resizes them to 224 by 224.
const REDUCED: &str = "
import sys
from PIL import Image, ImageOps
folder, photograph = sys.argv[1:]
image = Image.open(photograph).convert('RGB').resize((2403, 1797), Image.BICUBIC)
turned = Image.Exif()
turned[0x0112] = 6
for name, image, options in [
    ('420', image, dict(subsampling='4:2:0')),
    ('444', image, dict(subsampling='4:4:4')),
    ('restarts', image, dict(subsampling='4:2:0', restart_marker_rows=1)),
    ('gray', image.convert('L'), {}),
    ('turned', image, dict(exif=turned)),
    ('progressive', image, dict(progressive=True)),
    ('cmyk', image.convert('CMYK'), {}),
]:
    path = f'{folder}/{name}.jpg'
    image.save(path, quality=90, **options)
    reduced = Image.open(path)
    reduced.draft(None, (600, 449))
    assert reduced.size == (601, 450), reduced.size
    reduced = ImageOps.exif_transpose(reduced).convert('RGB').resize((224, 224), Image.BILINEAR)
    with open(f'{folder}/{name}.rgb', 'wb') as file:
        file.write(reduced.tobytes())
";

#[test]
fn reduced_jpeg_files_are_those_of_libjpeg_and_close_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let Some(photograph) = photographs().into_iter().find(|path| path.ends_with("parrot.jpg")) else { return };
    if !has_run(Command::new("python3").args(["-c", REDUCED]).arg(folder.path()).arg(photograph)) {
        return;
    }
    let (framing, input) = (Framing::default(), [224, 224, 3]);
    for name in ["420", "444", "restarts", "gray", "turned", "progressive", "cmyk"] {
        let path = folder.path().join(name).with_extension("jpg");
        let whole = load(&path, framing, input).unwrap();
        let reduced = Photo::open_reduced(&path, Target { framing, input }).unwrap();
        let size = if name == "turned" { [601, 450] } else { [450, 601] };
        let found = reduced.frame(framing, input);
        if ["progressive", "cmyk"].contains(&name) {
            assert!(reduced.rgb.size() == [1797, 2403] && found == whole, "{name} is decoded in full");
            continue;
        }
        assert_eq!(reduced.rgb.size(), size, "{name}");
        let theirs = std::fs::read(path.with_extension("rgb")).unwrap();
        let [ours, from_theirs] = [&whole, &theirs].map(|other| mean_difference(&found, other));
        let theirs = mean_difference(&theirs, &whole);
        println!("{name}: {ours:.2} from the whole, {theirs:.2} in libjpeg, {from_theirs:.2} from libjpeg");
        assert!(ours <= 1.2 * theirs && from_theirs <= 1.0, "{name}: {ours} {theirs} {from_theirs}");
        // A target that is too large, and one whose filter reads single pixels.
        for (framing, input) in [(framing, [301, 224, 3]), (Framing::parse("squash nearest").unwrap(), input)] {
            let size = Photo::open_reduced(&path, Target { framing, input }).unwrap().rgb.size();
            assert_eq!(size[0] * size[1], 1797 * 2403, "{name}");
        }
    }
}

#[test]
fn damaged_jpeg_files_are_reported_as_without_reduction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.jpg");
    let mut jpeg = Cursor::new(Vec::new());
    picture(1000, 1000).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let (framing, input) = (Framing::default(), [100, 100, 3]);
    for damage in [2, 20, 200, 700, jpeg.len() / 2] {
        let mut damaged = jpeg.clone();
        damaged[damage..damage + 8].fill(0xff);
        std::fs::write(&path, &damaged).unwrap();
        let whole = load(&path, framing, input).map_err(|error| error.to_string());
        let reduced = Photo::open_reduced(&path, Target { framing, input }).map_err(|error| error.to_string());
        if let Err(message) = &reduced {
            assert_eq!(whole.as_ref().unwrap_err(), message, "{damage}");
        }
    }
}

#[test]
fn the_content_decides_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really-a.jpg");
    picture(8, 8).save_with_format(&path, ImageFormat::Png).unwrap();
    assert_eq!(load(&path, Framing::default(), [8, 8, 3]).unwrap(), picture(8, 8).into_raw());
}

#[test]
fn alpha_is_dropped_not_composited() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("glass.webp");
    let glass: ImageBuffer<Rgba<u8>, _> = ImageBuffer::from_pixel(4, 4, Rgba([200, 100, 50, 3]));
    glass.save(&path).unwrap();
    assert_eq!(load(&path, Framing::default(), [2, 2, 3]).unwrap(), [200, 100, 50].repeat(4));
}

#[test]
fn icons_are_composited_on_white() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("icon.png");
    let icon = ImageBuffer::from_fn(4, 4, |x, _| Rgba([10_u8, 20, 30, if x < 2 { 255 } else { 0 }]));
    icon.save(&path).unwrap();
    let pixels = load_icon(&path, Framing::default(), [4, 4, 3]).unwrap();
    let row = [[10, 20, 30], [10, 20, 30], [255; 3], [255; 3]].concat();
    assert_eq!(pixels, row.repeat(4));
}

#[test]
fn orientation_is_applied() {
    // A JPEG with an Exif orientation of a quarter turn: APP1 right after the start marker.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned.jpg");
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let half = ImageBuffer::from_fn(16, 8, |x, _| if x < 8 { Rgb([255_u8, 255, 255]) } else { Rgb([0, 0, 0]) });
    half.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    exif.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    let turned = [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat();
    std::fs::write(&path, turned).unwrap();

    // Turned clockwise: the white left half is on top.
    let pixels = load(&path, Framing::default(), [16, 8, 3]).unwrap();
    assert!(pixels[..8 * 7 * 3].iter().all(|sample| *sample > 200), "{pixels:?}");
    assert!(pixels[8 * 9 * 3..].iter().all(|sample| *sample < 55), "{pixels:?}");
}

#[test]
fn rejects_huge_images_before_decoding() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.bmp");
    // Only the header of a bitmap of 60000 x 60000 pixels.
    let mut header = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    header.extend(60_000_i32.to_le_bytes());
    header.extend(60_000_i32.to_le_bytes());
    header.extend(b"\x01\0\x18\0");
    header.extend([0; 24]);
    std::fs::write(&path, header).unwrap();
    let message = load(&path, Framing::default(), [224, 224, 3]).unwrap_err().to_string();
    assert!(message.contains("bomb.bmp has 60000x60000 pixels, the limit is 153391689"), "{message}");
}

#[test]
fn rejects_files_that_are_not_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.png");
    for content in [&b"just text"[..], b"", b"\x89PNG\r\n\x1a\n"] {
        std::fs::write(&path, content).unwrap();
        let message = load(&path, Framing::default(), [8, 8, 3]).unwrap_err().to_string();
        assert!(message.contains("notes.png"), "{message}");
    }
    let message = load(&folder.path().join("absent.png"), Framing::default(), [8, 8, 3]).unwrap_err().to_string();
    assert!(message.contains("no such file"), "{message}");
    let message = load(folder.path(), Framing::default(), [8, 8, 3]).unwrap_err().to_string();
    assert!(message.contains("is a folder"), "{message}");
}

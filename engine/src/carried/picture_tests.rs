//! The decoders of built programs: against the `image` crate, against the formats' specifications, and on hostile files.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};

use super::*;

/// No file of these tests is as long as raw pixels of this size.
const NONE: [usize; 3] = [1000, 1000, 3];

fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn decoded(bytes: &[u8]) -> (Vec<u8>, [usize; 2]) {
    let rgb = decode(bytes.to_vec(), NONE).unwrap();
    let size = rgb.size();
    (rgb.into_pixels(), size)
}

fn rejection(bytes: &[u8]) -> String {
    decode(bytes.to_vec(), NONE).unwrap_err()
}

/// A BMP file by the `image` crate.
fn encoded(image: &DynamicImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Bmp).unwrap();
    file.into_inner()
}

/// Puts a little-endian number into a header.
fn put(file: &mut [u8], at: usize, number: u32) {
    file[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

#[test]
fn bmp_decodes_as_in_another_decoder() {
    for (width, height) in [(1, 1), (2, 3), (3, 2), (5, 4), (31, 7)] {
        let rgb = RgbImage::from_raw(width, height, noise((width * height * 3) as usize, width)).unwrap();
        let rgba = RgbaImage::from_raw(width, height, noise((width * height * 4) as usize, height)).unwrap();
        let gray = image::GrayImage::from_raw(width, height, noise((width * height) as usize, 9)).unwrap();
        for image in [DynamicImage::from(rgb), DynamicImage::from(rgba), DynamicImage::from(gray)] {
            let file = encoded(&image);
            let expected = image::load_from_memory(&file).unwrap().into_rgb8();
            assert_eq!(expected, image.to_rgb8(), "no loss");
            let size = [height as usize, width as usize];
            assert_eq!(decoded(&file), (expected.into_raw(), size), "{:?}", image.color());

            // With a negative height rows are stored top-down: the same bytes show the picture upside down.
            let mut turned = file.clone();
            put(&mut turned, 22, (-(height as i32)).cast_unsigned());
            let expected = image::load_from_memory(&turned).unwrap().into_rgb8();
            assert_eq!(expected, image::imageops::flip_vertical(&image.to_rgb8()));
            assert_eq!(decoded(&turned), (expected.into_raw(), size), "{:?} downwards", image.color());
        }
    }
}

#[test]
fn netpbm_decodes_as_its_manual_says() {
    let header = |text: &str, data: &[u8]| [text.as_bytes(), data].concat();
    let two = ([1, 2, 3, 4, 5, 6].to_vec(), [1, 2]);
    assert_eq!(decoded(&header("P6 2 1 255\n", &[1, 2, 3, 4, 5, 6])), two);
    assert_eq!(decoded(&header("P6\n# by hand\n2#\n 1\t\r\n#255\n255 ", &[1, 2, 3, 4, 5, 6])), two);
    // Only one white space follows the header: this sample is 32, a space.
    assert_eq!(decoded(&header("P5 1 1 255\n", b" ")), (vec![32; 3], [1, 1]));
    assert_eq!(
        decoded(&header("P5 1 2 255 ", &[7, 9, 77])),
        (vec![7, 7, 7, 9, 9, 9], [2, 1]),
        "another picture follows"
    );
    // Other scales: rounded to the nearest of 255 steps.
    assert_eq!(
        decoded(&header("P5 4 1 3 ", &[0, 1, 2, 3])).0.chunks(3).map(|gray| gray[0]).collect::<Vec<_>>(),
        [0, 85, 170, 255]
    );
    assert_eq!(decoded(&header("P5 1 1 3 ", &[200])).0, [255; 3], "more than the largest");
    let high = [0, 0, 0, 128, 128, 0, 255, 255];
    assert_eq!(
        decoded(&header("P5 4 1 65535 ", &high)).0.chunks(3).map(|gray| gray[0]).collect::<Vec<_>>(),
        [0, 0, 128, 255]
    );
}

#[test]
fn raw_pixels_have_the_right_length() {
    let rgb = decode(vec![1; 2 * 3 * 3], [2, 3, 3]).unwrap();
    assert_eq!(rgb.size(), [2, 3]);
    let said = decode(vec![1; 17], [2, 3, 3]).unwrap_err();
    assert!(said.contains("3x2: expected 18 bytes, found 17"), "{said}");
    assert!(raw_pixels(vec![1; 17], [2, 3, 3]).unwrap_err().contains("17 bytes do not fit a picture of 3x2"));
    assert!(raw_pixels(vec![1; 17], [usize::MAX, usize::MAX, 3]).is_err());

    let gray = decode(vec![1, 2, 3, 4, 5, 6], [2, 3, 1]).unwrap();
    assert_eq!((gray.size(), gray.pixels()), ([2, 3], &[1, 2, 3, 4, 5, 6].map(|gray| [gray; 3]).concat()[..]));
    assert!(decode(vec![1; 17], [2, 3, 1]).unwrap_err().contains("3x2: expected 6 bytes, found 17"));
    assert!(raw_pixels(vec![1; 17], [2, 3, 1]).unwrap_err().contains("17 bytes do not fit a gray picture of 3x2"));
    assert!(raw_pixels(vec![1; 17], [usize::MAX, usize::MAX, 1]).is_err());
}

#[test]
fn other_formats_are_named() {
    for (start, part) in [
        (&b"\xff\xd8\xff\xe0"[..], "unsupported format JPEG"),
        (b"\x89PNG\r\n", "unsupported format PNG"),
        (b"RIFF", "unsupported format WebP"),
        (b"GIF89a", "unsupported format GIF"),
        (b"P3 1 1 255 1 2 3", "unsupported format text PPM"),
        (b"hello", "unknown format"),
        (b"", "unknown format"),
    ] {
        let said = rejection(start);
        assert!(said.contains(part) && said.contains("magick"), "{said}");
    }
}

#[test]
fn rejects_absurd_sizes_before_allocating() {
    for header in ["P6 2147483648 2147483648 255 ", "P6 4294967296 4294967296 255 ", "P5 18446744073709551615 2 65535 "]
    {
        assert!(rejection(header.as_bytes()).contains("expected at most 178956970 pixels"), "{header}");
    }
    assert!(rejection(b"P6 18446744073709551616 1 255 ").contains("damaged header"));
    assert!(
        rejection(b"P6 10000 10000 255 xyz").contains("truncated file: expected 300000000 bytes of pixels, found 3")
    );
    for header in ["P6 0 5 255 ", "P5 5 0 255 "] {
        assert!(rejection(header.as_bytes()).contains("no pixels"), "{header}");
    }
    for header in [
        "P6",
        "P6 ",
        "P6 1",
        "P6 1 1",
        "P6 1 1 255",
        "P6 1 1 0 ",
        "P6 1 1 65536 ",
        "P6 -1 1 255 ",
        "P6 1 1 255x",
        "P6 #",
    ] {
        assert!(rejection(header.as_bytes()).contains("damaged header"), "{header}");
    }
    let good = encoded(&RgbImage::from_raw(3, 2, noise(18, 1)).unwrap().into());
    let with = |at: usize, number: u32| {
        let mut file = good.clone();
        put(&mut file, at, number);
        rejection(&file)
    };
    for (at, number, part) in [
        (18, 0, "no pixels"),
        (18, 0x8000_0000, "no pixels"),
        (22, 0x8000_0000, "found 3x2147483648"),
        (18, 0x7fff_ffff, "found 2147483647x2"),
        (18, 10_000, "truncated"),
        (10, 0xffff_ffff, "truncated"),
        (14, 12, "OS/2"),
        (28, 16, "16 bits"),
        (28, 1, "1 bits"),
        (28, 0xffff, "65535 bits"),
        (30, 1, "compression 1"),
    ] {
        let said = with(at, number);
        assert!(said.contains(part), "{at}: {said}");
    }
}

/// No prefix of a file, and no single byte of a header, makes a decoder panic or read beyond the file.
#[test]
fn corrupt_files_are_errors_or_other_pictures() {
    let rgb = RgbImage::from_raw(5, 3, noise(45, 2)).unwrap();
    let gray = image::GrayImage::from_raw(5, 3, noise(15, 3)).unwrap();
    let rgba = RgbaImage::from_raw(5, 3, noise(60, 4)).unwrap();
    let netpbm = [&b"P6 # five by three\n5 3 255\n"[..], &noise(45, 5)].concat();
    for file in [encoded(&rgb.into()), encoded(&gray.into()), encoded(&rgba.into()), netpbm] {
        decode(file.clone(), NONE).unwrap();
        for length in 0..file.len() {
            assert!(decode(file[..length].to_vec(), NONE).is_err(), "{length} of {}", file.len());
        }
        for at in 0..file.len().min(160) {
            for value in [0, 1, b'0', b'9', b' ', 0x7f, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] = value;
                if let Ok(picture) = decode(damaged, NONE) {
                    let [height, width] = picture.size();
                    assert_eq!(picture.pixels().len(), height * width * 3);
                    assert!(height * width <= file.len());
                }
            }
        }
    }
}

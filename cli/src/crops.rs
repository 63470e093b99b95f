//! Random crops of an image, for calibration with few images.

use std::path::Path;

use mbvc::Rgb;
use mbvc::picture::Framing;
use mbvc_pictures::Photo;

use crate::error::Result;

/// Minimal share of each side that a crop keeps.
const LEAST_SIDE: f64 = 0.5;

/// Decodes `path` and frames it for an input of the shape `input`; returns the whole image, then `crops` random crops of it.
///
/// # Errors
/// As [`Photo::open`].
pub fn load_views(path: &Path, framing: Framing, input: [usize; 3], crops: usize) -> Result<Vec<Vec<u8>>> {
    let photo = Photo::open(path)?;
    let mut views = vec![photo.frame(framing, input)];
    views.extend((0..crops).map(|number| framing.frame(&crop(photo.rgb(), number), input)));
    Ok(views)
}

/// Crop `number`, which is deterministic; crops with odd numbers are mirrored.
fn crop(photo: &Rgb<'_>, number: usize) -> Rgb<'static> {
    let [height, width] = photo.size();
    let mut random = Random(number as u64);
    let mut side = |whole: usize| {
        let kept = ((LEAST_SIDE + (1.0 - LEAST_SIDE) * random.next()) * whole as f64).round() as usize;
        let kept = kept.clamp(1, whole);
        (((whole - kept) as f64 * random.next()).round() as usize, kept)
    };
    let ((top, rows), (left, columns)) = (side(height), side(width));
    let mut pixels = Vec::with_capacity(rows * columns * 3);
    for row in photo.pixels().chunks_exact(width * 3).skip(top).take(rows) {
        let kept = row.chunks_exact(3).skip(left).take(columns);
        if number % 2 == 1 {
            pixels.extend(kept.rev().flatten());
        } else {
            pixels.extend(kept.flatten());
        }
    }
    Rgb::new(pixels, [rows, columns]).expect("at least one pixel of three bytes")
}

/// SplitMix64 (Steele, Lea, Flood 2014): uniform numbers in 0..1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_are_parts_of_their_image() {
        let [height, width] = [40, 50];
        // Each pixel encodes its position.
        let pixels: Vec<u8> = (0..height * width).flat_map(|at| [(at / width) as u8, (at % width) as u8, 7]).collect();
        let photo = Rgb::new(pixels, [height, width]).unwrap();
        let mut sizes = std::collections::BTreeSet::new();
        for number in 0..20 {
            let crop = super::crop(&photo, number);
            let ([rows, columns], pixels) = (crop.size(), crop.pixels());
            assert!((20..=40).contains(&rows) && (25..=50).contains(&columns));
            assert_eq!(pixels.len(), rows * columns * 3);
            sizes.insert(crop.size());
            let at = |row: usize, column: usize| &pixels[(row * columns + column) * 3..][..2];
            let step = i32::from(at(0, 1)[1]) - i32::from(at(0, 0)[1]);
            assert_eq!(step, if number % 2 == 1 { -1 } else { 1 }, "crop {number}");
            assert_eq!(at(rows - 1, 0)[0] - at(0, 0)[0], rows as u8 - 1);
            assert_eq!(super::crop(&photo, number).pixels(), pixels, "deterministic");
        }
        assert!(sizes.len() > 15, "{sizes:?}");
        let point = Rgb::new(vec![1, 2, 3], [1, 1]).unwrap();
        assert_eq!(crop(&point, 3).pixels(), [1, 2, 3]);
    }
}

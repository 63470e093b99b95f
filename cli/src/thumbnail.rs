//! Thumbnails in a terminal: each character shows two pixels, one above the other.

use anstyle::{Color, Effects, RgbColor, Style};

/// Columns of a thumbnail. The number of lines is half of it, because characters are about twice as high as wide.
pub const COLUMNS: usize = 16;

/// Whether standard output is a terminal with 24-bit color.
pub fn are_shown() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && anstyle_query::truecolor() && !anstyle_query::no_color()
}

/// The lines of a thumbnail of the RGB image `[height, width, 3]`.
pub fn lines(pixels: &[u8], size: [usize; 2]) -> Vec<String> {
    let cell = |row: usize, column: usize| {
        let [red, green, blue] = mean(pixels, size, row, column);
        Color::from(RgbColor(red, green, blue))
    };
    (0..COLUMNS / 2)
        .map(|line| {
            let characters = (0..COLUMNS).map(|column| {
                let (upper, lower) = (cell(2 * line, column), cell(2 * line + 1, column));
                let style = Style::new().fg_color(Some(upper)).bg_color(Some(lower)).effects(Effects::new());
                format!("{style}▀{style:#}")
            });
            characters.collect()
        })
        .collect()
}

/// Mean color of a cell of the image, which is divided into `COLUMNS` by `COLUMNS` cells.
fn mean(pixels: &[u8], [height, width]: [usize; 2], row: usize, column: usize) -> [u8; 3] {
    let span = |at: usize, length: usize| {
        let first = at * length / COLUMNS;
        first..((at + 1) * length / COLUMNS).max(first + 1).min(length)
    };
    let mut sums = [0_usize; 3];
    let mut count = 0;
    for y in span(row, height) {
        for x in span(column, width) {
            let Some(pixel) = pixels.get((y * width + x) * 3..).and_then(|rest| rest.first_chunk::<3>()) else {
                continue;
            };
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += usize::from(*value);
            }
            count += 1;
        }
    }
    sums.map(|sum| (sum / count.max(1)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_keep_their_colors() {
        // Red above blue.
        let pixels: Vec<u8> =
            (0..64 * 64).flat_map(|at| if at < 32 * 64 { [255, 0, 0] } else { [0, 0, 255] }).collect();
        let lines = lines(&pixels, [64, 64]);
        assert_eq!(lines.len(), COLUMNS / 2);
        assert!(lines.iter().all(|line| line.matches('▀').count() == COLUMNS));
        assert!(lines[0].contains("38;2;255;0;0") && lines[0].contains("48;2;255;0;0"), "{:?}", lines[0]);
        assert!(lines[COLUMNS / 2 - 1].contains("38;2;0;0;255"));
    }

    #[test]
    fn images_may_be_smaller_than_a_thumbnail() {
        assert_eq!(mean(&[7, 8, 9], [1, 1], COLUMNS - 1, 0), [7, 8, 9]);
        assert_eq!(lines(&[], [0, 0]).len(), COLUMNS / 2);
    }
}

//! The published networks: the paper's table at every width.

use mbvc_compiler::spec::make_divisible;

/// Table 2 of the paper: expansion, channels, repeats, stride of each row.
pub const TABLE: [[usize; 4]; 7] =
    [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];
pub const STEM: usize = 32;
pub const HEAD: usize = 1280;
/// Mean and standard deviation of ImageNet's red, green and blue (torchvision).
pub const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
pub const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
/// Published widths. They are tried first because nearby widths have the same channels.
const WIDTHS: [f64; 8] = [1.0, 0.35, 0.5, 0.75, 1.4, 1.3, 0.25, 0.1];

/// A block: expansion, channels, stride.
pub type Block = [usize; 3];

/// Candidate widths, the roundest first: the published ones, then hundredths up to 4. The roundest width that fits is
/// taken.
pub fn widths() -> impl Iterator<Item = f64> {
    let fives = (1..=80).map(|step| f64::from(step) / 20.0);
    let hundredths = (1..=400).map(|step| f64::from(step) / 100.0);
    WIDTHS.into_iter().chain(fives).chain(hundredths)
}

/// Returns the blocks of a width.
pub fn blocks(width: f64) -> impl Iterator<Item = Block> {
    TABLE.into_iter().flat_map(move |[expansion, channels, repeat, stride]| {
        let channels = make_divisible(channels as f64 * width);
        (0..repeat).map(move |at| [expansion, channels, if at == 0 { stride } else { 1 }])
    })
}

/// Returns the strides of blocks with the published expansions and channels at some width.
///
/// The number of repeats may differ from the published one, as in timm's deeper networks, if expansions and channels
/// identify the rows.
pub fn strides(found: &[[usize; 2]]) -> Option<Vec<usize>> {
    let fits =
        |width: &f64| blocks(*width).map(|[expansion, channels, _]| [expansion, channels]).eq(found.iter().copied());
    if let Some(width) = widths().find(fits) {
        return Some(blocks(width).map(|[_, _, stride]| stride).collect());
    }
    let rows: Vec<&[[usize; 2]]> = found.chunk_by(|one, next| one == next).collect();
    let row = |width: f64, [expansion, channels, ..]: [usize; 4]| [expansion, make_divisible(channels as f64 * width)];
    let fits = |width: &f64| {
        let firsts = rows.iter().filter_map(|row| row.first().copied());
        TABLE.iter().map(|published| row(*width, *published)).eq(firsts)
    };
    widths().find(fits)?;
    let of_row = |(row, [.., stride]): (&&[[usize; 2]], [usize; 4])| {
        std::iter::once(stride).chain(std::iter::repeat_n(1, row.len().saturating_sub(1)))
    };
    Some(rows.iter().zip(TABLE).flat_map(of_row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unstrided(width: f64) -> Vec<[usize; 2]> {
        blocks(width).map(|[expansion, channels, _]| [expansion, channels]).collect()
    }

    #[test]
    fn published_blocks_have_published_strides() {
        for width in [0.1, 0.35, 0.5, 0.75, 1.0, 1.4, 2.0] {
            let expected: Vec<_> = blocks(width).map(|[_, _, stride]| stride).collect();
            assert_eq!(strides(&unstrided(width)), Some(expected), "{width}");
        }
    }

    /// timm's `mobilenetv2_120d`: width 1.2, all rows but the first and last 1.4 times as deep.
    #[test]
    fn rows_of_deeper_networks_are_identified() {
        let rows = [
            (1, 24, 1, 1),
            (6, 32, 3, 2),
            (6, 40, 5, 2),
            (6, 80, 6, 2),
            (6, 112, 5, 1),
            (6, 192, 5, 2),
            (6, 384, 1, 1),
        ];
        let found: Vec<_> = rows.iter().flat_map(|&(t, c, n, _)| vec![[t, c]; n]).collect();
        let expected: Vec<_> =
            rows.iter().flat_map(|&(_, _, n, s)| (0..n).map(move |at| if at == 0 { s } else { 1 })).collect();
        assert_eq!(strides(&found), Some(expected));
    }

    #[test]
    fn strides_of_other_networks_are_unknown() {
        let mut found = unstrided(1.0);
        found[3][1] = 40;
        assert_eq!(strides(&found), None);
        assert_eq!(strides(&[[1, 8], [2, 8], [3, 16]]), None);
        // Rows of 8 channels are ambiguous here; only the published repeats separate them.
        let mut found = unstrided(0.1);
        found.remove(4);
        assert_eq!(strides(&found), None);
        assert_eq!(strides(&[]), None);
    }
}

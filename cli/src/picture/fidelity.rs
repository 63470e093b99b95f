//! Draws the error of each activation of a quantized network.

use super::{Align, Area, BAND, FAINT, INK, RULE, Sheet, Type};

/// A comparison as it is drawn.
pub struct Picture {
    pub title: String,
    pub subtitle: String,
    /// In order of execution.
    pub bars: Vec<Bar>,
}

/// An activation tensor.
pub struct Bar {
    pub name: String,
    pub cosine: f64,
    /// Signal-to-noise ratio; `None` without noise.
    pub decibels: Option<f64>,
}

const MARGIN: f64 = 36.0;
const NAME: f64 = 140.0;
const LENGTH: f64 = 560.0;
const NUMBERS: f64 = 150.0;
const ROW: f64 = 18.0;
const TOP: f64 = 124.0;
const NEAR: &str = "#1971c2";
const FAR: &str = "#e8590c";
/// Possible starts of the axis: bars of 0.99 and 0.999 differ visibly only if it starts near them.
const STARTS: [f64; 5] = [0.98, 0.95, 0.9, 0.5, 0.0];
/// Bars below this cosine have another color.
const FAR_BELOW: f64 = 0.98;

pub fn draw(picture: &Picture) -> String {
    let width = MARGIN * 2.0 + NAME + LENGTH + NUMBERS;
    let bottom = TOP + picture.bars.len() as f64 * ROW;
    let mut sheet = Sheet::new(width, bottom + 66.0);
    sheet.text(MARGIN, 50.0, Type::new(24.0).bold(), picture.title.as_str());
    sheet.text(MARGIN, 75.0, Type::new(13.0).fill(FAINT), picture.subtitle.as_str());

    let worst = picture.bars.iter().map(|bar| bar.cosine).fold(1.0, f64::min);
    let start = STARTS.into_iter().find(|start| *start < worst).unwrap_or(0.0);
    let left = MARGIN + NAME;
    let place = |cosine: f64| left + (cosine.clamp(start, 1.0) - start) / (1.0 - start) * LENGTH;
    for part in 0..=4 {
        let cosine = start + (1.0 - start) * f64::from(part) / 4.0;
        let x = place(cosine);
        sheet.line((x, TOP - 4.0), (x, bottom + 4.0), RULE, 1.0, None);
        sheet.text(x, TOP - 10.0, Type::new(11.0).fill(FAINT).align(Align::Middle), format!("{cosine:.3}"));
    }
    sheet.text(left - 32.0, TOP - 10.0, Type::new(12.0).bold().align(Align::End), "cosine");
    for (at, bar) in picture.bars.iter().enumerate() {
        let y = TOP + at as f64 * ROW;
        if at % 2 == 0 {
            let band = Area { x: MARGIN - 8.0, y, width: NAME + 4.0, height: ROW };
            sheet.fill(band, 3.0, BAND, 1.0);
        }
        let text = y + ROW / 2.0 + 4.0;
        sheet.text(left - 12.0, text, Type::new(11.0).align(Align::End), bar.name.as_str());
        let color = if bar.cosine < FAR_BELOW { FAR } else { NEAR };
        let area = Area { x: left, y: y + 3.5, width: place(bar.cosine) - left, height: ROW - 7.0 };
        sheet.fill(area, 2.0, color, 0.9);
        let end = left + LENGTH + 14.0;
        sheet.text(end, text, Type::new(11.0).bold().fill(INK), format!("{:.5}", bar.cosine));
        let decibels = bar.decibels.map_or_else(|| "exact".to_owned(), |db| format!("{db:.1} dB"));
        sheet.text(end + 126.0, text, Type::new(11.0).fill(FAINT).align(Align::End), decibels);
    }
    let note = "Cosine of the angle between float32 and int8 activations over all images; dB: signal-to-noise ratio.";
    sheet.text(MARGIN, bottom + 36.0, Type::new(11.5).fill(FAINT), note);
    sheet.finish(&picture.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(cosines: &[f64]) -> String {
        let bar = |cosine: &f64| Bar { name: "block2".into(), cosine: *cosine, decibels: Some(30.0) };
        draw(&Picture { title: "T".into(), subtitle: "S".into(), bars: cosines.iter().map(bar).collect() })
    }

    #[test]
    fn the_axis_starts_where_bars_differ() {
        let near = drawn(&[0.99, 1.0]);
        // Half of the axis from 0.98 to 1, and all of it.
        assert!(near.contains("width=\"280\"") && near.contains("width=\"560\""), "{near}");
        assert_eq!(near.matches(FAR).count(), 0);
        let far = drawn(&[0.4, 1.0]);
        assert!(far.contains("width=\"224\"") && far.contains(FAR), "{far}");
    }

    #[test]
    fn out_of_range_cosines_have_valid_lengths() {
        let svg = drawn(&[-0.5, 0.0, 1.0]);
        assert!(!svg.contains("width=\"-") && !svg.contains("NaN"), "{svg}");
        assert!(!drawn(&[]).contains("NaN"));
    }
}

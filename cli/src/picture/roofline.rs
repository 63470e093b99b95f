//! Draws the time of each step, and its speed against the roofline of the processor.

use super::{Align, Area, BAND, FAINT, INK, RULE, Sheet, Type};

/// A profile as it is drawn.
pub struct Roofline {
    pub title: String,
    pub subtitle: String,
    /// `GFLOP/s` or `GOP/s`.
    pub unit: &'static str,
    /// Peak of multiply-adds in `unit`.
    pub peak: f64,
    /// GB/s of reading a block as large as the weights.
    pub bandwidth: f64,
    pub bars: Vec<Bar>,
}

/// One step.
pub struct Bar {
    pub name: String,
    pub parts: Vec<Part>,
    pub micros: f64,
    pub gflops: f64,
    /// Attainable speed: the peak, or less if the memory traffic of the step takes longer than its arithmetic.
    pub roof: f64,
}

/// Time of a stage.
pub struct Part {
    pub name: String,
    pub micros: f64,
}

const MARGIN: f64 = 36.0;
const NAME: f64 = 130.0;
const TIME: f64 = 380.0;
const TIME_TEXT: f64 = 74.0;
const SPEED: f64 = 460.0;
const SPEED_TEXT: f64 = 150.0;
const ROW: f64 = 30.0;
const TOP: f64 = 136.0;
const REACHED: &str = "#1971c2";
const BOUND: &str = "#0c8599";

/// Keyword, legend and color of the kinds of stages; the first keyword that occurs in the stage's name decides.
const STAGES: [(&str, &str, &str); 11] = [
    ("relu", "activation", "#2f9e44"),
    ("add", "residual add", "#d6336c"),
    ("rows", "rows of the image", "#b08900"),
    ("expand", "expand", "#1971c2"),
    ("depthwise", "depthwise", "#e8590c"),
    ("project", "project", "#4dabf7"),
    ("pool", "pool", "#ae3ec9"),
    ("stem", "stem", "#5f3dc4"),
    ("head", "head", "#845ef7"),
    ("classifier", "classifier", "#087f5b"),
    ("", "other", "#868e96"),
];

fn stage(name: &str) -> &'static (&'static str, &'static str, &'static str) {
    STAGES.iter().find(|(word, ..)| name.contains(word)).unwrap_or(&STAGES[STAGES.len() - 1])
}

pub fn draw(roofline: &Roofline) -> String {
    let bottom = TOP + roofline.bars.len() as f64 * ROW;
    let width = MARGIN * 2.0 + NAME + TIME + TIME_TEXT + SPEED + SPEED_TEXT;
    let mut sheet = Sheet::new(width, bottom + 118.0);
    sheet.text(MARGIN, 50.0, Type::new(24.0).bold(), roofline.title.as_str());
    sheet.text(MARGIN, 75.0, Type::new(13.0).fill(FAINT), roofline.subtitle.as_str());

    let time_x = MARGIN + NAME;
    let speed_x = time_x + TIME + TIME_TEXT;
    sheet.text(time_x, TOP - 16.0, Type::new(13.0).bold(), "time, µs");
    sheet.text(speed_x, TOP - 16.0, Type::new(13.0).bold(), format!("speed, {}", roofline.unit));

    let slowest = roofline.bars.iter().map(|bar| bar.micros).fold(1e-9, f64::max);
    let fastest = roofline.bars.iter().map(|bar| bar.gflops).fold(roofline.peak, f64::max).max(1e-9);
    let speed = |gflops: f64| speed_x + gflops / fastest * SPEED;
    for (at, bar) in roofline.bars.iter().enumerate() {
        let y = TOP + at as f64 * ROW;
        if at % 2 == 0 {
            sheet.fill(Area { x: MARGIN - 8.0, y, width: width - 2.0 * MARGIN + 16.0, height: ROW }, 4.0, BAND, 1.0);
        }
        let text = y + ROW / 2.0 + 4.0;
        sheet.text(time_x - 12.0, text, Type::new(12.0).bold().align(Align::End), bar.name.as_str());
        let end = time_bar(&mut sheet, time_x, y, bar, slowest);
        sheet.text(end + 7.0, text, Type::new(11.5), format!("{:.0}", bar.micros));

        let area = Area { x: speed_x, y: y + 7.0, width: speed(bar.roof) - speed_x, height: ROW - 14.0 };
        sheet.fill(area, 3.0, RULE, 1.0);
        let reached = Area { width: speed(bar.gflops) - speed_x, ..area };
        let bound = bar.roof < roofline.peak * 0.999;
        sheet.fill(reached, 3.0, if bound { BOUND } else { REACHED }, 1.0);
        if bound {
            let x = speed(bar.roof);
            sheet.line((x, y + 4.0), (x, y + ROW - 4.0), BOUND, 2.0, None);
        }
        let share = if roofline.peak > 0.0 { bar.gflops / roofline.peak * 100.0 } else { 0.0 };
        let shown = speed(fastest) + 12.0;
        sheet.text(shown, text, Type::new(11.5).bold(), format!("{:.1}", bar.gflops));
        sheet.text(shown + 42.0, text, Type::new(11.5).fill(FAINT), format!("{share:.0} % of peak"));
    }
    let peak = speed(roofline.peak);
    sheet.line((peak, TOP - 6.0), (peak, bottom + 6.0), INK, 1.4, Some("5 4"));
    let caption = format!("peak {:.1}", roofline.peak);
    sheet.text(peak, TOP - 16.0, Type::new(12.0).align(Align::End), caption);
    legend(&mut sheet, bottom + 36.0, roofline);
    sheet.finish(&roofline.title)
}

/// Draws the stages of a step in a row; returns their right end.
fn time_bar(sheet: &mut Sheet, x: f64, y: f64, bar: &Bar, slowest: f64) -> f64 {
    let scale = TIME / slowest;
    let timed: f64 = bar.parts.iter().map(|part| part.micros).sum();
    let whole = bar.micros * scale;
    let mut at = x;
    for part in &bar.parts {
        // As shares of the step, whose time may differ by rounding.
        let width = if timed > 0.0 { part.micros / timed * whole } else { 0.0 };
        let area = Area { x: at, y: y + 7.0, width: (width - 1.0).max(0.6), height: ROW - 14.0 };
        sheet.fill(area, 1.5, stage(&part.name).2, 0.92);
        at += width;
    }
    if bar.parts.is_empty() {
        sheet.fill(Area { x, y: y + 7.0, width: whole, height: ROW - 14.0 }, 1.5, stage(&bar.name).2, 0.92);
    }
    x + whole
}

fn legend(sheet: &mut Sheet, y: f64, roofline: &Roofline) {
    let used = |color: &str| {
        let names = roofline.bars.iter().flat_map(|bar| {
            let whole = bar.parts.is_empty().then_some(&bar.name);
            bar.parts.iter().map(|part| &part.name).chain(whole)
        });
        names.into_iter().any(|name| stage(name).2 == color)
    };
    let mut x = MARGIN + NAME;
    for (_, name, color) in STAGES.iter().filter(|(.., color)| used(color)) {
        sheet.fill(Area { x, y: y - 10.0, width: 14.0, height: 12.0 }, 2.0, color, 0.92);
        sheet.text(x + 20.0, y, Type::new(11.5), *name);
        x += 38.0 + name.chars().count() as f64 * 6.2;
    }
    let y = y + 24.0;
    let mut x = MARGIN + NAME;
    for (color, name) in
        [(REACHED, "reached, bound by arithmetic"), (BOUND, "reached, bound by memory"), (RULE, "roof")]
    {
        sheet.fill(Area { x, y: y - 10.0, width: 14.0, height: 12.0 }, 2.0, color, 1.0);
        sheet.text(x + 20.0, y, Type::new(11.5), name);
        x += 40.0 + name.chars().count() as f64 * 5.9;
    }
    let text = format!(
        "Roof of a step: the minimum of the peak ({:.1} {}) and its operations per byte times {:.1} GB/s, both measured in the same run.",
        roofline.peak, roofline.unit, roofline.bandwidth
    );
    sheet.text(MARGIN + NAME, y + 26.0, Type::new(11.5).fill(FAINT), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_bars() {
        let bar = |name: &str, roof| Bar {
            name: name.into(),
            parts: vec![Part { name: "expand".into(), micros: 3.0 }, Part { name: "depthwise".into(), micros: 1.0 }],
            micros: 5.0,
            gflops: 50.0,
            roof,
        };
        let roofline = Roofline {
            title: "T".into(),
            subtitle: "S".into(),
            unit: "GFLOP/s",
            peak: 100.0,
            bandwidth: 20.0,
            bars: vec![bar("block2", 100.0), bar("classifier", 60.0)],
        };
        let svg = draw(&roofline);
        assert!(svg.contains("block2") && svg.contains("classifier") && svg.contains("50 % of peak"));
        assert_eq!(svg.matches(&format!("fill=\"{BOUND}\"")).count(), 2, "one bar and one entry of the legend");
        // Three quarters of 5 µs; the slowest step fills the whole width.
        assert!(svg.contains("width=\"284\""), "{svg}");
    }

    #[test]
    fn nothing_measured_is_drawn_without_nan() {
        let roofline = Roofline {
            title: String::new(),
            subtitle: String::new(),
            unit: "GOP/s",
            peak: 0.0,
            bandwidth: 0.0,
            bars: Vec::new(),
        };
        assert!(!draw(&roofline).contains("NaN"));
    }
}

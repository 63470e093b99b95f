//! SVG pictures: shared colors and shapes.

pub mod fidelity;
pub mod graph;
pub mod roofline;

use svg::Node;
use svg::node::element::{Circle, Definitions, Group, Line, Marker, Path, Rectangle, Style, Text, Title};

pub const INK: &str = "#1f2933";
pub const FAINT: &str = "#7b8794";
pub const RULE: &str = "#d9e0e7";
pub const PAPER: &str = "#ffffff";
pub const BAND: &str = "#f6f8fa";

const FONT: &str = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif";

/// A canvas. Later shapes cover earlier ones; coordinates are pixels from the top left.
pub struct Sheet {
    content: Group,
    width: f64,
    height: f64,
}

/// Alignment of a text to its point.
#[derive(Clone, Copy)]
pub enum Align {
    Start,
    Middle,
    End,
}

/// Style of a text; `size` is in pixels.
#[derive(Clone, Copy)]
pub struct Type {
    pub size: f64,
    pub bold: bool,
    pub fill: &'static str,
    pub align: Align,
}

impl Type {
    pub const fn new(size: f64) -> Self {
        Self { size, bold: false, fill: INK, align: Align::Start }
    }

    pub const fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    pub const fn fill(mut self, fill: &'static str) -> Self {
        self.fill = fill;
        self
    }

    pub const fn align(mut self, align: Align) -> Self {
        self.align = align;
        self
    }
}

/// A rectangle.
#[derive(Debug, Clone, Copy)]
pub struct Area {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Area {
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    pub fn middle(&self) -> (f64, f64) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }
}

impl Sheet {
    pub fn new(width: f64, height: f64) -> Self {
        let mut sheet = Self { content: Group::new(), width, height };
        sheet.fill(Area { x: 0.0, y: 0.0, width, height }, 0.0, PAPER, 1.0);
        sheet
    }

    pub fn text(&mut self, x: f64, y: f64, look: Type, text: impl Into<String>) {
        let anchor = match look.align {
            Align::Start => "start",
            Align::Middle => "middle",
            Align::End => "end",
        };
        let mut element = Text::new(text)
            .set("x", number(x))
            .set("y", number(y))
            .set("font-size", look.size)
            .set("fill", look.fill)
            .set("text-anchor", anchor);
        if look.bold {
            element = element.set("font-weight", 600);
        }
        self.content.append(element);
    }

    pub fn fill(&mut self, area: Area, radius: f64, color: &str, opacity: f64) {
        self.content.append(rectangle(area, radius).set("fill", color).set("fill-opacity", opacity));
    }

    /// A rounded box, tinted and outlined in `color`, with a tooltip.
    pub fn tinted(&mut self, area: Area, radius: f64, color: &str, hover: &str) {
        // An opaque background below the tint hides lines.
        self.fill(area, radius, PAPER, 1.0);
        self.content.append(
            rectangle(area, radius)
                .set("fill", color)
                .set("fill-opacity", 0.13)
                .set("stroke", color)
                .set("stroke-width", 1.2)
                .add(Title::new(hover)),
        );
    }

    pub fn outline(&mut self, area: Area, radius: f64, stroke: &str, width: f64) {
        self.content
            .append(rectangle(area, radius).set("fill", PAPER).set("stroke", stroke).set("stroke-width", width));
    }

    pub fn circle(&mut self, (x, y): (f64, f64), radius: f64, fill: &str, stroke: &str) {
        self.content.append(
            Circle::new()
                .set("cx", number(x))
                .set("cy", number(y))
                .set("r", number(radius))
                .set("fill", fill)
                .set("stroke", stroke)
                .set("stroke-width", 1.4),
        );
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64, dashes: Option<&str>) {
        let mut line = Line::new()
            .set("x1", number(from.0))
            .set("y1", number(from.1))
            .set("x2", number(to.0))
            .set("y2", number(to.1))
            .set("stroke", stroke)
            .set("stroke-width", width);
        if let Some(dashes) = dashes {
            line = line.set("stroke-dasharray", dashes);
        }
        self.content.append(line);
    }

    /// Straight lines through `points` with rounded corners; `arrow` names a marker of [`ARROWS`].
    pub fn route(&mut self, points: &[(f64, f64)], radius: f64, stroke: &str, width: f64, arrow: Option<&str>) {
        let mut path = Path::new()
            .set("d", rounded(points, radius))
            .set("fill", "none")
            .set("stroke", stroke)
            .set("stroke-width", width);
        if let Some(arrow) = arrow {
            path = path.set("marker-end", format!("url(#{arrow})"));
        }
        self.content.append(path);
    }

    /// The content of the SVG file.
    pub fn finish(self, title: &str) -> String {
        let mut definitions = Definitions::new();
        for (name, color) in ARROWS {
            definitions.append(
                Marker::new()
                    .set("id", name)
                    .set("viewBox", "0 0 8 8")
                    .set("refX", 7)
                    .set("refY", 4)
                    .set("markerWidth", 7)
                    .set("markerHeight", 7)
                    .set("markerUnits", "userSpaceOnUse")
                    .set("orient", "auto-start-reverse")
                    .add(Path::new().set("d", "M0,0.8 L7.5,4 L0,7.2 Z").set("fill", color)),
            );
        }
        let document = svg::Document::new()
            .set("viewBox", (0.0, 0.0, self.width, self.height))
            .set("width", self.width)
            .set("height", self.height)
            .set("font-family", FONT)
            .add(Title::new(title))
            .add(Style::new("text { font-variant-numeric: tabular-nums; }"))
            .add(definitions)
            .add(self.content);
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{document}\n")
    }
}

pub const FLOW: &str = "#9aa5b1";
pub const RESIDUAL: &str = "#d6336c";
/// Arrow heads: name and color.
const ARROWS: [(&str, &str); 2] = [("flow", FLOW), ("residual", RESIDUAL)];

fn rectangle(area: Area, radius: f64) -> Rectangle {
    Rectangle::new()
        .set("x", number(area.x))
        .set("y", number(area.y))
        .set("width", number(area.width.max(0.0)))
        .set("height", number(area.height.max(0.0)))
        .set("rx", radius)
}

/// Rounds to two decimals, which keeps the file small.
fn number(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn rounded(points: &[(f64, f64)], radius: f64) -> String {
    let mut d = String::new();
    for (at, &(x, y)) in points.iter().enumerate() {
        let (Some(&before), Some(&after)) = (at.checked_sub(1).and_then(|at| points.get(at)), points.get(at + 1))
        else {
            d += &format!("{}{},{} ", if at == 0 { 'M' } else { 'L' }, number(x), number(y));
            continue;
        };
        let (enter, leave) = (toward((x, y), before, radius), toward((x, y), after, radius));
        d += &format!(
            "L{},{} Q{},{} {},{} ",
            number(enter.0),
            number(enter.1),
            number(x),
            number(y),
            number(leave.0),
            number(leave.1)
        );
    }
    d.trim_end().to_owned()
}

/// The point at distance `by` from `corner` towards `other`, at most half of the way.
fn toward(corner: (f64, f64), other: (f64, f64), by: f64) -> (f64, f64) {
    let (dx, dy) = (other.0 - corner.0, other.1 - corner.1);
    let length = dx.hypot(dy);
    if length == 0.0 {
        return corner;
    }
    let share = (by / length).min(0.5);
    (corner.0 + dx * share, corner.1 + dy * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_are_rounded_and_ends_are_not() {
        let d = rounded(&[(0.0, 0.0), (10.0, 0.0), (10.0, 20.0)], 4.0);
        assert_eq!(d, "M0,0 L6,0 Q10,0 10,4 L10,20");
    }

    #[test]
    fn texts_are_escaped() {
        let mut sheet = Sheet::new(10.0, 10.0);
        sheet.text(0.0, 0.0, Type::new(9.0), "<a> & b");
        assert!(sheet.finish("t").contains("&lt;a&gt; &amp; b"));
    }
}

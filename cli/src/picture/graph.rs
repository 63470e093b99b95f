//! Draws the network before and after fusion side by side: a band for each step, with the operations of the spec on the left
//! and the fused ones on the right.

use mbvc_compiler::ir::{Activation, Epilogue, Graph, Node, NodeId, Op, Origin, Shape, Window};

use super::{Align, Area, BAND, FAINT, FLOW, INK, PAPER, RESIDUAL, RULE, Sheet, Type};
use crate::ui::{Bytes, Count, plural};

const MARGIN: f64 = 36.0;
const LABEL: f64 = 168.0;
const BETWEEN: f64 = 56.0;
const TOP: f64 = 150.0;
const BOX: f64 = 40.0;
const BAND_HEIGHT: f64 = 90.0;
const BAND_GAP: f64 = 6.0;
const GAP: f64 = 13.0;

/// Kind of an operation, shown by its color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Input,
    Conv,
    Pointwise,
    Depthwise,
    BatchNorm,
    Activation,
    Add,
    Pool,
    Dense,
    Repack,
}

impl Kind {
    const fn color(self) -> &'static str {
        match self {
            Self::Input => "#52606d",
            Self::Conv => "#5f3dc4",
            Self::Pointwise => "#1971c2",
            Self::Depthwise => "#e8590c",
            Self::BatchNorm => "#868e96",
            Self::Activation => "#2f9e44",
            Self::Add => RESIDUAL,
            Self::Pool => "#ae3ec9",
            Self::Dense => "#0c8599",
            Self::Repack => "#b08900",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv => "convolution",
            Self::Pointwise => "1×1 convolution",
            Self::Depthwise => "depthwise 3×3",
            Self::BatchNorm => "batch norm",
            Self::Activation => "activation",
            Self::Add => "residual add",
            Self::Pool => "average pool",
            Self::Dense => "dense",
            Self::Repack => "repack",
        }
    }
}

/// An operation as it is drawn.
struct Glyph {
    kind: Kind,
    title: String,
    detail: String,
    hover: String,
    activation: bool,
    residual: bool,
    macs: f64,
    bytes: usize,
}

/// A node: one glyph, or the streamed stages of a fused block.
struct Drawn {
    id: NodeId,
    glyphs: Vec<Glyph>,
    streamed: Option<usize>,
    /// Height of its output.
    rows: usize,
    /// Node of the residual that is added at the end.
    residual_from: Option<NodeId>,
}

struct Step {
    name: String,
    nodes: Vec<Drawn>,
}

/// Draws `before` on the left and `after` on the right, two graphs of the same network. `None` if one has a cycle.
pub fn draw(title: &str, subtitle: &str, before: &Graph, after: &Graph) -> Option<String> {
    let (left, right) = (steps(before)?, steps(after)?);
    let work = Work { total: right.iter().map(macs).sum(), most: right.iter().map(macs).fold(0.0, f64::max) };
    let width_of = |steps: &[Step]| steps.iter().map(|step| row_width(&step.nodes)).fold(320.0, f64::max) + 36.0;
    let (left_width, right_width) = (width_of(&left), width_of(&right));
    let left_x = MARGIN + LABEL;
    let right_x = left_x + left_width + BETWEEN;
    let bands = left.len().max(right.len());
    let bottom = TOP + bands as f64 * (BAND_HEIGHT + BAND_GAP);
    let width = right_x + right_width + MARGIN;
    let mut sheet = Sheet::new(width, bottom + 92.0);

    sheet.text(MARGIN, 52.0, Type::new(26.0).bold(), title);
    sheet.text(MARGIN, 78.0, Type::new(13.0).fill(FAINT), subtitle);
    heading(&mut sheet, left_x, "as written", &left);
    heading(&mut sheet, right_x, "after fusion", &right);
    for at in 0..bands {
        let y = TOP + at as f64 * (BAND_HEIGHT + BAND_GAP);
        for (x, width) in [(MARGIN, LABEL + left_width), (right_x, right_width)] {
            sheet.fill(Area { x, y, width, height: BAND_HEIGHT }, 10.0, BAND, 1.0);
        }
        if let Some(step) = right.get(at).or_else(|| left.get(at)) {
            label(&mut sheet, y, step, &work);
        }
    }
    panel(&mut sheet, left_x + 20.0, left_x + left_width - 4.0, &left);
    panel(&mut sheet, right_x + 20.0, right_x + right_width - 4.0, &right);
    legend(&mut sheet, bottom + 34.0, &left, &right);
    Some(sheet.finish(title))
}

fn heading(sheet: &mut Sheet, x: f64, title: &str, steps: &[Step]) {
    let nodes =
        || steps.iter().flat_map(|step| &step.nodes).filter(|drawn| drawn.glyphs.iter().any(|g| g.kind != Kind::Input));
    // Only the output of a node is written to memory; values between streamed stages stay in the cache.
    let bytes: usize = nodes().filter_map(|drawn| drawn.glyphs.last()).map(|glyph| glyph.bytes).sum();
    sheet.text(x, TOP - 34.0, Type::new(16.0).bold(), title);
    let text = format!("{}, which write {} of values", plural(nodes().count(), "operation"), Bytes(bytes));
    sheet.text(x, TOP - 14.0, Type::new(12.5).fill(FAINT), text);
}

/// Multiply-accumulates of all steps, and the maximum of a step.
struct Work {
    total: f64,
    most: f64,
}

/// Draws the name of a step and its share of the work at the left of its band.
fn label(sheet: &mut Sheet, y: f64, step: &Step, work: &Work) {
    let x = MARGIN + 14.0;
    sheet.text(x, y + 31.0, Type::new(14.0).bold(), step.name.as_str());
    let macs = macs(step);
    let of = |whole: f64| if whole > 0.0 { macs / whole } else { 0.0 };
    sheet.text(
        x,
        y + 49.0,
        Type::new(11.0).fill(FAINT),
        format!("{} MACs, {:.1} %", Count(macs), of(work.total) * 100.0),
    );
    let room = LABEL - 40.0;
    sheet.fill(Area { x, y: y + 59.0, width: room, height: 5.0 }, 2.5, RULE, 1.0);
    sheet.fill(Area { x, y: y + 59.0, width: room * of(work.most), height: 5.0 }, 2.5, "#495057", 1.0);
}

fn panel(sheet: &mut Sheet, x: f64, right: f64, steps: &[Step]) {
    let mut previous: Option<(f64, f64)> = None;
    for (at, step) in steps.iter().enumerate() {
        let band = TOP + at as f64 * (BAND_HEIGHT + BAND_GAP);
        let middle = band + BAND_HEIGHT / 2.0 + 3.0;
        if let Some((from_x, from_y)) = previous {
            let gutter = band - BAND_GAP / 2.0;
            let out = (from_x + 9.0).min(right);
            let points =
                [(from_x, from_y), (out, from_y), (out, gutter), (x - 12.0, gutter), (x - 12.0, middle), (x, middle)];
            sheet.route(&points, 6.0, FLOW, 1.2, Some("flow"));
        }
        let end = row(sheet, x, middle, step);
        previous = Some((end, middle));
    }
}

/// Draws the nodes of a step from left to right and returns their right end.
fn row(sheet: &mut Sheet, start: f64, middle: f64, step: &Step) -> f64 {
    let mut x = start;
    let mut places: Vec<(NodeId, Area)> = Vec::new();
    for (at, drawn) in step.nodes.iter().enumerate() {
        if at > 0 {
            sheet.route(&[(x - GAP, middle), (x, middle)], 0.0, FLOW, 1.2, Some("flow"));
        }
        let area = Area { x, y: middle - BOX / 2.0, width: node_width(drawn), height: BOX };
        node(sheet, area, drawn);
        if let Some(source) = drawn.residual_from {
            let from = places.iter().find(|(id, _)| *id == source).map_or(start - 6.0, |(_, area)| area.right() + 3.0);
            arc(sheet, from, area, drawn, middle);
        }
        places.push((drawn.id, area));
        x = area.right() + GAP;
    }
    x - GAP
}

/// Draws the residual connection, from the input of the step to its add.
fn arc(sheet: &mut Sheet, from: f64, area: Area, drawn: &Drawn, middle: f64) {
    let last = drawn.glyphs.last().map_or(0.0, glyph_width);
    let inset = if drawn.streamed.is_some() { PAD } else { 0.0 };
    // To the circle of an add, or to its stripe in a box.
    let circle = last < 30.0;
    let to = area.right() - inset - if circle { last / 2.0 } else { 6.0 };
    let rim = if circle { 13.0 } else { BOX / 2.0 };
    let above = middle - BOX / 2.0 - if drawn.streamed.is_some() { 18.0 } else { 13.0 };
    let points = [(from, middle), (from, above), (to, above), (to, middle - rim)];
    sheet.route(&points, 9.0, RESIDUAL, 1.6, Some("residual"));
    sheet.circle((from, middle), 2.6, RESIDUAL, RESIDUAL);
}

const PAD: f64 = 8.0;

fn node(sheet: &mut Sheet, area: Area, drawn: &Drawn) {
    let mut x = area.x;
    if let Some(rows) = drawn.streamed {
        let frame = Area { x: area.x, y: area.y - 8.0, width: area.width, height: area.height + 24.0 };
        sheet.outline(frame, 9.0, "#b9c4cf", 1.2);
        let how = match rows {
            0 => "streamed".to_owned(),
            1 => "streamed, one row at a time".to_owned(),
            // With all rows at once, the channels are in groups.
            rows if rows >= drawn.rows => "streamed, a group of channels at a time".to_owned(),
            rows => format!("streamed, {rows} rows at a time"),
        };
        sheet.text(area.x + PAD, frame.bottom() - 4.5, Type::new(9.0).fill(FAINT), how);
        x += PAD;
    }
    for (at, glyph) in drawn.glyphs.iter().enumerate() {
        let area = Area { x, y: area.y, width: glyph_width(glyph), height: area.height };
        if at > 0 {
            sheet.route(&[(x - STAGE_GAP, area.middle().1), (x, area.middle().1)], 0.0, FLOW, 1.2, Some("flow"));
        }
        draw_glyph(sheet, area, glyph);
        x = area.right() + STAGE_GAP;
    }
}

const STAGE_GAP: f64 = 9.0;

fn draw_glyph(sheet: &mut Sheet, area: Area, glyph: &Glyph) {
    let (color, (cx, cy)) = (glyph.kind.color(), area.middle());
    let centered = Type::new(10.0).align(Align::Middle);
    match glyph.kind {
        Kind::Add => {
            sheet.circle((cx, cy), 12.0, PAPER, color);
            sheet.line((cx - 5.5, cy), (cx + 5.5, cy), color, 1.8, None);
            sheet.line((cx, cy - 5.5), (cx, cy + 5.5), color, 1.8, None);
        }
        Kind::BatchNorm | Kind::Activation => {
            let pill = Area { y: cy - 11.0, height: 22.0, ..area };
            sheet.tinted(pill, 11.0, color, &glyph.hover);
            sheet.text(cx, cy + 3.5, centered.fill(color).bold(), glyph.title.as_str());
        }
        _ => {
            sheet.tinted(area, 7.0, color, &glyph.hover);
            let stripes = [(glyph.activation, Kind::Activation), (glyph.residual, Kind::Add)];
            let mut edge = area.right() - 4.0;
            for (_, kind) in stripes.into_iter().rev().filter(|(present, _)| *present) {
                let stripe = Area { x: edge - 4.0, y: area.y + 6.0, width: 4.0, height: area.height - 12.0 };
                sheet.fill(stripe, 2.0, kind.color(), 1.0);
                edge -= 6.0;
            }
            let room = Area { width: edge - area.x, ..area };
            let cx = if glyph.activation || glyph.residual { room.middle().0 + 1.0 } else { cx };
            sheet.text(cx, cy - 4.0, Type::new(11.0).bold().align(Align::Middle), glyph.title.as_str());
            sheet.text(cx, cy + 11.0, centered.fill("#52606d"), glyph.detail.as_str());
        }
    }
}

fn legend(sheet: &mut Sheet, y: f64, left: &[Step], right: &[Step]) {
    let kinds = [
        Kind::Conv,
        Kind::Pointwise,
        Kind::Depthwise,
        Kind::BatchNorm,
        Kind::Activation,
        Kind::Add,
        Kind::Pool,
        Kind::Dense,
        Kind::Repack,
    ];
    let drawn = |kind| left.iter().chain(right).flat_map(|s| &s.nodes).flat_map(|n| &n.glyphs).any(|g| g.kind == kind);
    let mut x = MARGIN;
    for kind in kinds.into_iter().filter(|kind| drawn(*kind)) {
        sheet.tinted(Area { x, y: y - 10.0, width: 18.0, height: 13.0 }, 4.0, kind.color(), kind.name());
        sheet.text(x + 25.0, y + 1.0, Type::new(12.0), kind.name());
        x += 52.0 + kind.name().chars().count() as f64 * 6.3;
    }
    let y = y + 28.0;
    let mut x = MARGIN;
    for (kind, text) in [
        (Kind::Activation, "activation applied before the value is stored"),
        (Kind::Add, "residual added before the value is stored"),
    ] {
        sheet.fill(Area { x, y: y - 11.0, width: 4.0, height: 15.0 }, 2.0, kind.color(), 1.0);
        sheet.text(x + 11.0, y + 1.0, Type::new(12.0).fill(INK), text);
        x += 36.0 + text.chars().count() as f64 * 6.0;
    }
    let text = "boxes: output height × width × channels, multiply-accumulates";
    sheet.text(x, y + 1.0, Type::new(12.0).fill(FAINT), text);
}

fn row_width(nodes: &[Drawn]) -> f64 {
    nodes.iter().map(|drawn| node_width(drawn) + GAP).sum::<f64>() - GAP
}

fn node_width(drawn: &Drawn) -> f64 {
    let stages: f64 = drawn.glyphs.iter().map(glyph_width).sum();
    let between = STAGE_GAP * drawn.glyphs.len().saturating_sub(1) as f64;
    stages + between + if drawn.streamed.is_some() { 2.0 * PAD } else { 0.0 }
}

fn glyph_width(glyph: &Glyph) -> f64 {
    let stripes = f64::from(u8::from(glyph.activation) + u8::from(glyph.residual)) * 6.0;
    match glyph.kind {
        Kind::Add => 24.0,
        Kind::BatchNorm => 32.0,
        Kind::Activation => 46.0,
        Kind::Input | Kind::Pool | Kind::Repack => 82.0,
        _ => 122.0 + stripes,
    }
}

fn macs(step: &Step) -> f64 {
    step.nodes.iter().flat_map(|drawn| &drawn.glyphs).map(|glyph| glyph.macs).sum()
}

/// The nodes of a graph by step; `None` if it has a cycle.
fn steps(graph: &Graph) -> Option<Vec<Step>> {
    let mut steps: Vec<(usize, Step)> = Vec::new();
    for id in graph.order()? {
        let node = graph.node(id);
        let inputs = graph.inputs(id);
        let source = inputs.first().map(|input| graph.node(*input).tensor.shape);
        let drawn = drawn(id, node, source, &inputs);
        match steps.iter_mut().find(|(step, _)| *step == node.origin.step) {
            Some((_, step)) => step.nodes.push(drawn),
            None => steps.push((node.origin.step, Step { name: String::new(), nodes: vec![drawn] })),
        }
    }
    steps.sort_by_key(|(step, _)| *step);
    let named = |(_, mut step): (usize, Step)| {
        step.name = name(graph, &step.nodes);
        step
    };
    Some(steps.into_iter().map(named).collect())
}

/// Names of the parts of the network that the nodes belong to: `stem + block1`.
fn name(graph: &Graph, nodes: &[Drawn]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for drawn in nodes {
        let node = graph.node(drawn.id);
        let origins = match &node.op {
            Op::Fused(fused) => fused.stages.iter().map(|stage| &stage.origin).collect(),
            _ => vec![&node.origin],
        };
        for origin in origins {
            let part = origin.name.split(['.', '+']).next().unwrap_or_default();
            if !part.is_empty() && part != "input" && !parts.contains(&part) {
                parts.push(part);
            }
        }
    }
    parts.join(" + ")
}

fn drawn(id: NodeId, node: &Node, source: Option<Shape>, inputs: &[NodeId]) -> Drawn {
    let residual_from = inputs.get(1).copied();
    let Op::Fused(fused) = &node.op else {
        let glyph = glyph(&node.op, &node.origin, source, node.tensor.shape, node.tensor.elements());
        return Drawn { id, glyphs: vec![glyph], streamed: None, rows: node.tensor.shape.height, residual_from };
    };
    let mut glyphs = Vec::new();
    let mut source = source;
    for stage in &fused.stages {
        glyphs.push(glyph(&stage.op, &stage.origin, source, stage.tensor.shape, stage.tensor.elements()));
        source = Some(stage.tensor.shape);
    }
    Drawn { id, glyphs, streamed: Some(fused.rows), rows: node.tensor.shape.height, residual_from }
}

fn glyph(op: &Op, origin: &Origin, source: Option<Shape>, shape: Shape, elements: usize) -> Glyph {
    let role = origin.name.split('.').nth(1).unwrap_or(origin.name.as_str());
    let channels = source.map_or(0, |shape| shape.channels);
    let windowed = |name: &str, window: &Window| {
        let stride = if window.stride == [1, 1] { String::new() } else { format!(" /{}", window.stride[0]) };
        format!("{name} {}×{}{stride}", window.kernel[0], window.kernel[1])
    };
    let taps = |window: &Window| window.kernel[0] * window.kernel[1];
    let none = Epilogue::default();
    let (kind, title, macs, epilogue) = match op {
        Op::Input => (Kind::Input, "image".to_owned(), 0, none),
        Op::Conv2d(conv) => {
            let kind = if conv.window.is_point() { Kind::Pointwise } else { Kind::Conv };
            let macs = conv.epilogue.unpooled(shape).elements() * taps(&conv.window) * channels;
            let pool = if conv.epilogue.pool.is_some() { ", pool" } else { "" };
            (kind, windowed(role, &conv.window) + pool, macs, conv.epilogue)
        }
        Op::DepthwiseConv2d(conv) => {
            (Kind::Depthwise, windowed(role, &conv.window), shape.elements() * taps(&conv.window), conv.epilogue)
        }
        Op::BatchNorm(_) => (Kind::BatchNorm, "BN".to_owned(), 0, none),
        Op::Activation(Activation::Relu) => (Kind::Activation, "ReLU".to_owned(), 0, none),
        Op::Activation(Activation::Relu6) => (Kind::Activation, "ReLU6".to_owned(), 0, none),
        Op::Add => (Kind::Add, "add".to_owned(), 0, none),
        Op::GlobalAvgPool => (Kind::Pool, "pool".to_owned(), 0, none),
        Op::Dense(_) => (Kind::Dense, "classifier".to_owned(), shape.elements() * channels, none),
        Op::Repack => (Kind::Repack, "repack".to_owned(), 0, none),
        Op::Fused(_) => (Kind::Conv, "fused".to_owned(), 0, none),
    };
    let size = format!("{}×{}×{}", shape.height, shape.width, shape.channels);
    let detail = if macs == 0 { size.clone() } else { format!("{size} · {}", Count(macs as f64)) };
    let layer = origin.layer.map_or_else(String::new, |layer| format!("layer {layer}, "));
    Glyph {
        kind,
        title,
        detail,
        hover: format!("{}: {layer}{size}, line {} of the spec", origin.name, origin.line),
        activation: epilogue.activation.is_some(),
        residual: epilogue.residual,
        macs: macs as f64,
        bytes: elements * 4,
    }
}

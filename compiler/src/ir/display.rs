//! The graph as text: one line per node in order of execution, stages indented below their node, then the parameters.
//!
//! ```text
//! %12 = conv2d 1x1/1 %11 relu6 : 56x56x144 [group 16 border 0,1,0,1 ring 4] tile 14x2 at 0..65536 @line 9 block3.expand #7 {...}
//! ```
//!
//! Layouts other than plain NHWC are shown, padding and border as top, left, bottom, right. `#7` is the number in the
//! published table, and `at` the byte range of the scratch.

use std::collections::BTreeMap;
use std::fmt;

use super::{
    Activation, BatchNorm, ElementType, Fused, Graph, NodeId, Op, Order, Origin, Padding, Param, ParamId, ParamSource,
    Place, Product, Tensor, Tile, Window,
};

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = numbered(self);
        let numbers: BTreeMap<NodeId, usize> = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        for id in &order {
            let node = self.node(*id);
            let inputs: Vec<String> = self
                .inputs(*id)
                .iter()
                .map(|input| format!("%{}", numbers.get(input).copied().unwrap_or(usize::MAX)))
                .collect();
            write!(f, "%{} = ", numbers[id])?;
            let line = Line {
                graph: self,
                op: &node.op,
                inputs: &inputs,
                origin: &node.origin,
                tensor: node.tensor,
                tile: node.tile,
                place: node.place,
            };
            writeln!(f, "{line}")?;
            if let Op::Fused(fused) = &node.op {
                stages(f, self, fused)?;
            }
        }
        params(f, self)
    }
}

/// The nodes in order of execution, or in order of insertion in a cyclic graph.
pub(super) fn numbered(graph: &Graph) -> Vec<NodeId> {
    graph.order().unwrap_or_else(|| graph.ids().collect())
}

fn stages(f: &mut fmt::Formatter<'_>, graph: &Graph, fused: &Fused) -> fmt::Result {
    for stage in &fused.stages {
        let (op, origin) = (&stage.op, &stage.origin);
        let line = Line { graph, op, inputs: &[], origin, tensor: stage.tensor, tile: stage.tile, place: stage.place };
        writeln!(f, "     | {line}")?;
    }
    Ok(())
}

/// The parameters that operations read, with the recipes of folded ones.
fn params(f: &mut fmt::Formatter<'_>, graph: &Graph) -> fmt::Result {
    let used = graph.used_params();
    if !used.is_empty() {
        writeln!(f, "parameters:")?;
    }
    for param in used.into_iter().filter_map(|id| graph.get_param(id)) {
        write!(f, "  {} {:?}", param.name, param.shape)?;
        if param.element != ElementType::F32 {
            write!(f, " {}", param.element.name())?;
        }
        let names = |ids: &[ParamId]| ids.iter().map(|id| name(graph, *id)).collect::<Vec<_>>().join(", ");
        match &param.source {
            ParamSource::Stored => {}
            ParamSource::FoldedWeight { weight, gamma, variance, epsilon } => {
                write!(f, " = fold_weight({}, {epsilon})", names(&[*weight, *gamma, *variance]))?;
            }
            ParamSource::FoldedBias { gamma, beta, mean, variance, epsilon } => {
                write!(f, " = fold_bias({}, {epsilon})", names(&[*gamma, *beta, *mean, *variance]))?;
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

fn name(graph: &Graph, id: ParamId) -> String {
    graph.get_param(id).map_or_else(|| format!("parameter {}?", id.0), |Param { name, .. }| name.clone())
}

/// An operation and its value, without its number.
struct Line<'g> {
    graph: &'g Graph,
    op: &'g Op,
    inputs: &'g [String],
    origin: &'g Origin,
    tensor: Tensor,
    tile: Option<Tile>,
    place: Option<Place>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&operation(self.op))?;
        for (at, input) in self.inputs.iter().enumerate() {
            let separator = if at > 0 && matches!(self.op, Op::Add) { ", " } else { " " };
            match (at, self.op.epilogue().residual) {
                (1, true) => write!(f, "{} add {input}", activation(self.op))?,
                _ => write!(f, "{separator}{input}")?,
            }
        }
        let epilogue = self.op.epilogue();
        if self.inputs.is_empty() || !epilogue.residual {
            f.write_str(&activation(self.op))?;
        }
        if self.inputs.is_empty() && epilogue.residual {
            f.write_str(" add")?;
        }
        f.write_str(&pool(self.op))?;
        if let Op::Fused(Fused { rows: rows @ 1.., .. }) = self.op {
            write!(f, " rows {rows}")?;
        }
        let Tensor { shape, layout, element, quant } = self.tensor;
        write!(f, " : {shape}")?;
        if element != ElementType::F32 {
            write!(f, " {}", element.name())?;
        }
        if let Some(quant) = quant {
            write!(f, " by {}", name(self.graph, quant.scale))?;
        }
        if !layout.is_nhwc(shape) {
            write!(f, " [group {}", layout.group)?;
            if layout.border != Padding::default() {
                write!(f, " border {}", sides(layout.border))?;
            }
            if let Some(rows) = layout.ring {
                write!(f, " ring {rows}")?;
            }
            match layout.order {
                Order::Pixels => {}
                Order::RowQuads { .. } => f.write_str(" row quads")?,
                Order::ChannelQuads => f.write_str(" channel quads")?,
                Order::ChannelPairs => f.write_str(" channel pairs")?,
                Order::PixelQuads { .. } => f.write_str(" pixel quads")?,
            }
            f.write_str("]")?;
        }
        if matches!(self.op, Op::Repack) {
            write!(f, " copies {} bytes", shape.elements() * element.bytes())?;
        }
        match self.tile {
            Some(Tile::Gemm(tile)) => {
                let product = match self.op.product() {
                    Product::Plain => String::new(),
                    Product::Fast => " fast".to_owned(),
                    Product::Pairs => " pairs".to_owned(),
                    Product::Blocks { depth } => format!(" blocks depth {depth}"),
                };
                write!(f, " tile {}x{} chunk {}{product}", tile.mr, tile.nv, tile.chunk)?;
                if tile.images > 1 {
                    write!(f, " for {} images", tile.images)?;
                }
            }
            Some(Tile::Depthwise(tile)) => write!(f, " tile {}x{}", tile.rows, tile.cols)?,
            None => {}
        }
        if let Some(Place { offset, bytes, arenas }) = self.place {
            write!(f, " at {offset}..{}", offset + bytes)?;
            if let Some(arenas) = arenas {
                write!(f, " and in {} more arenas of {}", arenas.count - 1, arenas.bytes)?;
            }
        }
        write!(f, " @line {} {}", self.origin.line, self.origin.name)?;
        if let Some(layer) = self.origin.layer {
            write!(f, " #{layer}")?;
        }
        let params = if matches!(self.op, Op::Fused(_)) { Vec::new() } else { self.op.params() };
        if !params.is_empty() {
            let names: Vec<String> = params.into_iter().map(|id| name(self.graph, id)).collect();
            write!(f, " {{{}}}", names.join(", "))?;
        }
        Ok(())
    }
}

/// `conv2d 3x3/2 pad 0,0,1,1`.
pub(super) fn operation(op: &Op) -> String {
    match op {
        Op::BatchNorm(BatchNorm { epsilon, .. }) => format!("{} {epsilon}", op.name()),
        _ => match op.window() {
            Some(Window { kernel: [kh, kw], stride: [sh, sw], padding }) => {
                let stride = if sh == sw { format!("{sh}") } else { format!("{sh}x{sw}") };
                let pad =
                    if padding == Padding::default() { String::new() } else { format!(" pad {}", sides(padding)) };
                format!("{} {kh}x{kw}/{stride}{pad}", op.name())
            }
            None => op.name().to_owned(),
        },
    }
}

/// ` requantize relu6`, or either, or nothing.
pub(super) fn activation(op: &Op) -> String {
    // The activations of a fused node belong to its stages.
    if matches!(op, Op::Fused(_)) {
        return String::new();
    }
    let requantize = if op.requantize().is_some() { " requantize" } else { "" };
    let activation = op.epilogue().activation.map_or("", Activation::word);
    if activation.is_empty() { requantize.to_owned() } else { format!("{requantize} {activation}") }
}

/// ` pool 7x7`, or nothing.
pub(super) fn pool(op: &Op) -> String {
    match (op, op.epilogue().pool) {
        (Op::Fused(_), _) | (_, None) => String::new(),
        (_, Some([height, width])) => format!(" pool {height}x{width}"),
    }
}

fn sides(Padding { top, left, bottom, right }: Padding) -> String {
    format!("{top},{left},{bottom},{right}")
}

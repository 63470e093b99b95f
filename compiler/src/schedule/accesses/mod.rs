//! Model of the bytes that each thread of a team reads and writes between two barriers, and a check that these
//! accesses are disjoint.
//!
//! The model is derived from the scheduled graph with the same functions that code generation uses: shares, parts,
//! phases, panels, groups, places and arenas. It covers every step, every team of two threads or more, and one
//! interval at a time. An interval is the code from one barrier to the next. It is race-free if no byte that a thread
//! writes is read or written by another thread.
//!
//! A thread's arena counts as written in full, which checks that arenas are disjoint. A value that an interval only
//! reads counts as read in full. Weights and the image are never written, and the kernels' local arrays are on the
//! stack.

mod float;
mod quantized;
mod run;

use std::fmt;
use std::ops::Range;

use super::team::Thread;
use crate::ir::{Graph, Node, NodeId, Op, Place, Tile};
use crate::target::Isa;
pub use run::Run;

/// Memory that is shared by a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// Scratch of a call.
    Scratch,
    /// Logits buffer of the caller.
    Logits,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scratch => "scratch",
            Self::Logits => "logits",
        })
    }
}

/// Bytes that a thread accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Memory that contains the bytes.
    pub memory: Memory,
    /// Ranges of the bytes in that memory.
    pub run: Run,
    /// Whether the access is a write.
    pub writes: bool,
}

/// Accesses of one thread, interval by interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    thread: Thread,
    intervals: Vec<Vec<Access>>,
}

impl Trace {
    /// Returns an empty trace of `thread`.
    pub fn new(thread: Thread) -> Self {
        Self { thread, intervals: vec![Vec::new()] }
    }

    /// Returns the thread of this trace.
    pub fn thread(&self) -> Thread {
        self.thread
    }

    /// Returns the accesses of each interval, from the start of the operation.
    pub fn intervals(&self) -> &[Vec<Access>] {
        &self.intervals
    }

    /// Ends an interval.
    pub fn wait(&mut self) {
        self.intervals.push(Vec::new());
    }

    /// Adds an access to the current interval.
    pub fn push(&mut self, access: Access) {
        let access = Access { run: access.run.joined(), ..access };
        if access.run.is_empty() {
            return;
        }
        let Some(interval) = self.intervals.last_mut() else { return };
        if let Some(last) = interval.last_mut()
            && (last.memory, last.writes) == (access.memory, access.writes)
            && let Some(run) = last.run.extended(access.run)
        {
            last.run = run;
            return;
        }
        interval.push(access);
    }

    /// Records a write of `run`, whose start is relative to the start of `area`.
    fn write(&mut self, area: Area, run: Run) {
        self.push(Access { memory: area.memory, run: Run { start: area.start + run.start, ..run }, writes: true });
    }

    /// Records a read of all of `area`.
    fn read(&mut self, area: Area) {
        self.push(Access { memory: area.memory, run: Run::once(area.start, area.bytes), writes: false });
    }

    /// Returns the area of a place. A value with one copy per thread is in the thread's own arena.
    fn area(&self, place: Place) -> Area {
        let arena = place.arenas.map_or(0, |arenas| self.thread.index * arenas.bytes);
        Area { memory: Memory::Scratch, start: place.offset + arena, bytes: place.bytes }
    }

    /// Returns the area of a node's value. The logits have no place in the scratch.
    fn value(&self, node: &Node) -> Area {
        let logits = Area { memory: Memory::Logits, start: 0, bytes: node.tensor.bytes() };
        node.place.map_or(logits, |place| self.area(place))
    }

    /// Records a write of all of a place that is private to the thread.
    fn private(&mut self, place: Option<Place>) {
        if let Some(place) = place {
            let area = self.area(place);
            self.write(area, Run::once(0, area.bytes));
        }
    }
}

/// A place as seen by one thread.
#[derive(Debug, Clone, Copy)]
struct Area {
    memory: Memory,
    start: usize,
    bytes: usize,
}

/// Two threads that access the same bytes between the same two barriers, at least one of them writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Memory that contains the bytes.
    pub memory: Memory,
    /// First common byte range.
    pub bytes: Range<usize>,
    /// Thread that writes.
    pub writer: Thread,
    /// The other thread, and whether it also writes.
    pub other: (Thread, bool),
    /// Number of barriers in the operation before the interval.
    pub interval: usize,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, bytes: Range { start, end }, writer, other: (other, writes), interval } = self;
        let does = if *writes { "writes" } else { "reads" };
        write!(
            f,
            "bytes {start}..{end} of the {memory}: thread {} of {} writes what thread {} {does}, {interval} barriers into \
             the operation",
            writer.index, writer.team, other.index,
        )
    }
}

/// Returns the first conflict of each interval. `traces` are the traces of all threads of one team.
pub fn conflicts(traces: &[Trace]) -> Vec<Conflict> {
    let intervals = traces.iter().map(|trace| trace.intervals.len()).max().unwrap_or(0);
    (0..intervals).filter_map(|interval| conflict(traces, interval)).collect()
}

fn conflict(traces: &[Trace], interval: usize) -> Option<Conflict> {
    let of_thread = |trace: &Trace| trace.intervals.get(interval).cloned().unwrap_or_default();
    let mut all: Vec<(Thread, Access)> =
        traces.iter().flat_map(|trace| of_thread(trace).into_iter().map(|access| (trace.thread, access))).collect();
    all.sort_by_key(|(_, access)| (access.memory, access.run.start));
    // Accesses that begin before the current one and may overlap it.
    let mut open: Vec<(Thread, Access)> = Vec::new();
    for (thread, access) in all {
        open.retain(|(_, before)| before.memory == access.memory && before.run.end() > access.run.start);
        for (other, before) in &open {
            if *other == thread || !(access.writes || before.writes) {
                continue;
            }
            if let Some(bytes) = access.run.overlap(&before.run) {
                let (writer, other) =
                    if access.writes { (thread, (*other, before.writes)) } else { (*other, (thread, false)) };
                return Some(Conflict { memory: access.memory, bytes, writer, other, interval });
            }
        }
        open.push((thread, access));
    }
    None
}

/// A node in which the accesses of a team conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Race {
    /// The node.
    pub node: NodeId,
    /// First conflict of the node.
    pub conflict: Conflict,
}

/// Returns the races of a scheduled graph in teams of two to `threads` threads. For each node, only the races of the
/// smallest team that has any are returned.
pub fn races(graph: &Graph, isa: Isa, threads: usize) -> Vec<Race> {
    let order = graph.order().unwrap_or_default();
    let mut races = Vec::new();
    let mut before: Option<NodeId> = None;
    for id in order {
        // An observer reads the last value of a step while other threads begin the next step.
        let begins = |last: &NodeId| graph.node(*last).origin.step != graph.node(id).origin.step;
        let shown = before.filter(begins).and_then(|last| graph.node(last).place);
        before = Some(id);
        let conflicts = conflicts_of(&model(graph, id, isa, threads), shown, threads);
        let conflicts = conflicts.into_iter().chain(conflicts_of_batch(graph, id, isa, threads));
        races.extend(conflicts.map(|conflict| Race { node: id, conflict }));
    }
    races
}

/// Returns the accesses of each thread of a team in node `id`, compiled for teams of at most `threads` threads.
pub fn traces(graph: &Graph, id: NodeId, isa: Isa, threads: usize, team: usize) -> Vec<Trace> {
    traces_of(&model(graph, id, isa, threads), None, team)
}

/// Function that adds the accesses of a thread in one node to its trace.
type Model<'g> = Box<dyn Fn(&mut Trace) + 'g>;

/// Returns the accesses of node `id`, compiled for teams of at most `threads` threads.
fn model<'g>(graph: &'g Graph, id: NodeId, isa: Isa, threads: usize) -> Model<'g> {
    let node = graph.node(id);
    match (&node.op, node.tensor.element.is_quantized()) {
        (Op::Input, _) => Box::new(|_| {}),
        (Op::Fused(fused), true) => Box::new(move |trace| quantized::block(graph, id, fused, isa, trace)),
        (Op::Fused(fused), false) => float::block(graph, id, fused, isa, threads),
        (_, true) => Box::new(move |trace| quantized::layer(graph, id, isa, threads, trace)),
        (_, false) => float::layer(graph, id, isa, threads),
    }
}

/// Returns the conflicts of the smallest team that has any. The team's first thread also reads `shown`.
fn conflicts_of(model: &Model<'_>, shown: Option<Place>, threads: usize) -> Vec<Conflict> {
    let of_team = |team| conflicts(&traces_of(model, shown, team));
    (2..=threads).map(of_team).find(|conflicts| !conflicts.is_empty()).unwrap_or_default()
}

fn traces_of(model: &Model<'_>, shown: Option<Place>, team: usize) -> Vec<Trace> {
    let of_thread = |index| {
        let mut trace = Trace::new(Thread { index, team });
        if let Some(place) = shown.filter(|_| index == 0) {
            trace.read(trace.area(place));
        }
        model(&mut trace);
        trace
    };
    (0..team).map(of_thread).collect()
}

/// Returns the conflicts of a batched classifier. The images of a batch correspond to the pixels of a row.
fn conflicts_of_batch(graph: &Graph, id: NodeId, isa: Isa, threads: usize) -> Vec<Conflict> {
    let node = graph.node(id);
    let (Some(Tile::Gemm(tile)), true, [input]) = (node.tile, node.gathers(), &graph.inputs(id)[..]) else {
        return Vec::new();
    };
    let mut row = graph.clone();
    row.node_mut(*input).place = node.workspace;
    for id in [*input, id] {
        row.node_mut(id).tensor.shape.width = tile.images;
    }
    conflicts_of(&model(&row, id, isa, threads), None, threads)
}

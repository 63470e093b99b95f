"""The charts of the README and of docs/benchmarks.md, drawn as SVG from the tables of docs/benchmarks.md.

    python3 benches/peers/charts.py       what `run.py --redraw` does; needs nothing but Python

rustdoc pages cannot include other files: `src/charts.md` holds the same charts as data URIs for the crate's front page.
"""
import base64
import sys
from dataclasses import dataclass
from xml.sax.saxutils import escape

import tables
from common import ROOT, step, write

WIDTH, MARGIN, ROW, BAR = 760, 20, 22, 14
CHARACTER = 7.2  # width of a bold character at 12 px, on average
VALUES = 130  # room for the numbers at the end of a bar
OURS, PEERS, INK, SOFT, LINE = "#1f6feb", "#b5bdc9", "#1f2328", "#59636e", "#d1d9e0"
# The summary leaves out engines slower than this many times LiteRT: bars of 20 ms would hide differences of 1 ms.
SHOWN_UP_TO = 2.0


@dataclass
class Bar:
    label: str
    least: float
    median: float
    times: float  # as fast as LiteRT, of the minima
    ours: bool


@dataclass
class Panel:
    heading: str
    bars: list[Bar]


def bar(row: dict, label: str | None = None) -> Bar:
    times = row["times_litert_min"]
    return Bar(label or row["engine"], row["min_ms"], row["median_ms"], times, row["engine"].startswith("mbvc"))


def text(x: float, y: float, content: str, size: int = 12, anchor: str = "start", color: str = INK, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}"{weight}>{escape(content)}</text>'


def numbers(x: float, y: float, one: Bar) -> str:
    weight = ' font-weight="600"' if one.ours else ""
    times = f'<tspan dx="8" fill="{SOFT}" font-weight="400">{one.times:.2f}×</tspan>'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" fill="{INK}"{weight}>{one.least:.2f} ms{times}</text>'


def draw(title: str, unit: str, panels: list[Panel], notes: list[str]) -> str:
    """Draws bars to the minimum and ticks at the median, followed by the numbers, on one scale for all panels."""
    bars = [one for panel in panels for one in panel.bars]
    left = MARGIN + CHARACTER * max(len(one.label) for one in bars) + 8
    scale = (WIDTH - MARGIN - VALUES - left) / max(max(one.least, one.median) for one in bars)
    shapes = [text(MARGIN, 34, title, 17, bold=True), text(MARGIN, 54, unit, 12, color=SOFT)]
    y = 66
    for panel in panels:
        y += 20
        shapes.append(text(MARGIN, y, panel.heading, 13, bold=True))
        y += 8
        for one in sorted(panel.bars, key=lambda one: one.least):
            middle, end, tick = y + ROW / 2, left + scale * one.least, left + scale * one.median
            color = OURS if one.ours else PEERS
            shapes += [
                text(left - 8, middle + 4, one.label, anchor="end", bold=one.ours),
                f'<rect x="{left:.1f}" y="{middle - BAR / 2:.1f}" width="{end - left:.1f}" height="{BAR}" rx="2" fill="{color}"/>',
                f'<line x1="{end:.1f}" x2="{tick:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="{SOFT}"/>',
                f'<rect x="{tick - 1:.1f}" y="{middle - BAR / 2 - 2:.1f}" width="2" height="{BAR + 4}" fill="{SOFT}"/>',
                numbers(max(end, tick) + 8, middle + 4, one),
            ]
            y += ROW
        shapes.append(f'<line x1="{left:.1f}" x2="{left:.1f}" y1="{y - ROW * len(panel.bars):.1f}" y2="{y:.1f}" stroke="{LINE}"/>')
    for note in notes:
        y += 18
        shapes.append(text(MARGIN, y, note, 11, color=SOFT))
    height = y + MARGIN
    # An opaque background, so that the chart can be read on dark pages too.
    frame = f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8" fill="#ffffff" stroke="{LINE}"/>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'role="img" font-family="system-ui, -apple-system, \'Segoe UI\', Helvetica, Arial, sans-serif">'
    )
    return "\n".join([head, f"<title>{escape(title)}</title>", frame, *shapes, "</svg>"]) + "\n"


UNIT = "Milliseconds per image (224×224, batch 1). Bar: fastest call, tick: median. ×: times as fast as LiteRT."


def whole(precision: str, name: str) -> str:
    """All rows of one table."""
    rows, setting = tables.read(f"peers-{precision}")
    panels = []
    for threads in sorted({row["threads"] for row in rows}):
        heading = f"{threads} thread{'s' if threads > 1 else ''}"
        panels.append(Panel(heading, [bar(row) for row in rows if row["threads"] == threads]))
    notes = [f"{setting['processor']}; {setting['calls']} calls per engine."]
    return draw(f"MobileNetV2 1.0 in {name}, mbvc and other engines", UNIT, panels, notes)


def fastest(rows: list[dict]) -> list[Bar]:
    """The fastest row of mbvc, and the fastest with strict numerics."""
    named = {"mbvc": rows, "mbvc, strict": [row for row in rows if row["engine"].endswith("strict")]}
    return [bar(min(rows, key=lambda row: row["min_ms"]), name) for name, rows in named.items() if rows]


def summary() -> str:
    """The figure of the README: one thread, float32 and int8."""
    panels, slow, headline = [], [], []
    for precision, name in (("f32", "float32"), ("int8", "int8")):
        rows, setting = tables.read(f"peers-{precision}")
        alone = [row for row in rows if row["threads"] == 1]
        ours = fastest([row for row in alone if row["engine"].startswith("mbvc")])
        others = [row for row in alone if not row["engine"].startswith("mbvc")]
        slow += [row for row in others if row["times_litert_min"] * SHOWN_UP_TO < 1]
        panels.append(Panel(name, ours + [bar(row) for row in others if row not in slow]))
        headline.append(max(one.times for one in ours))
    notes = [f"One thread, {setting['processor']}. The same weights and image for all; the engines take turns, call by call."]
    if slow:
        notes.append("Not shown: " + ", ".join(f"{row['engine']} {row['min_ms']:.1f} ms" for row in slow) + " (float32).")
    title = "MobileNetV2 on one core: {:.2f}× as fast as LiteRT in float32, {:.2f}× in int8".format(*headline)
    return draw(title, UNIT, panels, notes)


def redraw() -> None:
    drawn = {"summary": summary(), "peers": whole("f32", "float32"), "peers-int8": whole("int8", "int8")}
    for name, svg in drawn.items():
        write(ROOT / f"docs/{name}.svg", svg)
        step(f"docs/{name}.svg")
    uris = {name: base64.b64encode(svg.encode()).decode() for name, svg in drawn.items()}
    write(ROOT / "src/charts.md", "".join(f"[{name}.svg]: data:image/svg+xml;base64,{uri}\n" for name, uri in uris.items()))


if __name__ == "__main__":
    sys.exit(redraw())

"""The tables of docs/benchmarks.md: written from results, and read back to draw the charts again."""
import re
from pathlib import Path

from common import ROOT, write

DOCUMENT = ROOT / "docs/benchmarks.md"
HEAD = "| engine | threads | min ms | median ms | p90 ms | times as fast as LiteRT (min / median) |\n|---|---|---|---|---|---|"
SETTING = re.compile(r"^Processor: (?P<processor>.+)\. Calls per engine: (?P<calls>\d+)\.$", re.MULTILINE)
ROW = re.compile(r"^\| (.+?) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+|nan) / ([\d.]+|nan) \|$", re.MULTILINE)


def markdown(rows: list[dict], failed: list[dict], setting: dict) -> str:
    """The block of one precision: the setting, the table, and the engines that could not run."""
    lines = [f"Processor: {setting['processor']}. Calls per engine: {setting['calls']}.\n", HEAD]
    for row in rows:
        least, median = (row.get(f"times_litert_{what}", float("nan")) for what in ("min", "median"))
        times = [row["min_ms"], row["median_ms"], row["p90_ms"]]
        cells = [row["engine"], str(row["threads"]), *(f"{time:.2f}" for time in times), f"{least:.2f} / {median:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{one['engine']}, {one['threads']} threads: {one['error']}." for one in failed]
    return "\n".join(lines)


def parse(block: str) -> tuple[list[dict], dict]:
    """The rows and the setting that `markdown` wrote."""
    setting = SETTING.search(block)
    if setting is None:
        raise SystemExit(f"{DOCUMENT}: expected a line `Processor: NAME. Calls per engine: NUMBER.` above the table")
    names = ("engine", "threads", "min_ms", "median_ms", "p90_ms", "times_litert_min", "times_litert_median")
    kinds = (str, int, float, float, float, float, float)
    rows = [dict(zip(names, (kind(cell) for kind, cell in zip(kinds, row)))) for row in ROW.findall(block)]
    return rows, setting.groupdict()


def split(text: str, path: Path, marker: str) -> tuple[str, str, str]:
    """The text up to and with the first marker, between the markers, and from the last one on."""
    begin, end = f"<!-- {marker}:begin -->\n", f"\n<!-- {marker}:end -->"
    if begin not in text or end not in text:
        raise SystemExit(f"{path}: expected the lines {begin.strip()} and {end.strip()}")
    before, rest = text.split(begin, 1)
    block, after = rest.split(end, 1)
    return before + begin, block, end + after


def read(marker: str) -> tuple[list[dict], dict]:
    return parse(split(DOCUMENT.read_text(), DOCUMENT, marker)[1])


def replace(marker: str, block: str) -> None:
    before, _, after = split(DOCUMENT.read_text(), DOCUMENT, marker)
    write(DOCUMENT, before + block + after)

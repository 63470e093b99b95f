#!/usr/bin/env python3
"""mbvc against the engines a user would pick instead: same weights, same image, call by call in one process.

    python3 benches/peers/run.py                       everything, one and two threads
    python3 benches/peers/run.py --threads 1 --runs 50 --engines mbvc,LiteRT
    python3 benches/peers/run.py --json target/peers/results.json --readme --chart docs/peers.svg
    python3 benches/peers/run.py --grid                25 widths and sizes against LiteRT
    python3 benches/peers/run.py --precision int8      the quantized networks; also with --grid, and uint8

Everything is made first: a virtual environment with the engines from PyPI, the release build, the imported weights,
all below the target folder. Every measured call follows one of the same engine that is not measured: it refills the
caches that the others emptied. With several threads only mbvc and LiteRT take turns, and the others run by
themselves: threads that spin while they wait for work slow down whoever comes next. An engine that cannot be had is
named with the reason. All have to agree: quantized mbvc with LiteRT to the bit. `--readme` writes the tables between
their markers in README.md.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
WORK = TARGET / "peers"
QUANTIZED = ["numpy", "pillow", "matplotlib", "ai-edge-litert", "openvino"]
FLOATS = QUANTIZED + ["onnxruntime", "MNN", "ncnn", "pnnx", "tract"]
PACKAGES = {"f32": FLOATS, "int8": QUANTIZED, "uint8": QUANTIZED}


def step(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def enter_environment(packages: list[str]) -> None:
    """Installs what is missing, and goes on in the environment's own Python."""
    venv = WORK / "venv"
    python = venv / "bin/python"
    if Path(sys.prefix) == venv:
        return
    if not python.exists():
        step(f"virtual environment in {venv}")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    there = {package["name"].lower().replace("_", "-") for package in json.loads(listed.stdout)}
    for package in packages:
        if package.lower() not in there:
            step(f"install {package}")
            # One at a time: those that cannot be installed are named, the others run.
            if subprocess.run([python, "-m", "pip", "install", "-q", package]).returncode:
                step(f"{package} cannot be installed")
    os.execv(python, [str(python), *sys.argv])


def cargo(*arguments: str) -> None:
    step("cargo " + " ".join(arguments))
    subprocess.run(["cargo", *arguments], cwd=ROOT, check=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def between_markers(path: Path, marker: str, text: str) -> None:
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    whole = path.read_text()
    if begin not in whole or end not in whole:
        raise SystemExit(f"{path}: no {begin} and {end}")
    before, rest = whole.split(begin, 1)
    write(path, f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def interleaved(engines: dict, runs: int, label: str) -> dict:
    """Milliseconds of each engine's calls."""
    samples = {name: [] for name in engines}
    for number in range(runs + 3):
        for name, (run, _) in engines.items():
            run()
            start = time.perf_counter_ns()
            run()
            if number >= 3:
                samples[name].append((time.perf_counter_ns() - start) / 1e6)
        if sys.stderr.isatty():
            done = 30 * (number + 1) // (runs + 3)
            print(f"\r{label} [{'#' * done:30}] {number + 1}/{runs + 3}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return samples


def statistics_of(samples: list[float]) -> dict:
    import numpy as np

    low, median, high = map(float, np.percentile(samples, [0, 50, 90]))
    return {"min_ms": round(low, 3), "median_ms": round(median, 3), "p90_ms": round(high, 3)}


def scores_of(output):
    """Probabilities: mbvc gives logits, the files end with a softmax, whose quantized results add up to about 1."""
    import numpy as np

    values = np.asarray(output, np.float64).ravel()
    if abs(values.sum() - 1) < 0.2 and values.min() >= 0:
        return values
    values = np.exp(values - values.max())
    return values / values.sum()


def start(makers: dict, threads: int, failed: list) -> dict:
    """The engines, those that cannot be had named in `failed`."""
    import numpy as np

    running = {}
    for name, make in makers.items():
        try:
            running[name] = make()
            running[name][0]()
            np.asarray(running[name][1]())
        except Exception as error:  # named in the report, never dropped without a word
            running.pop(name, None)
            failed.append({"engine": name, "threads": threads, "error": f"{type(error).__name__}: {error}"[:200]})
            step(f"{name}, {threads} threads: {failed[-1]['error']}")
    return running


def groups(names: list[str], threads: int) -> list[list[str]]:
    """Engines that take turns: with several threads only mbvc and LiteRT, the others each by themselves."""
    if threads == 1:
        return [names]
    together = [name for name in names if name.startswith("mbvc") or name == "LiteRT"]
    return [group for group in [together, *([name] for name in names if name not in together)] if group]


def compare(args) -> tuple[list, list]:
    import numpy as np
    from PIL import Image

    import contenders

    image = Image.open(args.shared / "images/cat.bmp").convert("RGB").resize((224, 224), Image.BILINEAR)
    pixels = np.ascontiguousarray(np.asarray(image)[None])
    rows, failed = [], []
    # Several threads first: before other engines have started theirs.
    for threads in sorted(args.threads, reverse=True):
        made = contenders.makers(args, threads, pixels)
        base = None
        for group in groups(list(made), threads):
            running = start({name: made[name] for name in group}, threads, failed)
            samples = interleaved(running, args.runs, f"{threads} threads")
            base = statistics_of(samples["LiteRT"]) if "LiteRT" in samples else base
            for name in running:
                scores = scores_of(running[name][1]())
                row = {"engine": name, "threads": threads, **statistics_of(samples[name])}
                if base:
                    for what in ("min", "median"):
                        row[f"times_litert_{what}"] = round(base[f"{what}_ms"] / row[f"{what}_ms"], 3)
                rows.append(row | {"top1": int(scores.argmax()), "score": round(float(scores.max()), 5)})
    rows.sort(key=lambda row: row["threads"])
    # A step of the quantized scores is 1/256, and engines round in other ways.
    tolerance = 1e-3 if args.precision == "f32" else 0.05
    differing = [row for row in rows if row["top1"] != rows[0]["top1"] or abs(row["score"] - rows[0]["score"]) > tolerance]
    if differing:
        raise SystemExit(f"engines disagree: {rows[0]} and {differing}")
    return rows, failed


def markdown(rows: list, failed: list) -> str:
    lines = ["| engine | threads | min ms | median ms | p90 ms | times as fast as LiteRT (min / median) |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        times = "/".join(f" {row.get(f'times_litert_{what}', float('nan')):.2f} " for what in ("min", "median")).strip()
        lines.append(
            f"| {row['engine']} | {row['threads']} | {row['min_ms']:.2f} | {row['median_ms']:.2f} "
            f"| {row['p90_ms']:.2f} | {times} |"
        )
    lines += [f"\n{one['engine']}, {one['threads']} threads: {one['error']}." for one in failed]
    return "\n".join(lines)


def chart(rows: list, path: Path) -> None:
    """Bars of minima with ticks at the medians; gray, so that it can be read on white and on black."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plot

    gray = "#808080"
    plot.rcParams.update({"svg.fonttype": "none", "font.size": 10, "svg.hashsalt": "mbvc"})
    for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"):
        plot.rcParams[key] = gray
    groups = sorted({row["threads"] for row in rows})
    figure, axes = plot.subplots(
        len(groups), 1, squeeze=False, figsize=(8, 0.8 + 0.32 * len(rows)), layout="constrained",
        height_ratios=[sum(row["threads"] == threads for row in rows) for threads in groups],
    )
    for axis, threads in zip(axes[:, 0], groups):
        of_group = sorted((row for row in rows if row["threads"] == threads), key=lambda row: -row["min_ms"])
        colors = ["#2f81c7" if row["engine"].startswith("mbvc") else "#c77d2f" for row in of_group]
        places = range(len(of_group))
        axis.barh(places, [row["min_ms"] for row in of_group], color=colors, height=0.7)
        axis.plot([row["median_ms"] for row in of_group], places, "|", color=gray, markersize=12, markeredgewidth=2)
        axis.set_yticks(places, [row["engine"] for row in of_group])
        for place, row in zip(places, of_group):
            axis.text(row["min_ms"], place, f" {row['min_ms']:.2f} ", va="center", ha="right", color="white", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(f"{threads} thread{'s' if threads > 1 else ''}", loc="left", fontsize=10)
        axis.set_xlabel("milliseconds a call: bar to the minimum, tick at the median")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    figure.savefig(temporary, format="svg", transparent=True, metadata={"Date": None})
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("MBVC_SHARED", ROOT.parent / "shared")))
    parser.add_argument("--weights", type=Path, help="imported weights [default: import the shared TFLite file]")
    parser.add_argument("--precision", choices=["f32", "int8", "uint8"], default="f32")
    parser.add_argument("--isa", help="of mbvc, separated by commas [default: those of AVX-512 and AVX2]")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--engines", default="", help="parts of names, separated by commas [default: all]")
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--no-build", action="store_true", help="measure what was built before")
    parser.add_argument("--json", type=Path, help="where results go [default: below the target folder]")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    parser.add_argument("--chart", type=Path, help="draw an SVG")
    parser.add_argument("--grid", action="store_true", help="widths and sizes against LiteRT instead")
    parser.add_argument("--widths", default="0.35,0.5,0.75,1.0,1.4", help="of the grid")
    parser.add_argument("--sizes", default="96,128,160,192,224", help="of the grid")
    parser.add_argument("--resume", action="store_true", help="measure what the grid's results do not have yet")
    args = parser.parse_args()
    enter_environment(PACKAGES[args.precision] + ["tensorflow-cpu"] * args.grid)
    if args.grid and args.precision == "uint8":
        parser.error("the converter quantizes to int8 only: --grid goes with f32 and int8")
    # Not before: numpy is in the environment only.
    import contenders

    args.isa = args.isa.split(",") if args.isa else contenders.ISAS[args.precision]
    if not args.no_build:
        cargo("build", "--release", "-p", "mbvc-cli")
    if args.grid:
        import grid

        name = f"grid-{args.precision}"
        text = grid.markdown(grid.measure(args, args.json or WORK / f"{name}.json"))
        print(text)
        if args.readme:
            between_markers(ROOT / "README.md", name, text)
        return
    if not args.no_build:
        contenders.build(args)
    if args.weights is None:
        args.weights = contenders.import_weights(args)
    rows, failed = compare(args)
    write(args.json or WORK / f"peers-{args.precision}.json", json.dumps({"results": rows, "failed": failed}, indent=1) + "\n")
    text = markdown(rows, failed)
    print(text)
    if args.readme:
        between_markers(ROOT / "README.md", f"peers-{args.precision}", text)
    if args.chart:
        chart(rows, args.chart)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compares mbvc with other inference engines: same weights, same image, interleaved calls in one process.

    python3 benches/peers/run.py                       all engines, with one and two threads
    python3 benches/peers/run.py --threads 1 --runs 50 --engines mbvc,LiteRT
    python3 benches/peers/run.py --precision int8      the quantized networks (or uint8), or those in bf16
    python3 benches/peers/run.py --grid                25 widths and sizes against LiteRT; also with --precision int8
    python3 benches/peers/run.py --throughput          images per second from JPEG files, on all processors
    python3 benches/peers/run.py --batch               the Python package and Ray jobs, on many JPEG files
    python3 benches/peers/run.py --sql                 SQL in DataFusion and the Python package, on many JPEG files
    python3 benches/peers/run.py --web                 WebAssembly, against other browser engines, in Node and Chromium
    python3 benches/peers/run.py --update-docs         also writes the tables of docs/benchmarks.md and draws the charts
    python3 benches/peers/run.py --redraw              only draws the charts, from the tables of docs/benchmarks.md

The script first creates what it needs below the target folder: a virtual environment with the engines from PyPI, the release
build and the imported weights. Each measured call follows an unmeasured call of the same engine, which refills the caches
that the other engines evicted. With several threads only mbvc and LiteRT take turns, because waiting threads of the other
engines spin and slow down the next engine; the others run one after the other. An engine that cannot run is reported with
the reason. The results of all engines must agree; those of quantized mbvc must be identical to LiteRT's.
"""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import batch
import charts
import sql
import tables
import throughput
import web
from common import ROOT, TARGET, WORK, cargo, interleaved, statistics_of, step, write

QUANTIZED = ["numpy", "pillow", "ai-edge-litert", "openvino"]
FLOATS = QUANTIZED + ["onnxruntime", "MNN", "ncnn", "pnnx", "tract"]
PACKAGES = {"f32": FLOATS, "bf16": QUANTIZED, "int8": QUANTIZED, "uint8": QUANTIZED}


def enter_environment(packages: list[str]) -> None:
    """Installs missing packages and restarts the script with the Python of the environment."""
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
            # One at a time, so that the others run where one cannot be installed.
            if subprocess.run([python, "-m", "pip", "install", "-q", package]).returncode:
                step(f"{package} cannot be installed")
    os.execv(python, [str(python), *sys.argv])


def scores_of(output):
    """Probabilities. mbvc returns logits; the model files end with a softmax, whose quantized results add up to about 1."""
    import numpy as np

    values = np.asarray(output, np.float64).ravel()
    if abs(values.sum() - 1) < 0.2 and values.min() >= 0:
        return values
    values = np.exp(values - values.max())
    return values / values.sum()


def start(factories: dict, model: str, threads: int, failed: list) -> dict:
    """Starts the engines with `model`. Those that fail are added to `failed`."""
    import numpy as np

    running = {}
    for name, make in factories.items():
        try:
            running[name] = make()
            running[name][0]()
            np.asarray(running[name][1]())
        except Exception as error:  # any failure of an engine is reported, and the others run
            running.pop(name, None)
            # Engines here raise a RuntimeError with a complete message.
            reason = f"{error}" if type(error) is RuntimeError else f"{type(error).__name__}: {error}"
            failed.append({"engine": name, "threads": threads, "error": f"cannot run {model}: {reason}"[:200]})
            step(f"{name}, {threads} threads: {failed[-1]['error']}")
    return running


def groups(names: list[str], threads: int) -> list[list[str]]:
    """Groups of engines that take turns: with several threads mbvc and LiteRT form one, and each other engine its own."""
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
    # Several threads first, before other engines start thread pools.
    for threads in sorted(args.threads, reverse=True):
        factories = contenders.factories(args, threads, pixels)
        base = None
        for group in groups(list(factories), threads):
            running = start({name: factories[name] for name in group}, contenders.model(args).stem, threads, failed)
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
    # Quantized scores have steps of 1/256, and engines round differently. bf16 has 8 significant bits.
    tolerance = {"f32": 1e-3, "bf16": 0.05}.get(args.precision, 0.05)
    differing = [row for row in rows if row["top1"] != rows[0]["top1"] or abs(row["score"] - rows[0]["score"]) > tolerance]
    if differing:
        raise SystemExit(f"engines disagree: {rows[0]} and {differing}")
    return rows, failed


#: Generations with AVX-512, by family.
ZEN = {"25": "Zen 4", "26": "Zen 5"}


def cpuinfo() -> dict[str, str]:
    fields = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in fields.items()}


def marker(table: str) -> str:
    """Marker of a table in the document, which has tables for two makes of processors."""
    return f"{table}-intel" if cpuinfo().get("vendor_id") == "GenuineIntel" else table


def processor() -> str:
    """Model name and the widest instruction sets that matter here."""
    fields = cpuinfo()
    flags = fields.get("flags", "").split()
    name = fields.get("model name", "unknown")
    # The model name of a virtual machine does not include the generation.
    if fields.get("vendor_id") == "AuthenticAMD" and "avx512f" in flags and fields.get("cpu family") in ZEN:
        name = f"{name} ({ZEN[fields['cpu family']]})"
    wide = [("avx512f", "AVX-512"), ("avx512_vnni", "VNNI"), ("avx512_bf16", "BF16"), ("amx_tile", "AMX")]
    sets = [name for flag, name in wide if flag in flags] or ["AVX2"] * ("avx2" in flags)
    return f"{name} with {', '.join(sets)}" if sets else name


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("MBVC_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=shared, help="folder of the models and images")
    parser.add_argument("--weights", type=Path, help="imported weights [default: import the TFLite file in --shared]")
    parser.add_argument("--precision", choices=["f32", "bf16", "int8", "uint8"], default="f32")
    parser.add_argument("--isa", help="instruction sets of mbvc, separated by commas [default: those with AVX-512 and AVX2]")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2], help="[default: 1,2]")
    parser.add_argument("--engines", default="", help="parts of engine names, separated by commas [default: all]")
    parser.add_argument("--runs", type=int, default=150, help="measured calls of each engine [default: 150]")
    parser.add_argument("--no-build", action="store_true", help="use existing builds")
    parser.add_argument("--json", type=Path, help="file for the results [default: in target/peers]")
    parser.add_argument("--update-docs", action="store_true", help="write the table into docs/benchmarks.md and redraw the charts")
    parser.add_argument("--redraw", action="store_true", help="draw the charts from docs/benchmarks.md, without measuring")
    parser.add_argument("--grid", action="store_true", help="measure widths and sizes against LiteRT instead")
    parser.add_argument("--throughput", action="store_true", help="measure images per second from JPEG files instead")
    parser.add_argument("--batch", action="store_true", help="measure the Python package and Ray jobs instead")
    parser.add_argument("--sql", action="store_true", help="measure SQL in DataFusion and the Python package instead")
    parser.add_argument("--images", type=int, default=batch.IMAGES, help="images of a data set of --batch and --sql [default: 2000]")
    parser.add_argument("--web", action="store_true", help="measure WebAssembly instead, in float32 and int8")
    parser.add_argument("--rounds", type=int, default=15, help="measured rounds of --throughput, --batch and --sql [default: 15]")
    parser.add_argument("--widths", default="0.35,0.5,0.75,1.0,1.4", help="widths of the grid")
    parser.add_argument("--sizes", default="96,128,160,192,224", help="sizes of the grid")
    parser.add_argument("--resume", action="store_true", help="measure only the cells that the grid's results lack")
    args = parser.parse_args()
    if args.grid and args.precision not in ("f32", "int8"):
        parser.error("--grid supports f32 and int8: TensorFlow's converter writes no others")
    return args


def keep(args, name: str, results) -> None:
    """Writes results as JSON."""
    write(args.json or WORK / f"{name}.json", json.dumps(results, indent=1) + "\n")


def show(args, place: str, text: str) -> None:
    """Prints a table, and writes it into the documentation with `--update-docs`."""
    print(text)
    if args.update_docs:
        tables.replace(place, text)


def measure_grid(args) -> None:
    import grid

    name = f"grid-{args.precision}"
    show(args, marker(name), grid.markdown(grid.measure(args, args.json or WORK / f"{name}.json")))


def measure_throughput(args) -> None:
    rows, setting = throughput.measure(args)
    keep(args, "throughput", {"results": rows, "setting": setting})
    show(args, marker("throughput"), throughput.markdown(rows, setting, processor()))


def measure_batch(args) -> None:
    results = batch.measure(args)
    keep(args, "batch", results)
    show(args, marker("batch"), batch.markdown(results, processor()))


def measure_sql(args) -> None:
    results = sql.measure(args)
    keep(args, "sql", results)
    show(args, marker("sql"), sql.markdown(results, processor()))


def measure_web(args) -> None:
    rows = web.measure(args, "avx_vnni" in cpuinfo().get("flags", "").split())
    keep(args, "web", {"results": rows})
    show(args, marker("web"), web.markdown(rows, {"processor": processor(), "calls": args.runs}))


def measure_engines(args) -> None:
    import contenders

    if not args.no_build:
        contenders.build(args)
    if args.weights is None:
        args.weights = contenders.import_weights(args)
    rows, failed = compare(args)
    name = f"peers-{args.precision}"
    keep(args, name, {"results": rows, "failed": failed})
    show(args, marker(name), tables.markdown(rows, failed, {"processor": processor(), "calls": args.runs}))
    if args.update_docs:
        charts.redraw()


def main() -> None:
    args = parse_arguments()
    if args.redraw:
        charts.redraw()
        return
    packages = {"throughput": throughput.PACKAGES, "batch": batch.PACKAGES, "sql": sql.PACKAGES}
    own = next((packages[kind] for kind in packages if getattr(args, kind)), None)
    enter_environment(own or PACKAGES[args.precision] + ["tensorflow-cpu"] * args.grid)
    # The environment has numpy, which these modules import.
    import contenders

    args.isa = args.isa.split(",") if args.isa else contenders.ISAS[args.precision]
    if not args.no_build:
        cargo("build", "--release", "-p", "mbvc-cli")
    kinds = {"grid": measure_grid, "throughput": measure_throughput, "batch": measure_batch, "sql": measure_sql, "web": measure_web}
    chosen = next((measure for kind, measure in kinds.items() if getattr(args, kind)), measure_engines)
    chosen(args)


if __name__ == "__main__":
    sys.exit(main())

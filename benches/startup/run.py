#!/usr/bin/env python3
"""Measures the time from the start of a program to its first result, and its parts.

    cargo run --release -- import ../shared/models/mobilenet_v2_1.0_224_f32.onnx --output target/v2.safetensors
    cargo build --release --example startup --features peers
    python benches/startup/run.py --weights target/v2.safetensors

Each run is a new process that opens the weights (from a cached file), builds the model, and runs twice. Prints minimum and
median of each part in milliseconds. `load` is `open` and `new` together. `process` is the time between start and end of the process
without the second run, which only shows the cost of the first one.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def once(program: Path, weights: Path) -> dict[str, float]:
    start = time.perf_counter()
    done = subprocess.run([program, weights], capture_output=True, text=True, check=True)
    whole = (time.perf_counter() - start) * 1e3
    parts = json.loads(done.stdout)
    return parts | {"load": parts["open"] + parts["new"], "process": whole - parts["second_run"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=TARGET / "release/examples/startup")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    args = parser.parse_args()
    once(args.program, args.weights)
    samples = [once(args.program, args.weights) for _ in range(args.runs)]
    parts = {
        part: {
            "min_ms": round(min(sample[part] for sample in samples), 2),
            "median_ms": round(statistics.median(sample[part] for sample in samples), 2),
        }
        for part in ("open", "new", "load", "first_run", "second_run", "process")
    }
    if args.json:
        print(json.dumps(parts))
        return
    for part, times in parts.items():
        print(f"{part:12} min {times['min_ms']:7.2f} ms  median {times['median_ms']:7.2f} ms")


if __name__ == "__main__":
    sys.exit(main())

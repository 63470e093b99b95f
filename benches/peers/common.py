"""What the scripts of this folder share: paths, progress lines, files, and the measurement itself."""
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
WORK = TARGET / "peers"
WARM_UP_ROUNDS = 3


def step(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def cargo(*arguments: str) -> None:
    step("cargo " + " ".join(arguments))
    subprocess.run(["cargo", *arguments], cwd=ROOT, check=True)


def write(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def interleaved(engines: dict, runs: int, label: str) -> dict:
    """Milliseconds of `runs` calls of each engine. The engines take turns; each measured call follows an unmeasured one."""
    samples = {name: [] for name in engines}
    rounds = runs + WARM_UP_ROUNDS
    for number in range(rounds):
        for name, (run, _) in engines.items():
            run()
            start = time.perf_counter_ns()
            run()
            if number >= WARM_UP_ROUNDS:
                samples[name].append((time.perf_counter_ns() - start) / 1e6)
        if sys.stderr.isatty():
            done = 30 * (number + 1) // rounds
            print(f"\r{label} [{'#' * done:30}] {number + 1}/{rounds}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return samples


def statistics_of(samples: list[float]) -> dict:
    """Minimum, median and 90th percentile in milliseconds."""
    import numpy as np

    low, median, high = map(float, np.percentile(samples, [0, 50, 90]))
    return {"min_ms": round(low, 3), "median_ms": round(median, 3), "p90_ms": round(high, 3)}

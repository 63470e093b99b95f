"""Images per second of SQL in Python: `classify` of the package `mbvc_datafusion` over Parquet files, and `classify_batch`.

A query counts the labels of a folder of Parquet files with JPEG images. `classify_batch` gets the same images in memory. Both use
all processors and take turns. The labels must have the same counts.
"""
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import batch
import throughput
from common import ROOT, TARGET, WORK, step

PACKAGES = [*batch.PACKAGES, "datafusion"]
QUERY = "select label, count(*) as images from (select classify(image)['label'] as label from photos) group by label"
#: Rows of a batch of DataFusion.
BATCH = 64
ENGINES = {"batch": "`classify_batch` of images in memory", "sql": "SQL over Parquet files in DataFusion"}


def install() -> None:
    """Builds the wheel of `mbvc_datafusion` and installs it into the environment of this script."""
    step("build the Python package of DataFusion functions")
    wheels = WORK / "wheels-datafusion"
    manifest, target = ROOT / "datafusion/python/Cargo.toml", TARGET / "datafusion"
    arguments = ["build", "--release", "--manifest-path", manifest, "--target-dir", target, "--out", wheels]
    subprocess.run([Path(sys.prefix) / "bin/maturin", *arguments], check=True)
    wheel = max(wheels.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", wheel], check=True)


def context(model: Path):
    """A context of DataFusion with the functions."""
    import mbvc_datafusion
    from datafusion import SessionConfig, SessionContext, udf

    made = SessionContext(SessionConfig().with_batch_size(BATCH).with_target_partitions(os.cpu_count() or 1))
    for function in mbvc_datafusion.functions(model):
        made.register_udf(udf(function))
    return made


def measure(args) -> dict:
    """Images per second of each engine for each data set."""
    if not args.no_build:
        batch.install()
        install()
    import mbvc

    saved = WORK / "batch-int8.mbvc"
    model = mbvc.import_model(str(args.shared / f"models/mobilenet_v2_1.0_224_{throughput.MODELS['int8']}"))
    model.save(saved, force=True)
    session = context(saved)
    results = {}
    for name in batch.SETS:
        folder, contents = batch.data_set(args, name, args.images)
        images = [contents[row % len(contents)] for row in range(args.images)]
        session.deregister_table("photos")
        session.register_parquet("photos", str(folder))
        seconds = {engine: [] for engine in ENGINES}
        for number in range(args.rounds):
            step(f"{name}, round {number + 1} of {args.rounds}")
            start = time.perf_counter()
            found = model.classify_batch(images, 1)
            seconds["batch"].append(time.perf_counter() - start)
            start = time.perf_counter()
            batches = session.sql(QUERY).collect()
            seconds["sql"].append(time.perf_counter() - start)
            counts = Counter({row["label"]: row["images"] for part in batches for row in part.to_pylist()})
            expected = Counter(guesses[0].label for guesses in found)
            if counts != expected:
                raise SystemExit(f"the counts of labels differ: {counts - expected} and {expected - counts}")
        results[name] = {engine: [args.images / one for one in times] for engine, times in seconds.items()}
        step(json.dumps(results[name]))
    return {"sets": results, "images": args.images, "rounds": args.rounds, "cores": os.cpu_count()}


def markdown(results: dict, processor: str) -> str:
    lines = [
        f"Processor: {processor}, {results['cores']} cores. int8, {results['images']} images, {results['rounds']} rounds.\n",
        "| JPEG files of up to | engine | images per second, best round | median | relative to `classify_batch` |",
        "|---|---|---|---|---|",
    ]
    for name, rates in results["sets"].items():
        for engine, title in ENGINES.items():
            ratio = statistics.median(one / other for one, other in zip(rates[engine], rates["batch"]))
            best, median = max(rates[engine]), statistics.median(rates[engine])
            lines.append(f"| {name} | {title} | {best:.0f} | {median:.0f} | {100 * ratio:.0f} % |")
    return "\n".join(lines)

"""Images per second of many JPEG files in Python: `classify_batch` of the package `mbvc`, and a Ray job with workers of each engine.

The Ray job reads Parquet files of encoded images and runs one class of each engine with `map_batches`. `python -m mbvc.ray` is a job
whose workers read the files themselves. All engines have as many workers, and take turns. The transforms of torchvision are
measured if it is installed. A job without an engine shows Ray's own time, and the memory of a worker that does nothing. Memory is the
growth of a worker's private memory since its start, minus that of a worker without an engine: after a batch, and at its peak (medians
of the batches). Separate jobs measure it, which are not timed. Ray's object store and mapped files are shared and are not counted.
"""
import importlib.util
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import throughput
from common import ROOT, TARGET, WORK, step

PACKAGES = ["numpy", "pillow", "ai-edge-litert", "onnxruntime", "ray[data]", "pyarrow", "maturin"]
#: Images of a data set, and its pixels and largest bytes per image.
IMAGES = 2000
SETS = {"500 kB": (1920 * 1440, 500_000), "50 kB": (640 * 480, 50_000)}
#: The job without an engine.
NONE = "none"
#: Measured besides the jobs, and their names in the table.
OTHERS = {"classify_batch": "mbvc int8, `classify_batch` without Ray", "program": "mbvc int8, `python -m mbvc.ray`"}
#: Images that a worker is given at a time.
BATCH = 32
#: Memory figures of a batch: at its end, and the peak of the samples.
MEMORY = ["after", "peak"]


def install() -> None:
    """Builds the wheel and installs it into the environment of this script."""
    step("build the Python package")
    wheels = WORK / "wheels"
    target = TARGET / "python"
    arguments = ["build", "--release", "--manifest-path", ROOT / "python/Cargo.toml", "--target-dir", target, "--out", wheels]
    subprocess.run([Path(sys.prefix) / "bin/maturin", *arguments], check=True)
    wheel = max(wheels.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", wheel], check=True)


def data_set(args, name: str, images: int) -> tuple[Path, list[bytes]]:
    """Returns a folder of Parquet files of encoded images, and the distinct images that they repeat."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pixels, size = SETS[name]
    contents = [path.read_bytes() for path in throughput.photographs(args, pixels, size)]
    folder = WORK / f"batch-{name.replace(' ', '')}-{images}"
    if not folder.exists():
        step(f"write {folder.name}")
        folder.mkdir()
        for start in range(0, images, 100):
            rows = range(start, min(start + 100, images))
            table = pa.table({"id": list(rows), "image": pa.array([contents[row % len(contents)] for row in rows], pa.binary())})
            pq.write_table(table, folder / f"{start:06}.parquet", compression="none", row_group_size=BATCH)
    return folder, contents


def private() -> float:
    """The private memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Worker:
    """Base class of the workers. Samples the private memory of the process if `watched` is set."""

    def __init__(self, model: str, watched: bool):
        self.started = self.largest = private()
        self.watched = watched
        self.lock = threading.Lock()
        if watched:
            threading.Thread(target=self.watch, daemon=True).start()
        self.open(model)

    def watch(self) -> None:
        while True:
            with self.lock:
                self.largest = max(self.largest, private())
            time.sleep(0.005)

    def __call__(self, batch: dict) -> dict:
        with self.lock:
            self.largest = 0.0
        found = {"id": batch["id"], "index": self.classify(batch["image"])}
        if self.watched:
            end = private()
            memory = {"after": end, "peak": max(self.largest, end)}
            found |= {name: [used - self.started] * len(batch["id"]) for name, used in memory.items()}
        return found


class Mbvc(Worker):
    """Workers of `mbvc.ray.Classifier`."""

    def open(self, model: str) -> None:
        from mbvc.ray import Classifier

        self.run = Classifier(model)

    def classify(self, images):
        return self.run({"image": images})["index"].to_numpy()


class Pillow(Worker):
    """Workers that decode and resize with Pillow."""

    def open(self, model: str) -> None:
        import numpy as np

        path = Path(model)
        self.run = (throughput.onnxruntime if path.suffix == ".onnx" else throughput.litert)(path)
        self.run(np.zeros((224, 224, 3), np.uint8))

    def classify(self, images):
        import numpy as np

        return np.array([int(np.argmax(self.run(pixels(content)))) for content in images])


class Torchvision(Worker):
    """Workers that decode with Pillow, and resize and normalize with the transforms of torchvision."""

    def open(self, model: str) -> None:
        import torch
        from torchvision import transforms

        torch.set_num_threads(1)
        steps = [transforms.Resize((224, 224)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        self.transform = transforms.Compose(steps)
        self.compute = throughput.session(Path(model))

    def classify(self, images):
        import numpy as np
        from PIL import Image

        pictures = (Image.open(io.BytesIO(content)).convert("RGB") for content in images)
        return np.array([int(np.argmax(self.compute(self.transform(picture)[None].numpy()))) for picture in pictures])


class Nothing(Worker):
    """Workers without an engine."""

    def open(self, model: str) -> None:
        pass

    def classify(self, images):
        import numpy as np

        return np.zeros(len(images), int)


def pixels(content: bytes):
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize((224, 224), Image.BILINEAR))


def job(source: Path, worker, model: str, workers: int, watched: bool) -> list[dict]:
    """Runs a job on a Parquet file or a folder, and returns the rows of its output."""
    import ray

    # Logical CPUs: the workers take one in all, and the readers the rest.
    return (
        ray.data.read_parquet(str(source))
        .map_batches(
            worker, fn_constructor_args=[model, watched], batch_size=BATCH, batch_format="numpy", concurrency=workers, num_cpus=1 / workers
        )
        .take_all()
    )


def program(folder: Path, model: str, workers: int) -> tuple[float, dict]:
    """Seconds of a job of `python -m mbvc.ray` on the cluster, and the class of each image."""
    import pyarrow.parquet as pq
    import ray

    with tempfile.TemporaryDirectory(dir=WORK) as output:
        address = ray.get_runtime_context().gcs_address
        options = ["--model", model, "--address", address, "--workers", str(workers), "--json"]
        command = [sys.executable, "-m", "mbvc.ray", folder, output, *options]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = pq.read_table(output, columns=["id", "index"])
        return json.loads(said)["seconds"], dict(zip(found["id"].to_pylist(), found["index"].to_pylist()))


def startup(model: str, image: Path) -> dict:
    """Milliseconds of `import mbvc` and of the first result, the smallest of ten processes each."""
    script = (
        "import sys, time; start = time.perf_counter(); import mbvc; imported = time.perf_counter(); "
        "mbvc.load(sys.argv[1]).classify(sys.argv[2]); print(imported - start, time.perf_counter() - start)"
    )
    runs = [subprocess.run([sys.executable, "-c", script, model, image], check=True, capture_output=True, text=True) for _ in range(10)]
    times = [[1e3 * float(word) for word in run.stdout.split()] for run in runs]
    return {"import": min(one[0] for one in times), "first": min(one[1] for one in times)}


def measure(args) -> dict:
    """The results of all data sets."""
    if not args.no_build:
        install()
    import mbvc
    import ray

    models = {name: str(args.shared / f"models/mobilenet_v2_1.0_224_{file}") for name, file in throughput.MODELS.items()}
    saved = WORK / "batch-int8.mbvc"
    model = mbvc.import_model(models["int8"])
    model.save(saved, force=True)
    results: dict = {"startup": startup(str(saved), args.shared / "images/pets.jpg"), "sets": {}}
    ray.init(log_to_driver=False, logging_level="warning", include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    workers = max(1, int(ray.cluster_resources()["CPU"]))
    engines = {
        NONE: (Nothing, ""),
        "mbvc int8": (Mbvc, str(saved)),
        "LiteRT int8, Pillow": (Pillow, models["int8"]),
        "ONNX Runtime float32, Pillow": (Pillow, models["onnx"]),
    }
    if importlib.util.find_spec("torchvision"):
        engines["ONNX Runtime float32, Pillow, torchvision transforms"] = (Torchvision, models["onnx"])
    else:
        step(f"torchvision is not measured; `scripts/install-torch.sh {sys.executable}` installs it")
    for name in SETS:
        folder, contents = data_set(args, name, args.images)
        all_images = [contents[row % len(contents)] for row in range(args.images)]
        seconds: dict = {engine: [] for engine in [*engines, *OTHERS]}
        some = min(folder.glob("*.parquet"))
        used: dict = {}
        for engine, (worker, path) in engines.items():
            found = job(some, worker, path, workers, watched=True)
            used[engine] = {figure: statistics.median(row[figure] for row in found) for figure in MEMORY}
        classes: dict = {}
        for number in range(args.rounds):
            step(f"{name}, round {number + 1} of {args.rounds}")
            start = time.perf_counter()
            found = model.classify_batch(all_images, 1)
            seconds["classify_batch"].append(time.perf_counter() - start)
            classes["classify_batch"] = {row: guesses[0].index for row, guesses in enumerate(found)}
            took, classes["program"] = program(folder, str(saved), workers)
            seconds["program"].append(took)
            for engine, (worker, path) in engines.items():
                start = time.perf_counter()
                found = job(folder, worker, path, workers, watched=False)
                seconds[engine].append(time.perf_counter() - start)
                classes[engine] = {row["id"]: row["index"] for row in found}
        base = classes["mbvc int8"]
        classes[NONE] = base
        idle = min(seconds[NONE])
        rows = []
        for engine, times in seconds.items():
            agreeing = sum(classes[engine][row] == index for row, index in base.items())
            if agreeing < 0.75 * args.images:
                raise SystemExit(f"{engine} and mbvc agree on {agreeing} of {args.images} images only")
            ratios = [theirs / ours for theirs, ours in zip(times, seconds["mbvc int8"])]
            rows.append({
                "engine": engine,
                "best": args.images / min(times),
                "median": args.images / statistics.median(times),
                "times": statistics.median(ratios),
                "beyond": args.images / (min(times) - idle) if engine in engines and engine != NONE else None,
                "memory": {figure: used[engine][figure] - used[NONE][figure] for figure in MEMORY} if engine in used else None,
                "agreeing": agreeing / args.images,
            })
        results["sets"][name] = {"rows": rows}
        step(json.dumps(rows))
    ray.shutdown()
    return results | {"workers": workers, "images": args.images, "rounds": args.rounds}


def markdown(results: dict, processor: str) -> str:
    lines = [f"Processor: {processor}, {results['workers']} workers. {results['images']} images, {results['rounds']} rounds."]
    for name, measured in results["sets"].items():
        lines += [
            f"\nJPEG files of up to {name}:\n",
            "| engine | images per second, best round | median | mbvc int8 in Ray is faster by | images per second without Ray's own time | "
            "MB per worker after a batch, minus a worker without an engine | at the peak of a batch | same top class |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for row in measured["rows"]:
            memory = ["", ""] if row["memory"] is None else [f"{row['memory'][figure]:.1f}" for figure in MEMORY]
            where = OTHERS.get(row["engine"], row["engine"])
            beyond = "" if row["beyond"] is None else f"{row['beyond']:.0f}"
            cells = [where, f"{row['best']:.0f}", f"{row['median']:.0f}", f"{row['times']:.2f}", beyond, *memory, f"{100 * row['agreeing']:.1f} %"]
            lines.append("| " + " | ".join(cells) + " |")
    times = results["startup"]
    lines.append(
        f"\n`import mbvc` takes {times['import']:.0f} ms, and the first result of a saved model {times['first']:.0f} ms after the start of "
        "the import (smallest of 10 processes)."
    )
    return "\n".join(lines)

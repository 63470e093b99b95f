"""All widths and sizes against LiteRT: the same random network as a TFLite file and as compiled Rust."""
import json
import subprocess
import sys
from pathlib import Path

import engines
import keras_models
import libraries
from common import TARGET, WORK, interleaved, statistics_of, step, write

CLASSES = 1000


def build(width: float, sizes: list[int], precision: str, isa: str) -> Path:
    """A library with the networks of one width."""
    common = {"width": width, "classes": CLASSES, "precision": precision, "isa": isa}
    variants = {str(size): common | {"resolution": size} for size in sizes}
    return libraries.build(f"grid_{precision}_{width}".replace(".", "_"), variants)


def images(size: int, quantized: bool) -> dict:
    """The test images: noise, which is also timed, and images that drive values to their limits."""
    import numpy as np

    rng = np.random.default_rng(size)
    if not quantized:
        return {"noise": rng.uniform(-1, 1, (1, size, size, 3)).astype(np.float32)}
    shape = (1, size, size, 3)
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    return {
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "ramps": np.stack([*np.broadcast_arrays(ramp, ramp[:, None], ramp[::-1])], -1)[None].copy(),
        "noise": rng.integers(0, 256, shape, np.uint8),
    }


def largest_difference(ours, tflite: Path, image, given: dict) -> float:
    """Largest difference of the logits relative to the largest logit. Quantized logits must be identical."""
    import numpy as np

    largest = 0.0
    for name, pixels in given.items():
        image[...] = pixels
        ours[0]()
        found = np.asarray(ours[1](), np.float32).ravel()
        run, logits = engines.litert(tflite, image, 1)
        run()
        expected = np.asarray(logits(), np.float32).ravel()
        if image.dtype == np.uint8 and (found != expected).any():
            differing = int((found != expected).sum())
            raise SystemExit(f"{tflite.name}, {name}: {differing} of {expected.size} logits differ from LiteRT's")
        largest = max(largest, float(np.abs(found - expected).max() / np.abs(expected).max()))
    if not largest < 1e-3:
        raise SystemExit(f"{tflite.name}: logits differ by {largest:.2e} of the largest")
    return largest


def of_network(library: engines.Library, size: int, isa: str, tflite: Path, runs: int) -> dict:
    """Compares and times one network."""
    import numpy as np

    weights = tflite.with_suffix(".safetensors")
    command = [TARGET / "release/mbvc", "import", tflite, "--output", weights, "--force"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{tflite.name}: {done.stderr}")
    given = images(size, "int8" in tflite.name)
    image = given["noise"].copy()
    ours = library.engine(str(size), isa, weights, image, CLASSES)
    error = largest_difference(ours, tflite, image, given)
    samples = interleaved({"mbvc": ours, "LiteRT": engines.litert(tflite, image, 1)}, runs, tflite.stem)
    times = {name: statistics_of(values) for name, values in samples.items()}
    ratio = {
        f"ratio_{what}": round(times["LiteRT"][f"{what}_ms"] / times["mbvc"][f"{what}_ms"], 3) for what in ("min", "median")
    }
    return {"size": size, "isa": isa, "error": error, **times, **ratio}


def measure(args, results: Path) -> list[dict]:
    """Measures all networks. `results` is written after each; with `--resume` its networks are not measured again."""
    isa = args.isa[0]
    widths, sizes = [float(w) for w in args.widths.split(",")], [int(s) for s in args.sizes.split(",")]
    files = WORK / "tflite"
    step("write TFLite files of random networks")
    command = [sys.executable, Path(keras_models.__file__), files, "--precision", args.precision]
    done = subprocess.run([*command, "--widths", args.widths, "--sizes", args.sizes], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    rows = json.loads(results.read_text()) if args.resume and results.exists() else []
    for width in widths:
        missing = [size for size in sizes if not any((row["width"], row["size"]) == (width, size) for row in rows)]
        if not missing:
            continue
        library = engines.Library(build(width, sizes, args.precision, isa))
        for size in missing:
            row = of_network(library, size, isa, files / keras_models.name(width, size, args.precision), args.runs)
            rows.append({"width": width, **row})
            write(results, json.dumps(rows, indent=1) + "\n")
            step(f"width {width} size {size}: {row['ratio_min']:.2f} / {row['ratio_median']:.2f}, error {row['error']:.1e}")
    return rows


def markdown(rows: list[dict]) -> str:
    sizes = sorted({row["size"] for row in rows})
    lines = ["| width | " + " | ".join(map(str, sizes)) + " |", "|---" * (len(sizes) + 1) + "|"]
    for width in sorted({row["width"] for row in rows}):
        cells = {row["size"]: f"{row['ratio_min']:.2f} / {row['ratio_median']:.2f}" for row in rows if row["width"] == width}
        lines.append(f"| {width} | " + " | ".join(cells.get(size, "") for size in sizes) + " |")
    return "\n".join(lines)

#!/usr/bin/env python3
"""Measures what bf16 costs in accuracy: `mbvc verify` compares the bf16 network with ONNX Runtime in float32.

    python3 benches/bf16_accuracy.py                 prints the table
    python3 benches/bf16_accuracy.py --update-docs   also writes it into docs/benchmarks.md

Compares the logits and the top-1 class on the shared photographs, and on random crops of them, on which the top class is
less certain. Needs numpy, Pillow and onnxruntime (scripts/requirements.txt) and a release build of `mbvc`.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import tables  # noqa: E402
from common import ROOT, TARGET, cargo, step  # noqa: E402

MODEL = "models/mobilenet_v2_1.0_224_f32.onnx"
HEAD = "| images | number | same top-1 class | largest difference of a logit | share of the largest logit | mean difference |\n|---|---|---|---|---|---|"


def crops(photographs: list[Path], count: int, folder: Path) -> None:
    """Writes `count` square crops, the same in each run."""
    from PIL import Image

    choose = random.Random(1)
    for number in range(count):
        with Image.open(photographs[number % len(photographs)]) as image:
            side = int(min(image.size) * choose.uniform(0.3, 0.9))
            left, top = (choose.randint(0, size - side) for size in image.size)
            crop = image.convert("RGB").crop((left, top, left + side, top + side))
            crop.resize((224, 224), Image.BILINEAR).save(folder / f"{number:03}.png")


def compare(mbvc: Path, weights: Path, spec: Path, model: Path, images: Path) -> dict:
    # The tolerance decides the exit status only.
    command = [mbvc, "verify", "--weights", weights, "--spec", spec, "--precision", "bf16", "--against", model]
    command += ["--images", images, "--layers", "1", "--tolerance", "10", "--json", "--python", sys.executable]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def row(name: str, report: dict) -> str:
    logits, top1 = report["logits"], report["top1"]
    cells = [
        name,
        str(report["images"]),
        f"{top1['agree']} of {top1['of']}",
        f"{logits['largest_difference']:.3f}",
        f"{100 * logits['relative']:.1f} %",
        f"{logits['mean_difference']:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("MBVC_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=shared, help="folder of the model and the images")
    parser.add_argument("--crops", type=int, default=300, help="number of crops [default: 300]")
    parser.add_argument("--no-build", action="store_true", help="use the existing build")
    parser.add_argument("--update-docs", action="store_true", help="write the table into docs/benchmarks.md")
    args = parser.parse_args()
    if not args.no_build:
        cargo("build", "--release", "-p", "mbvc-cli")
    mbvc, model = TARGET / "release/mbvc", args.shared / MODEL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights, spec = folder / "model.safetensors", folder / "model.yaml"
        step("import")
        subprocess.run([mbvc, "import", model, "-o", weights], check=True, stdout=subprocess.DEVNULL)
        images = folder / "crops"
        images.mkdir()
        photographs = sorted((args.shared / "images").iterdir())
        crops(photographs, args.crops, images)
        lines = [HEAD]
        for kind, place in [("photographs", args.shared / "images"), ("random crops of them", images)]:
            step(kind)
            lines.append(row(kind, compare(mbvc, weights, spec, model, place)))
    text = "\n".join(lines)
    print(text)
    if args.update_docs:
        tables.replace("bf16-accuracy", text)


if __name__ == "__main__":
    main()

"""From trained weights to what is committed: mbvc's float and int8 weights, the figures that it measures, and pictures."""

import json
import shutil
import subprocess
from pathlib import Path

import matplotlib
import numpy as np
import torch

import icons
import scenes
from learn import ROUNDS, state_file

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

HERE = Path(__file__).parent
ROOT = HERE.parent
SPEC = ROOT / "specs" / "demo.yaml"
FLOAT, INT8 = HERE / "model.safetensors", HERE / "model-int8.safetensors"
# What the two files may take together.
LIMIT = 2_500_000
# Held-out drawings that are committed as samples: label, family, background. Chosen before they were shown to any network.
SAMPLES = [
    ("cat", "fluent-3d", "texture"), ("penguin", "fluent-3d", "plain"), ("elephant", "fluent-flat", "gradient"),
    ("lemon", "fluent-3d", "white"), ("pizza", "fluent-flat", "texture"), ("strawberry", "fluent-3d", "gradient"),
    ("bicycle", "fluent-flat", "white"), ("rocket", "fluent-3d", "plain"), ("cactus", "fluent-flat", "plain"),
    ("umbrella", "fluent-3d", "gradient"), ("guitar", "fluent-flat", "plain"), ("alarm clock", "fluent-3d", "white"),
]  # fmt: skip
# Pictures that int8's scales come from.
CALIBRATION = 192


def export(out: Path) -> Path:
    """A state dict with torchvision's names, of the classes alone."""
    kept = torch.load(state_file(out, len(ROUNDS)), map_location="cpu")["kept"]
    labels = list(icons.classes())
    for name in ("classifier.1.weight", "classifier.1.bias"):
        kept[name] = kept[name][: len(labels)].clone()
    torch.save(kept, out / "model.pth")
    (out / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    return out / "model.pth"


def mbvc(command: list[str], *arguments: object) -> str:
    shown = [str(argument) for argument in arguments]
    print("mbvc", *shown, flush=True)
    return subprocess.run([*command, *shown], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


def pictures(folder: Path, family: str) -> Path:
    """The family's pictures, on all backgrounds, sorted for `mbvc evaluate`."""
    shutil.rmtree(folder / family, ignore_errors=True)
    scenes.write(folder / family, icons.drawings(family))
    return folder / family


def finish(out: Path, command: list[str]) -> None:
    model = export(out)
    mbvc(command, "import", model, "--spec", SPEC, "--labels", out / "labels.txt", "--framing", "squash bilinear", "--output", FLOAT, "--force")
    write_samples(HERE / "samples")
    folder = out / "pictures"
    sorted_pictures = {family: pictures(folder, family) for family in icons.TRAINING + icons.HELD_OUT}
    # Of the families that were learned from, evenly.
    learned = [path for family in icons.TRAINING for path in sorted(sorted_pictures[family].rglob("*.png"))]
    calibration = out / "calibration"
    shutil.rmtree(calibration, ignore_errors=True)
    calibration.mkdir()
    for at in range(CALIBRATION):
        path = learned[at * len(learned) // CALIBRATION]
        shutil.copy(path, calibration / f"{at:03}-{path.name}")
    mbvc(command, "quantize", "--weights", FLOAT, "--spec", SPEC, "--calibrate", calibration, "--output", INT8, "--force")
    size = FLOAT.stat().st_size + INT8.stat().st_size
    if size > LIMIT:
        raise SystemExit(f"the weights have {size} bytes together, expected at most {LIMIT}")
    results = {}
    for family, path in sorted_pictures.items():
        for precision, weights in [("f32", FLOAT), ("int8", INT8)]:
            said = mbvc(command, "evaluate", path, "--spec", SPEC, "--weights", weights, "--precision", precision, "--json")
            results.setdefault(family, {})[precision] = json.loads(said)
    (out / "results.json").write_text(json.dumps(results))
    write_card(results, size, model)
    draw_curve(out / "log.jsonl", HERE / "curve.svg")
    draw_confusion([results[family]["f32"] for family in icons.HELD_OUT], HERE / "confusion.svg")


def write_samples(folder: Path) -> None:
    for label, family, kind in SAMPLES:
        drawn = icons.drawings(family)
        point = next(point for point in icons.classes()[label] if point in drawn.point)
        name = f"{family}-{point:x}"
        picture = scenes.scene(drawn.pixels[list(drawn.point).index(point)], kind, name)
        picture.save(folder / f"{label.replace(' ', '-')}.png", optimize=True)


def write_card(results: dict, size: int, model: Path) -> None:
    """Writes the results between the markers of README.md."""
    card = HERE / "README.md"
    text = card.read_text()
    numbers = sum(tensor.numel() for tensor in torch.load(model, map_location="cpu").values())
    parts = {
        "size": f"{numbers:,} parameters before batch normalization is folded; the float32 and int8 files have {size / 1e6:.2f} MB together.",
        "figures": table(results),
        "confused": confused([results[family]["f32"] for family in icons.HELD_OUT]),
    }
    for name, part in parts.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        head, _, rest = text.partition(begin)
        text = head + begin + part.rstrip("\n") + "\n" + end + rest.partition(end)[2]
    card.write_text(text)
    print(parts["figures"])


def table(results: dict) -> str:
    lines = ["| family | pictures | float32 top-1 | top-5 | int8 top-1 | top-5 |", "|---|---|---|---|---|---|"]
    rows = [(f"{family}, training" if family in icons.TRAINING else f"**{family}, held out**", [results[family]]) for family in results]
    rows.append(("**fluent, both**", [results[family] for family in icons.HELD_OUT]))
    for family, parts in rows:
        cells = [family, str(sum(part["f32"]["images"] for part in parts))]
        for precision in ("f32", "int8"):
            images = sum(part[precision]["images"] for part in parts)
            for key in ("first", "among_first_five"):
                cells.append(f"{100 * sum(part[precision][key] for part in parts) / images:.1f} %")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def confused(results: list[dict]) -> str:
    """The classes with the lowest accuracy, and the most frequent confusions."""
    right, seen, pairs = {}, {}, {}
    for result in results:
        for entry in result["classes"]:
            right[entry["class"]] = right.get(entry["class"], 0) + entry["first"]
            seen[entry["class"]] = seen.get(entry["class"], 0) + entry["images"]
        for entry in result["mistakes"]:
            pair = entry["class"], entry["taken_for"]
            pairs[pair] = pairs.get(pair, 0) + entry["images"]
    worst = sorted(seen, key=lambda label: right[label] / seen[label])[:8]
    often = sorted(pairs.items(), key=lambda pair: -pair[1])[:8]
    return (
        f"Classes with the lowest top-1 accuracy on held-out drawings: {', '.join(f'{label} ({right[label]} of {seen[label]})' for label in worst)}.\n"
        f"Most frequent confusions: {', '.join(f'{shown} for {guess} ({count})' for (shown, guess), count in often)}."
    )


def draw_curve(log: Path, path: Path) -> None:
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    before = np.cumsum([0] + [round_.steps for round_ in ROUNDS])
    steps = [entry["step"] + before[entry.get("round", 1) - 1] for entry in entries]
    figure, loss = plt.subplots(figsize=(7, 3.2))
    loss.plot(steps, [entry["loss"] for entry in entries], color="tab:blue")
    loss.set(xlabel="step", ylabel="loss (training)")
    loss.yaxis.label.set_color("tab:blue")
    right = loss.twinx()
    right.plot(steps, [100 * entry["right"] for entry in entries], color="tab:orange")
    right.set(ylabel="recognized while training, %", ylim=(0, 100))
    right.yaxis.label.set_color("tab:orange")
    for families in {family for entry in entries for family in entry["families"]}:
        right.plot(steps, [100 * entry["families"].get(families, np.nan) for entry in entries], "--", label=families)
        right.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def draw_confusion(results: list[dict], path: Path) -> None:
    """The confusion matrix: rows are true classes, columns predictions."""
    labels = list(icons.classes())
    index = {label: at for at, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)))
    for result in results:
        for entry in result["classes"]:
            counts[index[entry["class"]], index[entry["class"]]] += entry["first"]
        for entry in result["mistakes"]:
            counts[index[entry["class"]], index[entry["taken_for"]]] += entry["images"]
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    figure, axes = plt.subplots(figsize=(11, 11))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.set(xlabel="taken for", ylabel="shows")
    figure.tight_layout()
    # Words as words, not as outlines: a tenth of the size.
    with plt.rc_context({"svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})

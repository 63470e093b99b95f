"""Drawings of things, from the icon families that npm packages carry, matched by Unicode code point.

`drawings()` gives every family's drawings of every code point as RGBA pixels; they are rendered once and kept in cache/.
"""

import io
import json
import re
import shutil
import subprocess
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image
from tqdm import tqdm

HERE = Path(__file__).parent
CACHE = HERE / "cache"
# Pixels of a rendered drawing: half again what the network sees, so that it can be turned and enlarged.
SIZE = 96

# The families that may be learned from.
TRAINING = ["noto", "noto-v1", "twemoji", "openmoji", "fxemoji", "emojione", "emojione-v1", "streamline-emojis"]
# Never learned from and never chosen by: the final figure alone is theirs.
HELD_OUT = ["fluent-flat", "fluent-3d"]
# Families of which one was drawn after the other: where one validates, its relative is not learned from either.
RELATIVES = [{"noto", "noto-v1"}, {"emojione", "emojione-v1"}]

# fxemoji's icons have names of their own; most are Unicode's without spaces, these are not.
FXEMOJI = {
    "acorn": 0x1F330, "bear": 0x1F43B, "bunny": 0x1F430, "bunnyside": 0x1F407, "catside": 0x1F408, "dogside": 0x1F415,
    "dragonhead": 0x1F432, "dragonside": 0x1F409, "evergreen": 0x1F332, "frog": 0x1F438, "frontfacingchick": 0x1F425,
    "hampster": 0x1F439, "mouseside": 0x1F401, "pigside": 0x1F416, "tigerside": 0x1F405, "leopardside": 0x1F406,
    "lightbulb": 0x1F4A1, "leftmagnifyingglass": 0x1F50D, "rightmagnifyingglass": 0x1F50E, "present": 0x1F381,
    "gem": 0x1F48E, "glasses": 0x1F453, "heels": 0x1F460, "mensshoe": 0x1F45E, "cellphone": 0x1F4F1, "screen": 0x1F4BB,
    "hourglassflowingsand": 0x23F3, "mansshirt": 0x1F455, "womansshirt": 0x1F45A, "star": 0x2B50, "tennisball": 0x1F3BE,
    "racecar": 0x1F3CE, "motorcycle": 0x1F3CD, "chilipepper": 0x1F336, "tornado": 0x1F32A, "tie": 0x1F454,
    "spurtingwhale": 0x1F433, "runningshirt": 0x1F3BD, "sandals": 0x1F461, "boot": 0x1F462, "turban": 0x1F473,
    "forkknife": 0x1F374, "ringingbell": 0x1F514, "moneybag": 0x1F4B0, "beachumbrella": 0x1F3D6, "stormcloud": 0x1F329,
    "raincloud": 0x1F327, "snowcloud": 0x1F328, "sunrays": 0x2600, "studiomic": 0x1F399, "controlknob": 0x1F39B,
    "floppydisk2": 0x1F4BE, "videocasette": 0x1F4FC, "loudspeaker": 0x1F4E2, "megaphone": 0x1F4E3, "clamshellmobile": 0x1F4F1,
    "bolt": 0x26A1, "envelope": 0x2709, "email": 0x1F4E7, "makeupbag": 0x1F45D, "pinkwallet": 0x1F45B, "lips": 0x1F444,
    "portablestereo": 0x1F4FE, "lockandkey": 0x1F510, "silhouetteohjapan": 0x1F5FE, "toykotower": 0x1F5FC,
    "bouquetofflowers": 0x1F490, "fallingleaf": 0x1F342, "leaffluttering": 0x1F343, "snowmountains": 0x1F3D4,
    "fishcakeswirl": 0x1F365, "mahjong": 0x1F004, "confetti": 0x1F38A, "heartribbon": 0x1F49D, "pigsnout": 0x1F43D,
    "monkeysee": 0x1F648, "monkeyhear": 0x1F649, "monkeyspeak": 0x1F64A, "poo": 0x1F4A9, "redheart": 0x2764,
}  # fmt: skip


def classes() -> dict[str, list[int]]:
    """The labels in the order of the network's outputs, each with its code points."""
    lines = (HERE / "classes.txt").read_text().splitlines()
    pairs = [line.split(":") for line in lines if line and not line.startswith("#")]
    return {label: [int(point, 16) for point in points.split()] for label, points in pairs}


def is_thing(point: int) -> bool:
    """Whether a code point shows an animal, a plant, food, a place or an object: no faces, people, hands, signs or clocks."""
    signs = [(0x1F4AF, 0x1F4AF), (0x1F500, 0x1F50C), (0x1F517, 0x1F524), (0x1F52F, 0x1F54A), (0x1F54E, 0x1F56E),
             (0x1F5A8, 0x1F5A8), (0x1F6AB, 0x1F6B1), (0x1F6B3, 0x1F6BC), (0x1F6C2, 0x1F6C5), (0x1F6D0, 0x1F6D1)]  # fmt: skip
    people = [(0x1F442, 0x1F450), (0x1F464, 0x1F487), (0x1F574, 0x1F575), (0x1F57A, 0x1F57A), (0x1F590, 0x1F596),
              (0x1F3C2, 0x1F3C4), (0x1F3C7, 0x1F3CC), (0x1F385, 0x1F385), (0x1F6A3, 0x1F6A3), (0x1F6B4, 0x1F6B6),
              (0x1F6CC, 0x1F6CC), (0x1F90C, 0x1F93E), (0x1F970, 0x1F97A), (0x1F9B5, 0x1F9B9), (0x1F9CD, 0x1F9DF)]  # fmt: skip
    if any(first <= point <= last for first, last in signs + people):
        return False
    things = [(0x1F300, 0x1F5FF), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x1FA70, 0x1FAFF)]
    return any(first <= point <= last for first, last in things) or any(point in points for points in classes().values())


@dataclass
class Drawings:
    """`pixels` [n, SIZE, SIZE, 4] RGBA, and of each its family and code point."""

    pixels: np.ndarray
    family: np.ndarray
    point: np.ndarray


def fetch() -> Path:
    """Installs the packages as package-lock.json pins them, each checked by its hash."""
    modules = HERE / "node_modules"
    wanted = read_json(HERE / "package.json")["dependencies"]
    if not all((modules / package).is_dir() for package in wanted):
        if shutil.which("npm") is None:
            raise SystemExit("npm is not there: install Node.js, which the icon packages come through")
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    return modules


def read_json(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def single(sequence: str) -> int | None:
    """The code point of a sequence that is one, apart from the selector of color pictures."""
    parts = [part for part in sequence.lower().split("-") if part != "fe0f"]
    return int(parts[0], 16) if len(parts) == 1 else None


def by_point(folder: Path, chars: dict[str, str]) -> dict[int, str]:
    return {single(sequence): name for sequence, name in chars.items() if single(sequence) is not None}


def icons_of(family: str, modules: Path) -> dict[int, str]:
    """Code point to icon name within an iconify package."""
    folder = modules / "@iconify-json"
    package = folder / ("fluent-emoji-flat" if family == "fluent-flat" else family)
    icons = read_json(package / "icons.json")
    known = set(icons["icons"]) | set(icons.get("aliases", {}))
    chars = read_json(package / "chars.json")
    if chars:
        return {point: name for point, name in by_point(package, chars).items() if name in known}
    # No code points in the package: by Unicode's names.
    names = by_point(folder, read_json(folder / "noto" / "chars.json"))
    if family == "fxemoji":
        squeezed = {point: re.sub("[^a-z0-9]", "", unicodedata.name(chr(point), "").lower()) for point in names}
        found = {point: name for point, name in squeezed.items() if name in known}
        return found | {point: name for name, point in FXEMOJI.items() if name in known}
    if family == "streamline-emojis":
        # Where there are several drawings of a thing, they are numbered; of animals' faces the name says so.
        ways = {point: [name, f"{name}-1", f"{name}-face", f"{name}-face-1"] for point, name in names.items()}
        found = {point: next((way for way in tried if way in known), None) for point, tried in ways.items()}
        found |= {0x1F3B2: "game-dice", 0x1F392: "school-backpack"}
        return {point: name for point, name in found.items() if name in known}
    return {point: name for point, name in names.items() if name in known}


def svg(icons: dict, name: str) -> str:
    alias = icons.get("aliases", {}).get(name)
    icon = icons["icons"][alias["parent"] if alias else name]
    box = [icon.get(key, icons.get(key, default)) for key, default in
           [("left", 0), ("top", 0), ("width", 16), ("height", 16)]]  # fmt: skip
    body = icon["body"].replace("currentColor", "#333")
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{" ".join(map(str, box))}">{body}</svg>'


def rendered(text: str, size: int = SIZE) -> np.ndarray:
    """An SVG as RGBA, [size, size, 4], in the middle where it is not square."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=text, width=size, height=size))
    return squared(Image.open(io.BytesIO(png)), size)


def squared(image: Image.Image, size: int) -> np.ndarray:
    image = image.convert("RGBA")
    scale = size / max(image.size)
    if scale != 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (size, size))
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(square)


def family_drawings(family: str, points: set[int], size: int = SIZE) -> dict[int, np.ndarray]:
    modules = fetch()
    bar = lambda items: tqdm(items, desc=f"drawing {family}", unit="icon", leave=False)  # noqa: E731
    if family == "fluent-3d":
        folder = modules / "@lobehub" / "fluent-emoji-3d" / "assets"
        files = {single(path.stem): path for path in sorted(folder.glob("*.webp"))}
        return {point: squared(Image.open(files[point]), size) for point in bar(sorted(points & set(files) - {None}))}
    package = modules / "@iconify-json" / ("fluent-emoji-flat" if family == "fluent-flat" else family)
    icons, names = read_json(package / "icons.json"), icons_of(family, modules)
    return {point: rendered(svg(icons, names[point]), size) for point in bar(sorted(points & set(names)))}


def all_points() -> set[int]:
    names = by_point(fetch(), read_json(fetch() / "@iconify-json" / "noto" / "chars.json"))
    return {point for point in names if is_thing(point)}


def drawings(family: str) -> Drawings:
    """The drawings of a family, from the cache where they were rendered before."""
    kept = CACHE / f"{family}.npz"
    if not kept.exists():
        # Of the held-out families nothing but what the figure needs.
        chosen = {point for points in classes().values() for point in points}
        found = family_drawings(family, chosen if family in HELD_OUT else all_points())
        CACHE.mkdir(exist_ok=True)
        part = kept.with_suffix(".part.npz")
        points = sorted(found)
        np.savez(part, pixels=np.stack([found[point] for point in points]), point=np.array(points))
        part.rename(kept)
    with np.load(kept) as file:
        pixels, point = file["pixels"], file["point"]
    return Drawings(pixels, np.array([family] * len(point)), point)


def joined(families: list[str]) -> Drawings:
    parts = [drawings(family) for family in families]
    return Drawings(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("pixels", "family", "point")))

"""Pictures to measure with: a drawing in the middle of a background, the same ones every time."""

import colorsys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from icons import Drawings, classes

SIZE = 128
# Sides of the drawing; what is rendered larger is scaled.
DRAWN = 104
KINDS = ["white", "plain", "gradient", "texture"]


def background(kind: str, random: np.random.Generator) -> Image.Image:
    def color(pale: bool) -> list[int]:
        saturation, value = (random.uniform(0.1, 0.5), random.uniform(0.8, 1)) if pale else (random.uniform(0.2, 0.9), random.uniform(0.25, 1))
        return [round(255 * part) for part in colorsys.hsv_to_rgb(random.random(), saturation, value)]

    if kind == "white":
        return Image.new("RGB", (SIZE, SIZE), "white")
    if kind == "plain":
        return Image.new("RGB", (SIZE, SIZE), tuple(color(random.random() < 0.5)))
    if kind == "gradient":
        corners = np.array([color(True), color(False), color(False), color(True)], np.uint8).reshape(2, 2, 3)
        return Image.fromarray(corners).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    # Clouds of one hue, as of cloth, stone or grass.
    noise = Image.fromarray((random.random((32, 32)) * 255).astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    fine = random.normal(0, 12, (SIZE, SIZE))
    shade = np.asarray(noise.filter(ImageFilter.GaussianBlur(1))) / 255 * 0.5 + 0.6
    return Image.fromarray((np.array(color(False)) * shade[..., None] + fine[..., None]).clip(0, 255).astype(np.uint8))


def scene(drawing: np.ndarray, kind: str, name: str) -> Image.Image:
    """`drawing` [n, n, 4] RGBA on a background that follows from `name`."""
    picture = background(kind, np.random.default_rng(zlib.crc32(f"{name} {kind}".encode())))
    drawn = Image.fromarray(drawing).resize((DRAWN, DRAWN), Image.Resampling.LANCZOS)
    picture.paste(drawn, ((SIZE - DRAWN) // 2,) * 2, drawn)
    return picture


def scenes(drawings: Drawings, kinds: list[str] = KINDS):
    """`(label index, label, name, kind, picture)` of every drawing of a class."""
    for index, (label, points) in enumerate(classes().items()):
        for at in np.flatnonzero(np.isin(drawings.point, points)):
            name = f"{drawings.family[at]}-{drawings.point[at]:x}"
            for kind in kinds:
                yield index, label, name, kind, scene(drawings.pixels[at], kind, name)


def write(folder: Path, drawings: Drawings, kinds: list[str] = KINDS) -> int:
    """One folder for each label, as `mbvc evaluate` reads them; returns how many pictures."""
    count = 0
    for _, label, name, kind, picture in scenes(drawings, kinds):
        (folder / label).mkdir(parents=True, exist_ok=True)
        picture.save(folder / label / f"{name}-{kind}.png")
        count += 1
    return count

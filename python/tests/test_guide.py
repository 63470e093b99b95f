"""The code of the guide runs."""

import json
import re

import numpy as np
import pytest
from conftest import HEADS, ROOT
from PIL import Image


def blocks(path: str) -> list[str]:
    text = (ROOT / path).read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_chapter_from_python(shared, monkeypatch, tmp_path):
    pytest.importorskip("sklearn")
    images = shared / "images"
    (tmp_path / "photos").mkdir()
    for name, path in [("cat.jpg", "cat.bmp"), ("dog.jpg", "pets.jpg"), ("photos/bird.png", "bird.bmp"), ("photos/cat.png", "cat.bmp")]:
        with Image.open(images / path) as image:
            image.convert("RGB").save(tmp_path / name)
    content = (tmp_path / "cat.jpg").read_bytes()
    (tmp_path / "damaged.jpg").write_bytes(content[: len(content) // 2])
    for name, path in [("model.tflite", "mobilenet_v2_1.0_224_f32.tflite"), ("labels.txt", "imagenet_labels_1001.txt")]:
        (tmp_path / name).symlink_to(shared / "models" / path)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    parts = blocks("docs/guide/python.md")
    assert len(parts) == 7
    for part in parts:
        exec(compile(part, "docs/guide/python.md", "exec"), names)
    assert names["rows"][0][0].label == "tabby" or names["rows"][0][0].index > 0
    assert names["logits"].shape == (8, 1001) and np.allclose(names["scores"].sum(1), 1, atol=1e-5)
    assert names["classifier"].predict([names["model"].embed("dog.jpg")]) == ["dog"]


@pytest.mark.parametrize("path", ["README.md", "python/README.md"])
def test_the_readme(path, shared, monkeypatch, tmp_path):
    (tmp_path / "keras_model.h5").symlink_to(HEADS / "keras/teachable_machine.h5")
    with Image.open(shared / "images/cat.bmp") as image:
        image.convert("RGB").save(tmp_path / "cat.jpg")
        array = np.asarray(image.convert("RGB"))
    jpeg = (tmp_path / "cat.jpg").read_bytes()
    monkeypatch.chdir(tmp_path)
    names = {"list_of_paths_or_bytes": ["cat.jpg", jpeg], "jpeg_bytes": jpeg, "array": array}
    [code] = blocks(path)
    exec(compile(code, path, "exec"), names)
    assert (tmp_path / "model.mbvc").exists()


def test_the_notebook(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(ROOT)
    cells = json.loads((ROOT / "python/examples/embeddings.ipynb").read_text())["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "embeddings.ipynb", "exec"), names)
    assert names["vectors"].shape[0] == 6 * len(names["samples"]) and names["accuracy"] > 0.9

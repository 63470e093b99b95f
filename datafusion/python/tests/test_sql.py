"""The functions in queries of the Python package `datafusion`. `DEMO_MODEL` is a model file of the demo's network."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datafusion import SessionContext, udf

import mbvc_datafusion

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "demo/samples").glob("*.png"))


@pytest.fixture(scope="module")
def model() -> str:
    return os.environ["DEMO_MODEL"]


@pytest.fixture
def context(tmp_path) -> SessionContext:
    """A context with a table of the samples, an image that cannot be decoded, and a null."""
    images = [path.read_bytes() for path in SAMPLES] + [b"no image", None]
    names = [path.stem for path in SAMPLES] + ["damaged", "null"]
    pq.write_table(pa.table({"name": names, "image": pa.array(images, pa.binary())}), tmp_path / "photos.parquet", row_group_size=5)
    context = SessionContext()
    context.register_parquet("photos", str(tmp_path / "photos.parquet"))
    return context


def register(context: SessionContext, model: str, **options) -> None:
    for function in mbvc_datafusion.functions(model, **options):
        context.register_udf(udf(function))


def rows(context: SessionContext, sql: str) -> list[dict]:
    return pa.Table.from_batches(context.sql(sql).collect()).to_pylist()


def test_labels_are_counted(context, model):
    register(context, model)
    counts = rows(
        context, "select label, count(*) as images from (select classify(image)['label'] as label from photos) group by label"
    )
    found = {row["label"]: row["images"] for row in counts}
    assert found.pop(None) == 2 and sum(found.values()) == len(SAMPLES)
    named = {row["name"]: row["label"] for row in rows(context, "select name, classify(image)['label'] as label from photos")}
    # The samples are named after what they show, and the network recognizes most of them.
    right = [path.stem for path in SAMPLES if named[path.stem].replace(" ", "-") == path.stem]
    assert len(right) >= 9, named


def test_the_chapter_at_scale(model, context, tmp_path, monkeypatch):
    text = (ROOT / "docs/guide/scale.md").read_text()
    [code] = [code for code in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "datafusion" in code]
    (tmp_path / "model.mbvc").symlink_to(model)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos.parquet").rename(tmp_path / "photos/0.parquet")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "docs/guide/scale.md", "exec"), names)
    assert sum(row["images"] for row in names["labels"].to_pylist()) == len(SAMPLES) + 2


def test_several_classes_and_vectors(context, model):
    register(context, model, prefix="demo_", threads=2)
    for row in rows(context, "select demo_classify(image, 3) as best, demo_classify(image) as one, demo_embed(image) as v from photos limit 5"):
        assert len(row["best"]) == 3 and row["best"][0] == row["one"]
        assert row["best"][0]["score"] >= row["best"][1]["score"] >= row["best"][2]["score"]
        assert len(row["v"]) > 3 and all(value >= 0 for value in row["v"])


def test_errors_have_remedies(context, model, tmp_path):
    register(context, model, fail=True)
    with pytest.raises(Exception, match="the image in row 2 is not an image"):
        rows(context, "select classify(image) from photos")
    with pytest.raises(Exception, match="paths and encoded text are not supported"):
        rows(context, "select classify(name) from photos")
    with pytest.raises(RuntimeError, match="no such file"):
        mbvc_datafusion.functions(tmp_path / "absent.mbvc")

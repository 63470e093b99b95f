"""Jobs on a cluster of two nodes: results, failures of workers and nodes, and interruptions."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import ray

from conftest import FILES, GROUP, ROWS  # isort: skip
from mbvc import Error
from mbvc.ray import Classifier, Embedder, _job, _units
from mbvc.ray._batches import Columns

#: Columns of a job that classifies the column `image`.
COLUMNS = Columns("image", None, Classifier.names(""))


ROOT = Path(__file__).resolve().parents[3]


def rows_of(folder: Path) -> dict:
    """The rows of the output by their id. A row that is there twice is an error."""
    found: dict = {}
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            assert row["id"] not in found, "a row is there twice"
            found[row["id"]] = (row["label"], row["score"], row["index"], row["error"] is not None)
    return found


def planned(parquet: Path, output: Path, model_file: Path, count: int = FILES * ROWS // GROUP):
    """The arguments of a job, with one unit for each row group."""
    import fsspec

    units = _units.find(str(parquet), GROUP, COLUMNS)
    assert len(units) == count
    units = _units.planned(fsspec.filesystem("file"), str(output), units, {})
    return model_file.read_bytes(), _job.Job(str(parquet), str(output), "image", 1, None), units


def check(report, output: Path, expected: dict) -> None:
    """Nothing is lost, nothing is there twice, and the counts are exact."""
    assert rows_of(output) == expected
    assert report.lost == []
    assert ds.dataset(output, format="parquet").to_table().num_rows == len(expected), "one schema"
    failed = sum(row[3] for row in expected.values())
    null = sum(row[0] is None and not row[3] for row in expected.values())
    counts = report.counts
    assert (counts.read, counts.failed, counts.null) == (len(expected), failed, null)
    assert counts.classified == len(expected) - failed - null
    left = [path.name for path in output.iterdir() if path.name.startswith(".")]
    assert left == [], "temporary files"


def workers() -> list[int]:
    """Processes of the job's workers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if command.startswith(b"ray::Worker"):
                found.append(int(entry.name))
    return found


def test_results_are_those_of_one_process(cluster, parquet, model_file, expected, tmp_path):
    model, job, units = planned(parquet, tmp_path / "out", model_file)
    report = _job.run(model, job, units, 4)
    check(report, tmp_path / "out", expected)
    assert (report.done, report.skipped) == (len(units), 0)
    again = _job.run(model, job, units, 4)
    check(again, tmp_path / "out", expected)
    assert (again.done, again.skipped) == (0, len(units))


def test_a_killed_worker_loses_nothing(cluster, parquet, model_file, expected, tmp_path):
    model, job, units = planned(parquet, tmp_path / "out", model_file)
    killed = []

    def progress(report, done, total) -> None:
        if done >= 3 * (len(killed) + 1) and len(killed) < 3 and (pids := workers()):
            os.kill(pids[-1], signal.SIGKILL)
            killed.append(pids[-1])

    check(_job.run(model, job, units, 3, progress), tmp_path / "out", expected)
    assert len(killed) == 3


def test_a_removed_node_loses_nothing(cluster, parquet, model_file, expected, tmp_path):
    model, job, units = planned(parquet, tmp_path / "out", model_file)
    removed = []

    def progress(report, done, total) -> None:
        if done >= 4 and not removed:
            removed.append(True)
            threading.Thread(target=cluster.remove_node, args=(cluster.second,)).start()

    check(_job.run(model, job, units, 4, progress), tmp_path / "out", expected)
    assert removed


def command(*arguments):
    return [sys.executable, "-m", "mbvc.ray", *map(str, arguments)]


def test_an_interrupted_program_goes_on(parquet, model_file, expected, tmp_path):
    arguments = command(parquet, tmp_path / "out", "--model", model_file, "--rows", GROUP, "--workers", 1, "--json")
    started = subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("*.parquet"))) < 3:
        assert started.poll() is None and time.monotonic() < deadline, "the job ended early"
        time.sleep(0.01)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    assert 3 <= len(finished) < FILES * ROWS // GROUP
    ran = subprocess.run(arguments, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert rows_of(tmp_path / "out") == expected
    # The worker of the killed program may have ended another part before it noticed.
    assert report["skipped"] >= len(finished) and report["counts"]["read"] == len(expected)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "finished files are not written again"
    other = subprocess.run(command(parquet, tmp_path / "out", "--model", model_file, "--top", 2), capture_output=True, text=True)
    inside = subprocess.run(command(tmp_path, tmp_path / "out", "--model", model_file), capture_output=True, text=True)
    assert inside.returncode == 1 and "are in each other" in inside.stderr
    next(iter(finished)).write_bytes(b"")
    damaged = subprocess.run(arguments, capture_output=True, text=True)
    assert damaged.returncode == 1 and "is not a complete output file" in damaged.stderr
    assert other.returncode == 1 and "contains the output of a job with a different" in other.stderr


def test_images_in_folders(cluster, photographs, model_file, int8, tmp_path):
    import fsspec

    folder = tmp_path / "images"
    folder.mkdir()
    for path in photographs:
        (folder / path.name).symlink_to(path)
    # Found, but not readable.
    (folder / "gone.jpg").symlink_to(tmp_path / "absent.jpg")
    units = _units.find(str(folder), 2, COLUMNS)
    job = _job.Job(str(folder), str(tmp_path / "out"), "image", 2, None)
    units = _units.planned(fsspec.filesystem("file"), str(tmp_path / "out"), units, {})
    report = _job.run(model_file.read_bytes(), job, units, 2)
    assert (report.counts.classified, report.counts.failed, report.lost) == (len(photographs), 1, [])
    rows = [row for path in (tmp_path / "out").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert sorted(row["path"] for row in rows) == sorted(map(str, folder.iterdir()))
    for row in rows:
        if row["path"].endswith("gone.jpg"):
            assert row["label"] is None and "cannot read" in row["error"]
        else:
            assert list(zip(row["label"], row["score"], row["index"])) == int8.classify(row["path"], top=2)


@pytest.mark.parametrize("batch_format", ["numpy", "pyarrow"])
def test_ray_data(cluster, batch_format, parquet, model_file, expected, int8, images):
    photos = ray.data.read_parquet(str(parquet))
    # A CPU stays free for reading.
    found = photos.map_batches(
        Classifier, fn_constructor_args=[str(model_file)], batch_format=batch_format, batch_size=32, concurrency=2
    ).take_all()
    rows = {row["id"]: (row["label"], row["score"], row["index"], row["error"] is not None) for row in found}
    nothing = [row for row in rows if rows[row][0] is None]
    assert {row: rows[row] for row in rows if row not in nothing} == {row: expected[row] for row in rows if row not in nothing}
    assert len(rows) == len(expected) and all(expected[row][0] is None for row in nothing)
    assert {row for row in rows if rows[row][3]} == {row for row in expected if expected[row][3]}
    vectors = photos.limit(40).map_batches(
        Embedder, fn_constructor_args=[int8], fn_constructor_kwargs={"keep": ["id"]}, batch_format=batch_format, concurrency=1
    )
    for row in vectors.take_all():
        assert set(row) == {"id", "embedding", "error"}
        if row["embedding"] is not None:
            assert (int8.embed(images[row["id"]]) == row["embedding"]).all()


def test_the_chapter_at_scale(cluster, parquet, model_file, expected, monkeypatch, tmp_path):
    text = (ROOT / "docs/guide/scale.md").read_text()
    code, _sql = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "photos").symlink_to(parquet)
    (tmp_path / "model.mbvc").symlink_to(model_file)
    monkeypatch.chdir(tmp_path)
    # Ray's workers run elsewhere.
    code = code.replace('"model.mbvc"', repr(str(model_file))).replace('("photos/")', f"({str(parquet)!r})")
    code = code.replace('("labels/")', f"({str(tmp_path / 'labels')!r})")
    exec(compile(code, "docs/guide/scale.md", "exec"), {})
    rows = [row for path in (tmp_path / "labels").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert {row["id"]: row["index"] for row in rows} == {row: found[2] for row, found in expected.items()}


def test_damaged_input_is_refused_or_reported(cluster, parquet, model_file, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    content = (parquet / "part-0.parquet").read_bytes()
    (broken / "a.parquet").write_bytes(content[:-200])
    with pytest.raises(Error, match="cannot read .*a.parquet as a Parquet file"):
        _units.find(str(broken), GROUP, COLUMNS)
    # The end is intact, but not the rows.
    (broken / "a.parquet").write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    model, job, units = planned(broken, tmp_path / "out", model_file, len(range(0, ROWS, GROUP)))
    report = _job.run(model, job, units, 2)
    assert {lost["file"] for lost in report.lost} == {str(broken / "a.parquet")}
    assert len(report.lost) + report.done == len(units) and report.lost
    with pytest.raises(Error, match="no such file or folder"):
        _units.find(str(tmp_path / "absent"), GROUP, COLUMNS)
    for columns, text in [
        (Columns("jpeg", None, ()), "a.parquet: no column 'jpeg'; the columns are 'id', 'image'"),
        (Columns("image", ["name"], ()), "no column 'name'"),
        (Columns("image", None, ("id",)), "has a column 'id', like the output"),
        (Columns("id", None, ()), "the column 'id' has the type int64, expected binary"),
    ]:
        with pytest.raises(Error, match=text):
            _units.find(str(broken), GROUP, columns)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Error, match="contains no Parquet files and no images"):
        _units.find(str(tmp_path / "empty"), GROUP, COLUMNS)

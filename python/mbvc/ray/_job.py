"""A job: classifies the units of the input on the workers of a Ray cluster."""

from __future__ import annotations

import json
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from .. import loads
from ._batches import Classifier, Embedder
from ._units import Unit

#: Rows that a worker has in memory.
BATCH = 64
#: Key of the counts in the metadata of an output file.
COUNTS = b"mbvc.counts"
#: How often a unit is tried again after a worker has died.
RETRIES = 5


@dataclass
class Counts:
    """Rows of outputs."""

    read: int = 0
    classified: int = 0
    failed: int = 0
    null: int = 0

    def add(self, other: dict[str, int]) -> None:
        self.read += other["read"]
        self.classified += other["classified"]
        self.failed += other["failed"]
        self.null += other["null"]


@dataclass
class Job:
    """What every worker is given."""

    #: URL of the input, whose file system the units' files are on.
    input: str
    output: str
    column: str
    #: Number of classes; 0 computes embeddings.
    top: int
    keep: list[str] | None


@dataclass
class Report:
    """The outcome of a job."""

    counts: Counts = field(default_factory=Counts)
    #: Units whose output an earlier run has written.
    skipped: int = 0
    #: Units that were classified now.
    done: int = 0
    #: Names of files, and why their unit has no output.
    lost: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Worker:
    """Classifies units, with a model that it opens once."""

    def __init__(self, content: bytes, job: Job) -> None:
        model = loads(content)
        self.job = job
        self.source = fsspec.core.url_to_fs(job.input)[0]
        self.fs, self.folder = fsspec.core.url_to_fs(job.output)
        if job.top:
            self.classifier: Any = Classifier(model, column=job.column, top=job.top, keep=job.keep)
        else:
            self.classifier = Embedder(model, column=job.column, keep=job.keep)

    def run(self, unit: Unit) -> dict[str, int]:
        """Classifies a unit and commits its output by renaming it. Returns the counts."""
        final = f"{self.folder}/{unit.name}"
        temporary = f"{self.folder}/.{unit.name}.{uuid.uuid4().hex}.part"
        counts = {"read": 0, "classified": 0, "failed": 0, "null": 0}
        try:
            with self.fs.open(temporary, "wb") as file:
                writer = None
                for table in self._tables(unit):
                    nulls = table.column(self.job.column).null_count
                    found = self.classifier(table)
                    failed = len(found) - found.column("error").null_count
                    counts["read"] += len(found)
                    counts["failed"] += failed
                    counts["null"] += nulls
                    counts["classified"] += len(found) - failed - nulls
                    if writer is None:
                        writer = pq.ParquetWriter(file, found.schema, compression="zstd")
                    writer.write_table(found)
                if writer is None:
                    raise ValueError("it has no rows")
                writer.add_key_value_metadata({COUNTS: json.dumps(counts)})
                writer.close()
            self.fs.mv(temporary, final)
        except BaseException:
            if self.fs.exists(temporary):
                self.fs.rm(temporary)
            raise
        return counts

    def _tables(self, unit: Unit) -> Iterator[pa.Table]:
        if unit.groups is not None:
            with self.source.open(unit.files[0], "rb") as file:
                parquet = pq.ParquetFile(file)
                for batch in parquet.iter_batches(BATCH, row_groups=list(range(*unit.groups))):
                    yield pa.Table.from_batches([batch])
            return
        for at in range(0, len(unit.files), BATCH):
            files = unit.files[at : at + BATCH]
            images = [self.source.cat_file(file) for file in files]
            yield pa.table({"path": pa.array(files, pa.string()), self.job.column: pa.array(images, pa.large_binary())})


def is_done(fs: Any, path: str) -> dict[str, int] | None:
    """Returns the counts of an output file; `None` if there is none."""
    if not fs.exists(path):
        return None
    with fs.open(path, "rb") as file:
        metadata = pq.ParquetFile(file).metadata.metadata or {}
    counts: dict[str, int] = json.loads(metadata[COUNTS])
    return counts


def clean(fs: Any, folder: str) -> None:
    """Deletes what workers that died have left."""
    for path in fs.ls(folder, detail=False):
        if path.rsplit("/", 1)[-1].startswith(".") and path.endswith(".part"):
            fs.rm(path)


def run(
    model: bytes, job: Job, units: list[Unit], workers: int, progress: Callable[[Report, int, int], None] = lambda *_: None
) -> Report:
    """Classifies the units that have no output yet, on `workers` workers of the cluster.

    A unit whose worker dies is classified again by another one. Its output exists as a whole or not at all.
    """
    start = time.monotonic()
    fs, folder = fsspec.core.url_to_fs(job.output)
    report, waiting = Report(), []
    for unit in units:
        counts = is_done(fs, f"{folder}/{unit.name}")
        if counts is None:
            waiting.append(unit)
        else:
            report.skipped += 1
            report.counts.add(counts)
    clean(fs, folder)
    total = len(waiting)
    progress(report, report.done, total)
    if waiting:
        content, given = ray.put(model), ray.put(job)
        # A worker that dies is started again, on another node if its own is gone. Each runs one unit at a time.
        remote: Any = ray.remote(Worker)
        actor = remote.options(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)
        idle: list[Any] = [actor.remote(content, given) for _ in range(min(workers, total))]
        running: dict[Any, tuple[Any, Unit]] = {}
        waiting.reverse()
        while waiting or running:
            while waiting and idle:
                worker, unit = idle.pop(), waiting.pop()
                running[worker.run.remote(unit)] = (worker, unit)
            [ended], _ = ray.wait(list(running), num_returns=1)
            worker, unit = running.pop(ended)
            try:
                report.counts.add(ray.get(ended))
                report.done += 1
                idle.append(worker)
            except ray.exceptions.RayTaskError as error:
                report.lost[unit.files[0]] = str(error.cause)
                idle.append(worker)
            except ray.exceptions.RayActorError as error:
                report.lost[unit.files[0]] = f"its worker died {RETRIES + 1} times: {error}".splitlines()[0]
                idle.append(actor.remote(content, given))
            report.seconds = time.monotonic() - start
            progress(report, report.done + len(report.lost), total)
        for worker in idle:
            ray.kill(worker)
        clean(fs, folder)
    report.seconds = time.monotonic() - start
    return report


class Line:
    """Shows the progress of a job on standard error: in one line of a terminal, or every half minute."""

    INTERVAL = 30.0

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.start = self.shown = time.monotonic()
        self.before: int | None = None

    def __call__(self, report: Report, done: int, total: int) -> None:
        now = time.monotonic()
        self.before = report.counts.read if self.before is None else self.before
        if not self.terminal and now - self.shown < self.INTERVAL and done < total:
            return
        self.shown = now
        rate = (report.counts.read - self.before) / max(now - self.start, 1e-9)
        text = f"{done}/{total} parts, {report.counts.read:,} rows, {report.counts.failed:,} failed, {rate:.0f} rows/s"
        if 0 < done < total:
            text += f", {(now - self.start) / done * (total - done):.0f} s left"
        print(f"\r\033[K{text}" if self.terminal else text, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Ends the line."""
        if self.terminal:
            print(file=sys.stderr)

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

from .. import Error, loads
from ._batches import Classifier, Embedder
from ._units import Unit

#: Rows that a worker has in memory.
BATCH = 64
#: Rows of a row group of the output.
GROUP = 2000
#: Seconds after which a temporary file is assumed to have no owner.
DAY = 24 * 60 * 60
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
    prefix: str = ""


@dataclass
class Report:
    """The outcome of a job."""

    counts: Counts = field(default_factory=Counts)
    #: Units whose output an earlier run has written.
    skipped: int = 0
    #: Units that were classified now.
    done: int = 0
    #: Units without output: the first file, its row groups, and the reason.
    lost: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class Worker:
    """Classifies units, with a model that it opens once."""

    def __init__(self, content: bytes, job: Job, run: str) -> None:
        model = loads(content, keep_weights=False)
        self.job = job
        self.run_id = run
        self.source = fsspec.core.url_to_fs(job.input)[0]
        self.fs, self.folder = fsspec.core.url_to_fs(job.output)
        if job.top:
            self.worker: Any = Classifier(model, column=job.column, top=job.top, keep=job.keep, prefix=job.prefix)
        else:
            self.worker = Embedder(model, column=job.column, keep=job.keep, prefix=job.prefix)

    def ready(self) -> None:
        """Does nothing: the result is there when the model has been opened."""

    def run(self, unit: Unit) -> dict[str, int]:
        """Classifies a unit and commits its output by renaming it. Returns the counts."""
        final = f"{self.folder}/{unit.name}"
        temporary = f"{self.folder}/.{unit.name}.{self.run_id}.{uuid.uuid4().hex}.part"
        counts = {"read": 0, "classified": 0, "failed": 0, "null": 0}
        try:
            with self.fs.open(temporary, "wb") as file:
                writer, waiting = None, []
                for table, errors in self._tables(unit):
                    found = self._found(table, errors, counts)
                    waiting.append(found)
                    if writer is None:
                        writer = pq.ParquetWriter(file, found.schema, compression="zstd")
                    if sum(map(len, waiting)) >= GROUP:
                        writer.write_table(pa.concat_tables(waiting), GROUP)
                        waiting = []
                if writer is None:
                    raise ValueError("it has no rows")
                if waiting:
                    writer.write_table(pa.concat_tables(waiting), GROUP)
                writer.add_key_value_metadata({COUNTS: json.dumps(counts)})
                writer.close()
            self.fs.mv(temporary, final)
        except BaseException:
            remove(self.fs, temporary)
            raise
        return counts

    def _found(self, table: pa.Table, errors: list[str | None], counts: dict[str, int]) -> pa.Table:
        """Returns the output of a batch, and counts its rows."""
        found: pa.Table = self.worker.table(table, errors)
        failed = len(found) - found.column(self.worker.columns.added[-1]).null_count
        # An image that could not be read is null too.
        null = table.column(self.job.column).null_count - sum(error is not None for error in errors)
        for name, more in [("read", len(found)), ("failed", failed), ("null", null), ("classified", len(found) - failed - null)]:
            counts[name] += more
        return found

    def _tables(self, unit: Unit) -> Iterator[tuple[pa.Table, list[str | None]]]:
        """Reads batches, with the reason for each image that cannot be read."""
        if unit.groups is not None:
            names = None if self.job.keep is None else [*dict.fromkeys([*self.job.keep, self.job.column])]
            with self.source.open(unit.files[0], "rb") as file:
                # Without `pre_buffer`, pages are read as they are needed, not whole row groups.
                parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
                for batch in parquet.iter_batches(BATCH, row_groups=list(range(*unit.groups)), columns=names):
                    yield pa.Table.from_batches([batch]), [None] * len(batch)
            return
        for at in range(0, len(unit.files), BATCH):
            files = unit.files[at : at + BATCH]
            images, errors = zip(*map(self._image, files))
            yield pa.table({"path": pa.array(files, pa.string()), self.job.column: pa.array(images, pa.large_binary())}), list(errors)

    def _image(self, file: str) -> tuple[bytes | None, str | None]:
        try:
            return self.source.cat_file(file), None
        except OSError as error:
            return None, f"cannot read {file}: {error}"


def counts_of(fs: Any, path: str) -> dict[str, int]:
    """Returns the counts of an output file.

    Raises:
        Error: The file is damaged, or another program has written it.
    """
    try:
        with fs.open(path, "rb") as file:
            metadata = pq.ParquetFile(file).metadata.metadata or {}
        counts: dict[str, int] = json.loads(metadata[COUNTS])
    except (OSError, KeyError, ValueError) as error:
        raise Error(f"{path} is not a complete output file", ["delete it, and run the same command again"]) from error
    return counts


class _Team:
    """Workers of the cluster.

    A worker that dies is replaced, and its unit is run again by whichever worker is idle first: after the loss of a node, the cluster
    may have no room for the new one.
    """

    def __init__(self, arguments: tuple[Any, ...], size: int) -> None:
        remote: Any = ray.remote(Worker)
        self._actor = remote.options(num_cpus=1)
        self._arguments = arguments
        #: Calls of `ready` of workers that start.
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, Unit]] = {}
        #: Workers in a row that died before they were ready.
        self._failed = 0
        for _ in range(size):
            self._start()

    def _start(self) -> None:
        worker = self._actor.remote(*self._arguments)
        self._starting[worker.ready.remote()] = worker

    def run(self, units: list[Unit]) -> Iterator[tuple[Unit, dict[str, int] | str]]:
        """Yields each unit with its counts, or with the reason why it has no output.

        Raises:
            Error: No worker can be started.
        """
        waiting, tries = list(reversed(units)), dict.fromkeys(units, 0)
        while waiting or self._running:
            while waiting and self._idle:
                worker, unit = self._idle.pop(), waiting.pop()
                self._running[worker.run.remote(unit)] = (worker, unit)
            [ended], _ = ray.wait([*self._running, *self._starting], num_returns=1)
            if ended in self._starting:
                self._started(ended)
                continue
            worker, unit = self._running.pop(ended)
            try:
                counts = ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                self._idle.append(worker)
                yield unit, str(error.cause)
            except ray.exceptions.RayError as error:
                # The worker, or its node, has ended.
                self._start()
                tries[unit] += 1
                if tries[unit] <= RETRIES:
                    waiting.append(unit)
                else:
                    yield unit, f"{tries[unit]} workers died: {str(error).splitlines()[0]}"
            else:
                self._idle.append(worker)
                yield unit, counts

    def _started(self, ended: Any) -> None:
        worker = self._starting.pop(ended)
        try:
            ray.get(ended)
        except ray.exceptions.RayError as error:
            self._failed += 1
            if self._failed <= RETRIES:
                self._start()
            elif not (self._idle or self._running or self._starting):
                raise Error(f"no worker can be started: {error}") from error
            # Else the job goes on with fewer workers.
            return
        self._failed = 0
        self._idle.append(worker)

    def end(self) -> None:
        """Ends all workers."""
        for worker in [*self._idle, *self._starting.values(), *(worker for worker, _ in self._running.values())]:
            ray.kill(worker)


def remove(fs: Any, path: str) -> None:
    """Deletes a file that may be gone."""
    try:
        fs.rm(path)
    except FileNotFoundError:
        pass


def clean(fs: Any, folder: str, run: str | None = None) -> None:
    """Deletes temporary files of a run, or those of all runs that are older than a day."""
    for about in fs.ls(folder, detail=True):
        path, changed = about["name"], about.get("mtime")
        name = path.rsplit("/", 1)[-1]
        if name.startswith(".") and name.endswith(".part"):
            is_old = isinstance(changed, (int, float)) and time.time() - changed > DAY
            if is_old if run is None else f".{run}." in name:
                remove(fs, path)


def run(
    model: bytes, job: Job, units: list[Unit], workers: int, progress: Callable[[Report, int, int], None] = lambda *_: None
) -> Report:
    """Classifies the units that have no output yet, on `workers` workers of the cluster.

    A unit whose worker dies is classified again by another one. Its output exists as a whole or not at all.
    """
    start, identity = time.monotonic(), uuid.uuid4().hex
    fs, folder = fsspec.core.url_to_fs(job.output)
    clean(fs, folder)
    report, waiting = Report(), []
    present = {path.rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False)}
    for unit in units:
        if unit.name in present:
            report.skipped += 1
            report.counts.add(counts_of(fs, f"{folder}/{unit.name}"))
        else:
            waiting.append(unit)
    total = len(waiting)
    progress(report, report.done, total)
    if waiting:
        team = _Team((ray.put(model), ray.put(job), identity), min(workers, total))
        try:
            for unit, outcome in team.run(waiting):
                if isinstance(outcome, str):
                    report.lost.append({"file": unit.files[0], "groups": unit.groups, "reason": outcome})
                else:
                    report.counts.add(outcome)
                    report.done += 1
                report.seconds = time.monotonic() - start
                progress(report, report.done + len(report.lost), total)
        finally:
            team.end()
            clean(fs, folder, identity)
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

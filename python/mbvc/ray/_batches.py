"""Callable classes for `Dataset.map_batches`."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from .. import Error, Model, load, loads

if TYPE_CHECKING:
    import pyarrow as pa

    #: A batch in the format "numpy" or "pyarrow".
    Batch = Union[dict[str, Any], pa.Table]
    #: A model file, its content, a model, or a reference to one of them in Ray's object store.
    ModelSource = Any


def opened(model: ModelSource) -> Model:
    """Opens a model to run it. A path or bytes are those of a model file; a reference is resolved."""
    if isinstance(model, Model):
        return model
    if isinstance(model, (bytes, bytearray, memoryview)):
        return loads(bytes(model), keep_weights=False)
    if isinstance(model, (str, os.PathLike)):
        return load(model, keep_weights=False)
    import ray

    return opened(ray.get(model))


#: Parameters of glibc's `mallopt`.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Upper limits of glibc's dynamic thresholds, in bytes.
TRIM_LIMIT, MMAP_LIMIT = 64 << 20, 32 << 20
#: Environment variables that set the thresholds. If one is set, they are not changed.
MALLOC_VARIABLES = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def release_memory() -> None:
    """Returns freed memory to the operating system, including the calling thread's malloc arena.

    Pools keep workers alive for a long time, and glibc keeps the memory of decoded pictures. Sets thresholds of the whole process.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "malloc_trim"):
        return
    libc.malloc_trim(ctypes.c_size_t(0))
    if any(name in os.environ for name in MALLOC_VARIABLES):
        return
    # `malloc_trim` does not shrink the arena of a thread. Freeing a block of at least 64 KiB in it does.
    libc.malloc.restype = ctypes.c_void_p
    libc.mallopt(M_TRIM_THRESHOLD, 0)
    libc.free(ctypes.c_void_p(libc.malloc(ctypes.c_size_t(1 << 16))))
    # `mallopt` turns off the dynamic thresholds. These values keep memory for reuse during the next batch.
    libc.mallopt(M_MMAP_THRESHOLD, MMAP_LIMIT)
    libc.mallopt(M_TRIM_THRESHOLD, TRIM_LIMIT)


@dataclass(frozen=True)
class Columns:
    """Columns of a batch: that of the images, those to keep (by default all others), and those that are added."""

    image: str
    keep: list[str] | None
    added: tuple[str, ...]

    def kept(self, names: list[str]) -> list[str]:
        """Returns the columns of the input that the output has.

        Raises:
            Error: A column is missing, or has the name of one that is added.
        """
        listed = ", ".join(map(repr, names))
        for name in [self.image, *(self.keep or [])]:
            if name not in names:
                raise Error(f"no column {name!r}; the columns are {listed}")
        kept = [name for name in names if (name != self.image if self.keep is None else name in self.keep)]
        for name in kept:
            if name in self.added:
                raise Error(f"the input has a column {name!r}, like the output", ["name the columns to keep, or set a prefix"])
        return kept


class _Worker:
    """Holds the model of a worker process."""

    def __init__(
        self,
        model: ModelSource,
        *,
        column: str = "image",
        keep: list[str] | None = None,
        prefix: str = "",
        threads: int | None = 1,
    ) -> None:
        self.model = opened(model)
        self.columns = Columns(column, keep, self.names(prefix))
        self.threads = threads

    @classmethod
    def names(cls, prefix: str) -> tuple[str, ...]:
        """Names of the columns that are added."""
        return tuple(prefix + name for name in [*cls._names, "error"])

    def __call__(self, batch: Batch) -> pa.Table:
        import pyarrow as pa

        if isinstance(batch, pa.Table):
            return self.table(batch)
        from ray.data.block import BlockAccessor

        names = self.columns.kept(list(batch))
        # Typed columns: those of objects would depend on the nulls of the batch.
        kept = BlockAccessor.batch_to_arrow_block({name: batch[name] for name in names})
        return self._joined({name: kept.column(name) for name in names}, list(batch[self.columns.image]))

    def table(self, table: pa.Table, errors: list[str | None] | None = None) -> pa.Table:
        """Returns the columns of a table that are kept, and the new ones; `errors` as in :meth:`run`."""
        kept = {name: table.column(name) for name in self.columns.kept(table.column_names)}
        return self._joined(kept, table.column(self.columns.image).to_pylist(), errors)

    def _joined(self, kept: dict[str, Any], images: list[Any], errors: list[str | None] | None = None) -> pa.Table:
        import pyarrow as pa

        return pa.table({**kept, **dict(zip(self.columns.added, self.run(images, errors)))})

    def run(self, images: list[Any], errors: list[str | None] | None = None) -> list[pa.Array]:
        """Runs the model on all images that are not null, and returns the new columns.

        Args:
            images: The images of a batch.
            errors: For each image the reason why it is null, if it could not be read.
        """
        import pyarrow as pa

        rows = [row for row, image in enumerate(images) if not is_null(image)]
        results = self._run([images[row] for row in rows])
        release_memory()
        values: list[list[Any]] = [[None] * len(images) for _ in self._names]
        failed: list[str | None] = [None] * len(images) if errors is None else list(errors)
        for row, result in zip(rows, results):
            if isinstance(result, Error):
                failed[row] = result.message
            else:
                for column, value in zip(values, self._values(result)):
                    column[row] = value
        typed = [pa.array(column, kind) for column, kind in zip(values, self._types())]
        return [*typed, pa.array(failed, pa.string())]

    _names: tuple[str, ...] = ()

    def _run(self, images: list[Any]) -> list[Any]:
        raise NotImplementedError

    def _values(self, result: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    def _types(self) -> list[pa.DataType]:
        raise NotImplementedError


class Classifier(_Worker):
    """Adds the columns `label`, `score`, `index` and `error` to batches with a column of images.

    For ``Dataset.map_batches`` with the batch format "numpy" or "pyarrow". Each worker process opens the model once. The results are
    Arrow tables, whose types do not depend on the data.

    Args:
        model: A model file that :meth:`mbvc.Model.save` wrote, its content, a :class:`mbvc.Model`, or an ``ObjectRef`` of one.
        column: Column of the images: the bytes of image files, paths, or arrays of uint8 ``[height, width, 3]``.
        top: Number of classes. With more than one, the three columns contain lists, best first.
        keep: Columns of the input to keep. Default: all but that of the images.
        prefix: Start of the names of the new columns, for inputs that have a column `label`.
        threads: Threads of a worker. Default: 1; use `concurrency` for more workers. ``None``: one for each core.

    A null stays null. An image that cannot be read does not fail the job: its classes are null, and `error` has the reason.
    """

    def __init__(
        self,
        model: ModelSource,
        *,
        column: str = "image",
        top: int = 1,
        keep: list[str] | None = None,
        prefix: str = "",
        threads: int | None = 1,
    ) -> None:
        super().__init__(model, column=column, keep=keep, prefix=prefix, threads=threads)
        if top < 1:
            raise ValueError(f"top: expected at least 1, found {top}")
        self.top = top

    _names = ("label", "score", "index")

    def _run(self, images: list[Any]) -> list[Any]:
        return self.model.classify_batch(images, self.top, threads=self.threads, errors="return")

    def _values(self, result: Any) -> tuple[Any, ...]:
        return tuple(result[0]) if self.top == 1 else tuple(map(list, zip(*result)))

    def _types(self) -> list[pa.DataType]:
        import pyarrow as pa

        types = [pa.string(), pa.float32(), pa.int32()]
        return types if self.top == 1 else [pa.list_(kind) for kind in types]


class Embedder(_Worker):
    """Adds the columns `embedding` (float32) and `error` to batches with a column of images.

    The arguments are those of :class:`Classifier`, without `top`.
    """

    _names = ("embedding",)

    def _run(self, images: list[Any]) -> list[Any]:
        return list(self.model.embed_batch(images, threads=self.threads, errors="return"))

    def _values(self, result: Any) -> tuple[Any, ...]:
        return (result,)

    def _types(self) -> list[pa.DataType]:
        import pyarrow as pa

        return [pa.list_(pa.float32())]


def is_null(image: Any) -> bool:
    """Whether a value of a column is null: `None`, or the NaN that pandas writes."""
    return image is None or (isinstance(image, float) and image != image)

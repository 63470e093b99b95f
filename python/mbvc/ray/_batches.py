"""Callable classes for `Dataset.map_batches`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Union

from .. import Error, Model, load, loads

if TYPE_CHECKING:
    import pyarrow as pa

    #: A batch in the format "numpy" or "pyarrow".
    Batch = Union[dict[str, Any], pa.Table]
    #: A model file, its content, a model, or a reference to one of them in Ray's object store.
    ModelSource = Any


def opened(model: ModelSource) -> Model:
    """Opens a model. A path or bytes are those of a model file; a reference is resolved."""
    if isinstance(model, Model):
        return model
    if isinstance(model, (bytes, bytearray, memoryview)):
        return loads(bytes(model))
    if isinstance(model, (str, os.PathLike)):
        return load(model)
    import ray

    return opened(ray.get(model))


class _Worker:
    """Holds the model of a worker process."""

    def __init__(
        self,
        model: ModelSource,
        *,
        column: str = "image",
        keep: list[str] | None = None,
        threads: int | None = 1,
    ) -> None:
        self.model = opened(model)
        self.column = column
        self.keep = keep
        self.threads = threads

    def __call__(self, batch: Batch) -> Batch:
        import pyarrow as pa

        if isinstance(batch, pa.Table):
            return self._table(batch)
        return self._arrays(batch)

    def _arrays(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._check(batch)
        found = self._columns(list(batch[self.column]))
        return {**{name: values for name, values in batch.items() if self._is_kept(name)}, **as_arrays(found)}

    def _table(self, batch: pa.Table) -> pa.Table:
        self._check(batch.column_names)
        found = self._columns(batch.column(self.column).to_pylist())
        kept = batch.select([name for name in batch.column_names if self._is_kept(name) and name not in found])
        for name, values in found.items():
            kept = kept.append_column(name, self._array(name, values))
        return kept

    def _is_kept(self, name: str) -> bool:
        return name != self.column if self.keep is None else name in self.keep

    def _check(self, names: Any) -> None:
        if self.column not in names:
            raise KeyError(f"no column {self.column!r}; the columns are {', '.join(map(repr, names))}")

    def _columns(self, images: list[Any]) -> dict[str, list[Any]]:
        """Runs the model on all images that are not null, and returns the columns."""
        rows = [row for row, image in enumerate(images) if not is_null(image)]
        results = self._run([images[row] for row in rows])
        columns: dict[str, list[Any]] = {name: [None] * len(images) for name in [*self._names, "error"]}
        for row, result in zip(rows, results):
            if isinstance(result, Error):
                columns["error"][row] = result.message
            else:
                for name, value in zip(self._names, self._values(result)):
                    columns[name][row] = value
        return columns

    _names: tuple[str, ...] = ()

    def _run(self, images: list[Any]) -> list[Any]:
        raise NotImplementedError

    def _values(self, result: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    def _array(self, name: str, values: list[Any]) -> pa.Array:
        raise NotImplementedError


class Classifier(_Worker):
    """Adds the columns `label`, `score`, `index` and `error` to batches with a column of images.

    For ``Dataset.map_batches`` with the batch format "numpy" or "pyarrow". Each worker process opens the model once.

    Args:
        model: A model file that :meth:`mbvc.Model.save` wrote, its content, a :class:`mbvc.Model`, or an ``ObjectRef`` of one.
        column: Column of the images: the bytes of image files, paths, or arrays of uint8 ``[height, width, 3]``.
        top: Number of classes. With more than one, the three columns contain lists, best first.
        keep: Columns of the input to keep. Default: all but that of the images.
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
        threads: int | None = 1,
    ) -> None:
        super().__init__(model, column=column, keep=keep, threads=threads)
        if top < 1:
            raise ValueError(f"top: expected at least 1, found {top}")
        self.top = top

    _names = ("label", "score", "index")

    def _run(self, images: list[Any]) -> list[Any]:
        return self.model.classify_batch(images, self.top, threads=self.threads, errors="return")

    def _values(self, result: Any) -> tuple[Any, ...]:
        return tuple(result[0]) if self.top == 1 else tuple(map(list, zip(*result)))

    def _array(self, name: str, values: list[Any]) -> pa.Array:
        import pyarrow as pa

        types = {"label": pa.string(), "score": pa.float32(), "index": pa.int32(), "error": pa.string()}
        kind = types[name]
        return pa.array(values, kind if self.top == 1 or name == "error" else pa.list_(kind))


class Embedder(_Worker):
    """Adds the columns `embedding` (float32) and `error` to batches with a column of images.

    The arguments are those of :class:`Classifier`, without `top`.
    """

    _names = ("embedding",)

    def _run(self, images: list[Any]) -> list[Any]:
        return list(self.model.embed_batch(images, threads=self.threads, errors="return"))

    def _values(self, result: Any) -> tuple[Any, ...]:
        return (result,)

    def _array(self, name: str, values: list[Any]) -> pa.Array:
        import pyarrow as pa

        if name == "error":
            return pa.array(values, pa.string())
        return pa.array(values, pa.list_(pa.float32()))


def is_null(image: Any) -> bool:
    """Whether a value of a column is null: `None`, or the NaN that pandas writes."""
    return image is None or (isinstance(image, float) and image != image)


def as_arrays(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Returns columns as arrays of objects, in which a null is `None`."""
    import numpy as np

    arrays = {}
    for name, values in columns.items():
        array = np.empty(len(values), object)
        for row, value in enumerate(values):
            array[row] = value
        arrays[name] = array
    return arrays

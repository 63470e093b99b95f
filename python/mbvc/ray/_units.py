"""Units of work: parts of the input that are read, classified and written as a whole.

The manifest in the output folder lists them, so that a job that was interrupted goes on with the units that have no output.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from .. import Error
from ._batches import Columns

#: Name of the manifest in the output folder. Readers of Parquet folders ignore names that start with an underscore.
MANIFEST = "_mbvc.json"
#: Version of the manifest's format.
FORMAT = 1
#: Extensions of image files, as the command `mbvc` finds them in folders.
EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True)
class Unit:
    """Image files, or consecutive row groups of one Parquet file."""

    files: tuple[str, ...]
    #: First row group and the one after the last; `None` for image files.
    groups: tuple[int, int] | None = None
    #: Size of the Parquet file in bytes, by which a changed file is detected; `None` for image files.
    size: int | None = None

    @property
    def name(self) -> str:
        """Name of the output file: a hash of the unit, after the name of its first file."""
        text = json.dumps(asdict(self), sort_keys=True)
        stem = self.files[0].rsplit("/", 1)[-1].rsplit(".", 1)[0]
        safe = "".join(letter if letter.isalnum() else "-" for letter in stem)[:40]
        return f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.parquet"


def find(url: str, rows: int, columns: Columns) -> list[Unit]:
    """Lists the units of the input, each of at most `rows` rows where row groups allow it.

    Raises:
        Error: There is neither a Parquet file nor an image, or a Parquet file is damaged or lacks a column.
    """
    fs, path = fsspec.core.url_to_fs(url)
    if not fs.exists(path):
        raise Error(f"{url}: no such file or folder")
    files = sorted(fs.find(path)) if fs.isdir(path) else [path]
    parquet = [file for file in files if file.lower().endswith(".parquet")]
    images = [file for file in files if file.lower().endswith(EXTENSIONS)]
    if parquet and images:
        raise Error(f"{url} contains Parquet files and images", ["pass a folder that contains only Parquet files or only images"])
    if parquet:
        return [unit for file in parquet for unit in _row_groups(fs, file, rows, columns)]
    if images:
        columns.kept(["path", columns.image])
        return [Unit(tuple(images[at : at + rows])) for at in range(0, len(images), rows)]
    raise Error(f"{url} contains no Parquet files and no images", [f"images have one of the extensions {', '.join(EXTENSIONS)}"])


def _row_groups(fs: Any, file: str, rows: int, columns: Columns) -> list[Unit]:
    try:
        size = fs.size(file)
        with fs.open(file, "rb") as opened:
            parquet = pq.ParquetFile(opened)
            metadata, schema = parquet.metadata, parquet.schema_arrow
    except Exception as error:
        raise Error(f"cannot read {file} as a Parquet file: {error}") from error
    try:
        columns.kept(schema.names)
    except Error as error:
        raise Error(f"{file}: {error.message}", error.help) from error
    kind = schema.field(columns.image).type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_string(kind) or pa.types.is_null(kind)):
        help = ["write the bytes of the image files into a column of their own"]
        raise Error(f"{file}: the column {columns.image!r} has the type {kind}, expected binary", help)
    ends, count = [], 0
    for group in range(metadata.num_row_groups):
        more = metadata.row_group(group).num_rows
        if count and count + more > rows:
            ends.append(group)
            count = 0
        count += more
    if count:
        ends.append(metadata.num_row_groups)
    return [Unit((file,), (start, end), size) for start, end in zip([0, *ends], ends)]


def planned(fs: Any, output: str, found: list[Unit], job: dict[str, Any]) -> list[Unit]:
    """Returns the units of the job, and writes the manifest.

    Units of an earlier run keep their files. Files that are new form new units.

    Args:
        fs: File system of the output folder.
        output: The output folder.
        found: Units of the input as it is now.
        job: Parameters that must not change between runs: the model and the options, by name.

    Raises:
        Error: The folder has the output of another job, or other files, or a file of an earlier run is gone.
    """
    path = f"{output}/{MANIFEST}"
    earlier: list[Unit] = []
    if fs.exists(path):
        try:
            with fs.open(path, "r") as file:
                manifest = json.load(file)
        except ValueError as error:
            raise Error(f"{path} is damaged: {error}", ["choose another output folder"]) from error
        changed = [key for key, value in job.items() if manifest.get("job", {}).get(key) != value]
        if manifest.get("format") != FORMAT or changed:
            what = ", ".join(changed) or "format"
            raise Error(f"{output} contains the output of a job with a different {what}", ["choose another output folder"])
        earlier = [_unit(unit) for unit in manifest["units"]]
    elif fs.exists(output) and fs.ls(output):
        raise Error(f"{output} is not empty", ["choose another output folder"])
    known = {file for unit in earlier for file in unit.files}
    present = {file for unit in found for file in unit.files}
    gone = sorted(known - present)
    if gone:
        raise Error(f"{gone[0]} is in the manifest of {output}, but not in the input", ["choose another output folder"])
    same = set(found)
    changed = [unit.files[0] for unit in earlier if unit.groups is not None and unit not in same]
    if changed:
        raise Error(f"{changed[0]} has changed since an earlier run into {output}", ["choose another output folder"])
    new = [(unit, tuple(file for file in unit.files if file not in known)) for unit in found]
    units = earlier + [replace(unit, files=files) for unit, files in new if files]
    fs.makedirs(output, exist_ok=True)
    content = {"format": FORMAT, "job": job, "units": [asdict(unit) for unit in units]}
    write(fs, path, json.dumps(content).encode())
    return units


def _unit(fields: dict[str, Any]) -> Unit:
    groups = fields["groups"]
    return Unit(tuple(fields["files"]), None if groups is None else tuple(groups), fields["size"])


def write(fs: Any, path: str, content: bytes) -> None:
    """Writes a file under a temporary name and renames it."""
    folder, name = path.rsplit("/", 1)
    temporary = f"{folder}/.{name}.part"
    with fs.open(temporary, "wb") as file:
        file.write(content)
    fs.mv(temporary, path)

"""`python -m mbvc.ray`: classifies Parquet files, or folders of images, on a Ray cluster."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import _job

EPILOG = """examples:
  python -m mbvc.ray photos/ labels/ --model model.mbvc
  python -m mbvc.ray photos.parquet labels/ --model model.mbvc --column jpeg --top 5
  python -m mbvc.ray s3://bucket/photos s3://bucket/labels --model model.mbvc --address auto
  python -m mbvc.ray photos/ vectors/ --model model.mbvc --embed --json

The output is a folder of Parquet files with the columns of the input except the images (`path` for a folder of images), and
`label`, `score`, `index` and `error` (or `embedding` and `error`). Each file is written under a temporary name and renamed when it
is complete. The same command resumes an interrupted job. Exit status: 0, even if some images could not be read; 1 if the job failed
or part of the input has no output.
"""


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m mbvc.ray",
        description="Classify images on a Ray cluster, with bounded memory and exact counts.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("input", help="Parquet file, or folder of Parquet files or images; a path or a URL of fsspec")
    result.add_argument("output", help="folder to write; a path or a URL of fsspec")
    result.add_argument("--model", required=True, metavar="FILE", help="model file, written by mbvc.Model.save")
    result.add_argument("--column", default="image", metavar="NAME", help="column of the images [default: image]")
    result.add_argument("--top", type=positive, default=1, metavar="N", help="number of classes [default: 1]")
    result.add_argument("--embed", action="store_true", help="write pooled vectors instead of classes")
    result.add_argument("--keep", action="append", metavar="NAME", help="keep only this column of the input; repeatable")
    result.add_argument("--prefix", default="", metavar="TEXT", help="start of the names of the new columns")
    result.add_argument("--workers", type=positive, metavar="N", help="worker processes [default: one for each CPU of the cluster]")
    result.add_argument("--rows", type=positive, default=2000, metavar="N", help="rows of an output file, unless a row group has more [default: 2000]")
    result.add_argument("--address", metavar="URL", help="Ray cluster [default: RAY_ADDRESS, or a new one on this machine]")
    result.add_argument("--json", action="store_true", help="print the counts as one line of JSON")
    return result


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return number


def main() -> int:
    args = parser().parse_args()
    if args.embed and args.top != 1:
        parser().error("--embed writes no classes; remove --top")
    try:
        import fsspec  # noqa: F401
        import ray  # noqa: F401
    except ImportError as error:
        print(f"error: {error}\nhelp: pip install 'ray[data]' pyarrow fsspec", file=sys.stderr)
        return 1
    from .. import Error

    try:
        report = run(args)
    except (Error, OSError, ImportError, ConnectionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for lost in report.lost:
        groups = "" if lost["groups"] is None else f", row groups {lost['groups'][0]} to {lost['groups'][1] - 1}"
        print(f"error: {lost['file']}{groups}: {lost['reason']}", file=sys.stderr)
    counts = report.counts
    if args.json:
        print(json.dumps(asdict(report)))
    else:
        rate = f", {counts.read / report.seconds:.0f} rows/s" if report.done and not report.skipped else ""
        print(
            f"{counts.read:,} rows read, {counts.classified:,} classified, {counts.failed:,} failed, {counts.null:,} null "
            f"({report.done} files written, {report.skipped} already present{rate})"
        )
    return 1 if report.lost else 0


def run(args: argparse.Namespace) -> _job.Report:
    """Runs the job of the arguments.

    Raises:
        Error: The input, the output folder or the model does not fit, or no worker can be started.
    """
    import fsspec
    import ray

    from .. import Error, load
    from . import _job, _units
    from ._batches import Classifier, Columns, Embedder

    source, output = (absolute(url) for url in (args.input, args.output))
    for one, other in [(source, output), (output, source)]:
        if f"{one.rstrip('/')}/".startswith(f"{other.rstrip('/')}/"):
            raise Error("the input and the output are in each other", ["choose another output folder"])
    model = load(args.model).to_bytes()
    fs, folder = fsspec.core.url_to_fs(output)
    names = Embedder.names(args.prefix) if args.embed else Classifier.names(args.prefix)
    found = _units.find(source, args.rows, Columns(args.column, args.keep, names))
    identity = {
        "--model": hashlib.sha256(model).hexdigest(),
        "--column": args.column,
        "--top": args.top,
        "--embed": args.embed,
        "--keep": args.keep,
        "--prefix": args.prefix,
        "--rows": args.rows,
    }
    units = _units.planned(fs, folder, found, identity)
    ray.init(args.address, log_to_driver=False, logging_level=logging.WARNING)
    cluster: Any = ray
    workers = args.workers or max(1, int(cluster.cluster_resources().get("CPU", 1)))
    job = _job.Job(source, output, args.column, 0 if args.embed else args.top, args.keep, args.prefix)
    line = _job.Line()
    try:
        return _job.run(model, job, units, workers, line)
    finally:
        line.end()


def absolute(url: str) -> str:
    """Returns a URL unchanged and a path as an absolute path, because workers run in another working directory."""
    return url if "://" in url else os.path.abspath(url)


if __name__ == "__main__":
    sys.exit(main())

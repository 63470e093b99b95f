"""`python -m mbvc.ray`: classifies Parquet files, or folders of images, on a Ray cluster."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
from dataclasses import asdict

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
        import fsspec
        import ray
    except ImportError as error:
        print(f"error: {error}\nhelp: pip install 'ray[data]' pyarrow fsspec", file=sys.stderr)
        return 1
    from .. import Error, load
    from . import _job, _units

    try:
        model = load(args.model).to_bytes()
        source, output = (absolute(url) for url in (args.input, args.output))
        fs, folder = fsspec.core.url_to_fs(output)
        found = _units.find(source, args.rows)
        identity = {
            "--model": hashlib.sha256(model).hexdigest(),
            "--column": args.column,
            "--top": args.top,
            "--embed": args.embed,
            "--keep": args.keep,
            "--rows": args.rows,
        }
        units = _units.planned(fs, folder, found, identity)
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    ray.init(args.address, log_to_driver=False, logging_level=logging.WARNING)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    workers = args.workers or max(1, int(resources.get("CPU", 1)))
    job = _job.Job(source, output, args.column, 0 if args.embed else args.top, args.keep)
    line = _job.Line()
    try:
        report = _job.run(model, job, units, workers, line)
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        line.end()
    for file, why in report.lost.items():
        print(f"error: {file}: {why}", file=sys.stderr)
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


def absolute(url: str) -> str:
    """Returns a URL unchanged and a path as an absolute path, because workers run in another working directory."""
    return url if "://" in url else os.path.abspath(url)


if __name__ == "__main__":
    sys.exit(main())

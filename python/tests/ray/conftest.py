"""A Ray cluster of two nodes on this machine, and a data set."""

import io
import os
from pathlib import Path

import pytest

REQUIRED = os.environ.get("MBVC_REQUIRE_RAY") == "1"

if not REQUIRED:
    pytest.importorskip("ray")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import ray  # noqa: E402
from PIL import Image  # noqa: E402

#: Parquet files of the data set, and rows of each.
FILES, ROWS, GROUP = 6, 120, 40


@pytest.fixture
def cluster():
    """Two nodes of two logical CPUs each. The second one can be removed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 200 << 20})
    cluster.second = cluster.add_node(num_cpus=2, object_store_memory=200 << 20)
    cluster.wait_for_nodes()
    ray.init(cluster.address, log_to_driver=False, logging_level="warning")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="session")
def model_file(int8, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "int8.mbvc"
    int8.save(path)
    return path


def _jpeg(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return content.getvalue()


@pytest.fixture(scope="session")
def images(photographs) -> list:
    """Crops of the photographs as JPEG files; some are damaged, and some null."""
    opened = [Image.open(path).convert("RGB") for path in photographs]
    rows: list = []
    for row in range(FILES * ROWS):
        image = opened[row % len(opened)]
        left, top = row * 7 % (image.width // 3), row * 5 % (image.height // 3)
        content = _jpeg(image.crop((left, top, left + image.width // 2, top + image.height // 2)).resize((160, 140)))
        if row % 50 == 7:
            content = content[: len(content) // 2]
        rows.append(None if row % 90 == 11 else content)
    return rows


@pytest.fixture(scope="session")
def parquet(images, tmp_path_factory) -> Path:
    """A folder of Parquet files with the columns `id` and `image`, in row groups."""
    folder = tmp_path_factory.mktemp("photos")
    for at in range(FILES):
        rows = range(at * ROWS, (at + 1) * ROWS)
        table = pa.table({"id": list(rows), "image": pa.array([images[row] for row in rows], pa.binary())})
        pq.write_table(table, folder / f"part-{at}.parquet", row_group_size=GROUP)
    return folder


@pytest.fixture(scope="session")
def expected(int8, images) -> dict:
    """For each row the label, score, index and whether there is an error, computed in this process."""
    found = {}
    for row, image in enumerate(images):
        if image is None:
            found[row] = (None, None, None, False)
            continue
        [result] = int8.classify_batch([image], 1, errors="return")
        found[row] = (None, None, None, True) if isinstance(result, Exception) else (*result[0], False)
    return found

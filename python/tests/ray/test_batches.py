"""The callable classes, without a cluster."""

import platform
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from mbvc import Error
from mbvc.ray import Classifier, Embedder


def test_batches_of_bytes_paths_and_arrays(int8, photographs):
    contents = [path.read_bytes() for path in photographs[:2]] + [None, b"no image"]
    expected = int8.classify_batch(contents[:2], 1)
    classifier = Classifier(int8, top=1)
    table = classifier(pa.table({"id": [1, 2, 3, 4], "image": pa.array(contents, pa.binary())}))
    assert table.column_names == ["id", "label", "score", "index", "error"]
    assert table.column("index").to_pylist() == [expected[0][0].index, expected[1][0].index, None, None]
    assert table.column("error").to_pylist()[:3] == [None] * 3 and "not an image" in table.column("error")[3].as_py()
    images = np.empty(4, object)
    images[:] = contents
    found = classifier({"id": np.arange(4), "image": images})
    assert found.equals(classifier(pa.table({"id": range(4), "image": pa.array(contents, pa.binary())})))
    only = classifier({"id": np.arange(1), "image": images[3:]})
    assert only.schema == found.schema, "types do not depend on the data"
    paths = classifier({"image": np.array([str(path) for path in photographs[:2]])})
    assert paths.column("label").to_pylist() == table.column("label").to_pylist()[:2]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 50, 60, 3), np.uint8)
    found = classifier({"image": pixels, "matrix": np.zeros((3, 2, 2))})
    assert found.column("index").to_pylist() == [int8.classify(one)[0].index for one in pixels]
    assert found.column_names[0] == "matrix"


def test_several_classes_and_kept_columns(int8, photographs):
    table = pa.table({"id": [1], "name": ["a"], "jpeg": [photographs[0].read_bytes()]})
    found = Classifier(int8, column="jpeg", top=3, keep=["name"])(table)
    assert found.column_names == ["name", "label", "score", "index", "error"]
    assert found.column("index").to_pylist() == [[guess.index for guess in int8.classify(photographs[0], 3)]]
    vectors = Embedder(int8.to_bytes(), column="jpeg")(table)
    assert vectors.column("embedding").type == pa.list_(pa.float32()) and len(vectors.column("embedding")[0]) == 1280
    with pytest.raises(Error, match="no column 'picture'"):
        Classifier(int8, column="picture")(table)
    with pytest.raises(Error, match="no column 'nmae'"):
        Classifier(int8, column="jpeg", keep=["nmae"])(table)
    named = table.append_column("label", [["truth"]])
    with pytest.raises(Error, match="has a column 'label', like the output"):
        Classifier(int8, column="jpeg")(named)
    found = Classifier(int8, column="jpeg", prefix="found_")(named)
    assert found.column("label").to_pylist() == ["truth"] and found.column("found_label")[0].as_py() is not None
    with pytest.raises(ValueError, match="at least 1"):
        Classifier(int8, top=0)


FREED_IN_A_THREAD = """
import ctypes, threading
from mbvc.ray._batches import release_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p


def private():
    [line] = [line for line in open("/proc/self/status") if line.startswith("RssAnon:")]
    return int(line.split()[1])


def work():
    release_memory()
    block = libc.malloc(ctypes.c_size_t(8 << 20))
    ctypes.memset(block, 1, 8 << 20)
    libc.free(ctypes.c_void_p(block))
    kept = private()
    release_memory()
    print(kept - private())


thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tests the allocator of glibc")
def test_memory_that_a_thread_freed_is_released():
    ran = subprocess.run([sys.executable, "-c", FREED_IN_A_THREAD], capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 7 << 10, f"released only {ran.stdout.strip()} kB"

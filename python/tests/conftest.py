"""Models and images of the tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADS = ROOT / "import/tests/fixtures/heads"


def _shared() -> Path:
    return Path(os.environ.get("MBVC_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data: real models and photographs."""
    folder = _shared()
    if not folder.exists():
        assert os.environ.get("MBVC_REQUIRE_SHARED") != "1", f"{folder} is required here"
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="session")
def photographs(shared: Path) -> list[Path]:
    return sorted((shared / "images").iterdir())


@pytest.fixture(scope="session")
def tflite(shared: Path) -> Path:
    return shared / "models/mobilenet_v2_1.0_224_f32.tflite"


@pytest.fixture(scope="session")
def int8_tflite(shared: Path) -> Path:
    return shared / "models/mobilenet_v2_1.0_224_int8_ptq.tflite"


@pytest.fixture(scope="session")
def model(tflite: Path):
    """The published network in float32, which the package carries."""
    import mbvc

    return mbvc.import_model(tflite, labels=tflite.parent / "imagenet_labels_1001.txt")


@pytest.fixture(scope="session")
def int8(int8_tflite: Path):
    """The published network in int8, which the package carries."""
    import mbvc

    return mbvc.import_model(int8_tflite, labels=int8_tflite.parent / "imagenet_labels_1001.txt")


@pytest.fixture(scope="session")
def tiny():
    """A small network that the package does not carry."""
    import mbvc

    return mbvc.import_model(HEADS / "keras/softmax.keras")

"""Fast MobileNetV2: image classification and embeddings.

    >>> import mbvc
    >>> model = mbvc.import_model("keras_model.h5")
    >>> model.classify("cat.jpg", top=1)
    [Guess(label='tabby', score=0.87, index=281)]

:func:`import_model` reads models of Keras, PyTorch, ONNX, TFLite and TensorFlow.js. :meth:`Model.classify_batch` uses all cores.
:meth:`Model.save` writes one file, which :func:`load` opens on other machines.
"""

from ._errors import CommandError, Error, LabelsError, ModelFileError, PictureError, SpecError, WeightsError
from ._model import Model, import_model, load, loads
from ._native import VERSION as __version__
from ._types import Fact, Guess, Info, Layer


def __getattr__(name: str) -> object:
    # Functions that few programs use, whose imports take longer than those of everything else.
    if name in ("quantize", "verify"):
        from . import _tools

        return getattr(_tools, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CommandError",
    "Error",
    "Fact",
    "Guess",
    "Info",
    "LabelsError",
    "Layer",
    "Model",
    "ModelFileError",
    "PictureError",
    "SpecError",
    "WeightsError",
    "__version__",
    "import_model",
    "load",
    "loads",
    "quantize",
    "verify",
]

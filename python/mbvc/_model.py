"""The class `Model` and the functions that create one."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Union, overload

from . import _native
from ._errors import Error, PictureError
from ._types import Fact, Guess, Info, Layer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Path = Union[str, os.PathLike[str]]
    #: A path, the bytes of an image file, a PIL image, or an array of uint8 [height, width, 3] or [height, width].
    Picture = Any


def _report(what: str) -> None:
    print(f"mbvc: {what} ...", file=sys.stderr, flush=True)


class Model:
    """A network with its weights.

    Methods may be called from several threads; they release the GIL. A model can be pickled. A pickled model contains its compiled
    kernels only if :func:`load` or :func:`loads` opened it. Otherwise, unless the package contains the network, the machine that
    unpickles it compiles the network or finds it in its cache.

    Args:
        weights: Weights file (safetensors), written by ``mbvc import`` or ``mbvc quantize``.
        spec: Spec of the network (YAML). Default: MobileNetV2 1.0 at 224x224 with 1001 classes, in the precision of the weights.
        isa: Instruction set, such as ``"avx2"``. Default: the best of this processor.
        **overrides: Values that override those of the spec: ``width``, ``resolution``, ``classes``, ``precision``, ``threads``,
            ``fusion``, ``numerics``.

    A network that the package does not carry is compiled by rustc when it is first used, which takes up to a minute, and cached.

    Raises:
        SpecError: The spec or an override is invalid.
        WeightsError: The weights are invalid or do not fit the network.
        Error: The network cannot be compiled.
    """

    __slots__ = ("_handle", "_isa")

    _handle: _native.Model
    _isa: str | None

    def __init__(self, weights: Path, spec: Path | None = None, *, isa: str | None = None, **overrides: Any) -> None:
        given = [(key, _override(value)) for key, value in overrides.items()]
        self._handle = _native.Model.open(weights, spec, given, isa, _report)
        self._isa = isa

    @classmethod
    def _of(cls, native: _native.Model, isa: str | None) -> Model:
        model = cls.__new__(cls)
        model._handle, model._isa = native, isa
        return model

    def classify(self, image: Picture, top: int = 5) -> list[Guess]:
        """Classifies a picture.

        Args:
            image: A path, the bytes of a JPEG, PNG, BMP or WebP file, a PIL image, or an array of uint8 ``[height, width, 3]`` (RGB)
                or ``[height, width]`` (gray), of any size. It is oriented, resized and cropped as the weights require.
            top: Number of classes to return.

        Returns:
            The classes with the highest scores, best first.

        Raises:
            PictureError: The picture cannot be read.
        """
        return self.classify_batch([image], top, threads=1)[0]

    @overload
    def classify_batch(
        self, images: Iterable[Picture], top: int = ..., *, threads: int | None = ..., errors: Literal["raise"] = ...
    ) -> list[list[Guess]]: ...
    @overload
    def classify_batch(
        self, images: Iterable[Picture], top: int = ..., *, threads: int | None = ..., errors: Literal["return"]
    ) -> list[list[Guess] | Error]: ...
    def classify_batch(
        self,
        images: Iterable[Picture],
        top: int = 5,
        *,
        threads: int | None = None,
        errors: Literal["raise", "return"] = "raise",
    ) -> Any:
        """Classifies pictures on all cores: decodes, resizes and runs them in parallel, without the GIL.

        Args:
            images: Pictures, each as :meth:`classify` takes it.
            top: Number of classes to return for each.
            threads: Number of threads. Default: one for each core.
            errors: ``"raise"`` raises the first exception of a picture that cannot be read; ``"return"`` puts it in its place.

        Returns:
            For each picture, the classes with the highest scores, best first.
        """
        if top < 1:
            raise ValueError(f"top: expected at least 1, found {top}")
        found = _each(images, lambda pictures: self._handle.classify(pictures, top, _threads(threads)), errors)
        return [one if isinstance(one, Error) else [Guess(*guess) for guess in one] for one in found]

    def embed(self, image: Picture) -> npt.NDArray[np.float32]:
        """Returns the pooled vector of a picture, for similarity search and transfer learning: float32 ``[embedding]``.

        Raises:
            PictureError: The picture cannot be read.
        """
        vector: npt.NDArray[np.float32] = self.embed_batch([image], threads=1)[0]
        return vector

    def embed_batch(
        self, images: Iterable[Picture], *, threads: int | None = None, errors: Literal["raise", "return"] = "raise"
    ) -> Any:
        """Returns the pooled vectors of pictures, computed on all cores without the GIL.

        Args:
            images: Pictures, each as :meth:`classify` takes it.
            threads: Number of threads. Default: one for each core.
            errors: ``"raise"`` raises the first exception of a picture that cannot be read; ``"return"`` puts it in its place.

        Returns:
            float32 ``[N, embedding]``; with ``errors="return"`` a list of float32 ``[embedding]`` and exceptions.
        """
        found = _each(images, lambda pictures: self._handle.embed(pictures, _threads(threads)), errors)
        if errors == "return":
            return found
        import numpy as np

        return np.stack(found) if found else np.empty((0, self.info.embedding), np.float32)

    def __call__(self, pixels: npt.NDArray[Any], *, threads: int | None = None) -> npt.NDArray[np.float32]:
        """Returns the logits of images that have the size of the input.

        The array is read in place. Other threads must not write to it during the call.

        Args:
            pixels: uint8 ``[N, height, width, channels]``, which are preprocessed as the weights require, or preprocessed float32 of
                the same shape. A single image ``[height, width, channels]`` is accepted too.
            threads: Number of threads. Default: one for each core.

        Returns:
            float32 ``[N, logits]``; ``[logits]`` for a single image.
        """
        return self._run(pixels, False, threads)

    def scores(self, pixels: npt.NDArray[Any], *, threads: int | None = None) -> npt.NDArray[np.float32]:
        """As :meth:`__call__`, but returns the scores of the classes: the head activation of the logits, float32 ``[N, classes]``."""
        return self._run(pixels, True, threads)

    def _run(self, pixels: npt.NDArray[Any], scores: bool, threads: int | None) -> npt.NDArray[np.float32]:
        import numpy as np

        images = np.ascontiguousarray(pixels)
        if images.ndim == 3:
            single: npt.NDArray[np.float32] = self._handle.run(images[None], scores, 1)[0]
            return single
        return self._handle.run(images, scores, _threads(threads))

    @property
    def labels(self) -> list[str]:
        """Labels of the classes; empty if the weights have none."""
        return self._handle.labels

    @property
    def info(self) -> Info:
        """Facts of the network."""
        facts = self._handle.info
        facts["input"] = tuple(facts["input"])
        facts["layers"] = [Layer(number, name, tuple(output), macs) for number, name, output, macs in facts["layers"]]
        return Info(**facts)

    @property
    def spec(self) -> str:
        """Text of the spec (YAML)."""
        return self._handle.spec

    @property
    def facts(self) -> list[Fact]:
        """What :func:`import_model` found out about the file; empty for other models."""
        return [Fact(*fact) for fact in self._handle.found[0]]

    @property
    def notes(self) -> list[str]:
        """Remarks of :func:`import_model` about the file, such as conventions that it does not record."""
        return self._handle.found[1]

    def save(self, path: Path, *, force: bool = False) -> None:
        """Writes a model file, which :func:`load` opens without a compiler on machines of the same platform.

        The file contains the weights, the labels and, if the package does not carry the network, its kernels for all instruction
        sets of this platform, which are compiled now. It is written under a temporary name and then renamed.

        Args:
            path: File to write, ``.mbvc`` by convention.
            force: Replace an existing file.

        Raises:
            Error: The network cannot be compiled.
            FileExistsError: The file exists, and `force` is not set.
            OSError: The file cannot be written.
        """
        if not force and os.path.lexists(path):
            # Before the compilation. The file is not replaced either if it is created meanwhile.
            raise FileExistsError(f"{os.fspath(path)} already exists; choose another name, or pass force=True")
        _native.write(path, self.to_bytes(), force)

    def to_bytes(self) -> bytes:
        """Returns the content of the file that :meth:`save` writes, for :func:`loads`."""
        return self._handle.dumps(True, _report)

    def save_weights(self, path: Path, *, force: bool = False) -> None:
        """Writes the weights file (safetensors), and the spec beside it with the extension ``.yaml``, for the command ``mbvc``.

        Raises:
            ValueError: The path has the extension ``.yaml``.
            FileExistsError: A file exists, and `force` is not set.
            OSError: A file cannot be written.
        """
        weights = os.fspath(path)
        spec = os.path.splitext(weights)[0] + ".yaml"
        if spec == weights:
            raise ValueError(f"path: expected the name of the weights file, such as model.safetensors, found {weights}")
        text = self.spec.encode()
        for file in (weights, spec):
            if not force and os.path.lexists(file):
                raise FileExistsError(f"{file} already exists; choose another name, or pass force=True")
        _native.write(weights, self._handle.weights, force)
        _native.write(spec, text, force)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._handle.dumps(False, None), self._isa)

    def __repr__(self) -> str:
        info = self.info
        height, width, channels = info.input
        return f"<mbvc.Model {info.name} {height}x{width}x{channels}, {info.classes} classes, {info.precision} on {info.isa}>"

    def _repr_html_(self) -> str:
        from ._html import table

        return table(self.info)


def import_model(
    path: Path,
    *,
    spec: Path | None = None,
    labels: Path | Sequence[str] | None = None,
    head_activation: Literal["softmax", "log_softmax", "sigmoid", "none"] | None = None,
    dequantize: bool = False,
    range: tuple[float, float] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    framing: str | None = None,
    bgr: bool = False,
    isa: str | None = None,
) -> Model:
    """Imports a trained MobileNetV2 of ONNX, TFLite, Keras, TensorFlow.js or PyTorch. No code in the file is run.

    Anything that the file does not record defaults to the convention of its framework; the arguments override it.

    Args:
        path: The model file: .onnx, .tflite, .keras, .h5, .json (TensorFlow.js), .pth, .pt, .bin, .ckpt or .safetensors.
        spec: Spec that the weights must fit; its preprocessing, and strides that the file lacks, are used.
        labels: Labels in the order of the outputs, the path of a file with them, ``"imagenet"``, or ``"none"``.
        head_activation: Function from logits to scores.
        dequantize: Convert a quantized model to float32.
        range: Input values of pixels 0 and 255.
        mean: Means of red, green and blue, or one of all, for pixels scaled to 0..1.
        std: Standard deviations, likewise.
        framing: How pictures are resized: ``"squash FILTER"`` or ``"crop SCALED/KEPT FILTER"``.
        bgr: The model reads channels in the order blue, green, red.
        isa: Instruction set. Default: the best of this processor.

    Raises:
        ModelFileError: The file is not a supported model. The message names the reason and the remedy.
        LabelsError: The labels are invalid or do not fit.
        Error: An argument does not fit the model, or the network cannot be compiled.
    """
    if labels is not None and not isinstance(labels, (str, os.PathLike)):
        labels = list(labels)
    options = {
        "spec": spec,
        "labels": labels,
        "head_activation": head_activation,
        "dequantize": dequantize,
        "range": _numbers("range", range, 2),
        "mean": _numbers("mean", mean, 3),
        "std": _numbers("std", std, 3),
        "framing": framing,
        "bgr": bgr,
    }
    model = Model._of(_native.Model.import_file(path, options, isa, _report), isa)
    for note in model.notes:
        if "the arguments" in note:
            warnings.warn(f"{os.fspath(path)}: {note}", stacklevel=2)
    return model


def load(path: Path, *, isa: str | None = None, keep_weights: bool = True) -> Model:
    """Opens a model file that :meth:`Model.save` wrote.

    The file may contain machine code, which is run: open only files that you trust.

    Args:
        path: The model file.
        isa: Instruction set. Default: the best of this processor.
        keep_weights: Also keep the weights in the file's layout, which saving and pickling require. With ``False``, a process
            needs less memory, and all processes map the packed weights from one file in the cache folder, which must be on a local disk.

    Raises:
        Error: The file is damaged, or was compiled for another platform or by another version.
    """
    return Model._of(_native.Model.load(path, isa, keep_weights, _report), isa)


def loads(content: bytes, *, isa: str | None = None, keep_weights: bool = True) -> Model:
    """As :func:`load`, for the content of a model file."""
    return Model._of(_native.Model.loads(content, isa, keep_weights, _report), isa)


def _restored(content: bytes, isa: str | None) -> Model:
    return loads(content, isa=isa)


def _override(value: Any) -> str:
    """Returns the text of a value of a spec: a resolution may be a pair."""
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _numbers(name: str, values: Any, count: int) -> list[float] | None:
    """Returns `count` numbers, or one for all."""
    if values is None:
        return None
    found = [float(values)] * count if isinstance(values, Real) and count == 3 else [float(value) for value in values]
    if len(found) != count:
        raise ValueError(f"{name}: expected {count} numbers, found {len(found)}")
    return found


def _threads(threads: int | None) -> int | None:
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected at least 1, found {threads}")
    return threads


def _each(images: Iterable[Picture], run: Callable[[list[Any]], list[Any]], errors: str) -> list[Any]:
    """Runs a function on pictures; returns the result of each, or the exception of one that cannot be read."""
    if errors not in ("raise", "return"):
        raise ValueError(f'errors: expected "raise" or "return", found {errors!r}')
    single = isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, Mapping)) or _is_pil(images)
    if single or getattr(images, "ndim", 4) in (2, 3):
        raise TypeError("expected a sequence of pictures, found a single one")
    pictures = [_picture(image) for image in images]
    results = iter(run([picture for picture in pictures if not isinstance(picture, Error)]))
    found = [picture if isinstance(picture, Error) else next(results) for picture in pictures]
    if errors == "raise":
        for one in found:
            if isinstance(one, Error):
                raise one
    return found


def _is_pil(image: Any) -> bool:
    return hasattr(image, "getexif") and hasattr(image, "convert")


def _picture(image: Picture) -> Any:
    """Returns a picture as the native module takes it; an exception for a PIL image that cannot be decoded."""
    if isinstance(image, (bytearray, memoryview)):
        return bytes(image)
    if not _is_pil(image):
        return image
    import numpy as np
    from PIL import ImageOps

    if image.mode == "F":
        raise TypeError("expected pixels of 8 or 16 bits, found a PIL image of floats (mode F)")
    try:
        turned = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            # Gray of 16 bits, of which the high byte is kept, as in files.
            return (np.asarray(turned) >> 8).clip(0, 255).astype(np.uint8)
        return np.asarray(turned.convert("RGB"))
    except OSError as error:
        return PictureError(f"cannot decode the PIL image: {error}")

"""Functions that run the command `mbvc` of this package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Union

from ._errors import CommandError
from ._model import Model

if TYPE_CHECKING:
    Path = Union[str, os.PathLike[str]]

#: Exit status of a comparison that found a difference.
_DIFFERENT = 3


def quantize(
    model: Model, images: Iterable[Path], *, evaluate: Iterable[Path] = (), recursive: bool = False, crops: int = 0
) -> tuple[Model, dict[str, Any]]:
    """Quantizes a float32 model to int8.

    Args:
        model: The float32 model.
        images: Calibration images, and folders of images; a hundred like those of the application suffice.
        evaluate: Images for the comparison with float32. Default: up to 64 of the calibration images.
        recursive: Search subfolders too.
        crops: Number of random crops of each image that are used for calibration too.

    Returns:
        The quantized model, and the report of ``mbvc quantize --json``.

    Raises:
        CommandError: No image can be read, or the model is not float32.
    """
    with tempfile.TemporaryDirectory(prefix="mbvc-") as folder:
        weights, spec = _written(model, folder)
        output = os.path.join(folder, "int8.safetensors")
        arguments = ["--weights", weights, "--spec", spec, "--output", output, "--crops", str(crops)]
        arguments += ["--calibrate", *_paths(images)]
        evaluated = _paths(evaluate)
        if evaluated:
            arguments += ["--evaluate", *evaluated]
        if recursive:
            arguments.append("--recursive")
        _, report = _run("quantize", arguments, folder)
        return Model(output, spec, precision="int8"), report


def verify(
    model: Model, against: Path, images: Iterable[Path], *, tolerance: float | None = None, layers: int = 8
) -> dict[str, Any]:
    """Compares a model with the model file that it was imported from, in ONNX Runtime or LiteRT.

    Requires onnxruntime for ONNX models and ai-edge-litert for TFLite models in this Python.

    Args:
        model: The imported model.
        against: The original model, .onnx or .tflite.
        images: Images, and folders of images.
        tolerance: Tolerated difference: a share of the largest value, or for quantized models a number of steps.
        layers: Number of images on which all layers are compared.

    Returns:
        The report of ``mbvc verify --json``, with the key ``agree``.

    Raises:
        CommandError: The models cannot be compared.
    """
    with tempfile.TemporaryDirectory(prefix="mbvc-") as folder:
        weights, spec = _written(model, folder)
        arguments = ["--weights", weights, "--spec", spec, "--against", os.path.abspath(os.fspath(against)), "--layers", str(layers)]
        arguments += ["--images", *_paths(images)]
        if tolerance is not None:
            arguments += ["--tolerance", str(tolerance)]
        status, report = _run("verify", arguments, folder)
        return {"agree": status == 0, **report}


def _written(model: Model, folder: str) -> tuple[str, str]:
    weights = os.path.join(folder, "model.safetensors")
    model.save_weights(weights)
    return weights, os.path.join(folder, "model.yaml")


def _paths(paths: Iterable[Path]) -> list[str]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    return [os.path.abspath(os.fspath(path)) for path in paths]


def _run(command: str, arguments: list[str], folder: str) -> tuple[int, dict[str, Any]]:
    """Runs the command in a process of its own, and returns its exit status and its report.

    It runs in `folder`: `python -m` would import a folder `mbvc` of the current one.
    """
    environment = {"MBVC_PYTHON": sys.executable, **os.environ}
    ran = subprocess.run(
        [sys.executable, "-m", "mbvc", command, *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        encoding="utf-8",
        errors="replace",
    )
    lines = ran.stdout.splitlines()
    if ran.returncode not in (0, _DIFFERENT) or not lines:
        message, help = _error(ran.stderr)
        raise CommandError(message or f"mbvc {command} ended with status {ran.returncode}", help)
    return ran.returncode, json.loads(lines[-1])


def _error(printed: str) -> tuple[str, list[str]]:
    """Returns the errors and the remedies in what the command printed.

    The errors of a spec, `error[CODE]: ...`, are kept as they are, with their lines of the spec.
    """
    if re.search(r"^error\[", printed, flags=re.MULTILINE):
        return printed.strip(), []
    before, *labeled = re.split(r"^ *(error|help|warning|note): ", printed, flags=re.MULTILINE)
    errors: list[str] = []
    remedies: list[str] = []
    for label, text in zip(labeled[::2], labeled[1::2]):
        text = re.sub(r"\n {6,7}", "\n", text.strip())
        if label == "error":
            errors.append(text)
        elif label == "help" and errors:
            remedies.append(text)
    return "\n".join(errors) or before.strip(), remedies

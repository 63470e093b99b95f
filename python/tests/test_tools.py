"""`quantize` and `verify`, which run the command."""

import pytest

import mbvc
from mbvc._tools import _error


def test_quantize(model, photographs, tmp_path):
    quantized, report = mbvc.quantize(model, photographs, crops=1)
    assert quantized.info.precision == "int8" and quantized.labels == model.labels
    assert report["output"]
    agree = [
        ours[0].index == exact[0].index
        for ours, exact in zip(quantized.classify_batch(photographs), model.classify_batch(photographs))
    ]
    assert sum(agree) >= len(agree) - 1
    with pytest.raises(mbvc.CommandError):
        mbvc.quantize(quantized, photographs)
    with pytest.raises(mbvc.CommandError, match="contains no images"):
        mbvc.quantize(model, [tmp_path])


def test_verify(int8, int8_tflite, model, photographs):
    report = mbvc.verify(int8, int8_tflite, photographs[:2], layers=1)
    assert report["agree"] is True
    other, _ = mbvc.quantize(model, photographs[:2], crops=1)
    report = mbvc.verify(other, int8_tflite, photographs[:1], layers=0)
    assert report["agree"] is False, "another quantization of the same network"
    with pytest.raises(mbvc.CommandError) as raised:
        mbvc.verify(model, int8_tflite, photographs[:1])
    assert "help:" not in raised.value.message and raised.value.help


def test_printed_errors():
    printed = "warning: slow\n help: be patient\nerror: no such file\n       x.png\n help: one\n       more\n help: two\n"
    assert _error(printed) == ("no such file\nx.png", ["one\nmore", "two"])
    assert _error("Killed\n") == ("Killed", [])
    spec = "error[isa]: no f32 kernels\n --> net.yaml:3:6\n  = help: remove it\n\nerror: 2 errors in net.yaml"
    assert _error(spec) == (spec, [])

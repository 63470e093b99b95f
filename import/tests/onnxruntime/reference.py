"""Quantizes a float model with ONNX Runtime's quantizer, and runs the result with ONNX Runtime.

    reference.py OUTPUT MODEL.onnx IMAGE...

Writes into the folder OUTPUT: `names`, one image a line; `pixels` [n, height, width, 3] bytes; and for each way to quantize
`NAME.onnx` and `NAME.logits` [n, classes] float32. Pixels x become the input x / 127.5 - 1; the images calibrate, too.
"""
import shutil
import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from PIL import Image

INT8, UINT8 = QuantType.QInt8, QuantType.QUInt8
WAYS = {
    "channels": dict(activation_type=UINT8, weight_type=INT8, per_channel=True),
    "symmetric": dict(activation_type=INT8, weight_type=INT8, per_channel=True, extra_options={"ActivationSymmetric": True}),
    "unsigned": dict(activation_type=UINT8, weight_type=UINT8, per_channel=False),
}


def images(height, width, paths):
    for path in paths:
        picture = Image.open(path).convert("RGB").resize((width, height), Image.BILINEAR)
        yield path.name, numpy.asarray(picture)
    yield "noise", numpy.random.default_rng(20180113).integers(0, 256, (height, width, 3), numpy.uint8)
    yield "black", numpy.zeros((height, width, 3), numpy.uint8)


class Calibration(CalibrationDataReader):
    def __init__(self, name, batches):
        self.left = iter([{name: batch} for batch in batches])

    def get_next(self):
        return next(self.left, None)


def logits_of(model):
    """The dequantized value of the last layer."""
    last = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")][-1]
    follow = lambda name: next(node for node in model.graph.node if name in node.input)
    return follow(follow(last.output[0]).output[0]).output[0]


def main():
    output = Path(sys.argv[1])
    # The quantizer writes into the folder of its input model.
    source = Path(shutil.copyfile(sys.argv[2], output / "float.onnx"))
    [entry] = onnx.load(source).graph.input
    height, width = [size.dim_value for size in entry.type.tensor_type.shape.dim][2:]
    names, pixels = zip(*images(height, width, map(Path, sys.argv[3:])))
    batches = [(image.astype(numpy.float32) / numpy.float32(127.5) - 1).transpose(2, 0, 1)[None] for image in pixels]
    for name, options in WAYS.items():
        path = output / f"{name}.onnx"
        quantize_static(str(source), str(path), Calibration(entry.name, batches), quant_format=QuantFormat.QDQ, **options)
        model = onnx.load(path)
        logits = logits_of(model)
        if logits not in [value.name for value in model.graph.output]:
            model.graph.output.append(onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, None))
        # On x86 without VNNI, products of uint8 and int8 saturate at 16 bits. The precise kernels do not.
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        runs = [session.run([logits], {entry.name: batch})[0].ravel() for batch in batches]
        (output / f"{name}.logits").write_bytes(numpy.stack(runs).astype("<f4").tobytes())
    (output / "pixels").write_bytes(b"".join(image.tobytes() for image in pixels))
    (output / "names").write_text("\n".join(names))


main()

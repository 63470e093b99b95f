"""What ONNX Runtime and LiteRT say of the shared photographs and of some images that are none.

    reference.py MODEL.onnx MODEL.tflite OUTPUT IMAGE...

Writes into the folder OUTPUT, for every image in turn: `pixels` [n, 224, 224, 3] bytes and `inputs` of the same shape
in float32 (both little endian, as everything here), `onnx_logits`, `onnx_probabilities` and `litert_probabilities`
[n, 1001] in float32, and `names`, one a line. An image that is no picture has zeros for pixels.
"""
import sys
from pathlib import Path

import numpy
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

SIZE = 224


def photographs(paths):
    for path in paths:
        image = Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.BILINEAR)
        pixels = numpy.asarray(image)
        yield path.name, pixels, (pixels.astype(numpy.float32) / numpy.float32(127.5) - numpy.float32(1))


def others():
    shape = (SIZE, SIZE, 3)
    none = numpy.zeros(shape, numpy.uint8)
    random = numpy.random.default_rng(20180113)
    yield "noise", none, random.uniform(-1, 1, shape).astype(numpy.float32)
    yield "black", none, numpy.full(shape, -1, numpy.float32)
    yield "white", none, numpy.full(shape, 1, numpy.float32)
    yield "gray", none, numpy.zeros(shape, numpy.float32)


def with_logits(model):
    """The model with the tensor before the softmax as a further output.

    Concatenated messages of a protocol buffer are merged: what is appended is `graph { output { .. } }`.
    """

    def field(number, payload):
        return bytes([number << 3 | 2, len(payload)]) + payload

    float32 = field(1, bytes([1 << 3, 1]))  # TypeProto { tensor_type { elem_type: FLOAT } }
    value = field(1, b"logits") + field(2, float32)  # ValueInfoProto { name, type }
    return model + field(7, field(12, value))  # ModelProto { graph { output } }


def main():
    onnx, tflite, output = map(Path, sys.argv[1:4])
    images = [*photographs(map(Path, sys.argv[4:])), *others()]
    session = onnxruntime.InferenceSession(with_logits(onnx.read_bytes()), providers=["CPUExecutionProvider"])
    interpreter = Interpreter(str(tflite))
    interpreter.allocate_tensors()
    [source], [result] = interpreter.get_input_details(), interpreter.get_output_details()

    logits, probabilities, others_probabilities = [], [], []
    for _, _, image in images:
        nchw = numpy.ascontiguousarray(image.transpose(2, 0, 1)[None])
        logit, probability = session.run(["logits", "prob"], {session.get_inputs()[0].name: nchw})
        logits.append(logit)
        probabilities.append(probability)
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        others_probabilities.append(interpreter.get_tensor(result["index"]))

    arrays = {
        "inputs": [image for _, _, image in images],
        "onnx_logits": logits,
        "onnx_probabilities": probabilities,
        "litert_probabilities": others_probabilities,
    }
    for name, array in arrays.items():
        (output / name).write_bytes(numpy.stack(array).astype("<f4").tobytes())
    (output / "pixels").write_bytes(numpy.stack([pixels for _, pixels, _ in images]).tobytes())
    (output / "names").write_text("\n".join(name for name, _, _ in images))


main()

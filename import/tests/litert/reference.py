"""Every tensor that LiteRT computes of quantized models, on photographs and on images that are none.

    reference.py OUTPUT MODE MODEL.tflite IMAGE...

MODE is `xnnpack` (LiteRT as it comes, with its delegate) or `reference` (its reference kernels). Writes into the folder
OUTPUT: `names`, one image a line; `pixels` [n, height, width, 3] bytes; and for image number k a file `k` with the results
of all convolutions, additions, the pool and the softmax in order of execution, a byte each, one after the other.
"""
import sys
from pathlib import Path

import numpy
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image

KEPT = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MEAN", "AVERAGE_POOL_2D", "SOFTMAX"}


def images(shape, paths):
    for path in paths:
        picture = Image.open(path).convert("RGB").resize((shape[1], shape[0]), Image.BILINEAR)
        yield path.name, numpy.asarray(picture)
    yield "noise", numpy.random.default_rng(20180113).integers(0, 256, shape, numpy.uint8)
    yield "black", numpy.zeros(shape, numpy.uint8)
    yield "white", numpy.full(shape, 255, numpy.uint8)


def interpreter(model, mode):
    options = {"experimental_op_resolver_type": OpResolverType.BUILTIN_REF} if mode == "reference" else {}
    made = Interpreter(str(model), num_threads=1, experimental_preserve_all_tensors=True, **options)
    made.allocate_tensors()
    return made


def main():
    output, mode, model = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    # The individual operators are available only without a delegate.
    operators = interpreter(model, "reference")._get_ops_details()
    kept = [operator["outputs"][0] for operator in operators if operator["op_name"] in KEPT]
    engine = interpreter(model, mode)
    [source] = engine.get_input_details()
    names, pixels = [], []
    for at, (name, image) in enumerate(images(tuple(source["shape"][1:]), map(Path, sys.argv[4:]))):
        engine.set_tensor(source["index"], image[None])
        engine.invoke()
        with open(output / str(at), "wb") as file:
            for index in kept:
                file.write(engine.get_tensor(index).tobytes())
        names.append(name)
        pixels.append(image.tobytes())
    (output / "pixels").write_bytes(b"".join(pixels))
    (output / "names").write_text("\n".join(names))


main()

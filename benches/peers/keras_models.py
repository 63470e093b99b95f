#!/usr/bin/env python3
"""Writes Keras MobileNetV2 networks with random weights as TFLite files, with random BatchNorm statistics.

    python benches/peers/keras_models.py target/peers/tflite --widths 0.35,1.0 --sizes 96,224
    python benches/peers/keras_models.py target/peers/tflite --precision int8

Needs `pip install tensorflow-cpu`; `run.py --grid` runs it in the environment that it creates. Existing files are kept. The
files are named mobilenet_v2_WIDTH_SIZE_PRECISION.tflite and return the logits of 1000 classes. With int8 the converter
quantizes the whole network, with one scale per channel; the input is uint8 pixels.
"""
import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def name(width: float, size: int, precision: str) -> str:
    return f"mobilenet_v2_{width}_{size}_{precision}.tflite"


def shake(model, seed: int) -> None:
    """Sets random weights and statistics for which activations neither vanish nor saturate at 6."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for layer in model.layers:
        shapes = [value.shape for value in layer.get_weights()]
        if not shapes:
            continue
        if layer.__class__.__name__ == "BatchNormalization":
            (channels,) = shapes[0]
            values = [
                rng.uniform(0.8, 1.2, channels),  # gamma
                rng.normal(0.3, 0.3, channels),  # beta
                rng.normal(0.0, 0.3, channels),  # mean
                rng.uniform(0.5, 1.5, channels),  # variance
            ]
        else:
            kernel = shapes[0]
            depthwise = layer.__class__.__name__ == "DepthwiseConv2D"
            inputs = np.prod(kernel[:2]) if depthwise else np.prod(kernel[:-1])
            values = [rng.normal(0.0, (1.5 / inputs) ** 0.5, kernel)]
            values += [rng.normal(0.0, 0.1, shape) for shape in shapes[1:]]
        layer.set_weights([value.astype(np.float32) for value in values])


def pictures(height: int, width: int):
    """Random images for calibration: noise of several grain sizes, black and white."""
    import numpy as np

    rng = np.random.default_rng(height)
    for grain in (1, 2, 4, 8, 16, max(height, width)):
        cells = [-(-size // grain) for size in (height, width)]
        image = rng.uniform(-1, 1, (1, *cells, 3)).repeat(grain, 1).repeat(grain, 2)
        yield [image[:, :height, :width].astype(np.float32)]
    for pixel in (-1, 1):
        yield [np.full((1, height, width, 3), pixel, np.float32)]


def quantize(converter, height: int, width: int) -> None:
    """Configures the converter for full integer quantization with uint8 pixels as input."""
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: pictures(height, width)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8


def write(path: Path, width: float, size: int, precision: str) -> None:
    import tensorflow as tf

    tf.keras.backend.clear_session()
    model = tf.keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=width, weights=None, classes=1000, classifier_activation=None
    )
    shake(model, seed=size + round(1000 * width))
    # A batch size of one, so that all shapes in the file are static.
    image = tf.keras.Input((size, size, 3), batch_size=1)
    whole = tf.keras.Model(image, model(image, training=False))
    converter = tf.lite.TFLiteConverter.from_keras_model(whole)
    if precision == "int8":
        quantize(converter, size, size)
    content = converter.convert()
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--widths", default="0.35,0.5,0.75,1.0,1.4")
    parser.add_argument("--sizes", default="96,128,160,192,224")
    parser.add_argument("--precision", choices=["f32", "int8"], default="f32")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for width in map(float, args.widths.split(",")):
        for size in map(int, args.sizes.split(",")):
            path = args.folder / name(width, size, args.precision)
            if not path.exists():
                write(path, width, size, args.precision)
                print(path.name, flush=True)


if __name__ == "__main__":
    sys.exit(main())

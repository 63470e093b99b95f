"""Makes models of keras.applications' MobileNetV2 with Keras 2 (tf_keras) and Keras 3, and computes their logits.

    reference.py OUTPUT

Writes into the folder OUTPUT the models, for each FILE an image `FILE.pixels` [height, width, 3] bytes and the scores
before the last activation, `FILE.logits` [classes] float32, and `models.json`: by file the alpha, height, width, classes
and whether it holds weights alone.
"""
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras as keras3  # noqa: E402
import numpy as np  # noqa: E402
import tf_keras as keras2  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
from keras_files import augmentation, shake  # noqa: E402

# Alpha, height, width, classes.
PLAIN = [(0.35, 96, 96, 1000), (0.75, 97, 131, 7), (1.4, 64, 160, 2)]
NESTED = [(0.35, 160, 128, 5), (1.0, 96, 96, 1)]
PUBLISHED = [(0.5, 224, 224, 1000)]


def application(keras, alpha, height, width, **options):
    return keras.applications.MobileNetV2((height, width, 3), alpha=alpha, weights=None, **options)


def transfer(keras, alpha, height, width, classes):
    """The functional shape, preprocessing in the model."""
    image = keras.Input((height, width, 3))
    value = keras.applications.mobilenet_v2.preprocess_input(augmentation(keras)(image))
    value = application(keras, alpha, height, width, include_top=False)(value, training=False)
    value = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(value))
    model = keras.Model(image, keras.layers.Dense(classes, activation="sigmoid" if classes == 1 else "softmax")(value))
    model.compile("adam", "mse")
    return model


def stacked(keras, alpha, height, width, classes):
    """The sequential shape, the pool in the backbone, the image of any size."""
    return keras.Sequential([
        keras.Input((height, width, 3)),
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        application(keras, alpha, height, width, include_top=False, pooling="avg"),
        keras.layers.Dense(classes),
    ])


def unrolled(keras, alpha, height, width, classes):
    """A head on the backbone's own tensors, and mixed precision."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    features = application(keras, alpha, height, width, include_top=False)
    value = keras.layers.GlobalAveragePooling2D(keepdims=True)(features.output)
    value = keras.layers.Dense(classes, dtype="float32")(keras.layers.Flatten()(value))
    keras.mixed_precision.set_global_policy("float32")
    return keras.Model(features.input, value)


def main():
    output = Path(sys.argv[1])
    models = {}

    def save(name, keras, model, shape, takes_bytes, weights_alone=False):
        alpha, height, width, classes = shape
        shake(model, seed=len(models))
        if weights_alone:
            model.save_weights(output / name)
        else:
            model.save(output / name)
        if "mixed" in name:
            # Keras computes these in half precision: the same weights once more, in a network of float32.
            plain = {layer.name: layer.get_weights() for layer in model.layers}
            config = model.get_config()
            model = keras.Model.from_config(json.loads(json.dumps(config).replace("mixed_float16", "float32")))
            for layer in model.layers:
                layer.set_weights(plain[layer.name])
        model.layers[-1].activation = None
        pixels = np.random.default_rng(len(models)).integers(0, 256, (height, width, 3), np.uint8)
        values = pixels.astype(np.float32)
        logits = np.asarray(model((values if takes_bytes else values / 127.5 - 1)[None], training=False)).ravel()
        (output / f"{name}.pixels").write_bytes(pixels.tobytes())
        (output / f"{name}.logits").write_bytes(logits.astype("<f4").tobytes())
        models[name] = {"alpha": alpha, "height": height, "width": width, "classes": classes, "weights": weights_alone}

    for version, keras, suffixes in [(2, keras2, ("h5", "keras")), (3, keras3, ("h5", "keras"))]:
        for suffix in suffixes:
            for number, shape in enumerate(PLAIN):
                alpha, height, width, classes = shape
                model = application(keras, alpha, height, width, classes=classes)
                save(f"keras{version}_plain{number}.{suffix}", keras, model, shape, False)
            for number, shape in enumerate(NESTED):
                save(f"keras{version}_transfer{number}.{suffix}", keras, transfer(keras, *shape), shape, True)
                save(f"keras{version}_stacked{number}.{suffix}", keras, stacked(keras, *shape), shape, True)
            shape = NESTED[0]
            save(f"keras{version}_mixed.{suffix}", keras, unrolled(keras, *shape), shape, False)
    for version, keras, suffix in [(2, keras2, "_weights.h5"), (3, keras3, ".weights.h5")]:
        for shape in PUBLISHED:
            alpha, height, width, classes = shape
            model = application(keras, alpha, height, width, classes=classes)
            save(f"keras{version}_published{suffix}", keras, model, shape, False, weights_alone=True)
    (output / "models.json").write_text(json.dumps(models))


main()

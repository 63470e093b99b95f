#!/usr/bin/env python3
"""Writes the inputs in `fuzz/corpus` that the importer's fixtures lack.

    pip install -r scripts/requirements-slow.txt && scripts/install-torch.sh python3
    python fuzz/make_corpus.py

`hdf5`: weights without a network, of Keras 2 and 3, with the names of keras.applications' MobileNetV2, few channels and
all weights zero. `state_dict`: the state dicts of the fixtures as safetensors. `tfjs`: layers models of random heads, each with
its shard after the mark of `src/sidecars.rs`.
"""
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import h5py  # noqa: E402
import keras as keras3  # noqa: E402
import numpy as np  # noqa: E402
import tf_keras as keras2  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "import/tests/fixtures"
CORPUS = HERE / "corpus"
MARK = b"\n=====\n"


def smallest(old, new):
    """Copies a group in the smallest form, with data and texts in the headers."""
    for key, value in old.attrs.items():
        # Texts of variable length would have a heap for each attribute.
        new.attrs[key] = value.astype("S") if getattr(value, "dtype", None) == object else value
    for name, member in old.items():
        if isinstance(member, h5py.Group):
            smallest(member, new.require_group(name))
            continue
        values = np.zeros(member.shape, member.dtype)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        properties.set_layout(h5py.h5d.COMPACT)
        properties.set_obj_track_times(False)
        space = h5py.h5s.create_simple(values.shape)
        dataset = h5py.h5d.create(new.id, name.encode(), h5py.h5t.py_create(values.dtype), space, properties)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values)


def published(keras):
    """The layers of keras.applications' MobileNetV2 that have weights, with the least expansion."""
    layers = keras.layers

    def normalized(value, name):
        return layers.BatchNormalization(name=name)(value)

    image = keras.Input((32, 32, 3))
    value = normalized(layers.Conv2D(8, 3, use_bias=False, name="Conv1")(image), "bn_Conv1")
    for block in ["expanded_conv"] + [f"block_{number}" for number in range(1, 17)]:
        if block != "expanded_conv":
            value = normalized(layers.Conv2D(16, 1, use_bias=False, name=f"{block}_expand")(value), f"{block}_expand_BN")
        depthwise = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{block}_depthwise")
        value = normalized(depthwise(value), f"{block}_depthwise_BN")
        value = normalized(layers.Conv2D(8, 1, use_bias=False, name=f"{block}_project")(value), f"{block}_project_BN")
    value = normalized(layers.Conv2D(8, 1, use_bias=False, name="Conv_1")(value), "Conv_1_bn")
    return keras.Model(image, layers.Dense(2, name="predictions")(layers.GlobalAveragePooling2D()(value)))


def weights_alone(folder):
    for keras, name in [(keras2, "keras2_weights.h5"), (keras3, "keras3.weights.h5")]:
        model = published(keras)
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / name
            model.save_weights(path)
            with h5py.File(path) as old:
                # Groups with many members have the first form, which needs no heap for them; the others are smaller.
                with h5py.File(folder / name, "w", libver="earliest") as new:
                    for group in {"layers"} & set(old):
                        new.create_group(group)
                with h5py.File(folder / name, "a", libver=("v108", "v108")) as new:
                    smallest(old, new)
            assert (folder / name).stat().st_size < 180_000


def state_dicts(folder):
    for path in [FIXTURES / "torch/state_dict.pth", *(FIXTURES / "heads/torch").glob("*.pth")]:
        content = torch.load(path, map_location="cpu", weights_only=False)
        if all(isinstance(value, torch.Tensor) and not value.is_quantized for value in content.values()):
            tensors = {name: value.detach().clone().contiguous() for name, value in content.items()}
            save_file(tensors, folder / f"{path.stem}.safetensors")


def without_initializers(config):
    """The configuration without keys that have no effect on the result, for a small file."""
    if isinstance(config, list):
        return [without_initializers(value) for value in config]
    if not isinstance(config, dict):
        return config
    unused = ("initializer", "regularizer", "constraint")
    return {key: without_initializers(value) for key, value in config.items() if not key.endswith(unused)}


def layers_models(folder):
    sys.path[:0] = [str(HERE.parent / "import/tests/keras"), str(FIXTURES)]
    import heads_keras_files
    import tfjs

    layers = keras2.layers
    pool, dense = layers.GlobalAveragePooling2D, layers.Dense
    heads = {
        "reshaped": [pool(), layers.Reshape((1, 1, 16)), layers.Flatten(), dense(3), layers.Softmax()],
        "window": [layers.AveragePooling2D((8, 10)), layers.Flatten(), dense(4, activation="relu6"), dense(3), layers.Activation("sigmoid")],
        "normalized": [pool(keepdims=True), layers.Flatten(), layers.BatchNormalization(), layers.Dropout(0.2), dense(3)],
    }
    for (name, head), dtype in zip(heads.items(), ["uint8", "float16", "uint16"]):
        model = heads_keras_files.pixel_model(keras2, head=head)
        with tempfile.TemporaryDirectory() as temporary:
            written = Path(temporary) / name
            tfjs.write(written, model, dtype, 1)
            config = without_initializers(json.loads((written / "model.json").read_text()))
            shard = (written / "group1-shard1of1.bin").read_bytes()
            (folder / name).write_bytes(json.dumps(config).encode() + MARK + shard)


def main():
    for name, write in [("hdf5", weights_alone), ("state_dict", state_dicts), ("tfjs", layers_models)]:
        folder = CORPUS / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write(folder)
        for path in folder.iterdir():
            path.chmod(0o644)


main()

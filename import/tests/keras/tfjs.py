"""Layers models of TensorFlow.js, written as its converter writes them from models of Keras 2 (`tf_keras`).

The formats are `ModelJSON` and `WeightsManifestConfig` of TensorFlow.js, tfjs-core/src/io/types.ts. Quantized weights follow
tfjs-converter/python/tensorflowjs/quantization.py, and `decodeWeight` of tfjs-core/src/io/io_utils.ts reads them.
"""
import json

import numpy as np


def quantized(values, dtype):
    """Returns the stored numbers, their entry in the manifest, and the numbers that TensorFlow.js computes from them."""
    if dtype == "float32":
        return values, None, values
    if dtype == "float16":
        halves = values.astype(np.float16)
        return halves, {"dtype": dtype, "original_dtype": "float32"}, halves.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(values.shape, dtype), {"dtype": dtype, "min": low, "scale": 1.0, "original_dtype": "float32"}, values
    steps = np.iinfo(dtype).max
    scale = (high - low) / steps
    if low <= 0 <= high:
        # The range has 0 at a step.
        low = round(low / scale) * scale
    stored = np.clip(np.round((values.astype(np.float64) - low) / scale), 0, steps).astype(dtype)
    entry = {"dtype": dtype, "min": low, "scale": scale, "original_dtype": "float32"}
    return stored, entry, (stored.astype(np.float64) * scale + low).astype(np.float32)


def write(folder, model, dtype, shards):
    """Writes the model with weights of `dtype` in this number of shards, and sets the model's weights to those stored."""
    folder.mkdir()
    entries, content, rounded = [], [], []
    for weight in model.weights:
        stored, entry, values = quantized(weight.numpy(), dtype)
        # The converter removes the number of the output.
        manifest = {"name": weight.name.split(":")[0], "shape": list(stored.shape), "dtype": "float32"}
        entries.append(manifest | ({"quantization": entry} if entry else {}))
        content.append(stored.tobytes())
        rounded.append(values)
    model.set_weights(rounded)
    content = b"".join(content)
    size = -(-len(content) // shards)
    paths = [f"group1-shard{at + 1}of{shards}.bin" for at in range(shards)]
    for at, path in enumerate(paths):
        (folder / path).write_bytes(content[at * size:(at + 1) * size])
    (folder / "model.json").write_text(json.dumps({
        "format": "layers-model",
        "generatedBy": "keras v2.21.0",
        "convertedBy": "TensorFlow.js Converter v4.22.0",
        "modelTopology": {"keras_version": "2.21.0", "backend": "tensorflow", "model_config": json.loads(model.to_json())},
        "weightsManifest": [{"paths": paths, "weights": entries}],
    }))

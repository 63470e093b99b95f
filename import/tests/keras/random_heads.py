"""Random heads on small networks of Keras 2 and 3, as TFLite and TensorFlow.js models.

    random_heads.py OUTPUT SEED COUNT        with TensorFlow: writes the models, `cases.json` and `quantized.json`
    random_heads.py OUTPUT                   with LiteRT: writes `litert.json`, the scores of each TFLite model in floats

`cases.json` is a list of `{file, head, activation, pixels, scores}`, with the scores that Keras computes for the image of
`pattern` or, where `pixels` is set, for that of `keras_files.py`. `quantized.json` lists the files of int8 models.
"""
import json
import sys
from pathlib import Path

OUTPUT = Path(sys.argv[1])


def run():
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    scores = {}
    for case in json.loads((OUTPUT / "cases.json").read_text()):
        if not case["file"].endswith(".tflite"):
            continue
        engine = Interpreter(str(OUTPUT / case["file"]), num_threads=1)
        engine.allocate_tensors()
        [source], [result] = engine.get_input_details(), engine.get_output_details()
        y, x, c = np.indices(source["shape"][1:])
        steps = (y * 7 + x * 3 + c * 5) % 17
        image = steps * 15 if case["pixels"] else steps / 8 - 1
        engine.set_tensor(source["index"], image.astype(source["dtype"])[None])
        engine.invoke()
        scores[case["file"]] = engine.get_tensor(result["index"]).ravel().astype(float).tolist()
    (OUTPUT / "litert.json").write_text(json.dumps(scores))


def write(seed, count):
    import random

    sys.path.insert(0, str(Path(__file__).parent.parent / "fixtures"))
    import heads_tflite_files as tflite
    import keras as keras3
    import keras_files
    import numpy as np
    import tensorflow as tf
    import tf_keras as keras2

    sys.path.insert(0, str(Path(__file__).parent))
    import tfjs

    choose = random.Random(seed)

    def table():
        """Blocks of (expansion, channels, stride); more than two strides leave odd sizes, which `backbone` does not pad."""
        blocks = [(choose.randint(1, 3), choose.choice([8, 16, 24]), 1) for _ in range(choose.randint(1, 3))]
        for at in choose.sample(range(len(blocks)), choose.randint(0, min(2, len(blocks)))):
            blocks[at] = (*blocks[at][:2], 2)
        return blocks

    def pools(layers, size):
        return {
            "global": [layers.GlobalAveragePooling2D()],
            "global, kept, flattened": [layers.GlobalAveragePooling2D(keepdims=True), layers.Flatten()],
            "window, flattened": [layers.AveragePooling2D(size), layers.Flatten()],
            "global, reshaped": [layers.GlobalAveragePooling2D(), layers.Reshape((1, 1, -1)), layers.Flatten()],
        }

    def dense(layers, units, activation, normalized):
        """Dense layers with the activation in the layer or after it, or no activation, with a batch normalization or without."""
        use_bias = choose.random() < 0.7
        if activation is None or normalized or choose.random() < 0.5:
            after = {"relu": layers.ReLU, "relu6": lambda: layers.ReLU(6.0), None: lambda: None}[activation]()
            found = [layers.Dense(units, use_bias=use_bias), layers.BatchNormalization() if normalized else None, after]
            return [layer for layer in found if layer]
        return [layers.Dense(units, use_bias=use_bias, activation=activation)]

    def head(layers, in_int8):
        """The layers between the pool and the scores: those of int8 have one operation each."""
        found, activation = [], choose.choice(["relu", "relu6"])
        if not in_int8 and choose.random() < 0.3:
            found.append(layers.BatchNormalization())
        for _ in range(choose.choice([0, 0, 1, 2, 3])):
            merged = not in_int8 and choose.random() < 0.2
            normalized = choose.random() < 0.3
            found += dense(layers, choose.choice([4, 7, 12]), None if merged else activation, normalized)
            found += [layers.Dropout(0.2)] if choose.random() < 0.5 else []
        return found

    def end(layers, name):
        """The classifier and its activation, in the layer or after it."""
        use_bias = choose.random() < 0.7
        classes = choose.randint(1 if name == "sigmoid" else 2, 9)
        if name == "none" or choose.random() < 0.5:
            return [layers.Dense(classes, use_bias=use_bias, activation=None if name == "none" else name)]
        after = layers.Softmax() if name == "softmax" and choose.random() < 0.5 else layers.Activation(name)
        return [layers.Dense(classes, use_bias=use_bias), after]

    cases, quantized = [], []
    size = (keras_files.HEIGHT, keras_files.WIDTH)
    for at in range(count):
        in_int8 = at % 2 == 1
        # TensorFlow.js and the int8 converter read models of Keras 2; every fourth is one of Keras 3 for TFLite.
        keras = keras3 if at % 4 == 2 else keras2
        activation = choose.choice(["none", "softmax", "sigmoid", "log_softmax"])
        blocks, pixels = table(), not in_int8 and choose.random() < 0.5
        image = keras_files.image()[None] if pixels else keras_files.image()[None] / np.float32(120) - 1
        strides = 2 ** (1 + sum(stride == 2 for *_, stride in blocks))
        pool = choose.choice(list(pools(keras.layers, 1)))

        def model(keras):
            """The choices are the same for both versions of Keras."""
            layers, state = keras.layers, choose.getstate()
            features = keras_files.backbone(keras, stem=8, blocks=blocks, head=16)
            source = keras.Input((*size, 3))
            value = layers.Rescaling(1 / 127.5, offset=-1)(source) if pixels else source
            value = features(value)
            rest = pools(layers, tuple(side // strides for side in size))[pool] + head(layers, in_int8) + end(layers, activation)
            for layer in rest:
                value = layer(value)
            found = keras.Model(source, value)
            # Until the scores depend on the image: a layer of few units may have no positive values.
            for attempt in range(100):
                keras_files.shake(found, seed + at + 1000 * attempt)
                scores = [np.asarray(found(images, training=False)) for images in (image, 0 * image)]
                if np.abs(scores[0] - scores[1]).max() > 1e-2:
                    break
            after = choose.getstate()
            choose.setstate(state)
            return found, after, ", ".join(layer.__class__.__name__ for layer in rest)

        def record(file, network, note):
            scores = np.asarray(network(image, training=False)).ravel().tolist()
            description = f"{note}; {blocks}; pool {pool}; {names}; {activation}"
            cases.append({"file": file, "head": description, "activation": activation, "pixels": pixels, "scores": scores})

        network, after, names = model(keras)
        content = tflite.exported(network) if keras is keras3 else tf.lite.TFLiteConverter.from_keras_model(network).convert()
        (OUTPUT / f"head{at}.tflite").write_bytes(content)
        record(f"head{at}.tflite", network, "Keras 3" if keras is keras3 else "Keras 2")
        if in_int8:
            (OUTPUT / f"head{at}_int8.tflite").write_bytes(tflite.in_int8(network))
            quantized.append(f"head{at}_int8.tflite")
        # Its weights are changed to those stored.
        network = model(keras2)[0] if keras is keras3 else network
        dtype = choose.choice(["float32", "float16", "uint16", "uint8"])
        tfjs.write(OUTPUT / f"head{at}", network, dtype, choose.randint(1, 3))
        record(f"head{at}/model.json", network, f"TensorFlow.js {dtype}")
        choose.setstate(after)
        keras2.backend.clear_session()
    (OUTPUT / "cases.json").write_text(json.dumps(cases))
    (OUTPUT / "quantized.json").write_text(json.dumps(quantized))


if len(sys.argv) > 2:
    write(*map(int, sys.argv[2:]))
else:
    run()

"""Classification, embeddings and arrays, compared with the command, with LiteRT, and with Keras' own scores."""

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import HEADS
from PIL import Image

import mbvc


def test_every_kind_of_picture_gives_the_same_scores(model, photographs):
    path = photographs[0]
    expected = model.classify(path, top=3)
    content = path.read_bytes()
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    for picture in [str(path), content, bytearray(content), memoryview(content), image, np.asarray(image)]:
        assert model.classify(picture, top=3) == expected, type(picture)
    flipped = np.asarray(image)[::-1]
    assert model.classify(flipped) == model.classify(np.ascontiguousarray(flipped)), "strided arrays"


def test_the_command_gives_the_same_scores(model, photographs, tmp_path):
    model.save_weights(tmp_path / "w.safetensors")
    command = [sys.executable, "-m", "mbvc", "classify", *map(str, photographs), "--weights", "w.safetensors", "--json"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(lines) == len(photographs) > 3
    for line, guesses in zip(lines, model.classify_batch(photographs)):
        theirs = [(guess["label"], guess["index"]) for guess in line["predictions"]]
        assert theirs == [(guess.label, guess.index) for guess in guesses]
        scores = [guess["score"] for guess in line["predictions"]]
        assert scores == pytest.approx([guess.score for guess in guesses], abs=1e-7)


def litert(path: Path, images: np.ndarray) -> np.ndarray:
    """The outputs of a TFLite model."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    given, found = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for image in images:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(found["index"])[0].copy())
    return np.stack(rows)


def test_logits_and_scores_are_those_of_litert(model, tflite):
    pixels = np.random.default_rng(1).integers(0, 256, (5, 224, 224, 3), np.uint8)
    values = (pixels / 127.5 - 1).astype(np.float32)
    expected = litert(tflite, values)
    # The model ends with a softmax.
    for images in (pixels, values):
        scores = model.scores(images)
        assert scores.shape == (5, 1001) and scores.dtype == np.float32
        assert np.abs(scores - expected).max() < 1e-4
        logits = model(images)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        assert np.abs(powers / powers.sum(1, keepdims=True) - scores).max() < 1e-6
        assert (model(images[2]) == logits[2]).all(), "a single image"
        assert (model(images, threads=1) == logits).all()


def test_every_head_has_the_scores_of_keras_or_is_refused():
    cases = json.loads((HEADS / "keras/expected.json").read_text())
    assert len(cases) > 30
    for case in cases:
        path = HEADS / "keras" / case["file"]
        if "refused" in case:
            with pytest.raises(mbvc.ModelFileError) as refused:
                mbvc.import_model(path)
            assert " ".join(case["refused"].split()) in " ".join(str(refused.value).split())
            continue
        # The image that the scripts beside the fixtures use: values from -1 to 1, or pixels from 0 to 240.
        y, x, c = np.indices((*case["size"], 3))
        values = ((y * 7 + x * 3 + c * 5) % 17 / 8 - 1).astype(np.float32)
        image = ((values + 1) * 120).astype(np.uint8) if case.get("pixels") else values
        model = mbvc.import_model(path)
        assert model.info.activation == case["activation"]
        # A single logit with a sigmoid scores two classes.
        scores = model.scores(image)[-len(case["scores"]) :]
        assert np.abs(scores - case["scores"]).max() < 1e-5, case["file"]


def test_embeddings(model, tiny, photographs):
    vectors = model.embed_batch(photographs)
    assert vectors.shape == (len(photographs), 1280) and vectors.dtype == np.float32
    assert (vectors[1] == model.embed(photographs[1])).all()
    assert vectors.min() >= 0 and vectors.max() > 0.5, "averages of ReLU6"
    # The classifier on the vector gives the logits.
    weights = tensors(model._handle.weights)
    with Image.open(photographs[1]) as image:
        resized = image.convert("RGB").resize((224, 224), Image.BILINEAR)
    logits = model(np.asarray(resized))
    pooled = model.embed(resized)
    computed = pooled @ weights["classifier.weight"] + weights["classifier.bias"]
    assert np.abs(computed - logits).max() < 1e-4 * np.abs(logits).max()
    assert model.embed_batch([]).shape == (0, 1280)
    assert tiny.embed(photographs[0]).shape == (tiny.info.embedding,)


def tensors(content: bytes) -> dict:
    """The float32 tensors of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    data = memoryview(content)[8 + length :]
    return {
        name: np.frombuffer(data[slice(*about["data_offsets"])], np.float32).reshape(about["shape"])
        for name, about in header.items()
        if name != "__metadata__" and about["dtype"] == "F32"
    }


def test_quantized_embeddings_are_close_to_those_of_float32(model, int8, photographs):
    ours, exact = int8.embed_batch(photographs), model.embed_batch(photographs)
    for one, other in zip(ours, exact):
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.95


def test_a_picture_that_cannot_be_read_is_an_error_or_a_result(model, photographs, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(photographs[2].read_bytes()[:5000])
    absent = tmp_path / "absent.png"
    images = [photographs[0], damaged, absent, b"no image", photographs[1]]
    with pytest.raises(mbvc.PictureError, match="the JPEG data has no end marker") as raised:
        model.classify_batch(images)
    assert raised.value.help and "help: " in str(raised.value)
    for results in (model.classify_batch(images, errors="return"), model.embed_batch(images, errors="return")):
        assert [isinstance(result, mbvc.PictureError) for result in results] == [False, True, True, True, False]
        assert "no such file" in str(results[2]) and "not an image of a supported format" in str(results[3])
    with pytest.raises(ValueError, match="raise"):
        model.classify_batch(images, errors="ignore")


@pytest.mark.parametrize(
    ("picture", "error", "text"),
    [
        (None, TypeError, "found NoneType"),
        (7, TypeError, "found int"),
        (np.zeros((3, 224, 224), np.uint8), ValueError, r"found uint8 \[3, 224, 224\]"),
        (np.zeros((224, 224, 3), np.float32), ValueError, "found float32"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, "pixel"),
    ],
)
def test_other_values_are_no_pictures(model, picture, error, text):
    with pytest.raises(error, match=text):
        model.classify(picture)


@pytest.mark.parametrize(
    ("pixels", "error", "text"),
    [
        (np.zeros((2, 3, 224, 224), np.uint8), ValueError, r"expected the shape \[N, 224, 224, 3\]"),
        (np.zeros((1, 224, 224, 3), np.float64), TypeError, "found float64"),
        (np.zeros((224, 224), np.uint8), ValueError, "expected the shape"),
    ],
)
def test_other_arrays_are_no_images(model, pixels, error, text):
    with pytest.raises(error, match=text):
        model(pixels)


def test_a_single_picture_is_not_a_list_of_pictures(model):
    image = np.zeros((8, 9, 3), np.uint8)
    for single in ["cat.jpg", b"", bytearray(), Path("cat.jpg"), image, image[..., 0], Image.fromarray(image), {"a": 1}]:
        with pytest.raises(TypeError, match="found a single one"):
            model.classify_batch(single)
    assert model.classify_batch(image[None], 1) == model.classify_batch([image], 1)
    assert model.classify_batch([]) == model.classify_batch(iter([])) == []


def test_pictures_of_16_bits_are_read_as_files_are(model, photographs, tmp_path):
    with Image.open(photographs[0]) as image:
        gray = np.asarray(image.convert("L")).astype(np.uint16)
    Image.fromarray(gray * 257).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as deep:
        assert model.classify(deep) == model.classify(tmp_path / "deep.png") == model.classify(gray.astype(np.uint8))
        with pytest.raises(TypeError, match="mode F"):
            model.classify(deep.convert("F"))
    content = photographs[2].read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "half.jpg") as half:
        good, bad = model.classify_batch([photographs[0], half], errors="return")
        assert good == model.classify(photographs[0]) and isinstance(bad, mbvc.PictureError)


@pytest.mark.parametrize(("arguments", "text"), [({"top": 0}, "top: expected at least 1"), ({"threads": 0}, "threads: expected")])
def test_numbers_that_are_too_small(model, arguments, text):
    with pytest.raises(ValueError, match=text):
        model.classify_batch([np.zeros((4, 4, 3), np.uint8)], **arguments)


def test_facts(model, int8, tiny):
    info = model.info
    assert (info.name, info.input, info.classes, info.precision) == ("MobileNetV2", (224, 224, 3), 1001, "f32")
    assert len(info.layers) == 53 and sum(layer.macs for layer in info.layers) == info.macs
    assert int8.info.precision == "int8" and int8.info.packed_bytes < info.packed_bytes / 3
    assert "MobileNetV2 224x224x3, 1001 classes, f32 on " in repr(model)
    html = model._repr_html_()
    assert html.count("<tr>") == 54 and "block2.expand" in html
    assert model.labels[0] == "background" and model.labels[1].startswith("tench") and len(model.labels) == 1001
    assert {fact.key for fact in model.facts} >= {"width", "padding"}
    assert model.spec.startswith("#") or "width" in model.spec


def test_labels_and_preprocessing_can_be_given(tflite, photographs):
    numbered = mbvc.import_model(tflite, labels=[f"class {index}" for index in range(1001)])
    assert numbered.classify(photographs[0], top=1)[0].label.startswith("class ")
    bare = mbvc.import_model(tflite, labels="none")
    assert bare.labels == [] and bare.classify(photographs[0], top=1)[0].label is None
    with pytest.raises(mbvc.LabelsError, match="1001"):
        mbvc.import_model(tflite, labels=["one", "two"])
    plain = mbvc.import_model(tflite)
    assert [guess.index for guess in plain.classify(photographs[0])] == [
        guess.index for guess in numbered.classify(photographs[0])
    ]
    swapped = mbvc.import_model(tflite, bgr=True)
    with Image.open(photographs[0]) as image:
        pixels = np.asarray(image.convert("RGB").resize((224, 224)))
    assert np.abs(swapped(pixels[..., ::-1]) - plain(pixels)).max() < 1e-3
    dark = mbvc.import_model(tflite, mean=0.5, std=[0.5, 0.5, 0.5])
    assert np.abs(dark(pixels) - plain(pixels)).max() < 1e-3
    for arguments in ({"range": (-1, 1), "mean": 0.5, "std": 0.5}, {"mean": 0.5}):
        with pytest.raises(mbvc.Error, match="either `range`, or both"):
            mbvc.import_model(tflite, **arguments)
    scaled = mbvc.import_model(tflite, mean=np.float32(0.5), std=0.5)
    assert (scaled(pixels) == dark(pixels)).all()
    for arguments, text in [
        ({"mean": 127.5, "std": 127.5}, "divide values for pixels of 0..255 by 255"),
        ({"mean": 0.5, "std": 0}, "std: 0 is out of range"),
        ({"range": (1, 1)}, "range: .* the lower bound first"),
    ]:
        with pytest.raises(mbvc.Error, match=text):
            mbvc.import_model(tflite, **arguments)
    with pytest.raises(ValueError, match="mean: expected 3 numbers, found 2"):
        mbvc.import_model(tflite, mean=[0.5, 0.5], std=0.5)
    for arguments, text in [({"framing": "fold"}, "framing"), ({"head_activation": "gelu"}, "gelu")]:
        with pytest.raises(mbvc.Error, match=text):
            mbvc.import_model(tflite, **arguments)


def test_invalid_files_have_the_errors_of_the_command(tmp_path, tflite):
    with pytest.raises(mbvc.ModelFileError, match="no such file"):
        mbvc.import_model(tmp_path / "absent.onnx")
    with pytest.raises(mbvc.WeightsError):
        mbvc.Model(tflite)
    spec = tmp_path / "net.yaml"
    spec.write_text("width: 1.0\nresolutoin: 224\n")
    with pytest.raises(mbvc.SpecError, match="resolutoin"):
        mbvc.import_model(tflite, spec=spec)
    with pytest.raises(ValueError, match='unknown instruction set "sse9"'):
        mbvc.import_model(tflite, isa="sse9")


def test_overrides(tmp_path, model):
    model.save_weights(tmp_path / "w.safetensors")
    small = mbvc.Model(tmp_path / "w.safetensors", tmp_path / "w.yaml", resolution="96x128")
    assert small.info.input == (96, 128, 3)
    small.save_weights(tmp_path / "small.safetensors")
    again = mbvc.Model(tmp_path / "small.safetensors", tmp_path / "small.yaml")
    assert again.info == small.info
    with pytest.raises(FileExistsError, match="force=True"):
        small.save_weights(tmp_path / "w.safetensors")
    assert mbvc.Model(tmp_path / "w.safetensors", tmp_path / "w.yaml", resolution=(96, 128)).info == small.info
    with pytest.raises(ValueError, match="expected the name of the weights file"):
        small.save_weights(tmp_path / "w.yaml", force=True)
    with pytest.raises(mbvc.SpecError, match="unknown argument"):
        mbvc.Model(tmp_path / "w.safetensors", resolutoin=96)


def test_threads_share_a_model(model, photographs):
    expected = [model.classify(path) for path in photographs]
    failures = []

    def work(start: int) -> None:
        for turn in range(8):
            at = (start + turn) % len(photographs)
            if model.classify(photographs[at]) != expected[at]:
                failures.append(at)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failures == []


def test_pickled_models_give_the_same_scores(model, int8, tiny, photographs):
    for one in (model, int8, tiny):
        again = pickle.loads(pickle.dumps(one))
        assert again.classify(photographs[0]) == one.classify(photographs[0])
        assert again.info == one.info and again.labels == one.labels
    portable = mbvc.loads(model.to_bytes(), isa="portable")
    assert pickle.loads(pickle.dumps(portable)).info.isa == "portable"


def test_preprocessing_that_a_quantized_model_records_is_not_replaced_silently(int8_tflite):
    with pytest.warns(UserWarning, match="that of the arguments is ignored"):
        mbvc.import_model(int8_tflite, mean=0.5, std=0.9)


def test_memory_does_not_grow(int8, photographs):
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc")
    image = photographs[0].read_bytes()
    run = lambda: int8.classify_batch([image] * 50)  # noqa: E731
    run()
    before = resident()
    for _ in range(6):
        run()
    assert resident() - before < 8 << 20

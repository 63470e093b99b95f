"""The engines of a comparison, by name, each with a function that starts it."""
import subprocess
from pathlib import Path
from typing import Callable

import engines
import libraries
from common import ROOT, TARGET, WORK, cargo, step

RUST_ENGINES = TARGET / "rust_engines"
# By precision: the suffix of the model files, and the instruction sets of mbvc.
TFLITE = {"f32": "f32", "bf16": "f32", "int8": "int8_ptq", "uint8": "uint8_qat"}
ISAS = {
    "f32": ["avx512", "avx2"],
    "bf16": ["amxbf16", "avx512bf16", "avx512", "avx2"],
    "int8": ["avx512vnni", "avx512", "avx2"],
    "uint8": ["avx512vnni", "avx512", "avx2"],
}

Factories = dict[str, Callable[[], engines.Engine]]


def model(args, kind: str = "tflite") -> Path:
    return args.shared / f"models/mobilenet_v2_1.0_224_{TFLITE[args.precision]}.{kind}"


def build(args) -> None:
    if args.precision == "f32":
        cargo("build", "--release", "--example", "peer", "--features", "peers")
        try:
            # A separate workspace, with a separate target folder.
            manifest = ROOT / "benches/peers/rust_engines/Cargo.toml"
            cargo("build", "--release", "--locked", "--manifest-path", str(manifest), "--target-dir", str(RUST_ENGINES))
        except subprocess.CalledProcessError:
            step("RTen cannot be built")
    else:
        common = {"precision": args.precision, "isa": ISAS[args.precision]}
        libraries.build(f"peer_{args.precision}", {"block": common, "block-2t": common | {"threads": 2}})


def import_weights(args) -> Path:
    weights = WORK / f"{args.precision}.safetensors"
    command = [TARGET / "release/mbvc", "import", model(args), "--output", weights, "--force"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return weights


def factories(args, threads: int, pixels) -> Factories:
    """Factories of the selected engines, for an image `[1, 224, 224, 3]` of bytes."""
    found = {"f32": floats, "bf16": halves}.get(args.precision, quantized)(args, threads, pixels)
    selected = [word.lower() for word in args.engines.split(",") if word]
    return {name: make for name, make in found.items() if not selected or any(word in name.lower() for word in selected)}


def floats(args, threads: int, pixels) -> Factories:
    import numpy as np

    nhwc = pixels.astype(np.float32) / 127.5 - 1
    nchw = np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))
    onnx, tflite = model(args, "onnx"), model(args)
    library = engines.Library(TARGET / "release/examples/libpeer.so")
    found = {}
    for variant in library.variants():
        name, two = variant.removesuffix("-2t"), variant.endswith("-2t")
        fusion, strict = name.removesuffix("-strict"), name.endswith("-strict")
        # The run with two threads also measures one thread, for the gain.
        if two and threads != 2 or not two and threads == 2 and fusion != "block":
            continue
        for isa in args.isa:
            # Without the fast inner product, fast is strict.
            if not strict and isa != "avx512":
                continue
            numerics = "strict" if strict else "fast"
            alone = ", one thread" if threads == 2 and not two else ""
            make = lambda v=variant, i=isa: library.engine(v, i, args.weights, nhwc, 1001)  # noqa: E731
            found[f"mbvc {isa} {fusion} {numerics}{alone}"] = make
    return found | {
        "LiteRT": lambda: engines.litert(tflite, nhwc, threads),
        "ONNX Runtime": lambda: engines.onnxruntime(onnx, nchw, threads),
        "OpenVINO": lambda: engines.openvino(onnx, nchw, threads),
        "MNN": lambda: engines.mnn(onnx, nchw, threads, WORK),
        "ncnn": lambda: engines.ncnn(onnx, nchw, threads, WORK),
        "tract": lambda: engines.tract(onnx, nchw, threads),
        "RTen": lambda: engines.rten(RUST_ENGINES / "release/librust_engines.so", onnx, nchw, threads),
    }


def halves(args, threads: int, pixels) -> Factories:
    import numpy as np

    nhwc = pixels.astype(np.float32) / 127.5 - 1
    nchw = np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))
    onnx = model(args, "onnx")
    return variants(args, threads, nhwc) | {
        "LiteRT": lambda: engines.litert(model(args), nhwc, threads),
        "OpenVINO bf16": lambda: engines.openvino(onnx, nchw, threads, "bf16"),
        "OpenVINO f32": lambda: engines.openvino(onnx, nchw, threads),
    }


def variants(args, threads: int, tensor, check=lambda engine: engine) -> Factories:
    """mbvc with each instruction set, on a tensor that it reads in each call."""
    library = engines.Library(libraries.library(f"peer_{args.precision}"))
    found = {}
    for isa in args.isa:
        for variant in ["block", "block-2t"] if threads == 2 else ["block"]:
            alone = ", one thread" if threads == 2 and variant == "block" else ""
            make = lambda v=variant, i=isa: check(library.engine(v, i, args.weights, tensor, 1001))  # noqa: E731
            found[f"mbvc {isa}{alone}"] = make
    return found


def quantized(args, threads: int, pixels) -> Factories:
    tflite = model(args)
    return variants(args, threads, pixels, lambda engine: exact(engine, tflite, pixels)) | {
        "LiteRT": lambda: engines.litert(tflite, pixels, threads),
        "OpenVINO": lambda: engines.openvino(tflite, pixels, threads),
    }


def exact(engine: engines.Engine, tflite: Path, pixels) -> engines.Engine:
    """Checks that the engine's logits are identical to LiteRT's, bit for bit."""
    import numpy as np

    expected = engines.litert(tflite, pixels, 1, logits=True)
    for run, _ in (engine, expected):
        run()
    ours, theirs = (np.asarray(output(), np.float32).ravel() for _, output in (engine, expected))
    if (ours != theirs).any():
        raise SystemExit(f"{(ours != theirs).sum()} of {theirs.size} logits differ from LiteRT's")
    return engine

#!/usr/bin/env python3
"""mbvc against the engines a user would pick instead: same weights, same image, call by call in one process.

    pip install numpy pillow ai-edge-litert onnxruntime
    cargo run --release -- import ../shared/models/mobilenet_v2_1.0_224_f32.onnx --output target/v2.safetensors
    cargo build --release --example peer
    python benches/peers/compare.py --weights target/v2.safetensors

Prints a table of milliseconds (min, median) and the ratio to LiteRT; `--json` one object per engine.
Every call follows one of the same engine that is not measured: it refills the caches that the others emptied.
"""
import argparse
import ctypes
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def mbvc(library, fusion, isa, weights, tensor):
    import numpy as np

    library.mbvc_open.restype = ctypes.c_void_p
    library.mbvc_run.argtypes = [ctypes.c_void_p] * 3
    peer = library.mbvc_open(fusion.encode(), isa.encode(), str(weights).encode())
    if not peer:
        raise RuntimeError("the model cannot be built")
    logits = np.zeros(1001, np.float32)

    def run():
        library.mbvc_run(peer, tensor.ctypes.data, logits.ctypes.data)

    def scores():
        e = np.exp(logits - logits.max())
        return e / e.sum()

    return run, scores


def litert(path, tensor, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    out = interpreter.get_output_details()[0]["index"]
    return interpreter.invoke, lambda: interpreter.get_tensor(out)[0]


def onnxruntime(path, tensor, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    last = [None]

    def run():
        last[0] = session.run(None, {name: tensor})

    return run, lambda: last[0][0][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--library", type=Path, default=ROOT / "target/release/examples/libpeer.so")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("MBVC_SHARED", ROOT.parent / "shared")))
    parser.add_argument("--isa", default="avx512")
    parser.add_argument("--fusions", default="none,relu6,block")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    import numpy as np
    from PIL import Image

    image = Image.open(args.shared / "images/cat.bmp").convert("RGB").resize((224, 224), Image.BILINEAR)
    nhwc = np.ascontiguousarray(np.asarray(image)[None].astype(np.float32) / 127.5 - 1)
    nchw = np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))
    models = args.shared / "models"
    library = ctypes.CDLL(str(args.library))
    engines = {
        "LiteRT": litert(models / "mobilenet_v2_1.0_224_f32.tflite", nhwc, 1),
        "ONNX Runtime": onnxruntime(models / "mobilenet_v2_1.0_224_f32.onnx", nchw, 1),
    }
    for isa in args.isa.split(","):
        for fusion in args.fusions.split(","):
            engines[f"mbvc {isa} {fusion}"] = mbvc(library, fusion, isa, args.weights, nhwc)
    samples = {name: [] for name in engines}
    for _ in range(args.runs):
        for name, (run, _) in engines.items():
            run()
            start = time.perf_counter_ns()
            run()
            samples[name].append((time.perf_counter_ns() - start) / 1e6)
    base = np.array(samples["LiteRT"])
    for name, (_, scores) in engines.items():
        ms = np.array(samples[name])
        row = {
            "engine": name,
            "min_ms": round(float(ms.min()), 3),
            "median_ms": round(float(np.median(ms)), 3),
            "times_litert_min": round(float(base.min() / ms.min()), 3),
            "times_litert_median": round(float(np.median(base) / np.median(ms)), 3),
            "top1": int(np.argmax(scores())),
            "score": round(float(np.max(scores())), 4),
        }
        if args.json:
            print(json.dumps(row))
        else:
            print(f"{name:24} min {row['min_ms']:7.3f} ms  median {row['median_ms']:7.3f} ms  "
                  f"{row['times_litert_min']:5.2f}x / {row['times_litert_median']:5.2f}x LiteRT  "
                  f"class {row['top1']} {row['score']:.4f}")


if __name__ == "__main__":
    sys.exit(main())

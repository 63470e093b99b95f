"""The engines: each maker gives a function that runs the network once, and one that gives the logits or scores."""
import ctypes
from pathlib import Path
from typing import Callable

Engine = tuple[Callable[[], None], Callable[[], "numpy.ndarray"]]  # noqa: F821


class Library:
    """The C functions of `interface.rs`."""

    def __init__(self, path: Path):
        self.c = ctypes.CDLL(str(path))
        self.c.mbvc_variants.restype = ctypes.c_char_p
        self.c.mbvc_open.restype = ctypes.c_void_p
        self.c.mbvc_open.argtypes = [ctypes.c_char_p] * 3
        self.c.mbvc_run.argtypes = [ctypes.c_void_p] * 3
        self.c.mbvc_run.restype = ctypes.c_bool

    def variants(self) -> list[str]:
        return [name for name in self.c.mbvc_variants().decode().split(",") if name]

    def engine(self, variant: str, isa: str, weights: Path, tensor, classes: int) -> Engine:
        import numpy as np

        peer = self.c.mbvc_open(variant.encode(), isa.encode(), str(weights).encode())
        if not peer:
            raise RuntimeError(f"mbvc cannot build {variant} for {isa}")
        logits = np.zeros(classes, np.float32)
        arguments = (peer, tensor.ctypes.data, logits.ctypes.data)
        run = self.c.mbvc_run
        return lambda: run(*arguments), lambda: logits


def litert(path: Path, tensor, threads: int) -> Engine:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    out = interpreter.get_output_details()[0]["index"]
    return interpreter.invoke, lambda: interpreter.get_tensor(out)[0]


def onnxruntime(path: Path, tensor, threads: int) -> Engine:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    last = [None]

    def run():
        last[0] = session.run(None, {name: tensor})

    return run, lambda: last[0][0][0]


def openvino(path: Path, tensor, threads: int) -> Engine:
    import openvino as ov

    core = ov.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(str(path)), "CPU", config).create_infer_request()
    request.set_input_tensor(ov.Tensor(tensor))
    return request.infer, lambda: request.get_output_tensor().data[0]


def tract(path: Path, tensor, threads: int) -> Engine:
    import tract as engine

    if threads > 1:
        raise RuntimeError("runs on one thread")
    model = engine.onnx().load(str(path)).into_model().into_runnable()
    last = [None]

    def run():
        last[0] = model.run([tensor])

    return run, lambda: last[0][0].to_numpy()[0]


def mnn(path: Path, tensor, threads: int, folder: Path) -> Engine:
    import subprocess
    import sys

    import MNN
    import numpy as np

    converted = folder / "mnn" / f"{path.stem}.mnn"
    if not converted.exists():
        converted.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, Path(sys.executable).with_name("mnnconvert"), "-f", "ONNX", "--modelFile", path]
        subprocess.run([*command, "--MNNModel", converted, "--bizCode", "mbvc"], check=True, capture_output=True)
    interpreter = MNN.Interpreter(str(converted))
    session = interpreter.createSession({"numThread": threads, "backend": "CPU", "precision": "high"})
    given = interpreter.getSessionInput(session)
    host = MNN.Tensor(tensor.shape, MNN.Halide_Type_Float, tensor, MNN.Tensor_DimensionType_Caffe)
    out = interpreter.getSessionOutput(session)

    def scores():
        target = MNN.Tensor(
            out.getShape(), MNN.Halide_Type_Float, np.zeros(out.getShape(), np.float32), MNN.Tensor_DimensionType_Caffe
        )
        out.copyToHostTensor(target)
        return np.array(target.getData(), np.float32).ravel()

    def run():
        # Each time: a session may use its input's memory for something else.
        given.copyFrom(host)
        interpreter.runSession(session)

    return run, scores

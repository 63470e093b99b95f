"""The engines. Each factory returns a function that runs the network once, and one that returns the logits or scores."""
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
        for run in (self.c.mbvc_run, self.c.mbvc_run_pixels):
            run.argtypes = [ctypes.c_void_p] * 3
            run.restype = ctypes.c_bool

    def variants(self) -> list[str]:
        return [name for name in self.c.mbvc_variants().decode().split(",") if name]

    def engine(self, variant: str, isa: str, weights: Path, tensor, classes: int) -> Engine:
        """`tensor`: float32 values, or pixels as uint8. It is read in each call."""
        import numpy as np

        peer = self.c.mbvc_open(variant.encode(), isa.encode(), str(weights).encode())
        if not peer:
            raise RuntimeError(f"mbvc cannot build {variant} for {isa}")
        logits = np.zeros(classes, np.float32)
        arguments = (peer, tensor.ctypes.data, logits.ctypes.data)
        run = self.c.mbvc_run_pixels if tensor.dtype == np.uint8 else self.c.mbvc_run
        return lambda: run(*arguments), lambda: logits


def litert(path: Path, tensor, threads: int, logits: bool = False) -> Engine:
    """`logits`: returns the input of the softmax. Such an interpreter keeps all values and is not for timing."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads, experimental_preserve_all_tensors=logits)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    out = logits_of(path) if logits else interpreter.get_output_details()[0]["index"]
    [details] = [details for details in interpreter.get_tensor_details() if details["index"] == out]
    return interpreter.invoke, lambda: real(interpreter.get_tensor(out)[0], *details["quantization"])


def logits_of(path: Path) -> int:
    """The tensor that the softmax of a TFLite file reads."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # A delegate hides the operators.
    plain = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    plain.allocate_tensors()
    [index] = [operator["inputs"][0] for operator in plain._get_ops_details() if operator["op_name"] == "SOFTMAX"]
    return index


def real(values, scale: float, zero_point: int):
    """Dequantizes values in float32."""
    import numpy as np

    if values.dtype.kind == "f":
        return values
    return (values.astype(np.int32) - zero_point).astype(np.float32) * np.float32(scale)


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


def openvino(path: Path, tensor, threads: int, precision: str = "f32") -> Engine:
    import openvino as ov

    core = ov.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    request = core.compile_model(core.read_model(str(path)), "CPU", config).create_infer_request()
    request.set_input_tensor(ov.Tensor(tensor))

    def scores():
        values = request.get_output_tensor().data[0]
        # A quantized softmax has the scale 1/256.
        return values if values.dtype.kind == "f" else values / 256

    return request.infer, scores


def tract(path: Path, tensor, threads: int) -> Engine:
    import tract as engine

    if threads > 1:
        raise RuntimeError("tract runs on one thread only")
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
        # In each call, because a session may reuse the memory of its input.
        given.copyFrom(host)
        interpreter.runSession(session)

    return run, scores


def ncnn(path: Path, tensor, threads: int, folder: Path) -> Engine:
    import shutil
    import subprocess
    import sys

    import ncnn as engine

    place = folder / "ncnn"
    if not (place / "model.ncnn.bin").exists():
        place.mkdir(parents=True, exist_ok=True)
        # The converter writes its result into the folder of its input.
        shutil.copyfile(path, place / "model.onnx")
        shape = ",".join(map(str, tensor.shape))
        command = [Path(sys.executable).with_name("pnnx"), "model.onnx", f"inputshape=[{shape}]", "fp16=0"]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
    net = engine.Net()
    net.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    if net.load_param(str(place / "model.ncnn.param")) or net.load_model(str(place / "model.ncnn.bin")):
        raise RuntimeError("ncnn cannot load the converted model")
    last = [None]

    def run():
        with net.create_extractor() as extractor:
            extractor.input("in0", engine.Mat(tensor[0]))
            last[0] = extractor.extract("out0")[1]

    return run, lambda: last[0]


def rten(library: Path, path: Path, tensor, threads: int) -> Engine:
    """RTen, from the crate `rust_engines`."""
    import numpy as np

    c = ctypes.CDLL(str(library))
    c.rten_open.restype = ctypes.c_void_p
    c.rten_open.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    c.rten_run.restype = ctypes.c_bool
    c.rten_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]
    model = c.rten_open(str(path).encode(), threads)
    if not model:
        raise RuntimeError("RTen cannot load the model")
    scores = np.zeros(1001, np.float32)
    arguments = (model, tensor.ctypes.data, tensor.shape[2], scores.ctypes.data, scores.size)

    def run():
        if not c.rten_run(*arguments):
            raise RuntimeError("RTen cannot run the model")

    return run, lambda: scores

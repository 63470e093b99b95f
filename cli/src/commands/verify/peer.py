"""Runs a model for `mbvc verify`: ONNX files with ONNX Runtime, TFLite files with LiteRT.

    peer.py MODEL FOLDER

Reads requests from standard input and answers them on standard output, one line of JSON each. Tensors are files in FOLDER,
little-endian, in C order, without headers: `mbvc` writes `input`, this script writes `values`.

The first request selects the engine and the tensors:

    {"engine": "onnx" or "tflite", "reference": whether LiteRT's reference kernels run, "tensors": [name or index, ...]}

    {"missing": [package, ...], "python": path}
    {"name": "ONNX Runtime", "version": "1.32.0", "input": {"dtype": "float32", "shape": [1, 3, 224, 224]}}

A size that the file leaves open is null. Each further request runs the model on `input`:

    {"dtype": "float32", "shape": [1, 3, 224, 224], "requested": [indices in "tensors", ...]}

    {"values": [{"dtype": "float32", "shape": [1, 1001]}, ...]}

`values` then contains the requested tensors, one after the other. The answer to a failed request is {"error": text}.
"""
import importlib.util
import json
import os
import sys

LITERT = [("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"), ("tensorflow", "tensorflow")]


class Onnx:
    NAME = "ONNX Runtime"

    @staticmethod
    def missing():
        return lacking("onnxruntime")

    def __init__(self, model, tensors, reference):
        import onnxruntime

        self.version = onnxruntime.__version__
        self.runtime = onnxruntime
        with open(model, "rb") as file:
            self.content = file.read()
        self.tensors = tensors
        self.sessions = {}
        whole = self.open(self.content)
        self.declared = [output.name for output in whole.get_outputs()]
        [source] = whole.get_inputs()
        self.source = source.name
        size = lambda size: size if isinstance(size, int) and size > 0 else None
        types = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
        dtype = types.get(source.type, source.type[len("tensor(") : -1])
        self.input = {"dtype": dtype, "shape": [size(one) for one in source.shape]}

    def open(self, content):
        options = self.runtime.SessionOptions()
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        # On x86 without VNNI, products of uint8 and int8 saturate at 16 bits, but for these kernels, which not all types have.
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            return self.runtime.InferenceSession(content, options, providers=providers)
        except self.runtime.capi.onnxruntime_pybind11_state.NotImplemented:
            options.add_session_config_entry("session.x64quantprecision", "0")
            return self.runtime.InferenceSession(content, options, providers=providers)

    def run(self, image, requested):
        """Only requested tensors are outputs, so that the engine fuses the others as in a program."""
        names = [self.tensors[place] for place in requested]
        session = self.sessions.get(tuple(names))
        if session is None:
            further = [name for name in dict.fromkeys(names) if name not in self.declared]
            session = self.sessions[tuple(names)] = self.open(with_outputs(self.content, further))
        return session.run(names, {self.source: image})


def with_outputs(model, names):
    """The model with tensors as further outputs.

    Messages of a protocol buffer that follow each other are merged: `graph { output { name } .. }` is appended.
    """

    def field(number, payload):
        length, size = [], len(payload)
        while True:
            length.append(size & 127 | (128 if size > 127 else 0))
            size >>= 7
            if not size:
                return bytes([number << 3 | 2, *length]) + payload

    outputs = b"".join(field(12, field(1, name.encode())) for name in names)
    return model + field(7, outputs)


class LiteRt:
    NAME = "LiteRT"

    @staticmethod
    def missing():
        return [] if any(installed(module) for module, _ in LITERT) else ["ai-edge-litert"]

    def __init__(self, model, tensors, reference):
        module, package = next(one for one in LITERT if installed(one[0]))
        if module == "tensorflow":
            import tensorflow

            interpreter, resolvers = tensorflow.lite.Interpreter, tensorflow.lite.experimental.OpResolverType
        else:
            found = importlib.import_module(module + ".interpreter")
            interpreter, resolvers = found.Interpreter, found.OpResolverType
        self.version = version(package)
        # The default delegate stays enabled. Preserving tensors does not change its bits.
        options = {"experimental_op_resolver_type": resolvers.BUILTIN_REF} if reference else {}
        self.engine = interpreter(model, experimental_preserve_all_tensors=True, **options)
        self.engine.allocate_tensors()
        self.tensors = tensors
        [self.source] = self.engine.get_input_details()
        # An open size is -1 in the signature and 1 in the shape.
        shape = self.source.get("shape_signature", self.source["shape"])
        dtype = self.source["dtype"].__name__
        self.input = {"dtype": dtype, "shape": [int(size) if size > 0 else None for size in shape]}

    def run(self, image, requested):
        if image.shape != tuple(self.source["shape"]):
            self.engine.resize_tensor_input(self.source["index"], image.shape)
            self.engine.allocate_tensors()
            [self.source] = self.engine.get_input_details()
        self.engine.set_tensor(self.source["index"], image)
        self.engine.invoke()
        # `get_tensor` copies: a view would keep the engine from running again.
        return [self.engine.get_tensor(self.tensors[place]) for place in requested]


ENGINES = {"onnx": Onnx, "tflite": LiteRt}


def installed(module):
    return importlib.util.find_spec(module) is not None


def lacking(*modules):
    return [module for module in modules if not installed(module)]


def version(package):
    try:
        from importlib.metadata import version

        return version(package)
    except Exception:
        return ""


def plain(array):
    """Converts floats to float32; keeps bytes."""
    import numpy

    if array.dtype.kind == "f":
        return numpy.ascontiguousarray(array, "<f4")
    if array.dtype in (numpy.int8, numpy.uint8):
        return numpy.ascontiguousarray(array)
    raise TypeError(f"unsupported tensor type {array.dtype}, expected floats, int8 or uint8")


class Session:
    def __init__(self, model, folder):
        self.model, self.folder, self.engine = model, folder, None

    def answer(self, request):
        if self.engine is None:
            return self.start(request)
        import numpy

        image = numpy.fromfile(os.path.join(self.folder, "input"), request["dtype"]).reshape(request["shape"])
        image = image.astype(self.engine.input["dtype"])
        values = [plain(array) for array in self.engine.run(image, request["requested"])]
        with open(os.path.join(self.folder, "values"), "wb") as file:
            for array in values:
                file.write(array.tobytes())
        return {"values": [{"dtype": array.dtype.name, "shape": list(array.shape)} for array in values]}

    def start(self, request):
        engine = ENGINES[request["engine"]]
        missing = lacking("numpy") + engine.missing()
        if missing:
            return {"missing": missing, "python": sys.executable}
        self.engine = engine(self.model, request["tensors"], request["reference"])
        return {"name": engine.NAME, "version": self.engine.version, "input": self.engine.input}


def main():
    # Libraries print to standard error instead.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    session = Session(*sys.argv[1:])
    for line in sys.stdin.buffer:
        try:
            answer = session.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


main()

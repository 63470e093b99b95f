"""Images per second from JPEG files: decode, resize and network on all processors, of mbvc and of Python programs.

Each program of the other engines is one process per processor, started once. In every round each contender classifies all
files, one contender after the other. Starting programs and loading models is not measured.
"""
import json
import multiprocessing
import os
import statistics
import subprocess
import time
from pathlib import Path

from common import TARGET, WORK, step

PACKAGES = ["numpy", "pillow", "simplejpeg", "ai-edge-litert", "onnxruntime"]
PIXELS = 1920 * 1440
BYTES = 500_000
# Each file is read several times in a round, from the file system's cache.
REPEATS = 3
MODELS = {"int8": "int8_ptq.tflite", "f32": "f32.tflite", "onnx": "f32.onnx"}


def photographs(args, pixels: int = PIXELS, size: int = BYTES) -> list[Path]:
    """The images of `--shared` and their mirror images, with noise, as JPEG files (4:2:0) of `pixels` pixels and `size` bytes."""
    import numpy as np
    from PIL import Image, ImageOps

    folder = WORK / ("photographs" if size == BYTES else f"photographs-{size}")
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    files = []
    for path in sorted((args.shared / "images").iterdir()):
        for name, turn in (("plain", lambda image: image), ("mirrored", ImageOps.mirror)):
            file = folder / f"{path.stem}-{name}.jpg"
            files.append(file)
            if file.exists():
                continue
            image = turn(Image.open(path).convert("RGB"))
            scale = (pixels / (image.width * image.height)) ** 0.5
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.LANCZOS)
            noisy = np.asarray(image) + random.normal(0, 4, (image.height, image.width, 1))
            compress(Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8)), file, size)
    return files


def compress(image, file: Path, size: int) -> None:
    """Writes the image with the quality that comes closest to `size` bytes from below."""
    low, high = 10, 97
    while low < high:
        middle = (low + high + 1) // 2
        image.save(file, quality=middle, subsampling="4:2:0")
        low, high = (middle, high) if file.stat().st_size <= size else (low, middle - 1)
    image.save(file, quality=low, subsampling="4:2:0")


def pillow(path: str):
    from PIL import Image

    return Image.open(path).convert("RGB")


def simplejpeg(path: str):
    import simplejpeg
    from PIL import Image

    return Image.fromarray(simplejpeg.decode_jpeg(Path(path).read_bytes()))


def simplejpeg_half(path: str):
    """Decodes at half the width and height, by scaled inverse transforms."""
    import simplejpeg
    from PIL import Image

    data = Path(path).read_bytes()
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    return Image.fromarray(simplejpeg.decode_jpeg(data, min_height=height // 2, min_width=width // 2, min_factor=1))


def litert(path: Path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, out = (details[0]["index"] for details in (interpreter.get_input_details(), interpreter.get_output_details()))
    floats = interpreter.get_input_details()[0]["dtype"].__name__ == "float32"

    def run(pixels):
        interpreter.set_tensor(given, (pixels.astype("float32") / 127.5 - 1 if floats else pixels)[None])
        interpreter.invoke()
        return interpreter.get_tensor(out)[0]

    return run


def onnxruntime(path: Path):
    import numpy as np

    compute = session(path)

    def run(pixels):
        return compute(np.ascontiguousarray((pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]))

    return run


def session(path: Path):
    """A function from the input of an ONNX model, float32 `[1, 3, height, width]`, to its logits."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    opened = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = opened.get_inputs()[0].name
    return lambda tensor: opened.run(None, {name: tensor})[0][0]


def work(model: Path, decode, requests, answers) -> None:
    """A process: classifies lists of files until it gets `None`."""
    import numpy as np
    from PIL import Image

    run = (onnxruntime if model.suffix == ".onnx" else litert)(model)
    run(np.zeros((224, 224, 3), np.uint8))
    answers.put([])
    while (files := requests.get()) is not None:
        pixels = (np.asarray(decode(file).resize((224, 224), Image.BILINEAR)) for file in files)
        answers.put([(file, int(np.argmax(run(one)))) for file, one in zip(files, pixels)])


class Python:
    """Processes that run an engine, one for each processor."""

    def __init__(self, model: Path, decode, processors: int):
        context = multiprocessing.get_context("spawn")
        self.answers = context.Queue()
        self.requests = [context.Queue() for _ in range(processors)]
        for requests in self.requests:
            context.Process(target=work, args=(model, decode, requests, self.answers), daemon=True).start()
        for _ in self.requests:
            self.answers.get(timeout=120)

    def run(self, files: list[str]) -> tuple[float, dict]:
        """Images per second, and the first class of each file. The files take equally long, so each process gets as many."""
        start = time.perf_counter()
        for number, requests in enumerate(self.requests):
            requests.put(files[number :: len(self.requests)])
        found = [self.answers.get(timeout=600) for _ in self.requests]
        return len(files) / (time.perf_counter() - start), dict(sum(found, []))


class Mbvc:
    """The command, which measures itself: from the first file to the last."""

    def __init__(self, model: Path):
        self.weights, self.spec = (WORK / f"throughput/{model.stem}{end}" for end in (".safetensors", ".yaml"))
        self.weights.parent.mkdir(parents=True, exist_ok=True)
        command = [TARGET / "release/mbvc", "import", model, "--output", self.weights, "--force"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def run(self, files: list[str]) -> tuple[float, dict]:
        command = [TARGET / "release/mbvc", "classify", "--weights", self.weights, "--spec", self.spec]
        printed = subprocess.run([*command, "--json", "--timing", "--top", "1", *files], check=True, capture_output=True)
        *lines, last = [json.loads(line) for line in printed.stdout.splitlines()]
        self.timing = last["timing"]
        return self.timing["images_per_second"], {line["image"]: line["predictions"][0]["index"] for line in lines}


def contenders(args, processors: int) -> dict:
    """By name. An engine that cannot start is reported and left out."""
    path = {name: args.shared / f"models/mobilenet_v2_1.0_224_{file}" for name, file in MODELS.items()}
    makers = {"mbvc int8": lambda: Mbvc(path["int8"]), "mbvc float32": lambda: Mbvc(path["f32"])}
    peers = {"LiteRT int8": "int8", "LiteRT float32": "f32", "ONNX Runtime float32": "onnx"}
    decoders = {"Pillow": pillow, "simplejpeg": simplejpeg, "simplejpeg at half size": simplejpeg_half}
    for engine, model in peers.items():
        for decoder, decode in decoders.items():
            makers[f"{engine}, {decoder}"] = lambda m=path[model], d=decode: Python(m, d, processors)
    selected = [word.lower() for word in args.engines.split(",") if word]
    running = {}
    for name, make in makers.items():
        if selected and not any(word in name.lower() for word in selected):
            continue
        step(f"start {name}")
        try:
            running[name] = make()
        except Exception as error:  # any failure of an engine is reported, and the others run
            step(f"{name} cannot run: {type(error).__name__}: {error}")
    return running


def measure(args) -> tuple[list[dict], dict]:
    """A row for each contender, and the setting."""
    files = [str(file) for file in photographs(args)]
    processors = len(os.sched_getaffinity(0))
    running = contenders(args, processors)
    speeds = {name: [] for name in running}
    classes = {}
    # The first round is not measured.
    for number in range(args.rounds + 1):
        step(f"round {number} of {args.rounds}")
        for name, contender in running.items():
            speed, classes[name] = contender.run(files * REPEATS)
            speeds[name] += [speed] * (number > 0)
    base = next(iter(running))
    rows = []
    for name, speed in speeds.items():
        agreeing = sum(classes[name][file] == classes[base][file] for file in files)
        if agreeing < 0.8 * len(files):
            raise SystemExit(f"{name} and {base} agree on {agreeing} of {len(files)} images only")
        ratios = [ours / theirs for ours, theirs in zip(speeds[base], speed)]
        rows.append({
            "contender": name,
            "best": max(speed),
            "median": statistics.median(speed),
            "times": statistics.median(ratios),
            "agreeing": agreeing,
        })
    size = round(statistics.mean(Path(file).stat().st_size for file in files) / 1000)
    timing = {name: contender.timing for name, contender in running.items() if isinstance(contender, Mbvc)}
    return rows, {"processors": processors, "rounds": args.rounds, "files": len(files), "kB": size, "timing": timing}


def markdown(rows: list[dict], setting: dict, processor: str) -> str:
    base = rows[0]["contender"]
    lines = [
        f"Processor: {processor}, {setting['processors']} cores. {setting['files']} files of {setting['kB']} kB and 2.8 megapixels, "
        f"{setting['rounds']} rounds.\n",
        f"| engine, decoder | images per second, best round | median | {base} is faster by | same top class |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        agreeing = f"{row['agreeing']} of {setting['files']}"
        lines.append(f"| {row['contender']} | {row['best']:.0f} | {row['median']:.0f} | {row['times']:.2f} | {agreeing} |")
    return "\n".join(lines)

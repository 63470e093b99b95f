"""Real models of torchvision, timm and transformers with random weights, saved in the ways that people save them.

    models.py OUTPUT

Writes the files into the folder OUTPUT and `cases.json`, a list of `{file, size, classes, logits}`: what each model computes
for the image of `pattern` of that height and width.
"""
import json
import sys
from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.utils.prune
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent.parent / "fixtures"))
from torch_files import randomize  # noqa: E402

OUTPUT = Path(sys.argv[1])
CASES = []


def pattern(height, width):
    """An image [1, 3, height, width] that the tests can make too."""
    y, x, c = torch.meshgrid(torch.arange(height), torch.arange(width), torch.arange(3), indexing="ij")
    return (((y * 7 + x * 3 + c * 5) % 17) / 8 - 1).permute(2, 0, 1)[None].contiguous()


def case(file, model, size, classes):
    with torch.no_grad():
        found = model.eval()(pattern(*size))
    found = found if isinstance(found, torch.Tensor) else found.logits
    assert found.shape == (1, classes), found.shape
    CASES.append({"file": file, "size": size, "classes": classes, "logits": found[0].tolist()})
    print(file, flush=True)


def export(file, model, size, **options):
    torch.onnx.export(model, (pattern(*size),), OUTPUT / file, input_names=["image"], output_names=["logits"], **options)


def torchvision_models():
    from torchvision.models import mobilenet_v2

    def make(seed, **options):
        return randomize(mobilenet_v2(**options), seed)

    model = make(1, width_mult=0.35, num_classes=7)
    torch.save(model.state_dict(), OUTPUT / "torchvision_035.pth")
    case("torchvision_035.pth", model, [96, 96], 7)
    model = make(2, num_classes=1000)
    save_file(model.state_dict(), OUTPUT / "torchvision_100.safetensors")
    case("torchvision_100.safetensors", model, [128, 96], 1000)
    model = make(3, width_mult=1.4, num_classes=10)
    checkpoint = {"model": torch.nn.DataParallel(model).state_dict(), "epoch": 1, "best_acc": 0.5,
                  "optimizer": torch.optim.Adam(model.parameters()).state_dict()}
    torch.save(checkpoint, OUTPUT / "torchvision_140.ckpt")
    case("torchvision_140.ckpt", model, [65, 64], 10)
    model = make(4, width_mult=0.5, num_classes=3)
    torch.save(model, OUTPUT / "torchvision_050.pt")
    case("torchvision_050.pt", model, [64, 64], 3)
    export("torchvision_050.onnx", model, [64, 64], dynamo=False)
    case("torchvision_050.onnx", model, [64, 64], 3)
    export("torchvision_dynamo.onnx", model, [96, 64], dynamo=True, external_data=False)
    case("torchvision_dynamo.onnx", model, [96, 64], 3)


def timm_models():
    import timm
    from timm.models import save_for_hf

    sizes = {"035": [96, 96], "050": [64, 96], "075": [97, 64], "100": [128, 128], "110d": [64, 64], "120d": [96, 64], "140": [64, 64]}
    for seed, (name, size) in enumerate(sizes.items(), 10):
        classes = 5 + seed
        model = randomize(timm.create_model(f"mobilenetv2_{name}", num_classes=classes), seed)
        if seed % 2:
            folder = OUTPUT / f"timm_{name}"
            save_for_hf(model, folder, safe_serialization=True)
            case(f"timm_{name}/model.safetensors", model, size, classes)
        else:
            torch.save({"state_dict": model.state_dict(), "arch": name}, OUTPUT / f"timm_{name}.pth.tar")
            case(f"timm_{name}.pth.tar", model, size, classes)
    model.half()
    torch.save(model.state_dict(), OUTPUT / "timm_half.bin")
    case("timm_half.bin", model.float(), size, classes)
    export("timm_140.onnx", model, size, dynamo=False)
    case("timm_140.onnx", model, size, classes)


def transformers_models():
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification, MobileNetV2ImageProcessor

    for seed, (depth, classes, size, options) in enumerate([
        (0.35, 6, [96, 96], {}),
        (0.75, 11, [64, 65], {"finegrained_output": False}),
        (1.0, 1001, [96, 96], {}),
        (1.4, 9, [64, 64], {"tf_padding": False, "layer_norm_eps": 1e-4}),
    ], 30):
        config = MobileNetV2Config(depth_multiplier=depth, num_labels=classes, image_size=size[0], **options)
        config.id2label = {at: f"class number {at}" for at in range(classes)}
        model = randomize(MobileNetV2ForImageClassification(config), seed)
        folder = OUTPUT / f"transformers_{depth}"
        model.save_pretrained(folder)
        MobileNetV2ImageProcessor(crop_size={"height": size[0], "width": size[1]}).save_pretrained(folder)
        case(f"transformers_{depth}/model.safetensors", model, size, classes)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    case(f"transformers_{depth}/pytorch_model.bin", model, size, classes)


class Logits(torch.nn.Module):
    """The logits alone of a model that returns several values."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).logits


def scripts():
    import timm
    from torchvision.models import mobilenet_v2
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = MobileNetV2Config(depth_multiplier=0.35, num_labels=4, image_size=64)
    models = {
        "torchvision": mobilenet_v2(width_mult=0.35, num_classes=4),
        "timm": timm.create_model("mobilenetv2_035", num_classes=4),
        "transformers": Logits(MobileNetV2ForImageClassification(config)),
        "matrix": Matrix(mobilenet_v2(width_mult=0.35, num_classes=4)),
        "convolutions": Convolutions(mobilenet_v2(width_mult=0.35, num_classes=4)),
    }
    for seed, (name, model) in enumerate(models.items(), 50):
        model = randomize(model, seed)
        forms = {"traced": torch.jit.trace(model, pattern(64, 64))}
        if name != "transformers":
            forms["scripted"] = torch.jit.script(model)
        for form, script in list(forms.items()):
            forms[f"{form}_frozen"] = torch.jit.freeze(script)
        for form, script in forms.items():
            script.save(OUTPUT / f"{name}_{form}.pt")
            case(f"{name}_{form}.pt", model, [64, 64], 4)


class Matrix(torch.nn.Module):
    """A head of matrix products, of a network in channels-last order."""

    def __init__(self, model):
        super().__init__()
        self.model, self.scale = model, torch.nn.Parameter(torch.rand(4) + 0.5)

    def forward(self, x):
        linear = self.model.classifier[1]
        x = self.model.features(x.contiguous(memory_format=torch.channels_last))
        x = torch.nn.functional.adaptive_avg_pool2d(x, (1, 1))[:, :, 0, 0]
        return (torch.matmul(x, linear.weight.t()) + linear.bias) * self.scale - 0.25


class Convolutions(torch.nn.Module):
    """A head of 1x1 convolutions after an average pool of the image's size."""

    def __init__(self, model):
        super().__init__()
        self.model, self.hidden, self.norm = model, torch.nn.Conv2d(1280, 6, 1), torch.nn.BatchNorm2d(6)
        self.last = torch.nn.Conv2d(6, 4, 1)

    def forward(self, x):
        x = torch.nn.functional.avg_pool2d(self.model.features(x), 2)
        return self.last(torch.nn.functional.relu(self.norm(self.hidden(x)))).squeeze(3).squeeze(2)


def random_modules(random, inputs, classes):
    """A random head without a function of the logits: linear layers, each perhaps followed by others, and dropout."""
    nn, modules = torch.nn, []
    for layer in range(random.randint(0, 3)):
        units = random.randint(2, 40)
        modules.append(nn.Linear(inputs, units, bias=random.random() < 0.8))
        modules += [nn.BatchNorm1d(units)] * (random.random() < 0.4)
        modules += random.choice([[], [nn.ReLU()], [nn.Hardtanh(0, 6)]]) if layer else [nn.ReLU()]
        modules += [nn.Dropout(0.3)] * (random.random() < 0.5)
        inputs = units
    activations = [module for module in modules if isinstance(module, (nn.ReLU, nn.Hardtanh))]
    kind = random.choice([nn.ReLU, nn.ReLU6])
    modules = [kind() if module in activations else module for module in modules]
    modules = [nn.BatchNorm1d(inputs)] * (not modules) + modules + [nn.Linear(inputs, classes)]
    # Nested, or with names.
    cut = random.randint(0, len(modules))
    parts = [part for part in (modules[:cut], modules[cut:]) if part]
    if random.random() < 0.5:
        return nn.Sequential(*[nn.Sequential(*part) for part in parts])
    names = random.sample([chr(letter) for letter in range(ord("a"), ord("z"))], len(modules))
    return nn.Sequential(OrderedDict(zip(names, modules))) if random.random() < 0.5 else nn.Sequential(*modules)


def random_heads(count):
    import random

    from torchvision.models import mobilenet_v2

    random = random.Random(2018)
    for number in range(count):
        classes = random.randint(1, 9)
        model = mobilenet_v2(width_mult=0.35, num_classes=classes)
        model.classifier = random_modules(random, 1280, classes)
        randomize(model, 100 + number)
        for module in model.classifier.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.uniform_(-1, 1), module.running_var.uniform_(0.5, 2)
        linear = model.classifier[-1] if isinstance(model.classifier[-1], torch.nn.Linear) else None
        if linear is not None and random.random() < 0.3:
            random.choice([torch.nn.utils.weight_norm, lambda module: torch.nn.utils.prune.random_unstructured(module, "weight", 0.3)])(linear)
        form = random.choice(["module", "traced", "scripted", "frozen"])
        if form == "module":
            torch.save(model, OUTPUT / f"head_{number}.pt")
        else:
            script = torch.jit.script(model) if form == "scripted" and not linear else torch.jit.trace(model, pattern(64, 64))
            script = torch.jit.freeze(script) if form == "frozen" else script
            script.save(OUTPUT / f"head_{number}.pt")
        case(f"head_{number}.pt", model, [64, 64], classes)


torchvision_models()
timm_models()
transformers_models()
scripts()
random_heads(24)
(OUTPUT / "cases.json").write_text(json.dumps(CASES))

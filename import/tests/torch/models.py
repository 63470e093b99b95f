"""Real models of torchvision, timm and transformers with random weights, saved in the ways that people save them.

    models.py OUTPUT

Writes the files into the folder OUTPUT and `cases.json`, a list of `{file, size, classes, logits}`: what each model computes
for the image of `pattern` of that height and width.
"""
import json
import sys
from pathlib import Path

import torch
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


torchvision_models()
timm_models()
transformers_models()
(OUTPUT / "cases.json").write_text(json.dumps(CASES))

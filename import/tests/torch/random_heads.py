"""Random heads on a small network of torchvision's, exported to ONNX.

    random_heads.py OUTPUT SEED COUNT        with PyTorch: writes the models and `cases.json`
    random_heads.py OUTPUT                   with ONNX Runtime: writes `onnxruntime.json`, the scores of each model

`cases.json` is a list of `{file, head, activation, scores}`, with the scores that PyTorch computes for the image of `pattern`.
"""
import json
import sys
from pathlib import Path

OUTPUT = Path(sys.argv[1])


def run():
    import numpy as np
    import onnxruntime

    size = json.loads((OUTPUT / "size.json").read_text())
    y, x, c = np.indices((size, size, 3))
    image = ((y * 7 + x * 3 + c * 5) % 17 / 8 - 1).astype(np.float32).transpose(2, 0, 1)[None]
    scores = {}
    for case in json.loads((OUTPUT / "cases.json").read_text()):
        session = onnxruntime.InferenceSession(OUTPUT / case["file"])
        scores[case["file"]] = session.run(None, {session.get_inputs()[0].name: image})[0].ravel().astype(float).tolist()
    (OUTPUT / "onnxruntime.json").write_text(json.dumps(scores))


def export(seed, count):
    import random

    import torch
    from torch import nn
    from torch.nn import functional

    sys.path.insert(0, str(Path(__file__).parent.parent / "fixtures"))
    import torch_files

    # The last image has a quarter of the rows of the first block.
    pools = {
        "mean": lambda x: x.mean([2, 3]),
        "mean, kept, squeezed": lambda x: x.mean((-2, -1), keepdim=True).squeeze(-1).squeeze(-1),
        "adaptive, flattened": lambda x: torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1),
        "adaptive, viewed": lambda x: functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1),
        "adaptive, reshaped": lambda x: functional.adaptive_avg_pool2d(x, (1, 1)).reshape(x.shape[0], x.shape[1]),
        "window": lambda x: functional.avg_pool2d(x, x.shape[-1]).flatten(1),
    }
    ends = {
        "none": lambda x: x,
        "softmax": lambda x: x.softmax(-1),
        "log_softmax": lambda x: functional.log_softmax(x, dim=1),
        "sigmoid": lambda x: x.sigmoid(),
    }

    class Network(nn.Module):
        def __init__(self, features, pool, head, end):
            super().__init__()
            self.features, self.pool, self.head, self.end = features, pool, head, end

        def forward(self, image):
            return self.end(self.head(self.pool(self.features(image))))

    choose, cases = random.Random(seed), []
    for at in range(count):
        pool, end = choose.choice(list(pools)), choose.choice(list(ends))
        activation = choose.choice([nn.ReLU, nn.ReLU6])
        layers, width = [], torch_files.HEAD
        for _ in range(choose.choice([0, 0, 1, 2, 3])):
            units = choose.choice([4, 8, 12])
            layers += [nn.Linear(width, units, bias=choose.random() < 0.7)]
            layers += [nn.BatchNorm1d(units)] if choose.random() < 0.3 else []
            layers += [activation()] + ([nn.Dropout(0.2)] if choose.random() < 0.5 else [])
            width = units
        layers = ([nn.BatchNorm1d(width)] if not layers and choose.random() < 0.3 else []) + layers
        classes = choose.randint(2, 9) if end != "sigmoid" else choose.randint(1, 9)
        layers += [nn.Linear(width, classes, bias=choose.random() < 0.7)]
        features = torch_files.torchvision_model(seed + at).features
        torch.manual_seed(seed + at)
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            elif isinstance(layer, nn.BatchNorm1d):
                nn.init.uniform_(layer.weight, 0.5, 1.5), nn.init.uniform_(layer.bias, -1, 1)
                layer.running_mean.uniform_(-1, 1), layer.running_var.uniform_(0.5, 2)
        model = Network(features, pools[pool], nn.Sequential(*layers), ends[end]).eval()
        image, dynamo = torch_files.pattern(), at % 4 == 3
        options = {"dynamo": True, "external_data": False} if dynamo else {"dynamo": False, "opset_version": choose.randint(11, 17)}
        if not dynamo and choose.random() < 0.5:
            options["dynamic_axes"] = {"image": {0: "batch"}}
        file = f"head{at}.onnx"
        torch.onnx.export(model, (image,), OUTPUT / file, input_names=["image"], **options)
        with torch.no_grad():
            scores = model(image)[0].tolist()
        head = f"{pool}; {', '.join(type(layer).__name__ for layer in layers)}; {end}; {options}"
        cases.append({"file": file, "head": head, "activation": end, "scores": scores})
    (OUTPUT / "cases.json").write_text(json.dumps(cases))
    (OUTPUT / "size.json").write_text(json.dumps(torch_files.SIZE))


if len(sys.argv) > 2:
    export(*map(int, sys.argv[2:]))
else:
    run()

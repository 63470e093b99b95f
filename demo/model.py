"""The network of specs/demo.yaml, with the names that torchvision gives its MobileNetV2: `mbvc import` reads those."""

import torch
from torch import nn

WIDTH = 0.35
RESOLUTION = 64
# Channels before the classifier. The published 1280 would be half of the weights with so few classes.
HEAD = 768
# t: expansion, c: output channels, n: how often, s: stride of the first. The last stride is 1 and not 2 as published:
# 64 pixels leave 4x4 places then, and not 2x2.
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 1), (6, 320, 1, 1)]


def make_divisible(channels: float) -> int:
    """Half up to a multiple of 8, at least 8, and a step more below nine tenths of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class InFloat32(nn.Conv2d):
    """A convolution that autocast leaves in float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


def convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    # On processors, the gradient of a strided depthwise convolution in bfloat16 takes forty times as long as in float32.
    kind = InFloat32 if groups > 1 and stride > 1 else nn.Conv2d
    return nn.Sequential(
        kind(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6()
    )


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.has_skip = stride == 1 and inputs == outputs
        expand = [convolution(inputs, hidden)] if expansion != 1 else []
        depthwise = convolution(hidden, hidden, 3, stride, hidden)
        self.conv = nn.Sequential(*expand, depthwise, nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.has_skip else self.conv(x)


class Network(nn.Module):
    """[n, 3, 64, 64] from -1 to 1, red, green, blue -> [n, classes] logits."""

    def __init__(self, classes: int, dropout: float = 0.1):
        super().__init__()
        channels = make_divisible(32 * WIDTH)
        layers = [convolution(3, channels, 3, 2)]
        for expansion, outputs, count, stride in BLOCKS:
            outputs = make_divisible(outputs * WIDTH)
            for index in range(count):
                layers.append(InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion))
                channels = outputs
        self.features = nn.Sequential(*layers, convolution(channels, HEAD))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(HEAD, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean([2, 3]))

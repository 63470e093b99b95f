"""Pictures from drawings, whole batches at a time: placed, recolored, lit, and laid on backgrounds.

Drawings of another hand differ in outlines, shading and colors, so those are what is varied most.
All functions take and give float tensors from 0 to 1, [n, channels, height, width].
"""

import math

import torch
import torch.nn.functional as F

from model import RESOLUTION


class Augmenter:
    def __init__(self, seed: int):
        self.random = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.random) * (high - low) + low

    def chance(self, probability: float, n: int) -> torch.Tensor:
        """Which of the batch, as indices."""
        return (torch.rand(n, generator=self.random) < probability).nonzero()[:, 0]

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.random)

    def __call__(self, drawings: torch.Tensor) -> torch.Tensor:
        """uint8 RGBA drawings [n, size, size, 4] to pictures [n, 3, RESOLUTION, RESOLUTION]."""
        rgba = drawings.permute(0, 3, 1, 2).float().div_(255)
        color, alpha = self.place(rgba)
        color = self.recolor(self.filter(self.redraw(color, alpha)), alpha)
        color = self.light(color, alpha)
        color, alpha = self.outline(color, alpha)
        picture = self.compose(color, alpha, rgba)
        return self.degrade(picture).clamp_(0, 1)

    def place(self, rgba: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Turned, mirrored, sheared, moved and seen askew; color without the alpha multiplied in, and alpha."""
        n = len(rgba)
        angle = self.normal(n).clamp(-2, 2) * 0.22
        scale = 1 / self.uniform(0.62, 1.12, n)
        aspect = torch.exp(self.normal(n) * 0.08)
        mirror = torch.where(torch.rand(n, generator=self.random) < 0.5, -1.0, 1.0)
        shear = self.normal(n) * 0.1
        sine, cosine = angle.sin(), angle.cos()
        rows = [
            torch.stack([scale * aspect * cosine * mirror, scale * aspect * (shear * cosine - sine) * mirror], 1),
            torch.stack([scale / aspect * sine, scale / aspect * (shear * sine + cosine)], 1),
        ]
        matrix = torch.stack(rows, 1)
        offset = self.normal(n, 2).clamp(-2, 2) * 0.1
        axis = (torch.arange(RESOLUTION) * 2 + 1) / RESOLUTION - 1
        plane = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).view(1, -1, 2)
        depth = 1 + (plane * (self.normal(n, 1, 2) * 0.08)).sum(-1, keepdim=True)
        grid = ((plane - offset[:, None]) @ matrix.transpose(1, 2) / depth).view(n, RESOLUTION, RESOLUTION, 2)
        premultiplied = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1)
        placed = F.grid_sample(premultiplied, grid, align_corners=False)
        alpha = placed[:, 3:]
        return placed[:, :3] / alpha.clamp(min=1e-3), alpha

    def redraw(self, color: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Lines made thinner or thicker, and flat areas soft."""
        n = len(color)
        if len(which := self.chance(0.15, n)):  # dark lines vanish
            color[which] = F.max_pool2d(color[which], 3, 1, 1)
        if len(which := self.chance(0.1, n)):  # and grow
            inside = color[which] * alpha[which] + 1 - alpha[which]
            color[which] = -F.max_pool2d(-inside, 3, 1, 1)
        if len(which := self.chance(0.25, n)):
            share = self.uniform(0.3, 1, len(which), 1, 1, 1)
            soft = blur(color[which] * alpha[which], 5) / blur(alpha[which], 5).clamp(min=1e-2)
            color[which] = torch.lerp(color[which], soft, share)
        return color

    def filter(self, color: torch.Tensor) -> torch.Tensor:
        """Colors and edges replaced by random mixtures of their surroundings: what stays is the shape.

        Xu et al. 2021, "Robust and Generalizable Visual Representation Learning via Random Convolutions".
        """
        for size, probability in ((1, 0.15), (3, 0.15)):
            if len(which := self.chance(probability, len(color))):
                n = len(which)
                kernel = self.normal(n * 3, 3, size, size) / (size * math.sqrt(3))
                mixed = (color[which] - 0.5).reshape(1, n * 3, *color.shape[2:])
                mixed = F.conv2d(mixed, kernel, padding=size // 2, groups=n).view(n, 3, *color.shape[2:])
                mixed = mixed / mixed.std((1, 2, 3), keepdim=True).clamp(min=1e-2) * 0.25 + 0.5
                color[which] = torch.lerp(color[which], mixed.clamp(0, 1), self.uniform(0.3, 1, n, 1, 1, 1))
        return color

    def recolor(self, color: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        n = len(color)
        hue = self.normal(n) * 0.18
        wild = self.chance(0.12, n)
        hue[wild] = self.uniform(-math.pi, math.pi, len(wild))
        saturation = torch.exp(self.normal(n) * 0.3)
        saturation[self.chance(0.06, n)] = 0
        color = torch.einsum("nij,njhw->nihw", hue_matrix(hue, saturation), color)
        contrast = torch.exp(self.normal(n, 1, 1, 1) * 0.25)
        brightness = self.normal(n, 1, 1, 1) * 0.1
        tint = self.normal(n, 3, 1, 1) * 0.06
        color = ((color - 0.5) * contrast + 0.5 + brightness + tint).clamp_(0, 1)
        return color ** torch.exp(self.normal(n, 1, 1, 1) * 0.25)

    def light(self, color: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """A gradient from a side, and the round edges and gloss of a solid body."""
        n = len(color)
        axis = torch.linspace(-1, 1, RESOLUTION)
        if len(which := self.chance(0.5, n)):
            slope = self.normal(len(which), 2, 1, 1) * 0.16
            gradient = slope[:, :1] * axis.view(1, 1, 1, -1) + slope[:, 1:] * axis.view(1, 1, -1, 1)
            color[which] = color[which] * (1 + gradient) + gradient * 0.15
        if len(which := self.chance(0.45, n)):
            body, depth = alpha[which], torch.rand(1, generator=self.random).item()
            # Either the silhouette alone is round, or light parts of the drawing stand out too.
            relief = blur(body, 5) + depth * blur(color[which].mean(1, keepdim=True) * body, 3)
            across, down = relief[..., :, 2:] - relief[..., :, :-2], relief[..., 2:, :] - relief[..., :-2, :]
            across, down = F.pad(across, (1, 1)), F.pad(down, (0, 0, 1, 1))
            direction = self.uniform(-math.pi, math.pi, len(which), 1, 1, 1)
            slant = across * direction.cos() + down * direction.sin()
            strength = self.uniform(0.3, 1.6, len(which), 1, 1, 1)
            shade = (slant * strength).clamp(-0.6, 0.6)
            color[which] = color[which] * (1 + shade.clamp(max=0)) + shade.clamp(min=0) * (1 - color[which])
        if len(which := self.chance(0.15, n)):
            center = self.uniform(-0.5, 0.5, len(which), 2, 1, 1)
            distance = (axis.view(1, 1, 1, -1) - center[:, :1]) ** 2 + (axis.view(1, 1, -1, 1) - center[:, 1:]) ** 2
            gloss = torch.exp(-distance / self.uniform(0.01, 0.12, len(which), 1, 1, 1)) * self.uniform(0.2, 0.8, len(which), 1, 1, 1)
            color[which] = color[which] + gloss * (1 - color[which])
        return color.clamp_(0, 1)

    def outline(self, color: torch.Tensor, alpha: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A line around some, dark, white, or of any color."""
        if len(which := self.chance(0.15, len(color))):
            wide = F.max_pool2d(alpha[which], 3, 1, 1)
            line = torch.rand(len(which), 3, 1, 1, generator=self.random)
            line[self.chance(0.6, len(which))] *= 0.2
            line[self.chance(0.2, len(which))] = 1
            color[which] = color[which] * alpha[which] + line * (1 - alpha[which])
            alpha[which] = wide
        return color, alpha

    def compose(self, color: torch.Tensor, alpha: torch.Tensor, rgba: torch.Tensor) -> torch.Tensor:
        n = len(color)
        ground = self.ground(rgba)
        if len(which := self.chance(0.3, n)):  # a shadow
            down, right = (int(self.uniform(-4, 5, 1)) for _ in range(2))
            shadow = blur(torch.roll(alpha[which], (abs(down), right), (2, 3)), 5)
            ground[which] = ground[which] * (1 - shadow * self.uniform(0.1, 0.6, len(which), 1, 1, 1))
        return torch.lerp(ground, color, alpha)

    def ground(self, rgba: torch.Tensor) -> torch.Tensor:
        """What lies behind: plain, white, black, a gradient, clouds of color, stripes, or other drawings out of focus."""
        n, shape = len(rgba), (RESOLUTION, RESOLUTION)
        plain = torch.rand(n, 3, 1, 1, generator=self.random)
        plain[self.chance(0.3, n)] = 1
        plain[self.chance(0.08, n)] = 0
        pale = self.chance(0.2, n)
        plain[pale] = plain[pale] * 0.15 + 0.85
        ground = plain.repeat(1, 1, *shape)
        if len(which := self.chance(0.2, n)):
            corners = torch.rand(len(which), 3, 2, 2, generator=self.random)
            ground[which] = F.interpolate(corners, shape, mode="bilinear", align_corners=True)
        for cells in (4, 10):
            if len(which := self.chance(0.1, n)):
                clouds = torch.rand(len(which), 3, cells, cells, generator=self.random)
                ground[which] = F.interpolate(clouds, shape, mode="bilinear", align_corners=True)
        if len(which := self.chance(0.08, n)):
            axis = torch.linspace(-1, 1, RESOLUTION)
            wave = self.normal(len(which), 2, 1, 1) * 12
            phase = wave[:, :1] * axis.view(1, 1, 1, -1) + wave[:, 1:] * axis.view(1, 1, -1, 1)
            ground[which] = torch.lerp(ground[which], torch.rand(len(which), 3, 1, 1, generator=self.random), (phase.sin() > 0).float())
        if len(which := self.chance(0.15, n)):
            other = F.interpolate(rgba[n - 1 - which], shape, mode="bilinear")
            other = F.interpolate(other[..., 12:52, 8:48], shape, mode="bilinear")
            other = torch.lerp(ground[which], other[:, :3], other[:, 3:])
            ground[which] = blur(blur(other, 7), 7)
        if len(which := self.chance(0.1, n)):
            ground[which] = ground[which] + self.normal(len(which), 1, *shape) * self.uniform(0.02, 0.25, len(which), 1, 1, 1)
        return ground

    def degrade(self, picture: torch.Tensor) -> torch.Tensor:
        n = len(picture)
        if len(which := self.chance(0.15, n)):
            picture[which] = blur(picture[which], 3)
        if len(which := self.chance(0.08, n)):
            small = F.interpolate(picture[which], scale_factor=0.5, mode="bilinear")
            picture[which] = F.interpolate(small, size=picture.shape[2:], mode="bilinear")
        if len(which := self.chance(0.15, n)):
            picture[which] = jpeg(picture[which], self.uniform(0.02, 0.12, len(which), 1, 1, 1))
        if len(which := self.chance(0.2, n)):
            noise = self.normal(len(which), *picture.shape[1:])
            picture[which] = picture[which] + noise * self.uniform(0.01, 0.08, len(which), 1, 1, 1)
        for at in self.chance(0.2, n).tolist():  # a part is hidden
            height, width = (int(self.uniform(8, 26, 1)) for _ in range(2))
            top, left = (int(self.uniform(0, RESOLUTION - side, 1)) for side in (height, width))
            picture[at, :, top : top + height, left : left + width] = torch.rand(3, 1, 1, generator=self.random)
        return picture


def blur(image: torch.Tensor, size: int) -> torch.Tensor:
    return F.avg_pool2d(image, size, 1, size // 2, count_include_pad=False)


def hue_matrix(angle: torch.Tensor, saturation: torch.Tensor) -> torch.Tensor:
    """Turns colors about the axis of grays, and draws them toward it; [n, 3, 3]."""
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    third = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return third + saturation[:, None, None] * (cosine * (torch.eye(3) - third) + sine * cross)


def cosines() -> torch.Tensor:
    """The 8x8 cosine transform, rows of frequencies."""
    place, frequency = torch.arange(8).float(), torch.arange(8).float()[:, None]
    matrix = torch.cos((2 * place + 1) * frequency * math.pi / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def jpeg(image: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Blocks of 8x8 rounded to few frequencies, more coarsely the higher they are."""
    n, channels, height, width = image.shape
    blocks = image.view(n, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    transform = cosines()
    frequencies = transform @ blocks @ transform.T
    order = torch.arange(8)
    coarse = (1 + (order[:, None] + order)) * step[..., None, None]
    rounded = (frequencies / coarse).round() * coarse
    return (transform.T @ rounded @ transform).transpose(3, 4).reshape(n, channels, height, width)

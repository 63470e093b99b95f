"""What is learned, and the batches of it."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

import icons
from augment import Augmenter


@dataclass
class Round:
    """One cosine of the learning rate."""

    steps: int
    rate: float
    # Share of the pictures that show one of the classes; the others show other things.
    share: float
    # Share of the steps, at the end, that see the classes alone.
    fine: float
    # Share of the steps, at the beginning, that see 48 instead of 64 pixels.
    small: float
    # The family that this round is validated on: it learns neither from it nor from its relative.
    without: str | None = None

    def families(self) -> list[str]:
        left_out = {self.without}.union(*(group for group in icons.RELATIVES if self.without in group))
        return [family for family in icons.TRAINING if family not in left_out]

    def is_fine(self, step: int) -> bool:
        return step >= self.steps * (1 - self.fine)

    def is_small(self, step: int) -> bool:
        return step < self.steps * self.small


class Task:
    """The classes, and behind them every other thing that has drawings, which teaches styles.

    The outputs are the same whatever the families, so that one round can go on from another.
    """

    def __init__(self, families: list[str]):
        found = icons.joined(icons.TRAINING)
        self.labels = list(icons.classes())
        index = {point: at for at, points in enumerate(icons.classes().values()) for point in points}
        points, count = np.unique(found.point, return_counts=True)
        others = [point for point, drawings in zip(points.tolist(), count) if drawings >= 2 and point not in index]
        index |= {point: len(self.labels) + at for at, point in enumerate(others)}
        self.outputs = len(self.labels) + len(others)
        kept = np.isin(found.point, list(index)) & np.isin(found.family, families)
        self.pixels = torch.from_numpy(found.pixels[kept])
        self.target = torch.tensor([index[point] for point in found.point[kept].tolist()])
        self.of = [(self.target == at).nonzero()[:, 0] for at in range(self.outputs)]
        without = [label for label, drawings in zip(self.labels, self.of) if len(drawings) == 0]
        if without:
            raise SystemExit(f"no family has a drawing of: {', '.join(without)}")
        self.classes = torch.arange(len(self.labels))
        self.others = torch.tensor([at for at in range(len(self.labels), self.outputs) if len(self.of[at])])


class Batches(IterableDataset):
    """The pictures that are new in a step: `size` of them, and what they show.

    They depend on the seed and the step alone, whatever the number of workers.
    """

    def __init__(self, task: Task, round_: Round, seed: int, size: int, first: int):
        self.task, self.round, self.seed, self.size, self.first = task, round_, seed, size, first

    def __iter__(self):
        torch.set_num_threads(1)
        worker = get_worker_info()
        for step in itertools.count(self.first + worker.id, worker.num_workers):
            random = torch.Generator().manual_seed(self.seed + step)
            share = 1.0 if self.round.is_fine(step) else self.round.share
            target = torch.where(
                torch.rand(self.size, generator=random) < share, self.one_of(self.task.classes, random), self.one_of(self.task.others, random)
            )
            pick = torch.rand(self.size, generator=random)
            at = [int(of[int(part * len(of))]) for of, part in zip((self.task.of[t] for t in target), pick)]
            yield Augmenter(self.seed + step)(self.task.pixels[at]) * 2 - 1, target

    def one_of(self, things: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        return things[torch.randint(len(things), (self.size,), generator=random)]


class Pool:
    """The newest pictures, of which each step draws: making one takes as long as learning from it several times."""

    def __init__(self, seed: int, size: int = 4096):
        self.random = torch.Generator().manual_seed(seed)
        self.size, self.next = size, 0
        self.pictures, self.target = torch.empty(0), torch.empty(0)

    def add(self, pictures: torch.Tensor, target: torch.Tensor) -> None:
        pictures = (pictures * 127).to(torch.int8)
        if len(self.target) < self.size:
            self.pictures = torch.cat([self.pictures, pictures]) if len(self.target) else pictures
            self.target = torch.cat([self.target, target]) if len(self.target) else target
            return
        at = (torch.arange(len(target)) + self.next) % self.size
        self.pictures[at], self.target[at] = pictures, target
        self.next = (self.next + len(target)) % self.size

    def keep_below(self, outputs: int) -> None:
        """Forgets what shows other things than the first `outputs`."""
        kept = self.target < outputs
        self.pictures, self.target, self.next = self.pictures[kept], self.target[kept], 0

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`count` of them, each mirrored or not, and a little lighter or darker."""
        at = torch.randint(len(self.target), (count,), generator=self.random)
        pictures = self.pictures[at].float() / 127
        mirrored = torch.rand(count, generator=self.random) < 0.5
        pictures[mirrored] = pictures[mirrored].flip(3)
        gain = 1 + 0.1 * torch.randn(count, 3, 1, 1, generator=self.random)
        return (pictures * gain).clamp_(-1, 1), self.target[at]

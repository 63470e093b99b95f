"""What is learnt, and the batches of it."""

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

    def is_fine(self, step: int) -> bool:
        return step >= self.steps * (1 - self.fine)

    def is_small(self, step: int) -> bool:
        return step < self.steps * self.small


class Task:
    """The classes, and behind them every other thing that has drawings, which teaches styles."""

    def __init__(self, families: list[str]):
        found = icons.joined(families)
        self.labels = list(icons.classes())
        index = {point: at for at, points in enumerate(icons.classes().values()) for point in points}
        others = sorted(set(found.point.tolist()) - set(index))
        count = {point: int((found.point == point).sum()) for point in others}
        others = [point for point in others if count[point] >= 2]
        index |= {point: len(self.labels) + at for at, point in enumerate(others)}
        kept = np.isin(found.point, list(index))
        self.pixels = torch.from_numpy(found.pixels[kept])
        self.target = torch.tensor([index[point] for point in found.point[kept].tolist()])
        self.outputs = len(set(index.values()))
        self.of_class = [(self.target == at).nonzero()[:, 0] for at in range(self.outputs)]
        without = [label for label, drawings in zip(self.labels, self.of_class) if len(drawings) == 0]
        if without:
            raise SystemExit(f"no family has a drawing of: {', '.join(without)}")


class Batches(IterableDataset):
    """Batch number `step` depends on the seed and `step` alone, so that a run goes on where it was stopped."""

    def __init__(self, task: Task, round_: Round, seed: int, size: int, first: int):
        self.task, self.round, self.seed, self.size, self.first = task, round_, seed, size, first

    def __iter__(self):
        torch.set_num_threads(1)
        worker, task = get_worker_info(), self.task
        classes = len(task.labels)
        for step in range(self.first + worker.id, self.round.steps, worker.num_workers):
            random = torch.Generator().manual_seed(self.seed + step)
            share = 1.0 if self.round.is_fine(step) else self.round.share
            target = torch.where(
                torch.rand(self.size, generator=random) < share,
                torch.randint(classes, (self.size,), generator=random),
                torch.randint(classes, task.outputs, (self.size,), generator=random),
            )
            pick = torch.rand(self.size, generator=random)
            at = [int(of[int(part * len(of))]) for of, part in zip((task.of_class[t] for t in target), pick)]
            yield Augmenter(self.seed + step)(task.pixels[at]) * 2 - 1, target

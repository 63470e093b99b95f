"""Training: rounds of steps, each with its state on disk."""

import copy
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader
from tqdm import tqdm

import icons
import scenes
from model import RESOLUTION, Network
from task import Batches, Pool, Round, Task

BATCH = 64
# How often a picture is learned from, on the average.
REUSE = 3
# Batches that are made before the first step.
FIRST = 32
DECAY = 0.02
SMALL = 48
# Steps between entries of the log, each with the state on disk.
EVERY = 500
# The first round shows how well what is learned carries over to another hand; the second learns from all of them.
ROUNDS = [
    Round(steps=12000, rate=3e-3, share=0.6, fine=0.2, small=0.7, without="noto"),
    Round(steps=16000, rate=2e-3, share=0.6, fine=0.0, small=0.0),
]


def train(out: Path, seed: int, threads: int, workers: int, rounds: list[Round] = ROUNDS) -> None:
    """Goes on where it was stopped."""
    torch.manual_seed(seed)
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    for number, round_ in enumerate(rounds, 1):
        task = Task(round_.families())
        print(f"round {number}: {len(task.target)} drawings from {', '.join(round_.families())}: {len(task.labels)} classes, and")
        print(f"{len(task.others)} other things that are learned in addition")
        Run(out, number, round_, task, seed).go(workers)


def state_file(out: Path, number: int) -> Path:
    return out / f"round{number}.pt"


class Run:
    def __init__(self, out: Path, number: int, round_: Round, task: Task, seed: int):
        self.out, self.number, self.round, self.task = out, number, round_, task
        self.seed = seed * 1_000_003 + (number - 1) * 500_009
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = Network(task.outputs).to(self.device, memory_format=torch.channels_last)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0}]
        self.optimizer = torch.optim.AdamW(groups, lr=round_.rate, fused=True)
        self.step = 0
        self.restore()

    def restore(self) -> None:
        """The state of this round, or else the averaged weights of the one before."""
        here, before = state_file(self.out, self.number), state_file(self.out, self.number - 1)
        if here.exists():
            state = torch.load(here, map_location=self.device)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        elif before.exists():
            state = torch.load(before, map_location=self.device)
            self.model.load_state_dict(state["kept"])
        self.kept = copy.deepcopy(self.model)
        if here.exists():
            self.kept.load_state_dict(state["kept"])

    def save(self) -> None:
        here = state_file(self.out, self.number)
        state = {"model": self.model, "kept": self.kept, "optimizer": self.optimizer}
        torch.save({name: one.state_dict() for name, one in state.items()} | {"step": self.step}, here.with_suffix(".part"))
        os.replace(here.with_suffix(".part"), here)

    def go(self, workers: int) -> None:
        first, steps = self.step, self.round.steps
        if first >= steps:
            return
        batches = Batches(self.task, self.round, self.seed, -(-BATCH // REUSE), first)
        loader = iter(DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=16))
        pool = Pool(self.seed + first)
        for _ in range(FIRST):
            pool.add(*next(loader))
        bar = tqdm(range(first, steps), f"round {self.number}", initial=first, total=steps, unit="step", smoothing=0.02)
        loss, right, started = None, None, time.time()
        for step in bar:
            pool.add(*next(loader))
            if self.round.is_fine(step) and not self.round.is_fine(step - 1):
                pool.keep_below(len(self.task.labels))
            now_loss, now_right = self.learn(step, *pool.draw(BATCH))
            loss = now_loss if loss is None else loss + (now_loss - loss) * 0.02
            right = now_right if right is None else right + (now_right - right) * 0.02
            self.step = step + 1
            if step % 10 == 0:
                bar.set_postfix(loss=f"{loss:.3f}", right=f"{right:.1%}")
            if self.step % EVERY == 0 or self.step == steps:
                size = SMALL if self.round.is_small(step) else RESOLUTION
                measured = evaluate(self.kept, self.watched(), len(self.task.labels), size, self.device)
                shown = "".join(f", {family} {share:.1%}" for family, share in measured.items())
                bar.write(f"step {self.step}: loss {loss:.3f}, {right:.1%} right{shown}")
                entry = {"round": self.number, "step": self.step, "loss": loss, "right": right, "families": measured}
                with (self.out / "log.jsonl").open("a") as log:
                    log.write(json.dumps(entry | {"seconds": round(time.time() - started)}) + "\n")
                self.save()

    def watched(self) -> list[str]:
        return [self.round.without] if self.round.without else []

    def learn(self, step: int, pictures: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
        """One step; the loss, and the share of the pictures that were recognized."""
        pictures, target = pictures.to(self.device, memory_format=torch.channels_last), target.to(self.device)
        if self.round.is_small(step):
            pictures = F.interpolate(pictures, size=SMALL, mode="bilinear", antialias=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        self.model.train()
        with torch.autocast(self.device, torch.bfloat16):
            logits = self.model(pictures).float()
        if self.round.is_fine(step):
            logits = logits[:, : len(self.task.labels)]
        loss = F.cross_entropy(logits, target, label_smoothing=0.1)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.average(step)
        return loss.item(), (logits.argmax(1) == target).float().mean().item()

    def rate(self, step: int) -> float:
        """A short rise, then half a cosine."""
        warm = min(1, (step + 1) / (0.03 * self.round.steps))
        return self.round.rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / self.round.steps))

    @torch.no_grad()
    def average(self, step: int) -> None:
        """The mean of the weights over the last steps, which is what is kept."""
        decay = min(0.998, (1 + step) / (10 + step))
        for old, new in zip(self.kept.state_dict().values(), self.model.state_dict().values()):
            old.lerp_(new, 1 - decay) if old.is_floating_point() else old.copy_(new)


@torch.no_grad()
def evaluate(model: Network, families: list[str], labels: int, size: int, device: str) -> dict[str, float]:
    """The share of each family's pictures that is recognized, to watch training; mbvc gives the final figures."""
    model.eval()
    shares = {}
    for family in families:
        found = list(scenes.scenes(icons.drawings(family), ["white", "texture"]))
        pictures = np.stack([np.asarray(p.resize((size,) * 2, Image.Resampling.BILINEAR)) for *_, p in found])
        target = torch.tensor([index for index, *_ in found])
        right = 0
        for part, wanted in zip(torch.from_numpy(pictures).split(64), target.split(64)):
            logits = model(part.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1)
            right += int((logits[:, :labels].argmax(1).cpu() == wanted).sum())
        shares[family] = right / len(target)
    return shares

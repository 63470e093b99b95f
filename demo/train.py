#!/usr/bin/env python3
"""Trains the network of specs/demo.yaml on drawings of everyday things."""

import argparse
import copy
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

import icons
import scenes
from augment import Augmenter
from model import RESOLUTION, Network

HERE = Path(__file__).parent


class Task:
    """What is learnt: the classes, and behind them every other thing that has drawings, which teaches styles."""

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
        self.outputs = len(index and set(index.values()))
        self.of_class = [(self.target == at).nonzero()[:, 0] for at in range(self.outputs)]


class Batches(IterableDataset):
    """Batch number `step` depends on the seed and `step` alone, so that a run goes on where it was stopped."""

    def __init__(self, task: Task, args: argparse.Namespace, first: int):
        self.task, self.args, self.first = task, args, first

    def __iter__(self):
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        for step in range(self.first + worker.id, self.args.steps, worker.num_workers):
            random = torch.Generator().manual_seed(self.args.seed * 1_000_003 + step)
            classes, task = len(self.task.labels), self.task
            chosen = torch.rand(self.args.batch, generator=random) < self.share_of_classes(step)
            target = torch.where(
                chosen,
                torch.randint(classes, (self.args.batch,), generator=random),
                torch.randint(classes, task.outputs, (self.args.batch,), generator=random),
            )
            pick = torch.rand(self.args.batch, generator=random)
            at = [int(of[int(share * len(of))]) for of, share in zip((task.of_class[t] for t in target), pick)]
            pictures = Augmenter(self.args.seed * 1_000_003 + step)(task.pixels[at])
            yield pictures * 2 - 1, target

    def share_of_classes(self, step: int) -> float:
        return 1.0 if step >= self.args.steps * (1 - self.args.fine) else self.args.share


def learning_rate(args: argparse.Namespace, step: int) -> float:
    warm = min(1, (step + 1) / (0.03 * args.steps))
    return args.rate * warm * (0.5 + 0.5 * np.cos(np.pi * step / args.steps))


@torch.no_grad()
def average(kept: Network, model: Network, step: int) -> None:
    decay = min(0.998, (1 + step) / (10 + step))
    for old, new in zip(kept.state_dict().values(), model.state_dict().values()):
        old.lerp_(new, 1 - decay) if old.is_floating_point() else old.copy_(new)


@torch.no_grad()
def evaluate(model: Network, families: list[str], labels: int, kinds: list[str], device: str) -> dict:
    """Shares that are right, of each family."""
    model.eval()
    results = {}
    for family in families:
        found = list(scenes.scenes(icons.drawings(family), kinds))
        pictures = np.stack([np.asarray(p.resize((RESOLUTION,) * 2, Image.Resampling.BILINEAR)) for *_, p in found])
        target = torch.tensor([index for index, *_ in found])
        guesses = []
        for part in torch.from_numpy(pictures).split(64):
            logits = model((part.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1))
            guesses.append(logits[:, :labels].topk(5).indices.cpu())
        right = torch.cat(guesses) == target[:, None]
        results[family] = {"top1": right[:, 0].float().mean().item(), "top5": right.any(1).float().mean().item(), "pictures": len(found)}
    return results


def train(args: argparse.Namespace) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    relatives = set().union(*(group for group in icons.RELATIVES if args.without in group)) | {args.without}
    families = [family for family in icons.TRAINING if family not in relatives]
    watched = [args.without] if args.without else []
    task = Task(families)
    labels = len(task.labels)
    model = Network(task.outputs).to(device, memory_format=torch.channels_last)
    kept = copy.deepcopy(model)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": args.decay}, {"params": plain, "weight_decay": 0}], lr=args.rate)
    args.out.mkdir(parents=True, exist_ok=True)
    state_file, log_file = args.out / "state.pt", args.out / "log.jsonl"
    first = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=device)
        model.load_state_dict(state["model"])
        kept.load_state_dict(state["kept"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
        print(f"goes on at step {first}")
    else:
        log_file.write_text("")
        print(f"{len(task.target)} drawings from {', '.join(families)}; {labels} classes and {task.outputs - labels} other things")
    loader = iter(DataLoader(Batches(task, args, first), batch_size=None, num_workers=args.workers, prefetch_factor=4))
    bar = tqdm(range(first, args.steps), initial=first, total=args.steps, unit="step", smoothing=0.02)
    recent = {"loss": 4.0, "right": 0.0}
    started = time.time()
    for step in bar:
        pictures, target = next(loader)
        pictures, target = pictures.to(device, memory_format=torch.channels_last), target.to(device)
        if step < args.small * args.steps:
            pictures = F.interpolate(pictures, size=48, mode="bilinear", antialias=True)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(args, step)
        model.train()
        logits = model(pictures)
        if step >= args.steps * (1 - args.fine):
            logits = logits[:, :labels]
        loss = F.cross_entropy(logits, target, label_smoothing=0.1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        average(kept, model, step)
        right = (logits.argmax(1) == target).float().mean().item()
        for key, value in [("loss", loss.item()), ("right", right)]:
            recent[key] += (value - recent[key]) * 0.02
        if step % 10 == 0:
            bar.set_postfix(loss=f"{recent['loss']:.3f}", right=f"{recent['right']:.1%}")
        if (step + 1) % args.every == 0 or step + 1 == args.steps:
            measured = evaluate(kept, watched, labels, ["white", "texture"], device)
            entry = {"step": step + 1, "loss": recent["loss"], "right": recent["right"], "seconds": time.time() - started, "families": measured}
            with log_file.open("a") as log:
                log.write(json.dumps(entry) + "\n")
            shown = ", ".join(f"{family} {one['top1']:.1%}" for family, one in measured.items())
            bar.write(f"step {step + 1}: loss {recent['loss']:.3f}, {recent['right']:.1%} right; {shown}")
            part = state_file.with_suffix(".part")
            torch.save({"model": model.state_dict(), "kept": kept.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}, part)
            os.replace(part, state_file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "runs" / "final")
    parser.add_argument("--without", choices=icons.TRAINING, help="validate on this family, and learn neither from it nor from its relative")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--share", type=float, default=0.6, help="of pictures that are of the classes")
    parser.add_argument("--fine", type=float, default=0.3, help="share of the steps that see the classes alone, at the end")
    parser.add_argument("--small", type=float, default=0.5, help="share of the steps with 48 pixels, at the beginning")
    parser.add_argument("--every", type=int, default=250, help="steps between measurements")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()

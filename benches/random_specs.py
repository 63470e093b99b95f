#!/usr/bin/env python3
"""Compares the schedules of random specs with those of v2.yaml: they come from rules, not from a table of layers.

    cargo build --release
    python benches/random_specs.py --specs 50

For each spec `mbvc profile` measures the pointwise layers with K >= 64. The result is their common share of the FMA peak,
divided by the share of the same layers in v2.yaml, which is measured at the same time.
"""
import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def divisible(value):
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


class Spec:
    """A layer table. `ks` returns the K of its pointwise layers."""

    def __init__(self, width, stem, rows, head):
        self.width, self.stem, self.rows, self.head = width, stem, rows, head

    @classmethod
    def random(cls, rng):
        rows, channels = [], rng.choice([16, 24, 32])
        for _ in range(rng.randint(4, 7)):
            channels += rng.choice([0, 8, 16, 24, 32, 48, 64])
            rows.append((rng.choice([1, 3, 4, 6, 6]), channels, rng.randint(1, 3), rng.choice([1, 2])))
        width = rng.choice([0.35, 0.5, 0.6, 0.75, 1.0, 1.25, 1.4])
        return cls(width, rng.choice([16, 24, 32, 48]), rows, rng.choice([256, 512, 1000, 1280]))

    def text(self, rng, name):
        lines = [
            f"name: {name}",
            f"width: {self.width}",
            f"resolution: [{rng.randint(64, 256)}, {rng.randint(64, 256)}]",
            f"padding: {rng.choice(['same', 'symmetric'])}",
            f"classes: {rng.randint(2, 1200)}",
            f"stem: {{ channels: {self.stem}, stride: 2 }}",
            "blocks:",
            *(f"  - {{ t: {t}, c: {c}, n: {n}, s: {s} }}" for t, c, n, s in self.rows),
            f"head: {{ channels: {self.head} }}",
        ]
        return "\n".join(lines) + "\n"

    def ks(self):
        ks, channels, block = {}, divisible(self.stem * self.width), 0
        for t, c, n, _ in self.rows:
            for _ in range(n):
                block += 1
                ks[f"block{block}.expand"], ks[f"block{block}.project"] = channels, channels * t
                channels = divisible(c * self.width)
        return ks | {"head": channels}


V2 = Spec(1.0, 32, [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)], 1280)


def share(mbvc, arguments, ks, isa, runs):
    """Share of the FMA peak of all pointwise stages with K >= 64 together; None if the spec has none."""
    command = [mbvc, "profile", "--json", "--isa", isa, "--runs", str(runs), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    stages = [stage for row in rows for stage in row.get("stages", [])]
    wide = [stage for stage in stages if ks.get(stage["stage"], 0) >= 64 and stage["macs"]]
    # Mean of the shares, weighted by time.
    taken = sum(stage["us"] for stage in wide)
    return sum(stage["us"] * stage["peak_share"] for stage in wide) / taken if wide else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbvc", default=str(ROOT / "target/release/mbvc"))
    parser.add_argument("--specs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--isa", default="avx512")
    parser.add_argument("--runs", type=int, default=40)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.specs):
            path = Path(folder) / f"random{number}.yaml"
            table = Spec.random(rng)
            path.write_text(table.text(rng, f"Random{number}"))
            found = share(args.mbvc, ["--spec", str(path)], table.ks(), args.isa, args.runs)
            base = share(args.mbvc, [], V2.ks(), args.isa, args.runs)
            if found is None:
                print(f"{number:3} no pointwise layer with K >= 64")
                continue
            ratios.append(found / base)
            print(f"{number:3} {found:6.1%} of the peak, v2.yaml {base:6.1%}: ratio {found / base:.2f}", flush=True)
    reached = sum(ratio >= 0.8 for ratio in ratios)
    print(f"{reached} of {len(ratios)} reach 0.8; min {min(ratios):.2f}, median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    sys.exit(main())

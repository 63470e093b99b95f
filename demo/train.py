#!/usr/bin/env python3
"""Trains the demo's network on drawings of everyday things, and measures it on drawings by other hands.

Without arguments: fetches and renders the drawings, trains (it goes on where it was stopped), and makes from the result
demo/model.safetensors, demo/model-int8.safetensors, the figures and the pictures of demo/README.md.
It needs Rust, Node.js and Python 3.11 or newer; what it needs of Python packages it installs into demo/venv.
"""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

import environment

HERE = Path(__file__).parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the run [default: demo/runs/final, or one for --without]")
    parser.add_argument("--without", metavar="FAMILY", help="only validate: learn neither from this family nor from its relative, in any round")
    parser.add_argument("--render", type=Path, metavar="DIR", help="write the held-out pictures, a folder for each label, and stop")
    parser.add_argument("--only-finish", action="store_true", help="take the weights of a run that ended, and train nothing")
    parser.add_argument("--mbvc", default="cargo run --release --quiet --", help="the command that imports, quantizes and evaluates")
    parser.add_argument("--threads", type=int, default=1, help="of the network; 0 for all [1, best beside other work]")
    parser.add_argument("--workers", type=int, default=1, help="processes that make pictures [1]")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    environment.ensure()
    import icons

    if args.without not in (None, *icons.TRAINING):
        raise SystemExit(f"--without: {args.without} is none of {', '.join(icons.TRAINING)}")
    if args.render:
        import scenes

        for family in icons.HELD_OUT:
            print(scenes.write(args.render / family, icons.drawings(family)), "pictures in", args.render / family)
        return
    import finish
    import learn

    out = (args.out or HERE / "runs" / (f"without-{args.without}" if args.without else "final")).resolve()
    if not args.only_finish:
        rounds = [replace(round_, without=args.without) for round_ in learn.ROUNDS] if args.without else learn.ROUNDS
        learn.train(out, args.seed, args.threads, args.workers, rounds)
    if not args.without:
        finish.finish(out, shlex.split(args.mbvc))


if __name__ == "__main__":
    main()

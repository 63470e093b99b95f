#!/usr/bin/env python3
"""Writes the table of networks on a microcontroller into docs/guide/embedded.md.

    python3 benches/embedded/table.py [--widths 0.35,0.5] [--sizes 96,160] [--update-docs]

For each width and size, the table has the instructions of a call on an emulated Cortex-M4 (`scripts/count-instructions.sh`, which
also compares the logits with the interpreter's), the scratch, the stack, the size of the code and that of the weights. MobileNetV2 in
int8 with 3 classes and deep fusion. Networks with more scratch than 512 kB are left out.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/guide/embedded.md"
SPEC = ROOT / "specs/v2_0.35_96.yaml"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BEGIN, END = "<!-- microcontroller:begin -->", "<!-- microcontroller:end -->"
#: Instructions per multiply-add of CMSIS-NN's DSP kernels, on the layers of width 0.35 at 96x96.
CMSIS_NN = 4.27
MOST_SCRATCH = 512 * 1024


def macs(width: str, size: str) -> int:
    """Multiply-adds of a call."""
    command = ["cargo", "run", "--quiet", "-p", "mbvc-cli", "--", "check", str(SPEC), "--json", "--classes", "3"]
    command += ["--width", width, "--resolution", size, "--precision", "int8"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)["macs"]


def measured(width: str, size: str) -> dict[str, int] | None:
    """Instructions and bytes of a network; none if its logits are not the interpreter's."""
    environment = os.environ | {"COUNT_WIDTH": width, "COUNT_RESOLUTION": size, "COUNT_FUSION": "deep"}
    script = ROOT / "scripts/count-instructions.sh"
    # The emulator writes to standard error.
    said = subprocess.run([script], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # With status 2 only the compiler's prediction is off, which these numbers correct.
    if said.returncode not in (0, 2) or "bit-exact with the interpreter" not in said.stdout:
        print(said.stdout[-2000:], file=sys.stderr)
        return None
    number = lambda pattern: int(re.search(pattern, said.stdout).group(1))
    packed = max(TARGET.glob("count/*/release/build/*/out/weights.packed"), key=lambda path: path.stat().st_mtime)
    return {
        "instructions": number(r"(\d+) instructions"),
        "scratch": number(r"(\d+) bytes of scratch"),
        "stack": number(r"(\d+) bytes of stack"),
        "code": number(r"code (\d+)"),
        "weights": packed.stat().st_size,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="0.35,0.5,0.75,1.0")
    parser.add_argument("--sizes", default="48,96,160,224")
    parser.add_argument("--update-docs", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    args = parser.parse_args()
    header = ["width", "size", "million multiply-adds", "million instructions", "per multiply-add", "CMSIS-NN takes"]
    rows = [header + ["scratch, kB", "stack, kB", "code, kB", "weights, kB"]]
    rows.append(["---"] * len(rows[0]))
    for width in args.widths.split(","):
        for size in args.sizes.split(","):
            work, found = macs(width, size), measured(width, size)
            if found is None:
                return 1
            if found["scratch"] > MOST_SCRATCH:
                continue
            each = found["instructions"] / work
            cells = [width, f"{size}x{size}", f"{work / 1e6:.1f}", f"{found['instructions'] / 1e6:.1f}", f"{each:.2f}"]
            cells += [f"{CMSIS_NN / each:.1f}x", *(f"{found[key] / 1e3:.1f}" for key in ["scratch", "stack"])]
            cells += [f"{found[key] / 1e3:.0f}" for key in ["code", "weights"]]
            rows.append(cells)
            print("| " + " | ".join(cells) + " |", flush=True)
    if args.update_docs:
        table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

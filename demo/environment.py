"""A Python environment of the demo's own, with what requirements.txt pins."""

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "venv"
# Tells glibc to keep what is freed. Else each large tensor is memory fresh from the system, and cleared anew by it, which
# takes a third of the time.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "16000000000", "MALLOC_TOP_PAD_": "268435456"}
NEEDED = ["torch", "numpy", "PIL", "matplotlib", "resvg_py", "tqdm"]


def ensure() -> None:
    """Goes on in an environment that has everything: this one, or demo/venv, which is made where it is absent."""
    if all(importlib.util.find_spec(name) for name in NEEDED):
        if not MEMORY.items() <= os.environ.items():
            os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | MEMORY)
        return
    python = FOLDER / "bin" / "python"
    if Path(sys.prefix) == FOLDER.resolve():
        raise SystemExit(f"{FOLDER} lacks one of {', '.join(NEEDED)}: delete it, and it will be made anew")
    marker = FOLDER / "installed"
    requirements = HERE / "requirements.txt"
    if not marker.exists() or marker.read_text() != requirements.read_text():
        print(f"installing what {requirements} names into {FOLDER}", flush=True)
        venv.create(FOLDER, with_pip=True)
        install(python, requirements)
        marker.write_text(requirements.read_text())
    os.execv(python, [str(python), *sys.argv])


def install(python: Path, requirements: Path) -> None:
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    if shutil.which("nvidia-smi"):
        subprocess.run([*pip, "-r", requirements], check=True)
        return
    # torch requires several GB of libraries for GPUs, which a machine without one never calls.
    subprocess.run([*pip, "--no-deps", "-r", requirements], check=True)
    subprocess.run([*pip, "numpy", "matplotlib"], check=True)
    subprocess.run([python, HERE.parent / "scripts" / "torch_without_gpu.py"], check=True)

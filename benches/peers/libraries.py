"""Libraries of compiled networks: writes a crate for each and builds it."""
import os
import shutil
import subprocess
from pathlib import Path

from common import ROOT, WORK, step
from common import write as write_anyway

CRATE = """//! Written by `benches/peers/run.py`.

#[macro_use]
#[path = {interface}]
mod interface;

variants! {{
    "v2.yaml";
{variants}
}}
"""


def write(path: Path, text: str) -> None:
    """Keeps a file whose content is unchanged, so that Cargo does not rebuild."""
    if not path.exists() or path.read_text() != text:
        write_anyway(path, text)


def quoted(text) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def value(setting) -> str:
    if isinstance(setting, list):
        return "[" + ", ".join(map(value, setting)) + "]"
    return quoted(setting) if isinstance(setting, str) else str(setting)


def library(name: str) -> Path:
    return WORK / f"libraries/target/release/lib{name}.so"


def build(name: str, variants: dict[str, dict]) -> Path:
    """Builds a library of variants of `specs/v2.yaml`: by name, the spec keys of each."""
    folder = WORK / "libraries" / name
    lines = []
    for number, (variant, keys) in enumerate(variants.items()):
        keys = ", ".join(f"{key} = {value(setting)}" for key, setting in keys.items())
        lines.append(f"    Network{number} {quoted(variant)} {{ {keys} }}")
    source = CRATE.format(interface=quoted(ROOT / "benches/peers/interface.rs"), variants="\n".join(lines))
    manifest = (
        f'[package]\nname = "{name}"\nedition = "2024"\n\n[lib]\ncrate-type = ["cdylib"]\n\n[workspace]\n\n'
        f"[dependencies]\nmbvc = {{ path = {quoted(ROOT)} }}\n"
    )
    write(folder / "Cargo.toml", manifest)
    write(folder / "src/lib.rs", source)
    write(folder / "v2.yaml", (ROOT / "specs/v2.yaml").read_text())
    shutil.copy(ROOT / "Cargo.lock", folder / "Cargo.lock")
    step(f"build {name}")
    environment = os.environ | {"CARGO_TARGET_DIR": str(WORK / "libraries/target")}
    subprocess.run(["cargo", "build", "--release", "--offline", "-q"], cwd=folder, env=environment, check=True)
    return library(name)

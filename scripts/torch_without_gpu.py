#!/usr/bin/env python3
"""Lets the torch of the package index be imported without the GPU's libraries, which are ten times its size.

    pip install --no-deps torch
    python scripts/torch_without_gpu.py

The wheel's libraries name those of the GPU and do not load without them, though a CPU never calls any. For each one
that is absent this compiles an empty stand-in, beside torch's own, whose functions return an error code of "no device".
"""
import importlib.util
import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

# What the dynamic linker itself brings.
SYSTEM = re.compile(r"^(ld-linux.*|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|z|quadmath)\.so.*)$")
# cudaErrorNoDevice, CUDA_ERROR_NO_DEVICE. Registering the wheel's kernels, which happens at loading, ignores it.
NO_DEVICE = 100


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def undefined(library):
    """`(symbol, version or "")` of what `library` wants from others."""
    for line in output("nm", "-D", "--undefined-only", library).splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            symbol, _, version = name.partition("@")
            yield symbol, version.lstrip("@")


def main():
    folder = Path(importlib.util.find_spec("torch").submodule_search_locations[0]) / "lib"
    libraries = sorted(path for path in folder.glob("*.so*") if path.name not in stand_ins(folder))
    present = {path.name for path in libraries}
    absent, owner, defined, wanted = set(), {}, set(), set()
    for library in libraries:
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-dW", library))
        absent |= {name for name in needed if name not in present and not SYSTEM.match(name)}
        file = ""
        for found in re.finditer(r"File: (\S+)|Name: (\S+)", output("readelf", "-VW", library)):
            file = found[1] or file
            if found[2]:
                owner[found[2]] = file
        defined |= {line.split()[-1].partition("@")[0] for line in output("nm", "-D", "--defined-only", library).splitlines()}
        wanted |= set(undefined(library))
    symbols = defaultdict(lambda: defaultdict(set))
    prefixes = re.compile(r"^(__?cuda|cu[a-zA-Z]|nccl|nvrtc|nvshmem|cudnn)")
    for symbol, version in wanted - {(name, "") for name in defined}:
        if version and owner.get(version) in absent:
            symbols[owner[version]][version].add(symbol)
        elif not version and prefixes.match(symbol):
            # Unversioned symbols are found in whatever library has them.
            symbols[min(absent)][""].add(symbol)
    for name in sorted(absent):
        compile_stand_in(folder / name, symbols[name])
    (folder / "stand-ins.txt").write_text("\n".join(sorted(absent)) + "\n")


def stand_ins(folder):
    """Those that an earlier run made."""
    listed = folder / "stand-ins.txt"
    return set(listed.read_text().split()) if listed.exists() else set()


def compile_stand_in(path, versions):
    with tempfile.TemporaryDirectory() as work:
        source, script = Path(work, "stand_in.c"), Path(work, "versions")
        functions = sorted(set().union(*versions.values()))
        source.write_text("".join(f"int {name}(void) {{ return {NO_DEVICE}; }}\n" for name in functions) or "int none;\n")
        script.write_text("".join(
            f"{version} {{ global: {' '.join(f'{name};' for name in sorted(names))} }};\n"
            for version, names in sorted(versions.items()) if version))
        command = ["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", source, "-o", path, f"-Wl,-soname,{path.name}"]
        if script.read_text():
            command.append(f"-Wl,--version-script={script}")
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()

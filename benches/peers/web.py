"""Milliseconds per image in WebAssembly: mbvc and other browser engines, in Node and in Chromium."""
import gzip
import json
import shutil
import subprocess
from pathlib import Path

import contenders
from common import ROOT, TARGET, WORK, statistics_of, step

HERE = ROOT / "benches/peers/web"
FILES = WORK / "web"
PRECISIONS = {"f32": "float32", "int8": "int8"}
CHROMIUM = "/usr/bin/chromium"
HEAD = "| | type | engine | load ms | min ms | median ms | times as fast as LiteRT.js (min / median) |\n|---|---|---|---|---|---|---|"
# The other engines' files of code, below node_modules.
CODE = {
    "LiteRT.js relaxed": ["@litertjs/core/wasm/litert_wasm_internal.wasm", "@litertjs/core/wasm/litert_wasm_internal.js"],
    "LiteRT.js compat": ["@litertjs/core/wasm/litert_wasm_compat_internal.wasm", "@litertjs/core/wasm/litert_wasm_compat_internal.js"],
    "TensorFlow.js": [
        "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm",
        "@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js",
        "@tensorflow/tfjs-core/dist/tf-core.min.js",
    ],
    "ONNX Runtime Web": ["onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", "onnxruntime-web/dist/ort.wasm.min.mjs"],
}


def build(args) -> None:
    """The packages of mbvc, and the files that the engines read."""
    (FILES / "weights").mkdir(parents=True, exist_ok=True)
    models = FILES / "models"
    models.unlink(missing_ok=True)
    models.symlink_to((args.shared / "models").resolve())
    for precision in PRECISIONS:
        args.precision = precision
        weights = contenders.import_weights(args)
        shutil.copy(weights, FILES / "weights")
        step(f"mbvc build --kind web ({precision})")
        command = [TARGET / "release/mbvc", "build", weights.with_suffix(".yaml"), "--weights", weights, "--kind", "web", "--force"]
        subprocess.run([*command, "--output", FILES / f"mbvc-{precision}"], check=True, stdout=subprocess.DEVNULL)
    step("npm ci")
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=HERE, check=True)


def environments(has_avx_vnni: bool) -> list[tuple[list[str], list[str], str]]:
    """Arguments that start Node, the path of a browser, and a suffix for the name in the table."""
    flag = subprocess.run([ROOT / "scripts/relaxed-simd.sh", "node"], capture_output=True, text=True, check=True).stdout
    newest = ["npx", "--yes", "node@latest"]
    found = [(["node", *flag.split()], [], ""), (newest, [], "")]
    if has_avx_vnni:
        # Measures the kernels of processors without AVX-VNNI.
        found.append(([*newest, "--no-enable-avx-vnni"], [], " without AVX-VNNI"))
    if Path(CHROMIUM).exists():
        found.append((["node"], [CHROMIUM], ""))
    else:
        step(f"{CHROMIUM} is not installed and not measured")
    return found


def measure(args, has_avx_vnni: bool) -> list[dict]:
    build(args)
    rows = []
    for program, browser, kind in environments(has_avx_vnni):
        # AVX-VNNI affects only int8 kernels.
        for precision in ["int8"] if kind else PRECISIONS:
            step(f"{' '.join(program)} {' '.join(browser)} {precision}")
            command = [*program, HERE / "run.mjs", FILES, precision, str(args.runs), *browser]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            # Other engines also write to the standard output.
            result = json.loads(done.stdout.splitlines()[-1])
            rows += rows_of(result | {"engine": result["engine"] + kind}, precision)
    return rows


def rows_of(result: dict, precision: str) -> list[dict]:
    measured = {row["engine"]: row for row in result["rows"]}
    times = {engine: statistics_of(row["calls_ms"]) for engine, row in measured.items() if "error" not in row}
    best = {measured[engine]["top"] for engine in times}
    if len(best) > 1:
        raise SystemExit(f"engines disagree: {[(engine, measured[engine]['top']) for engine in times]}")
    rows = []
    for engine, row in measured.items():
        about = {"where": result["engine"], "precision": precision, "engine": engine}
        if engine not in times:
            rows.append(about | {"error": row["error"]})
            continue
        base = times.get("LiteRT.js relaxed" if "relaxed" in engine else "LiteRT.js compat")
        ratios = {f"times_{what}": base[f"{what}_ms"] / times[engine][f"{what}_ms"] for what in ("min", "median")} if base else {}
        rows.append(about | times[engine] | {"load_ms": row["load_ms"]} | ratios)
    return rows


def code() -> list[str]:
    """One row for each module of mbvc and each other engine: code size, plain and compressed."""
    ours = {
        f"mbvc {name}, {title}": [path, path.with_name("index.js")]
        for precision, title in PRECISIONS.items()
        for name, suffix in (("dot", ".dot"), ("relaxed", ".relaxed"), ("simd128", ""))
        if (path := FILES / f"mbvc-{precision}/mbvc-{precision}{suffix}.wasm").exists()
    }
    theirs = {name: [HERE / "node_modules" / path for path in paths] for name, paths in CODE.items()}
    rows = []
    for name, paths in (ours | theirs).items():
        files = [path.read_bytes() for path in paths]
        plain, packed = sum(map(len, files)), sum(len(gzip.compress(file, 9)) for file in files)
        rows.append(f"| {name} | {plain / 1e3:.0f} | {packed / 1e3:.0f} |")
    return rows


def markdown(rows: list[dict], setting: dict) -> str:
    lines = [f"Processor: {setting['processor']}. Calls per engine: {setting['calls']}.\n", HEAD]
    for row in rows:
        about = f"| {row['where']} | {PRECISIONS[row['precision']]} | {row['engine']} |"
        if "error" in row:
            lines.append(f"{about} does not run: {row['error']} | | | |")
            continue
        ratio = " / ".join(f"{row[f'times_{what}']:.2f}" if f"times_{what}" in row else "-" for what in ("min", "median"))
        lines.append(f"{about} {row['load_ms']:.0f} | {row['min_ms']:.2f} | {row['median_ms']:.2f} | {ratio} |")
    lines += ["\n| code | kB | gzip, kB |\n|---|---|---|", *code()]
    return "\n".join(lines)

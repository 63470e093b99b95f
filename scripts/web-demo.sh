#!/usr/bin/env bash
# Builds the demo page from docs/web: `scripts/web-demo.sh [FOLDER [SPEC WEIGHTS]]`, by default target/web-demo with the
# demo network. The folder can be served by any web server: `python3 -m http.server -d target/web-demo`. MBVC is the command
# that compiles the network, by default the release build of this clone.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-target/web-demo}
spec=${2:-specs/demo.yaml}
weights=${3:-demo/model.safetensors}

mbvc=${MBVC:-${CARGO_TARGET_DIR:-target}/release/mbvc}
if [[ ! ${MBVC-} ]]; then
    cargo build --release -p mbvc-cli
fi
mkdir -p "$folder/samples"
cp docs/web/* "$folder"
cp demo/samples/* "$folder/samples"
# A page cannot list a folder.
python3 - "$folder/samples" <<'PY'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "index.json").write_text(json.dumps(sorted(path.name for path in folder.glob("*.png"))) + "\n")
PY
"$mbvc" build "$spec" --weights "$weights" --kind web --force -o "$folder/model"
"$mbvc" dump "$spec" --isa wasm128relaxed --svg "$folder/network.svg" --force

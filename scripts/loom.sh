#!/usr/bin/env bash
# Model-checks the protocol of the thread pool with loom: runtime/src/pool/model.rs. Half a minute after it is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."

# In a separate folder: the flag would recompile everything in the usual one.
RUSTFLAGS="--cfg loom" cargo test -p mbvc-runtime --profile slow --lib --target-dir "${CARGO_TARGET_DIR:-$PWD/target}/loom" \
    -- pool::model

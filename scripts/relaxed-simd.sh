#!/usr/bin/env bash
# Prints the flag that a node needs for relaxed SIMD in WebAssembly, if any: `scripts/relaxed-simd.sh NODE`. It is part of
# WebAssembly 3.0; node 20 needs a flag that later versions reject.
set -euo pipefail

flag=--experimental-wasm-relaxed-simd
if [[ $("$1" --v8-options) == *$flag* ]]; then
    echo "$flag"
fi

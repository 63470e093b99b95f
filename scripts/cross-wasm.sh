#!/usr/bin/env bash
# Runs tests in WebAssembly under node, as WASI programs: `scripts/cross-wasm.sh [ARGUMENTS OF cargo test]`, by default
# the SIMD modules of the runtime with each feature, and networks against the interpreter.
#
# Needs node and the standard library of wasm32-wasip1 (`rustup target add wasm32-wasip1`). Without the library it runs
# nothing: Debian has none for its rustc.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-wasip1
if ! [ -d "$(rustc --print target-libdir --target $target)" ]; then
    echo "skipped: no standard library of $target"
    exit 0
fi

# `run_with NODE [FLAG]`: the node that runs the tests, and a flag that it may not have.
run_with() {
    local flag
    flag=$(scripts/relaxed-simd.sh "$1")
    if [[ ${2-} && $("$1" --v8-options) == *${2/--no-/--}* ]]; then
        flag+=" $2"
    fi
    export CARGO_TARGET_WASM32_WASIP1_RUNNER="$1 --no-warnings $flag $PWD/scripts/wasi.mjs"
}
# With AVX-VNNI, newer engines have exact dot products of bytes.
run_with node --no-enable-avx-vnni

# `tests FEATURE ARGUMENT...`
tests() {
    local flags="--cfg emulated ${1:+-C target-feature=+$1}"
    shift
    CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS=$flags cargo test --target $target \
        --target-dir "${CARGO_TARGET_DIR:-$PWD/target}/wasm" "$@"
}

if [ $# != 0 ]; then
    tests relaxed-simd "$@"
    exit
fi
# The best instruction set of quantized networks for each feature. With relaxed SIMD, engines on x86-64 have `wasm128pairs`.
# Only these tests run here: the others need panics that unwind.
relaxed=wasm128
if [ "$(uname -m)" = x86_64 ]; then
    relaxed=wasm128pairs
fi
for feature_and_best in :portable simd128:wasm128 relaxed-simd:$relaxed; do
    MBVC_TEST_BEST_ISA=${feature_and_best#*:} tests "${feature_and_best%:*}" -p mbvc-runtime --lib --features peak -- \
        simd::float simd::quantized isa:: bf16:: quantized::arithmetic
done
# A module with relaxed SIMD has the kernels of SIMD128 as well.
tests relaxed-simd -p mbvc --test differential --test quantized

# The newest one, with AVX-VNNI if the processor has it.
if newest=$(npx --yes node@latest -p process.execPath); then
    run_with "$newest"
    tests relaxed-simd -p mbvc-runtime --lib --features peak -- simd::quantized isa::
    tests relaxed-simd -p mbvc --test quantized
else
    echo "the newest node cannot be installed: exact dot products of bytes are not tested"
fi

#!/usr/bin/env bash
# Runs the runtime's unit tests under Miri, which detects undefined behavior in its safe API: views, scratch, packing,
# containers, the portable kernels. Tests that compute too much for an interpreter are marked with `cfg_attr(miri, ignore)`.
#
# Installs a nightly toolchain with Miri; prints a line and succeeds where that is not possible.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! rustup toolchain install nightly --profile minimal --component miri --component rust-src >/dev/null 2>&1; then
    # An installed one serves as well where the download fails.
    if ! cargo +nightly miri --version >/dev/null 2>&1; then
        echo "scripts/miri.sh: SKIPPED: the nightly toolchain with Miri cannot be installed (no network?)"
        exit 0
    fi
fi

# Isolation off: tests read files and clocks. The pool's workers outlive the tests.
export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-ignore-leaks ${MIRIFLAGS:-}"
# Property tests run few cases, and the pool's tests spin, which takes an interpreter minutes.
export PROPTEST_CASES=${PROPTEST_CASES:-4}
cargo +nightly miri test -p mbvc-runtime --lib -- --skip pool:: "$@"

#!/usr/bin/env bash
# Checks that the library and the command compile for platforms that no test here runs on: `scripts/check-targets.sh
# [TARGET]...`. Checking needs the target's standard library, and no linker.
#
# Installs the standard library with rustup. Targets without one are skipped and listed.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=("$@")
if [ $# = 0 ]; then
    targets=(
        x86_64-pc-windows-gnu aarch64-apple-darwin aarch64-linux-android x86_64-unknown-freebsd i686-unknown-linux-gnu
        riscv64gc-unknown-linux-gnu
    )
fi

status=0
for target in "${targets[@]}"; do
    if ! rustup target add "$target" >/dev/null 2>&1; then
        echo "$target: skipped, its standard library cannot be installed"
    elif cargo check --quiet -p mbvc -p mbvc-cli --target "$target" --target-dir "${CARGO_TARGET_DIR:-$PWD/target}/checked"; then
        echo "$target: compiles"
    else
        echo "$target: does not compile"
        status=1
    fi
done
exit "$status"

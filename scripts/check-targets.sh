#!/usr/bin/env bash
# Checks that the library and the command compile for platforms that no test here runs on, and the networks of
# examples/embedded for microcontrollers: `scripts/check-targets.sh [TARGET]...`. Checking needs the target's standard
# library, and no linker.
#
# Installs the standard library with rustup. Targets without one are skipped and listed.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=("$@")
if [ $# = 0 ]; then
    targets=(
        x86_64-pc-windows-gnu aarch64-apple-darwin aarch64-linux-android x86_64-unknown-freebsd i686-unknown-linux-gnu
        riscv64gc-unknown-linux-gnu
        thumbv7em-none-eabi thumbv8m.main-none-eabihf riscv32imc-unknown-none-elf
    )
fi

# What compiles for a target: networks where there is no operating system.
check() {
    local folder=${CARGO_TARGET_DIR:-$PWD/target}/checked
    case $1 in
    *-none-*) cargo check --quiet --manifest-path examples/embedded/Cargo.toml --lib --target "$1" --target-dir "$folder" ;;
    *) cargo check --quiet -p mbvc -p mbvc-cli --target "$1" --target-dir "$folder" ;;
    esac
}

status=0
for target in "${targets[@]}"; do
    if ! rustup target add "$target" >/dev/null 2>&1; then
        echo "$target: skipped, its standard library cannot be installed"
    elif check "$target"; then
        echo "$target: compiles"
    else
        echo "$target: does not compile"
        status=1
    fi
done
exit "$status"

#!/usr/bin/env bash
# Runs tests of the instruction set `dsp` on 32-bit Arm under qemu, with its instructions instead of their emulation:
# `scripts/cross-thumb.sh [ARGUMENTS OF cargo test]`, by default the tests of the runtime and of quantized networks.
#
# The code is that of Linux for the A profile, whose Thumb instructions include those of the DSP extension: targets without
# an operating system cannot run tests.
#
# Needs what `scripts/install-cross.sh` installs, and `rustup target add thumbv7neon-unknown-linux-gnueabihf`. Installs a linker
# with apt-get if there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v arm-linux-gnueabihf-gcc >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o Acquire::Retries=3 update -q
    apt-get -o Acquire::Retries=3 install -y -q --no-install-recommends gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
fi
export CARGO_TARGET_THUMBV7NEON_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
export CARGO_TARGET_THUMBV7NEON_UNKNOWN_LINUX_GNUEABIHF_RUNNER="qemu-arm-static -L /usr/arm-linux-gnueabihf"
export CARGO_TARGET_THUMBV7NEON_UNKNOWN_LINUX_GNUEABIHF_RUSTFLAGS="--cfg emulated --cfg mbvc_dsp"

tests() {
    cargo test --target thumbv7neon-unknown-linux-gnueabihf --target-dir "${CARGO_TARGET_DIR:-$PWD/target}/thumb" "$@"
}

if [ $# != 0 ]; then
    tests "$@"
    exit
fi
tests -p mbvc-runtime --lib -- dsp
MBVC_TEST_BEST_ISA=dsp tests -p mbvc --test quantized

#!/usr/bin/env bash
# Runs tests of the instruction set `dsp` on 32-bit Arm under QEMU, with the real instructions instead of the portable
# fallback: `scripts/cross-thumb.sh [ARGUMENTS OF cargo test]`, by default the tests of the runtime and of quantized networks.
#
# Bare-metal targets cannot run the test harness, so the tests are built for A-profile Linux, whose Thumb instruction set
# includes the DSP extension.
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
# They would replace the flags below, or choose another instruction set.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS MBVC_ISA
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
# The test of `isa` fails if `dsp` is emulated.
MBVC_TEST_BEST_ISA=dsp tests -p mbvc-runtime --lib -- dsp isa
tests -p mbvc --test quantized

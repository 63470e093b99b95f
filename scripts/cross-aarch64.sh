#!/usr/bin/env bash
# Runs tests on 64-bit Arm under qemu: `scripts/cross-aarch64.sh [ARGUMENTS OF cargo test]`, by default the tests of
# the runtime, the differential tests of the macro, and a few of quantized networks.
#
# Needs what `scripts/install-cross.sh` installs.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
# The toolchain's own cargo drives Debian's rustc, which has the standard library of the target.
export RUSTC=/usr/bin/rustc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# No `-L /usr/aarch64-linux-gnu`: there qemu finds the cross loader but not its C library, falls back to the one of
# libc6:arm64, and a loader and a library of different builds hang when the first thread starts.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="--cfg emulated"

# Another compiler than the workspace's: sharing its folder would rebuild everything back and forth. No doc tests:
# the toolchain's rustdoc cannot read what Debian's rustc made.
tests() {
    cargo test --target $target --target-dir "${CARGO_TARGET_DIR:-$PWD/target}/aarch64" "$@"
}

if [ $# != 0 ]; then
    tests "$@"
    exit
fi
MBVC_TEST_BEST_ISA=neondot tests -p mbvc-runtime -p mbvc --lib --test differential --test quantized
# A processor without dot products.
QEMU_CPU=cortex-a53 MBVC_TEST_BEST_ISA=neon tests -p mbvc-runtime -p mbvc --lib -- isa bytes

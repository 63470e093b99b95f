#!/usr/bin/env bash
# Prints the number of instructions of a call of a network on a Cortex-M4 in emulation, the size of its code and
# weights, and whether its logits are bit-exact with the interpreter's. Fails if they are not (status 1), or
# if the compiler's prediction is off (status 2): by more than 5 % for the call or, with COUNT_STAGES=1, by more than 10 % for
# a stage that takes at least 1 % of it. Predictions are checked for int8, fusion `block` or `deep`, and OPT_LEVEL=3.
# Variables override keys of the network:
#
#     COUNT_WIDTH=0.5 COUNT_RESOLUTION=128 COUNT_FUSION=deep OPT_LEVEL=s scripts/count-instructions.sh
#
# COUNT_INPUT=gray counts a network of gray images, and COUNT_STAGES=1 prints each stage. Needs what
# `scripts/install-cross.sh` installs.
set -euo pipefail
cd "$(dirname "$0")/.."

target=thumbv7em-none-eabihf
target_dir=${CARGO_TARGET_DIR:-$PWD/target}/count
cp Cargo.lock benches/embedded/Cargo.lock
export CARGO_PROFILE_RELEASE_OPT_LEVEL=${OPT_LEVEL:-3}
scripts/build-bare.sh build benches/embedded "$target" "$target_dir" --quiet --release
program=$target_dir/$target/release/mbvc-count-instructions
status=0
timeout 600 qemu-system-arm -machine mps2-an386 -nographic -monitor none -serial none -icount shift=0 \
    -semihosting-config enable=on,target=native -kernel "$program" || status=$?
size -A "$program" | awk '/^\.text/ { print "code", $2 } /^\.rodata/ { print "constants", $2 }'
exit "$status"

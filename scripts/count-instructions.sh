#!/usr/bin/env bash
# Prints the number of instructions of a call of a network on a Cortex-M4 in emulation, the size of its code and
# weights, and whether its logits are bit-exact with the interpreter's. Variables override keys of the network:
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
std=()
export CARGO_PROFILE_RELEASE_OPT_LEVEL=${OPT_LEVEL:-3}
# As in `scripts/cross-bare.sh`: Debian's rustc has the sources of the standard library.
if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
    export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
    linker=$(env -u RUSTC rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
    export CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER=$linker
    std=(-Z build-std=core,alloc,compiler_builtins -Z build-std-features=compiler-builtins-mem)
fi
cargo build --quiet --release --manifest-path benches/embedded/Cargo.toml --target-dir "$target_dir" --target "$target" \
    "${std[@]}"
program=$target_dir/$target/release/mbvc-count-instructions
timeout 600 qemu-system-arm -machine mps2-an386 -nographic -monitor none -serial none -icount shift=0 \
    -semihosting-config enable=on,target=native -kernel "$program"
size -A "$program" | awk '/^\.text/ { print "code", $2 } /^\.rodata/ { print "constants", $2 }'

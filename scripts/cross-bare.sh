#!/usr/bin/env bash
# Builds tests/embedded, a small network without heap or operating system, for a Cortex-M4 and for WebAssembly,
# and runs both in emulation: their logits must be the host's, bit for bit.
#
# Needs Debian's rustc-web, rust-web-src and qemu-system-arm (`scripts/install-cross.sh`), and node.
set -euo pipefail
cd "$(dirname "$0")/.."

target_dir=${CARGO_TARGET_DIR:-$PWD/target}/bare

# The toolchain's own cargo and linker serve; its rustc has no standard library for these targets, nor the sources
# to build one. Debian's has the sources, and `-Z build-std` asks for the same version of both.
linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER=$linker CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker

# The versions that the workspace is tested with.
cp Cargo.lock tests/embedded/Cargo.lock

build() {
    cargo build -Z build-std=core,alloc,compiler_builtins -Z build-std-features=compiler-builtins-mem \
        --manifest-path tests/embedded/Cargo.toml --target-dir "$target_dir" "$@"
}

build --target thumbv7em-none-eabihf --example cortex_m
echo "Cortex-M4:"
timeout 120 qemu-system-arm -machine mps2-an386 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native \
    -kernel "$target_dir/thumbv7em-none-eabihf/debug/examples/cortex_m"

build --target wasm32-unknown-unknown --example wasm
echo "WebAssembly:"
node -e '
    const bytes = require("fs").readFileSync(process.argv[1]);
    WebAssembly.instantiate(bytes).then(({ instance }) => {
        const result = instance.exports.check() >>> 0;
        console.log(result === 0 ? "the bits of the host" : `failure ${result}`);
        process.exit(result === 0 ? 0 : 1);
    }).catch((error) => { console.error(error); process.exit(2); });
' "$target_dir/wasm32-unknown-unknown/debug/examples/wasm.wasm"

# With a heap but no std: compiled, and not linked, since that would need an allocator.
build --lib --features alloc --target thumbv7em-none-eabihf --target wasm32-unknown-unknown

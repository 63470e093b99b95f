#!/usr/bin/env bash
# Builds tests/embedded, small networks without heap or operating system, for a Cortex-M4 and for WebAssembly without
# SIMD, with SIMD128 and with relaxed SIMD, and runs them in emulation: their logits must be the host's, bit for bit.
#
# Needs what `scripts/install-cross.sh` installs, and node.
set -euo pipefail
cd "$(dirname "$0")/.."

target_dir=${CARGO_TARGET_DIR:-$PWD/target}/bare
own_linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld

# The versions that the workspace is tested with.
cp Cargo.lock tests/embedded/Cargo.lock

# `build TARGET [ARGUMENT]...`: with the toolchain's standard library if it is installed. Otherwise the toolchain's cargo
# and linker serve Debian's rustc, whose package has the sources of the library; `-Z build-std` asks for the same
# version of both.
build() {
    local target=$1
    shift
    local args=(build --manifest-path tests/embedded/Cargo.toml --target-dir "$target_dir" --target "$target" "$@")
    if [ -d "$(rustc --print target-libdir --target "$target")" ]; then
        cargo "${args[@]}"
        return
    fi
    local name=${target//-/_}
    env RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 "CARGO_TARGET_${name^^}_LINKER=$own_linker" \
        cargo "${args[@]}" -Z build-std=core,alloc,compiler_builtins -Z build-std-features=compiler-builtins-mem
}

build thumbv7em-none-eabihf --example cortex_m
echo "Cortex-M4:"
timeout 120 qemu-system-arm -machine mps2-an386 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native \
    -kernel "$target_dir/thumbv7em-none-eabihf/debug/examples/cortex_m"

# `wasm NAME [FEATURE]`: NAME is the instruction set that a module compiled with FEATURE takes.
wasm() {
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=${2:+-C target-feature=+$2}
    build wasm32-unknown-unknown --example wasm
    echo "WebAssembly, $1:"
    local flag
    flag=$(scripts/relaxed-simd.sh node)
    node ${flag:+"$flag"} -e '
        const bytes = require("fs").readFileSync(process.argv[1]);
        WebAssembly.instantiate(bytes).then(({ instance }) => {
            const result = instance.exports.check() >>> 0;
            console.log(result === 0 ? "the bits of the host" : `failure ${result}`);
            process.exit(result === 0 ? 0 : 1);
        }).catch((error) => { console.error(error); process.exit(2); });
    ' "$target_dir/wasm32-unknown-unknown/debug/examples/wasm.wasm"
}
wasm portable
wasm wasm128 simd128
wasm wasm128relaxed relaxed-simd

# With a heap but no std: compiled, and not linked, since that would need an allocator.
build thumbv7em-none-eabihf --lib --features alloc
build wasm32-unknown-unknown --lib --features alloc

#!/usr/bin/env bash
# Builds or checks a crate for a target without an operating system:
# `scripts/build-bare.sh build|check FOLDER TARGET TARGET_DIR [ARGUMENT]...`.
# Uses the toolchain's standard library if it is installed. Otherwise the toolchain's cargo and linker are used with Debian's
# rustc, whose package has the sources of the library; `-Z build-std` requires the same version of both.
set -euo pipefail
cd "$(dirname "$0")/.."

command=$1 folder=$2 target=$3 target_dir=$4
shift 4
args=("$command" --manifest-path "$folder/Cargo.toml" --target-dir "$target_dir" --target "$target" "$@")
if [ -f "$folder/.cargo/config.toml" ]; then
    args+=(--config "$folder/.cargo/config.toml")
fi
if [ -d "$(rustc --print target-libdir --target "$target")" ]; then
    exec cargo "${args[@]}"
fi
name=${target//-/_}
linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
exec env RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 "CARGO_TARGET_${name^^}_LINKER=$linker" \
    cargo "${args[@]}" -Z build-std=core,alloc,compiler_builtins -Z build-std-features=compiler-builtins-mem

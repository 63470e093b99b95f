#!/usr/bin/env bash
# Builds tests/embedded, small networks without a heap or an operating system, for a Cortex-M4 and for WebAssembly
# without SIMD, with SIMD128 and with relaxed SIMD, and runs them in emulation: their logits must be the host's, bit for
# bit. Then runs examples/embedded and a project of `mbvc build --kind embedded`, which must predict the class that
# `mbvc classify` predicts on this machine.
#
# Needs what `scripts/install-cross.sh` installs, and node.
set -euo pipefail
cd "$(dirname "$0")/.."

target_dir=${CARGO_TARGET_DIR:-$PWD/target}/bare

# The versions that the workspace is tested with.
cp Cargo.lock tests/embedded/Cargo.lock

# `cargo_in FOLDER build|check TARGET [ARGUMENT]...`
cargo_in() {
    local folder=$1 command=$2 target=$3
    shift 3
    scripts/build-bare.sh "$command" "$folder" "$target" "$target_dir" "$@"
}

# `cortex_m4 FILE`: runs a program in the folder of its target and profile.
cortex_m4() {
    timeout 120 qemu-system-arm -machine mps2-an386 -nographic -monitor none -serial none \
        -semihosting-config enable=on,target=native -kernel "$target_dir/thumbv7em-none-eabihf/$1"
}

cargo_in tests/embedded build thumbv7em-none-eabihf --example cortex_m
echo "Cortex-M4:"
cortex_m4 debug/examples/cortex_m

# `wasm NAME [FEATURE]`: NAME is the instruction set that a module compiled with FEATURE takes.
wasm() {
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=${2:+-C target-feature=+$2}
    cargo_in tests/embedded build wasm32-unknown-unknown --example wasm
    echo "WebAssembly, $1:"
    local flag
    flag=$(scripts/relaxed-simd.sh node)
    node ${flag:+"$flag"} -e '
        const bytes = require("fs").readFileSync(process.argv[1]);
        WebAssembly.instantiate(bytes).then(({ instance }) => {
            const result = instance.exports.check() >>> 0;
            console.log(result === 0 ? "bit-exact with the host" : `failure ${result}`);
            process.exit(result === 0 ? 0 : 1);
        }).catch((error) => { console.error(error); process.exit(2); });
    ' "$target_dir/wasm32-unknown-unknown/debug/examples/wasm.wasm"
}
wasm portable
wasm wasm128 simd128
wasm wasm128relaxed relaxed-simd

# With a heap but no std: only checked, since no program uses these builds.
cargo_in tests/embedded check thumbv7em-none-eabihf --lib --features mbvc/alloc
cargo_in tests/embedded check wasm32-unknown-unknown --lib --features mbvc/alloc

# The example, and a project of the same network: they classify an image that gets brighter from byte to byte.
work=$target_dir/projects
rm -rf "$work" && mkdir -p "$work"
node -e '
    const [side, bytes] = [64, 64 * 64 * 3];
    const header = Buffer.alloc(54);
    header.write("BM");
    header.writeUInt32LE(54 + bytes, 2);
    header.writeUInt32LE(54, 10);
    header.writeUInt32LE(40, 14);
    header.writeInt32LE(side, 18);
    header.writeInt32LE(-side, 22); // from the top
    header.writeUInt16LE(1, 26);
    header.writeUInt16LE(24, 28);
    const ramp = (at) => Math.floor((at * 255) / bytes);
    // BMP has blue first.
    const pixels = Buffer.from(Array.from({ length: bytes }, (_, at) => ramp(at - (at % 3) + (2 - (at % 3)))));
    require("fs").writeFileSync(process.argv[1], Buffer.concat([header, pixels]));
' "$work/ramp.bmp"
model=(specs/demo.yaml --precision int8 --weights demo/model-int8.safetensors)
cargo build --quiet -p mbvc-cli
mbvc=${CARGO_TARGET_DIR:-$PWD/target}/debug/mbvc
expected=$("$mbvc" classify "$work/ramp.bmp" --spec "${model[@]}" --top 1 --json | sed -n 's/.*"index":\([0-9]*\).*/\1/p')
finds() {
    echo "$1: $2"
    if [[ $2 != *"class $expected "* ]]; then
        echo "expected class $expected, as on this machine" >&2
        exit 1
    fi
}

# Compiled fast rather than optimized.
fast() {
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo_in "$@"
}
fast examples/embedded build thumbv7em-none-eabihf --bin cortex_m
finds "examples/embedded" "$(cortex_m4 debug/cortex_m)"
"$mbvc" build "${model[@]}" --kind embedded -o "$work/firmware" >/dev/null
fast "$work/firmware" build thumbv7em-none-eabihf
finds "mbvc build --kind embedded" "$(cortex_m4 debug/firmware)"

#!/usr/bin/env bash
# Builds npm packages with WebAssembly and runs them in Node, Chromium and Firefox.
#
# Needs node. Rust's library for WebAssembly is installed by rustup; where that fails, it is compiled from the sources
# of Debian's compiler (`scripts/install-cross.sh`). The browsers are Debian's, and playwright-core controls Chromium;
# where they cannot be installed, the tests in browsers are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-unknown-unknown
folder=${CARGO_TARGET_DIR:-$PWD/target}/web
mkdir -p "$folder"

# A compiler with a sysroot that has only the target's library.
sysroot() {
    local sysroot=$folder/sysroot host
    host=$(rustc -vV | sed -n 's/^host: //p')
    local libraries=$sysroot/lib/rustlib/$target/lib
    rm -rf "$sysroot"
    mkdir -p "$folder/empty/src" "$libraries"
    : >"$folder/empty/src/lib.rs"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n' >"$folder/empty/Cargo.toml"
    # Link-time optimization reads bitcode, which Cargo leaves out.
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes cargo build -Z build-std=std,panic_abort --release --target "$target" \
        --manifest-path "$folder/empty/Cargo.toml" --target-dir "$folder/empty/target" &&
        cp "$folder/empty/target/$target/release/deps/"*.rlib "$libraries" &&
        printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "%s" -Clinker="%s" "$@"\n' "$sysroot" \
            "$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld" >"$folder/rustc" &&
        chmod +x "$folder/rustc"
}

browsers() {
    if ! [ -x /usr/bin/chromium ] || ! [ -x /usr/bin/firefox-esr ]; then
        DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -y -q --no-install-recommends chromium firefox-esr
    fi && npm install --prefix "$folder" --silent --no-audit --no-fund playwright-core@1
}

if ! rustup target add "$target"; then
    sysroot
    export MBVC_WEB_RUSTC=$folder/rustc
fi
if browsers; then
    export MBVC_CHROMIUM=/usr/bin/chromium MBVC_PLAYWRIGHT=$folder/node_modules/playwright-core MBVC_FIREFOX=/usr/bin/firefox-esr
else
    echo "Chromium, Firefox or playwright-core cannot be installed: the tests in browsers are skipped"
fi
MBVC_REQUIRE_WEB=1 cargo test -p mbvc-cli --test build_command web:: -- --include-ignored

#!/usr/bin/env bash
# Installs what the cross-compilation checks need, on Debian 12 or later, as root.
set -euo pipefail

# Of the toolchain by rustup, if it can be downloaded. Checks without it use Debian's rustc, or are skipped.
rustup target add wasm32-unknown-unknown wasm32-wasip1 || echo "no standard libraries for WebAssembly by rustup"

export DEBIAN_FRONTEND=noninteractive
packages=(
    # A rustc with its standard library's sources, and that library compiled for 64-bit Arm. The toolchain by rustup
    # stays the one that everything else is built with.
    rustc-web rust-web-src libstd-rust-web-dev:arm64
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    qemu-user-static qemu-system-arm
)
if dpkg --print-foreign-architectures | grep -qx arm64 && dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    exit 0
fi
dpkg --add-architecture arm64
apt-get -o Acquire::Retries=3 update -q
apt-get -o Acquire::Retries=3 install -y -q --no-install-recommends "${packages[@]}"

#!/usr/bin/env bash
# Formatting, lints, documentation and the tests of the DataFusion functions. Stops at the first failure.
#
# They are a workspace of their own, because DataFusion takes minutes to compile.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/datafusion}
manifest=datafusion/Cargo.toml

cargo fmt --manifest-path "$manifest" --check
cargo clippy --manifest-path "$manifest" --all-targets -- -D warnings
# The library alone, without the DataFusion features that the tests enable.
RUSTDOCFLAGS="-D warnings" cargo doc --manifest-path "$manifest" --lib --no-deps
cargo test --manifest-path "$manifest"
cargo run --manifest-path "$manifest" --example count_labels -- --help

#!/usr/bin/env bash
# Formatting, lints, documentation and the tests of the DataFusion functions, in Rust and from Python. Stops at the first failure.
#
# They are a workspace of their own, because DataFusion takes minutes to compile.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/datafusion}
manifest=datafusion/Cargo.toml

cargo fmt --manifest-path "$manifest" --all --check
cargo clippy --manifest-path "$manifest" --workspace --all-targets -- -D warnings
# The library alone, without the DataFusion features that the tests enable.
RUSTDOCFLAGS="-D warnings" cargo doc --manifest-path "$manifest" --lib --no-deps
cargo test --manifest-path "$manifest"
cargo run --manifest-path "$manifest" --example count_labels -- --help

# The Python package, in an environment with `datafusion` for Python.
venv=$CARGO_TARGET_DIR/python-env packages=datafusion/python/requirements-test.txt
if ! cmp -s "$packages" "$venv/installed"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check --retries 5 -r "$packages"
    cp "$packages" "$venv/installed"
fi
rm -rf "$CARGO_TARGET_DIR/wheels"
"$venv/bin/maturin" build --profile dev --manifest-path datafusion/python/Cargo.toml --out "$CARGO_TARGET_DIR/wheels"
"$venv/bin/pip" install -q --disable-pip-version-check --force-reinstall --no-deps "$CARGO_TARGET_DIR"/wheels/*.whl
cargo run --manifest-path "$manifest" --example demo_model -- "$CARGO_TARGET_DIR/demo.mbvc"
DEMO_MODEL=$CARGO_TARGET_DIR/demo.mbvc MBVC_CACHE=$CARGO_TARGET_DIR/cache "$venv/bin/python" -m pytest -q datafusion/python/tests
